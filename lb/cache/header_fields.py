"""Reads header fields by their names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lb.model.request import HeaderFields

__all__ = ["by_name", "list_members"]


def by_name(fields: HeaderFields) -> dict[bytes, list[bytes]]:
    """Return the values of each name, which is in lower case."""
    found: dict[bytes, list[bytes]] = {}
    for sent, value in fields:
        name = sent.lower()
        if name in found:
            found[name].append(value)
        else:
            found[name] = [value]
    return found


def list_members(fields: Mapping[bytes, list[bytes]], name: bytes) -> Iterator[bytes]:
    """Yield the members of the lists of a field (RFC 9110, section 5.6.1), without white space and empty ones."""
    for value in fields.get(name, ()):
        for member in value.split(b","):
            if stripped := member.strip():
                yield stripped
