"""Read ``[media]``: live streams and video on demand."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from lb.config.media_files import record_path, writable_directory
from lb.config.secret_file import secret_in_file
from lb.model import LiveSpec, MediaSpec, PassiveSpec, PoolSpec, PublishKey, Secret, ServerSpec, VodSpec
from lb.model.address import Address
from lb.model.hook_url import hook_url
from lb.model.media import RTMP_POOL
from lb.model.rtmp_address import RtmpAddress, rtmp_template
from lb.model.shape import list_of, shape_of, shaped, table_of, tables_of, whole
from lb.model.stream_name import STREAM_NAME_PATTERN, STREAM_NAME_RULE, is_stream_name
from lb.model.table import Table
from lb.model.values import (
    Reader,
    boolean,
    byte_size,
    choice,
    duration,
    duration_above_zero,
    file_name,
    name,
    secret,
    shown,
    text,
    whole_number,
)

__all__ = ["MEDIA_TABLE", "media_pools", "read_media"]

_SHORTEST_PART, _SHORTEST_SEGMENT, _LONGEST_SEGMENT = 0.1, 0.5, 60.0
_LONGEST_DVR = 24 * 3_600.0
_LEAST_MEMORY = 16 << 20
_NO_DIRECTORY = (
    "needs a directory to write to: set 'directory' in [media], as in directory = \"/var/lib/trio-lb/media\""
)


@shaped({"type": "string", "pattern": whole(STREAM_NAME_PATTERN)})
def stream_name(value: object) -> str:
    """The name of a stream: a part of URLs and of file names."""
    given = text(value)
    if not is_stream_name(given):
        raise ValueError(f"must have {STREAM_NAME_RULE}, not {shown(given)}")
    return given


def _seconds(least: float, most: float) -> Reader[float]:
    @shaped(shape_of(duration_above_zero))
    def read(value: object) -> float:
        found = duration_above_zero(value)
        if not least <= found <= most:
            raise ValueError(f"must be from {least:g}s to {most:g}s, not {shown(value)}")
        return found

    return read


@shaped({"type": "string", "pattern": "^rtmps?://"})
def rtmp_url(value: object) -> RtmpAddress:
    """The URL of a stream elsewhere, with ``{app}`` and ``{name}``. Messages never show it: it may hold a key."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - as all readers of values
    return rtmp_template(value)


LIVE_KEYS: Mapping[str, Reader[object]] = {
    "segment": _seconds(_SHORTEST_SEGMENT, _LONGEST_SEGMENT),
    "window": whole_number(least=3, most=10_000),
    "keep": whole_number(least=3, most=20_000),
    "part": duration,
    "linger": duration,
    "max_gop": duration_above_zero,
    "second_publisher": choice(LiveSpec, "second_publisher"),
    "dvr": duration,
    "record": record_path,
    "play": boolean,
}


def read_media(root: Table, directory: Path) -> MediaSpec:
    """Read the table, which may be absent. Errors are reported to ``root``."""
    if not root.has("media"):
        return MediaSpec()
    table = root.table("media")
    home = table.value("directory", writable_directory(directory)) or ""
    memory = table.value("memory", byte_size(_LEAST_MEMORY))
    live = tuple(_live(key, each, directory) for key, each in table.tables("live"))
    vod = tuple(_vod(key, each, directory) for key, each in table.tables("vod"))
    spec = MediaSpec(
        home,
        MediaSpec().memory if memory is None else memory,
        live,
        vod,
    )
    for app in live:
        for key in ("record", "dvr"):
            if getattr(app, key) and not table.content.get("directory"):
                table.complain(_NO_DIRECTORY, f"{table.at('live')}.{app.name}.{key}")
    for both in {each.name for each in live} & {each.name for each in vod}:
        table.complain(f"{both!r} is the name of a live application, too", f"{table.at('vod')}.{both}")
    table.finish()
    if spec and importlib.util.find_spec("av") is None:
        table.complain("needs PyAV: install trio-lb with the extra 'media', as in pip install 'trio-lb[media]'")
    return spec


def _live(key: str, table: Table, directory: Path) -> LiveSpec:
    table.convert(key, name, table.path)
    publish = tuple(
        found
        for path, value in table.items("publish")
        if (found := _publish_key(table.below(value, path), directory)) is not None
    )
    spec = LiveSpec(
        key,
        publish=publish,
        on_publish=_hook(table, "on_publish"),
        on_publish_done=_hook(table, "on_publish_done"),
        ladder=_ladder(table),
        push=table.each("push", rtmp_url),
        pull=table.value("pull", rtmp_url) if table.has("pull") and table.content["pull"] != "" else None,
        **table.values(LIVE_KEYS),
    )
    _complain_of_live(spec, table)
    table.finish()
    return spec


def _publish_key(table: Table, directory: Path) -> PublishKey | None:
    """Read who may publish: a stream's name, and ``key`` or ``key_file``."""
    stream = table.value("name", text)
    if stream is None:
        table.complain("needs the 'name' of a stream, or '*' for any")
    elif stream != "*":
        table.convert(stream, stream_name, table.at("name"))
    if table.has("key") == table.has("key_file"):
        table.complain("needs one of 'key' and 'key_file'")
    key = table.value("key", _publish_secret) or table.value("key_file", secret_in_file(directory))
    table.finish()
    return None if stream is None or not key else PublishKey(stream, Secret(key))


@shaped({**shape_of(secret), "minLength": 1})
def _publish_secret(value: object) -> str:
    """Read a key. An empty one is a mistake: whoever sends no key would know it."""
    if not secret(value):
        raise ValueError("must not be empty")
    return secret(value)


def _hook(live: Table, key: str) -> Secret | None:
    found = live.value(key, hook_url)
    if found and importlib.util.find_spec("httpx") is None:
        live.complain("needs httpx: install trio-lb with the extra 'media'", live.at(key))
    return Secret(found) if found else None


def _ladder(live: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read ``ladder``: a table of names, each with the names of its renditions."""
    if not live.has("ladder"):
        return ()
    table = live.table("ladder")
    found = []
    for key in table.content:
        table.convert(key, stream_name, table.at(key))
        members = table.each(key, stream_name)
        if not members:
            table.complain("must name at least one stream", table.at(key))
        found.append((key, members))
    table.finish()
    return tuple(found)


def _complain_of_live(spec: LiveSpec, table: Table) -> None:
    if spec.keep < spec.window:
        table.complain(f"must be at least 'window', which is {spec.window}", table.at("keep"))
    if spec.part and not _SHORTEST_PART <= spec.part <= spec.segment / 2:
        table.complain(f"must be from {_SHORTEST_PART:g}s to half of 'segment'", table.at("part"))
    shortest = spec.window * spec.segment
    if spec.dvr and not shortest <= spec.dvr <= max(_LONGEST_DVR, shortest):
        table.complain(f"must be from {shortest:g}s, which is 'window' times 'segment', to 24h", table.at("dvr"))
    if spec.max_gop < spec.segment:
        table.complain("must be at least 'segment'", table.at("max_gop"))
    ladders = {ladder for ladder, _ in spec.ladder}
    renditions = Counter(member for _, members in spec.ladder for member in members)
    for member, count in renditions.items():
        if member in ladders:
            table.complain(f"{member!r} is the name of a ladder: it cannot be a rendition, too", table.at("ladder"))
        elif count > 1:
            table.complain(f"{member!r} is a rendition of two ladders", table.at("ladder"))


VOD_KEYS: Mapping[str, Reader[object]] = {
    "segment": _seconds(1.0, _LONGEST_SEGMENT),
    "titles": whole_number(least=1, most=10_000),
}


def _vod(key: str, table: Table, directory: Path) -> VodSpec:
    table.convert(key, name, table.path)
    if not table.has("root"):
        table.complain('missing, as in root = "/srv/films"', table.at("root"))
    root = table.value("root", file_name) or ""
    path = (directory / root).absolute()
    if root and not path.is_dir():
        table.complain(f"{shown(root)} is not a directory", table.at("root"))
    spec = VodSpec(key, str(path), **table.values(VOD_KEYS))
    table.finish()
    return spec


def media_pools(spec: MediaSpec) -> dict[str, PoolSpec]:
    """Return the internal pools. Their servers' addresses are those of this process, which it knows once it runs."""
    return {each: _pool(each) for each in spec.pools}


def _pool(pool: str) -> PoolSpec:
    server = ServerSpec(pool, Address(f"unix:@{pool}", path=f"@{pool}"))
    send_proxy: Literal["off", "v2"] = "v2" if pool == RTMP_POOL else "off"
    return PoolSpec(pool, (server,), send_proxy=send_proxy, health=None, passive=PassiveSpec(failures=0))


_PUBLISH_TABLE = table_of(
    {"name": {"anyOf": [{"const": "*"}, shape_of(stream_name)]}, "key": _publish_secret, "key_file": file_name},
    required=["name"],
    rules=[{"oneOf": [{"required": ["key"]}, {"required": ["key_file"]}]}],
)
_LIVE_TABLE = table_of(
    {
        **LIVE_KEYS,
        "publish": list_of(_PUBLISH_TABLE),
        "on_publish": hook_url,
        "on_publish_done": hook_url,
        "ladder": tables_of(list_of(stream_name, least=1), stream_name),
        "push": list_of(rtmp_url),
        "pull": {"anyOf": [{"const": ""}, shape_of(rtmp_url)]},
    }
)
_VOD_TABLE = table_of({"root": file_name, **VOD_KEYS}, required=["root"])
MEDIA_TABLE = table_of(
    {
        "directory": text,
        "memory": byte_size(_LEAST_MEMORY),
        "live": tables_of(_LIVE_TABLE, name),
        "vod": tables_of(_VOD_TABLE, name),
    }
)
