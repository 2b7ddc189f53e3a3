"""Squid's cache: where it is, how large, and what it keeps."""

from __future__ import annotations

from collections.abc import Sequence

from lb.model.values import byte_size_text
from lb.tools.migrate.amounts import seconds_as_text
from lb.tools.migrate.draft import Draft, DraftTable, DraftValue
from lb.tools.migrate.migration import Directive, Migration
from lb.tools.migrate.squid.units import squid_bytes

__all__ = ["fill_proxy_cache"]

_NAME = "proxy"
_MEMORY, _LARGEST = "256 MB", "4 MB"
_SMALLEST_MEMORY = 1 << 20
_DIR = 3
"""Words of ``cache_dir`` that count: type, path, megabytes."""
_HEADS = {"ignore-no-store": "Cache-Control", "ignore-private": "Cache-Control", "override-expire": "Expires"}
_HEURISTIC = "responses that say nothing are fresh for a tenth of their age, at most a day"


def fill_proxy_cache(root: Directive, migration: Migration, draft: Draft, listener: DraftTable) -> None:
    """Write the cache, unless the file switches it off."""
    rules = root.below("cache")
    directories = root.below("cache_dir")
    memory = squid_bytes(_text(root, "cache_mem", migration) or _MEMORY)
    if any(each.args[:2] == ("deny", "all") for each in rules) or (not directories and memory < _SMALLEST_MEMORY):
        for each in (*rules, *directories, *root.below("refresh_pattern"), *root.below("maximum_object_size")):
            migration.translated(each)
        return
    for each in rules:
        migration.gap(each, "what servers say, and `max_object`, decide what is stored")
    cache = draft.table("caches", _NAME)
    cache["memory"] = byte_size_text(memory) if memory >= _SMALLEST_MEMORY else "0"
    for each in directories[:1]:
        migration.translated(each)
        if each.args[0] == "null" or len(each.args) < _DIR:
            continue
        cache["path"] = f"{each.args[1].rstrip('/')}-lb"
        cache["max_size"] = byte_size_text(int(each.args[2]) << 20)
        migration.translated(
            each, note="objects of Squid cannot be read: the cache begins empty, in a directory of its own"
        )
    for each in directories[1:]:
        migration.gap(each, "a cache has one directory")
    zone: dict[str, DraftValue] = {"zone": _NAME, "use_stale": ["error", "timeout"], "obey_client": True}
    zone["max_object"] = byte_size_text(squid_bytes(_text(root, "maximum_object_size", migration) or _LARGEST))
    _patterns(zone, root.below("refresh_pattern"), migration)
    listener.table("cache").update(zone)


def _patterns(zone: dict[str, DraftValue], lines: Sequence[Directive], migration: Migration) -> None:
    """Read ``refresh_pattern``: that of all URLs, and those that say nothing is kept."""
    for each in lines:
        words = [word for word in each.args if word != "-i"]
        pattern, least, percent = words[0], int(words[1]), words[2]
        ignored = [field for option, field in _HEADS.items() if option in words]
        if pattern == ".":
            if least:
                zone["valid"] = {"200": seconds_as_text(least * 60)}
            if ignored:
                zone["ignore"] = [*dict.fromkeys(ignored)]
            migration.translated(each, note=_HEURISTIC if percent != "0%" else "")
        elif (least, percent) == (0, "0%") or pattern in ("^ftp:", "^gopher:"):
            migration.not_needed(each, "it is so without a rule")
        else:
            migration.gap(each, "`valid` is of all URLs: servers say it in Cache-Control")


def _text(root: Directive, name: str, migration: Migration) -> str:
    found = root.below(name)
    for each in found:
        migration.translated(each)
    return " ".join(found[-1].args) if found else ""
