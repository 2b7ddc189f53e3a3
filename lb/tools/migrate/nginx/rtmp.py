"""The block ``rtmp`` of the module for live streams: its applications as those of ``[media]``."""

from __future__ import annotations

from collections.abc import Mapping

from lb.tools.migrate.draft import Draft, DraftTable
from lb.tools.migrate.nginx.listens import merged, read_listen
from lb.tools.migrate.nginx.scope import Scope
from lb.tools.migrate.nginx.units import as_duration, time_in_seconds

__all__ = ["translate_rtmp"]

_SEGMENT, _PLAYLIST = "5s", "30s"
"""What the module takes without a word."""
_LEAST_WINDOW, _KEPT = 3, 12
"""Segments: the shortest list, and those that are kept without a word."""


def translate_rtmp(rtmp: Scope, draft: Draft) -> Mapping[str, str]:
    """Add the listeners and applications. Return the applications by the directories that HLS and DASH are made in."""
    rtmp.migration.translated(rtmp.block)
    directories = {}
    for each in rtmp.own("server"):
        scope = rtmp.inside(each)
        listens = [read_listen(listen) for listen in scope.own("listen")]
        names = draft.table("listeners").below
        listener = draft.listener("rtmp" if "rtmp" not in names else f"rtmp-{len(names)}")
        listener["mode"] = "rtmp"
        listener["bind"] = merged([listen.address for listen in listens] or [":1935"])
        rtmp.migration.place(each, listener)
        rtmp.migration.translated(each)
        for listen in listens:
            if listen.directive is not None:
                rtmp.migration.translated(listen.directive)
        for application in scope.own("application"):
            directories.update(_application(scope.inside(application), draft))
    return directories


def _application(scope: Scope, draft: Draft) -> dict[str, str]:
    name = scope.block.args[0]
    live = draft.table("media", "live", name)
    scope.migration.place(scope.block, live)
    scope.migration.translated(scope.block)
    scope.is_on("live")
    _segments(live, scope)
    _relays(live, scope)
    _hooks(live, scope)
    _record(live, scope, draft)
    _access(live, scope)
    found = {}
    for kind in ("hls", "dash"):
        path = scope.take(f"{kind}_path")
        if scope.is_on(kind) and path is not None:
            found[path.rstrip("/")] = name
    return found


def _segments(live: DraftTable, scope: Scope) -> None:
    """Fill length and number of segments; HLS and DASH have the same ones here."""
    kind = "hls" if scope.last("hls_fragment") or scope.last("hls_playlist_length") else "dash"
    segment = scope.read(f"{kind}_fragment", as_duration)
    listed = scope.read(f"{kind}_playlist_length", as_duration)
    if segment is not None:
        live["segment"] = segment
    if segment is not None or listed is not None:
        window = int(time_in_seconds(listed or _PLAYLIST) // (time_in_seconds(segment or _SEGMENT) or 1))
        live["segment"] = segment or _SEGMENT
        live["window"] = max(_LEAST_WINDOW, window)
        if window > _KEPT:
            live["keep"] = window
    for name in ("dash_fragment", "dash_playlist_length"):
        scope.take(name)


def _relays(live: DraftTable, scope: Scope) -> None:
    for name in ("push", "pull"):
        for number, each in enumerate(scope.all(name)):
            url = _stream_url(each.args[0])
            scope.migration.translated(each)
            if name == "push":
                live.extend("push", url)
            elif number == 0:
                live["pull"] = url
            else:
                scope.migration.gap(each, "an application is pulled from one place")


def _stream_url(url: str) -> str:
    """Return the URL of a stream for that of an application: streams keep their names."""
    text = url if "://" in url else f"rtmp://{url}"
    path = text.partition("://")[2].partition("/")[2].strip("/")
    return text.rstrip("/") + ("/{name}" if path and "/" not in path else "" if path else "/{app}/{name}")


def _hooks(live: DraftTable, scope: Scope) -> None:
    for name in ("on_publish", "on_publish_done"):
        for each in scope.all(name):
            live[name] = each.args[0]
            scope.migration.translated(each, note="it gets JSON by POST, not a form")
    if "on_publish" not in live:
        scope.migration.gap(scope.block, "publishers need a key: [[media.live.NAME.publish]]")


def _record(live: DraftTable, scope: Scope, draft: Draft) -> None:
    kind = scope.take("record")
    directory = scope.last("record_path")
    if kind in (None, "off") or directory is None:
        return
    live["record"] = "{name}-{start}.mp4"
    draft.table("media")["directory"] = directory.args[0]
    scope.migration.translated(directory, "media.directory", note="recordings are MP4, one for each publisher")
    for name in ("record_unique", "record_suffix", "record_append", "record_interval", "record_max_size"):
        for each in scope.all(name):
            scope.migration.not_needed(each, "recordings are MP4, one for each publisher")


def _access(live: DraftTable, scope: Scope) -> None:
    for each in [rule for name in ("allow", "deny") for rule in scope.all(name)]:
        if each.name == "deny" and each.args == ("play", "all"):
            live["play"] = False
            scope.migration.translated(each, "media.live.NAME.play")
        elif each.args[-1] == "all" and each.name == "allow":
            scope.migration.not_needed(each, "done without a setting")
        else:
            scope.migration.gap(each, "`allow` of the listener, and keys of publishers")
