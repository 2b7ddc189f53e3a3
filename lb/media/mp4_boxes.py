"""The boxes of MP4 files (ISO/IEC 14496-12, section 4.2)."""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from typing import NamedTuple

from lb.media.frames import MediaError

__all__ = ["BOX_HEADER", "Box", "box_header", "boxes", "children", "numbers", "only_child", "written_box"]

BOX_HEADER = 16
"""Bytes that hold the header of any box."""
_SMALL = struct.Struct(">I4s")
_LARGE = struct.Struct(">Q")


class Box(NamedTuple):
    """A box in memory."""

    kind: bytes
    body: memoryview
    """Without its header."""
    whole: memoryview


def box_header(data: bytes | memoryview, room: int) -> tuple[bytes, int, int]:
    """Return kind, bytes of the header, and bytes of the whole box, which has ``room`` bytes up to the end of all.

    ``data`` begins with the header. Raises :class:`MediaError` if there can be no such box.
    """
    if len(data) < _SMALL.size:
        raise MediaError("it is damaged: a box has no room for its header")
    size, kind = _SMALL.unpack_from(data)
    header = _SMALL.size
    if size == 1:
        if len(data) < BOX_HEADER:
            raise MediaError("it is damaged: a box has no room for its header")
        (size,), header = _LARGE.unpack_from(data, header), BOX_HEADER
    elif size == 0:
        size = room
    if size < header:
        raise MediaError(f"it is damaged: a box {kind!r} says that it has {size} bytes")
    return kind, header, size


def boxes(data: memoryview) -> Iterator[Box]:
    """Yield the boxes that ``data`` consists of. Raises :class:`MediaError` if they do not fit in."""
    start = 0
    while start < len(data):
        kind, header, size = box_header(data[start : start + BOX_HEADER], len(data) - start)
        if size > len(data) - start:
            raise MediaError(f"it is damaged: a box {kind!r} is longer than what holds it")
        yield Box(kind, data[start + header : start + size], data[start : start + size])
        start += size


def children(data: memoryview, *path: bytes) -> Iterator[memoryview]:
    """Yield the bodies of all boxes at this path below ``data``, such as ``trak``, ``mdia``."""
    kind, *rest = path
    for box in boxes(data):
        if box.kind == kind:
            if rest:
                yield from children(box.body, *rest)
            else:
                yield box.body


def only_child(data: memoryview, *path: bytes) -> memoryview:
    """Return the body of the first box at this path. Raises :class:`MediaError` if there is none."""
    for body in children(data, *path):
        return body
    raise MediaError(f"it is damaged: there is no box {path[-1].decode('latin-1')}")


def numbers(data: memoryview, kind: str) -> array[int]:
    """Return a table of big-endian numbers, of an :class:`array.array`'s type."""
    table = array(kind)
    table.frombytes(data[: len(data) // table.itemsize * table.itemsize])
    if sys.byteorder == "little":
        table.byteswap()
    return table


def written_box(kind: bytes, *bodies: bytes | memoryview) -> bytes:
    """Return a box with this body."""
    return _SMALL.pack(_SMALL.size + sum(map(len, bodies)), kind) + b"".join(bodies)
