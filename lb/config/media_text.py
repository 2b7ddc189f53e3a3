"""Human-readable text of ``[media]``: its keys as in the file. Publish keys are hidden."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from lb.config.route_text import KeyValues, differences
from lb.model import LiveSpec, MediaSpec, VodSpec
from lb.model.rtmp_address import RtmpAddress

__all__ = ["media_differences", "media_specs", "media_values"]

_ALWAYS = ("segment", "window", "publish", "root")
"""Keys that are shown even if they have their defaults."""
_WITH_KEYS = ("publish", "push", "pull")
"""Keys of the file that hold keys of streams."""


def media_specs(media: MediaSpec) -> dict[str, LiveSpec | VodSpec]:
    """Return the applications by what they are called: ``media.live.NAME``, ``media.vod.NAME``."""
    live: dict[str, LiveSpec | VodSpec] = {f"media.live.{app.name}": app for app in media.live}
    return live | {f"media.vod.{app.name}": app for app in media.vod}


def media_values(spec: LiveSpec | VodSpec) -> KeyValues:
    """Return the keys of an application: some always, the others if they differ from the default."""
    return {
        field.name: _shown(spec, field.name)
        for field in attrs.fields(type(spec))
        if field.name != "name" and (field.name in _ALWAYS or getattr(spec, field.name) != field.default)
    }


def media_differences(old: LiveSpec | VodSpec, new: LiveSpec | VodSpec) -> Iterator[tuple[str, object, object]]:
    """Yield the keys whose values differ, with both values. Other keys of publishers are said to be others."""
    defaults: KeyValues = {field.name: field.default for field in attrs.fields(type(new))}
    yield from differences(media_values(old), media_values(new), defaults)
    for key in _WITH_KEYS if isinstance(old, LiveSpec) and isinstance(new, LiveSpec) else ():
        both = [_shown(spec, key) for spec in (old, new)]
        if getattr(old, key) != getattr(new, key) and both[0] == both[1]:
            yield key, both[0], "the same with other keys"


def _shown(spec: LiveSpec | VodSpec, key: str) -> object:
    """Return a value as it is shown: of publishers and of a ladder, the names; of URLs, what holds no key."""
    if isinstance(spec, LiveSpec) and key == "publish":
        return _names(spec)
    if isinstance(spec, LiveSpec) and key == "ladder":
        return tuple(f"{ladder} = {' + '.join(members)}" for ladder, members in spec.ladder)
    value = getattr(spec, key)
    if key == "push":
        return tuple(each.app_url for each in value)
    return value.app_url if isinstance(value, RtmpAddress) else value


def _names(spec: LiveSpec) -> tuple[str, ...]:
    return tuple(each.name for each in spec.publish) or ("nobody",)
