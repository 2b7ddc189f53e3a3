"""The answer of ``lb explain --stream``: who may publish a stream, and how it is served. Pure.

The admin endpoint and the command line share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lb.config.media import stream_name
from lb.explain.stream_routes import StreamRoute, place_of, stream_routes
from lb.model import Config, ListenerSpec, LiveSpec
from lb.model.suggestion import did_you_mean
from lb.model.values import shown

__all__ = ["explain_stream"]

HOST = "HOST"
"""In URLs of listeners on all addresses."""
_HELD_BACK = 3
"""Segments, or parts, that players stay behind the newest one (RFC 8216, section 6.3.3)."""
_LOW_LATENCY_MORE = 1.0
"""Seconds that low-latency players take beside that: measured with hls.js."""


def explain_stream(
    config: Config, stream: str, bound: Mapping[str, Sequence[str]], notes: Sequence[str] = ()
) -> dict[str, object]:
    """Return the answer as a JSON object. ``bound`` has the addresses of listeners, by name.

    Raises ValueError if it is no name of a stream, and LookupError if there is no such application.
    """
    app_name, slash, name = stream.partition("/")
    if not slash:
        raise ValueError(f"a stream is an application and a name, as in live/show, not {shown(stream)}")
    stream_name(name)
    apps = {app.name: app for app in config.media.live}
    if app_name not in apps:
        raise LookupError(f"there is no application {shown(app_name)}{did_you_mean(app_name, apps)}")
    app = apps[app_name]
    ladder = dict(app.ladder).get(name, ())
    publish = _publishing(config, app, ladder or (name,), stream, bound)
    routes = [
        _route(found, name, bound[found.listener.name]) for found in stream_routes(config.listeners.values(), app_name)
    ]
    return {
        "stream": stream,
        "ladder": list(ladder),
        "rendition_of": next((each for each, members in app.ladder if name in members), None),
        "publish": publish,
        "pull": app.pull.of_stream(app_name, name).app_url if app.pull is not None and not ladder else None,
        "push": [target.of_stream(app_name, name).app_url for target in app.push if not ladder],
        "routes": routes,
        "rtmp_players": app.play and not ladder,
        **_timing(app),
        "record": _record(config, app, name) if not ladder else None,
        "served": _has_source(app, publish) and bool(routes or app.play),
        "notes": [*notes, *_notes(app, ladder)],
    }


def _publishing(
    config: Config, app: LiveSpec, streams: Sequence[str], asked: str, bound: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    rtmp = [listener for listener in config.listeners.values() if listener.mode == "rtmp"]
    return {
        "listeners": [_rtmp_listener(listener, bound[listener.name], asked) for listener in rtmp],
        "lets_in": [*_who_may_publish(app, streams)],
        "hook": app.on_publish is not None,
        "second_publisher": app.second_publisher,
    }


def _rtmp_listener(listener: ListenerSpec, bound: Sequence[str], stream: str) -> dict[str, object]:
    scheme = "rtmp" if listener.tls is None else "rtmps"
    urls = [f"{scheme}://{place_of(listener, each, HOST)}/{stream}?key=KEY" for each in _tcp(bound)]
    return {"listener": listener.name, "bind": list(bound), "url": next(iter(urls), None)}


def _tcp(bound: Sequence[str]) -> list[str]:
    return [each for each in bound if not each.startswith("unix:")]


def _route(found: StreamRoute, name: str, bound: Sequence[str]) -> dict[str, object]:
    route = found.route
    needs = {
        "viewer_secret_file": route.viewer_secret is not None,
        "auth": route.auth is not None,
        "forward_auth": bool(route.forward_auth),
    }
    return {
        "listener": found.listener.name,
        "bind": list(bound),
        "route": route.name,
        "url": next((f"{found.origin(each, HOST)}{found.path}{name}/" for each in _tcp(bound)), None),
        "cache": None if route.cache is None else route.cache.zone.name,
        "needs": [key for key, needed in needs.items() if needed],
    }


def _who_may_publish(app: LiveSpec, streams: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield by which key each of the streams lets publishers in: that of its name, or of ``*``."""
    names = {each.name for each in app.publish}
    for stream in streams:
        key = next((each for each in (stream, "*") if each in names), None)
        if key is not None:
            yield {"stream": stream, "key_of": key}


def _has_source(app: LiveSpec, publish: Mapping[str, object]) -> bool:
    """Return whether somebody may publish, or it is fetched. With keys and a hook, both must agree."""
    may_publish = publish["lets_in"] if app.publish else publish["hook"]
    return app.pull is not None or bool(publish["listeners"] and may_publish)


def _timing(app: LiveSpec) -> dict[str, object]:
    usual = _HELD_BACK * app.segment
    low = _HELD_BACK * app.part
    return {
        "segment": app.segment,
        "part": app.part,
        "window": app.window,
        "window_seconds": app.window * app.segment,
        "keep": app.keep,
        "dvr": app.dvr,
        "linger": app.linger,
        "latency": {
            "usual": [usual, usual + app.segment],
            "low": [low, low + _LOW_LATENCY_MORE] if app.part else None,
        },
    }


def _record(config: Config, app: LiveSpec, name: str) -> str | None:
    """Return where a recording goes; ``{start}`` stays, as nobody has begun."""
    if not app.record:
        return None
    return f"{config.media.directory}/{app.record.replace('{app}', app.name).replace('{name}', name)}"


def _notes(app: LiveSpec, ladder: Sequence[str]) -> Iterator[str]:
    yield f"segments begin at key frames: where those are further apart than {app.segment:g} s, the latency grows alike"
    if ladder:
        yield "it is a ladder: publishers send its streams"
