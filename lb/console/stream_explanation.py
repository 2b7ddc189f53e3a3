"""The output of ``lb explain --stream``. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lb.console.text import Json, bitrate, since
from lb.model.values import duration_text

__all__ = ["stream_lines"]

NEEDS = {
    "viewer_secret_file": "a link for viewers",
    "auth": "a password",
    "forward_auth": "that forward_auth lets them in",
}


def stream_lines(answer: Json) -> Iterator[str]:
    """Yield the lines of an answer."""
    yield str(answer["stream"])
    yield from _publishing(answer)
    yield from _relays(answer)
    yield from _serving(answer)
    yield from _timing(answer)
    yield f"recorded to {answer['record']}" if answer["record"] else "not recorded"
    if "now" in answer:
        yield f"now: {_now(answer['now'], answer['timestamp'])}"
    if answer["notes"]:
        yield ""
        yield from (f"note: {note}" for note in answer["notes"])


def _publishing(answer: Json) -> Iterator[str]:
    if answer["ladder"]:
        yield f"a ladder of {', '.join(answer['ladder'])}"
    elif answer["rendition_of"]:
        yield f"a rendition of the ladder {answer['rendition_of']}"
    publish = answer["publish"]
    for each in publish["listeners"]:
        url = f" at {each['url']}" if each["url"] and not answer["ladder"] else ""
        yield f"published to {_place(each)}{url}"
    if not publish["listeners"]:
        yield "no listener takes publishers"
    if publish["hook"]:
        yield "  on_publish is asked for each publisher"
    elif not publish["lets_in"]:
        yield "  nobody may publish it"
    for each in publish["lets_in"]:
        key = f"the key of {each['key_of']!r}"
        yield f"  {each['stream']}: with {key}; a second publisher {_second(publish['second_publisher'])}"


def _relays(answer: Json) -> Iterator[str]:
    if answer["pull"]:
        yield f"fetched from {answer['pull']} while nobody publishes it and somebody watches it"
    yield from (f"pushed to {target}" for target in answer["push"])


def _second(policy: str) -> str:
    return "is refused" if policy == "refuse" else "replaces the first"


def _serving(answer: Json) -> Iterator[str]:
    if not answer["routes"]:
        yield "no route serves it"
    for route in answer["routes"]:
        cache = f"from the cache {route['cache']}" if route["cache"] else "without a cache"
        yield f"served by {_place(route)}, route {route['route']}, {cache}"
        if route["url"]:
            yield f"  HLS at {route['url']}master.m3u8, DASH at {route['url']}manifest.mpd"
        yield from (f"  viewers need {NEEDS[key]}" for key in route["needs"])
    if answer["rtmp_players"]:
        yield "RTMP players are served, too"


def _timing(answer: Json) -> Iterator[str]:
    window = f"{answer['window']} are listed ({duration_text(answer['window_seconds'])}), {answer['keep']} kept"
    part = f", in parts of {duration_text(answer['part'])}" if answer["part"] else ""
    if answer["dvr"]:
        window = f"viewers may go back {duration_text(answer['dvr'])}"
    yield f"segments of {duration_text(answer['segment'])}{part}; {window}"
    yield f"ends {duration_text(answer['linger'])} after its publisher has left"
    latency = answer["latency"]
    low = f"; {_range(latency['low'])} with low-latency HLS" if latency["low"] else ""
    yield f"expect a latency of {_range(latency['usual'])}{low}"


def _now(stream: Json | None, now: str) -> str:
    if stream is None:
        return "nobody has published it lately"
    if not stream["live"]:
        return "without a publisher"
    publisher = f" from {stream['client']}" if stream["client"] else ""
    viewers = f"{stream['viewers']} viewers, {stream['players']} RTMP players"
    codecs = ", ".join(stream["codecs"])
    figures = f"{codecs}, {bitrate(stream['bitrate'])}, {viewers}, newest segment {stream['latest']}"
    return f"live for {since(stream['since'], now)}{publisher}: {figures}"


def _place(listener: Json) -> str:
    return f"listener {listener['listener']} ({', '.join(listener['bind'])})"


def _range(seconds: Sequence[float]) -> str:
    return f"{seconds[0]:.3g} to {seconds[1]:.3g} s"
