"""The films of a process: each ``[media.vod.NAME]`` with its directory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lb.events import Event, TitleRefused
from lb.media.responses import MediaResponse
from lb.media.vod_resources import VodResources, no_such_title
from lb.media.vod_titles import VodTitles
from lb.model import MediaSpec, VodSpec
from lb.model.media_figures import MediaFigures
from lb.model.stream_status import MediaSnapshot

__all__ = ["VodApps"]


class VodApps:
    """All ``[media.vod.NAME]`` of the configuration in use. ``emit`` takes events."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._apps: dict[str, tuple[VodSpec, VodResources]] = {}
        self._figures = MediaFigures()

    def configure(self, spec: MediaSpec) -> None:
        """Apply a configuration. What does not change keeps its open titles."""
        apps = {}
        for app in spec.vod:
            known = self._apps.get(app.name)
            apps[app.name] = known if known is not None and known[0] == app else (app, self._resources(app))
        self._apps = apps

    def _resources(self, app: VodSpec) -> VodResources:
        titles = VodTitles(app.root, app.segment, app.titles, partial(self._refused, app.name))
        return VodResources(titles, self._figures.packaging.note)

    def _refused(self, app: str, path: str, reason: str) -> None:
        self._emit(TitleRefused(f"{app}/{path}", reason))

    async def resource(self, path: str) -> MediaResponse:
        """Return the response for ``/app/…``."""
        app, _, rest = path.removeprefix("/").partition("/")
        known = self._apps.get(app)
        return no_such_title() if known is None else await known[1].resource(rest)

    def snapshot(self) -> MediaSnapshot:
        """Return what was counted."""
        return MediaSnapshot(figures=self._figures)
