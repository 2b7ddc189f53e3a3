"""Read ``[caches.NAME]``: where a cache keeps responses, and how many bytes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from lb.model import CacheSpec, ForwardSettings, HttpSettings, ListenerSpec
from lb.model.shape import given, shape_of, shaped, table_of, when
from lb.model.table import Table
from lb.model.values import Reader, byte_size, duration_above_zero, file_name, name, shown, whole_number

__all__ = ["CACHE_TABLE", "check_cache_paths", "check_shared_caches", "read_cache"]

_SMALLEST, _LARGEST = 1 << 20, 1 << 50
"""Bytes of a cache on disk."""
_SMALLEST_MEMORY, _LARGEST_MEMORY = 1 << 20, 1 << 40


@shaped(shape_of(byte_size(_SMALLEST, _LARGEST)))
def _disk_size(value: object) -> int:
    return whole_number(_SMALLEST, _LARGEST)(byte_size(most=_LARGEST)(value))


CACHE_KEYS: Mapping[str, Reader[object]] = {
    "max_size": _disk_size,
    "memory": byte_size(_SMALLEST_MEMORY, _LARGEST_MEMORY),
    "inactive": duration_above_zero,
}


def read_cache(own_name: str, table: Table, directory: Path) -> CacheSpec:
    """Read the table ``[caches.<own_name>]``. The path is relative to ``directory``."""
    table.convert(own_name, name, table.path)
    path = table.value("path", _path(directory)) or ""
    cache = CacheSpec(own_name, path, **table.values(CACHE_KEYS))
    if not table.has("path"):
        if table.has("max_size"):
            table.complain("has no effect without 'path'; the limit in memory is 'memory'", table.at("max_size"))
        if not cache.memory:
            table.complain("keeps nothing: it has no 'path', and 'memory' is 0")
    table.finish()
    return cache


def _path(start: Path) -> Reader[str]:
    """Return a reader for a directory, which need not exist."""

    @shaped(shape_of(file_name))
    def read(value: object) -> str:
        given = file_name(value)
        found = (start / given).absolute()
        try:
            wrong = found.exists() and not found.is_dir()
            found.resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a circle of links
            raise ValueError(f"{shown(given)} cannot be read: {error}") from error
        if wrong:
            raise ValueError(f"{shown(given)} is not a directory")
        return str(found)

    return read


CACHE_TABLE = table_of(
    {"path": file_name, **CACHE_KEYS},
    rules=[
        when(given(max_size={}), {"required": ["path"]}),
        when(given(memory={"enum": [0, "0"]}), {"required": ["path"]}),
    ],
)


def check_cache_paths(caches: Iterable[CacheSpec], root: Table) -> None:
    """Report caches of which one would remove the other's files: they have the same path, or one is in the other."""
    tables = root.table("caches")
    seen: list[tuple[str, Path]] = []
    for cache in caches:
        if not cache.path:
            continue
        path = Path(cache.path).resolve()
        at = Table({}, tables.at(cache.name), root.errors).at("path")
        for other, its_path in seen:
            if path == its_path:
                root.complain(f"is the path of the cache {shown(other)}, too", at)
            elif path.is_relative_to(its_path):
                root.complain(f"is in the directory of the cache {shown(other)}", at)
            elif its_path.is_relative_to(path):
                root.complain(f"has the directory of the cache {shown(other)} in it", at)
        seen.append((cache.name, path))


def check_shared_caches(listeners: Iterable[ListenerSpec], root: Table) -> None:
    """Report caches that different ways to servers share: one's clients would get what another's clients chose.

    Mode ``http`` has its servers, mode ``forward`` those that clients name, and parents have others still.
    """
    ways: dict[str, tuple[str, str]] = {}
    for listener in listeners:
        at = f"listeners.{listener.name}"
        for zone, way in _ways(listener):
            first, owner = ways.setdefault(zone, (way, listener.name))
            if first != way:
                root.complain(
                    f"the cache {shown(zone)} is that of the listener {shown(owner)}, too, which has other servers", at
                )


def _ways(listener: ListenerSpec) -> Iterator[tuple[str, str]]:
    """Yield the zones of a listener, each with the way to the servers."""
    settings = listener.settings
    if isinstance(settings, ForwardSettings) and settings.cache is not None:
        yield settings.cache.zone.name, f"forward {settings.parents}"
    elif isinstance(settings, HttpSettings):
        for zone in {route.cache.zone.name for route in settings.routes if route.cache is not None}:
            yield zone, "http"
