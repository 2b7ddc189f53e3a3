"""The sentences of the reference, as descriptions of the keys in the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import NamedTuple, TypeAlias

import tomli

from lb.model.shape import Shape
from lb.tools.reference.tables import literal, plain_text, rows, section

__all__ = ["described"]

Path: TypeAlias = tuple[str, ...]
"""Keys from the root; ``*`` is each name of a section, ``[]`` each item of a list."""

_PAGE = "configuration.md"
_TLS = ("## `[pools.NAME.tls]`",)
_HEADINGS: Mapping[Path, tuple[str, ...]] = {
    (): ("## Tables of the file",),
    ("process",): ("## `[process]`",),
    ("log",): ("## `[log]`",),
    ("admin",): ("## `[admin]`",),
    ("announce",): ("## `[announce]`",),
    ("cluster",): ("## `[cluster]`",),
    ("cluster", "etcd"): ("### Where etcd is",),
    ("listeners", "*"): ("## `[listeners.NAME]`", "## Mode `http`", "## Mode `forward`"),
    ("listeners", "*", "tls"): ("## `[listeners.NAME.tls]`",),
    ("listeners", "*", "tls", "certificates", "[]"): ("## `[listeners.NAME.tls]`",),
    ("listeners", "*", "accept_proxy"): ("### PROXY protocol",),
    ("listeners", "*", "bandwidth"): ("### Bandwidth",),
    ("listeners", "*", "cache"): ("## `[listeners.NAME.routes.cache]`",),
    ("listeners", "*", "routes", "[]"): ("## `[[listeners.NAME.routes]]`",),
    ("listeners", "*", "routes", "[]", "request_headers"): ("### Header fields",),
    ("listeners", "*", "routes", "[]", "response_headers"): ("### Header fields",),
    ("listeners", "*", "routes", "[]", "cache"): ("## `[listeners.NAME.routes.cache]`",),
    ("listeners", "*", "servers", "[]"): ("## `[[pools.NAME.servers]]`", "### Servers from DNS"),
    ("pools", "*"): ("## `[pools.NAME]`",),
    ("pools", "*", "servers", "[]"): ("## `[[pools.NAME.servers]]`", "### Servers from DNS"),
    ("pools", "*", "etcd"): ("## `[pools.NAME.etcd]`",),
    ("pools", "*", "kubernetes"): ("## `[pools.NAME.kubernetes]`",),
    ("pools", "*", "tls"): _TLS,
    ("pools", "*", "health"): ("## `[pools.NAME.health]`", "### Probes"),
    ("pools", "*", "health", "tls"): _TLS,
    ("pools", "*", "health", "checks", "[]"): ("## `[[pools.NAME.health.checks]]`", "### Probes"),
    ("pools", "*", "health", "checks", "[]", "tls"): _TLS,
    ("pools", "*", "strategy"): ("## Strategies",),
    ("pools", "*", "passive"): ("## `[pools.NAME.passive]`",),
    ("pools", "*", "outlier"): ("## `[pools.NAME.outlier]`",),
    ("pools", "*", "http"): ("## `[pools.NAME.http]`",),
    ("pools", "*", "sticky"): ("### Sticky sessions",),
    ("pools", "*", "proxy"): ("## `[pools.NAME.proxy]`",),
    ("users", "*"): ("## `[users.NAME]`",),
    ("caches", "*"): ("## `[caches.NAME]`",),
    ("media",): ("## `[media]`",),
    ("media", "live", "*"): ("## `[media.live.NAME]`", "### Recordings and DVR", "### Relays and hooks"),
    ("media", "live", "*", "publish", "[]"): ("## `[[media.live.NAME.publish]]`",),
    ("media", "vod", "*"): ("## `[media.vod.NAME]`",),
}
"""Tables, and the headings that say what their keys mean."""
_KIND: Path = ("pools", "*", "strategy", "name")
"""A key that says which options its table has: what the reference says of the table is about it."""


_PLAIN_TYPES = ("boolean", "string", "text", "table")
"""What an editor says by itself, as it does of a list of values. Of a duration it shows but the pattern."""


class _Source(NamedTuple):
    label: str
    """Which kind of table it is about, such as ``Mode `http```; empty for the common keys."""
    rows: Mapping[str, list[str]]


def described(shape: Shape, path: Path = ()) -> dict[str, object]:
    """Return a shape with a description and a default for each key that the reference has.

    Raises LookupError for a key that it has not.
    """
    found = dict(shape)
    if isinstance(properties := found.get("properties"), Mapping):
        found["properties"] = {
            key: {**described(each, (*path, key)), **_annotation(path, key)} if isinstance(each, Mapping) else each
            for key, each in properties.items()
        }
    if isinstance(each := found.get("additionalProperties"), Mapping):
        found["additionalProperties"] = described(each, (*path, "*"))
    if isinstance(each := found.get("items"), Mapping):
        found["items"] = described(each, (*path, "[]"))
    if isinstance(several := found.get("anyOf"), list):
        found["anyOf"] = [described(each, path) for each in several]
    return found


def _annotation(path: Path, key: str) -> dict[str, object]:
    if (*path, key) == _KIND:
        return {"description": _annotation(path[:-1], path[-1])["description"]}
    if path not in _HEADINGS:
        raise LookupError(f"no heading of docs/reference/{_PAGE} is known for the table {'.'.join(path)}")
    sources = [source for heading in _HEADINGS[path] for source in _sources(heading) if key in source.rows]
    if not sources:
        raise LookupError(f"docs/reference/{_PAGE} has no sentence for the key {'.'.join((*path, key))}")
    told = {plain_text(source.rows[key][-2 if len(source.rows[key]) > 3 else -1]): source.label for source in sources}
    several = len(told) > 1
    sentences = [f"{label}: {text}" if several and label else text for text, label in told.items() if text]
    defaults = {found for source in sources if (found := literal(source.rows[key][1].partition(";")[0])) is not None}
    types = {plain_text(source.rows[key][0]) for source in sources if len(source.rows[key]) > 2}
    if sentences and len(types) == 1 and _needs_words(*types):
        sentences.append(f"Type: {types.pop()}")
    annotation: dict[str, object] = {"description": "\n\n".join(sentences)} if sentences else {}
    return annotation | ({"default": _value(*defaults)} if len(defaults) == 1 else {})


def _needs_words(kind: str) -> bool:
    return kind not in _PLAIN_TYPES and not kind.startswith("`")


def _value(toml: str) -> object:
    return tomli.loads(f"it = {toml}")["it"]


@cache
def _sources(heading: str) -> tuple[_Source, ...]:
    text = section(_PAGE, heading)
    match heading:
        case "### Probes":
            return tuple(_parts(text, r'^`probe = "(\w+)"`', '`probe = "{}"`'))
        case "## Strategies":
            return tuple(_parts(text, r"^`([\w-]+)` has (?:an option|options):", "`{}`"))
    label = re.sub(r"^#+ ", "", heading)
    return (_Source("" if label.startswith("`") else label, rows(text)),)


def _parts(text: str, pattern: str, label: str) -> Iterator[_Source]:
    """Yield the tables of options below a heading: each begins with a line that names its kind."""
    _, *found = re.split(pattern, text, flags=re.MULTILINE)
    for name, part in zip(found[::2], found[1::2], strict=True):
        yield _Source(label.format(name), rows(part))
