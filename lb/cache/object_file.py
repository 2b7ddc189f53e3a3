"""The format of a stored object: one file, which says all about itself.

It begins with a prefix: what the file is, where its parts are, the digest, and the labels, by which objects are purged.
Two slots for the head follow, and the body. A new head goes into the slot of the older one, so a crash while it is
written, or a reader at that moment, finds the other one. Checksums cover the prefix and each slot. The length of the
body is written last: a file without it is unfinished.

Charged is what a file takes of the disk: blocks of 4 KiB, and a share of what the file system needs to find them.
"""

from __future__ import annotations

import struct
import zlib

import attrs

__all__ = [
    "BLOCK",
    "FIRST_READ",
    "MAX_HEAD",
    "ObjectInfo",
    "ObjectLayout",
    "charge",
    "is_ours",
    "read_info",
    "slot_write",
]

MAGIC = b"trio-lb\x01"
"""The last byte is the version of the format."""
PREFIX = struct.Struct("<8sIIIQ32sI")
"""Magic; bytes of the labels; offset of the first slot; bytes of a slot's head; length; digest; checksum."""
SLOT = struct.Struct("<QII")
"""Sequence; bytes of the head; checksum."""
LABEL = struct.Struct("<I")
"""Bytes of a label."""
NO_LENGTH = (1 << 64) - 1
"""In place of the length."""
ROOM = 256
"""A slot is a multiple of so many bytes, and has half of it free: a revalidated head may be longer."""
FIRST_READ = 4096
"""Bytes that hold all before the body of most objects."""
MAX_HEAD = 1 << 20
"""Maximum bytes before the body."""

BLOCK = 4096
"""Bytes that a file system gives to a file at least."""
BLOCKS_A_MAP = 256
"""Blocks of a file for which one more is charged: a fragmented file has blocks that list its blocks."""
ENTRY = 160
"""Bytes charged for the name: an entry of 72 bytes in a directory that is half full after its blocks were split."""


def charge(size: int) -> int:
    """Return the bytes of disk that a file of ``size`` bytes takes."""
    blocks = -(-size // BLOCK)
    return (blocks + blocks // BLOCKS_A_MAP) * BLOCK + ENTRY


@attrs.frozen
class ObjectInfo:
    """What a file says about itself."""

    digest: bytes
    key: bytes
    tags: tuple[bytes, ...]
    head: bytes
    length: int
    """Bytes of the body."""
    body_at: int
    """The offset of the body."""
    sequence: int
    """How many times the head was written."""
    slot_at: int
    slot_size: int


@attrs.frozen
class ObjectLayout:
    """A file to be: its parts before the body."""

    digest: bytes
    head: bytes
    key: bytes
    tags: tuple[bytes, ...]
    labels: bytes
    """Key and tags as they stand in the file."""
    slot_size: int

    @classmethod
    def of(cls, digest: bytes, head: bytes, key: bytes, tags: tuple[bytes, ...] = ()) -> ObjectLayout | None:
        """Return the layout; None if there is more than MAX_HEAD before the body."""
        labels = b"".join(LABEL.pack(len(label)) + label for label in (key, *tags))
        slot_size = -(-(len(head) + ROOM // 2) // ROOM) * ROOM
        layout = cls(digest, head, key, tags, labels, slot_size)
        return layout if layout.body_at <= MAX_HEAD else None

    @property
    def body_at(self) -> int:
        return self._slot_at + 2 * (SLOT.size + self.slot_size)

    @property
    def _slot_at(self) -> int:
        return PREFIX.size + len(self.labels)

    def prefix(self, length: int = NO_LENGTH) -> bytes:
        """Return the bytes at offset 0."""
        begin = PREFIX.pack(MAGIC, len(self.labels), self._slot_at, self.slot_size, length, self.digest, 0)
        checksum = zlib.crc32(self.labels, zlib.crc32(begin))
        return begin[: -LABEL.size] + LABEL.pack(checksum) + self.labels

    def before_body(self, length: int = NO_LENGTH) -> bytes:
        """Return all bytes before the body."""
        return (self.prefix(length) + _slot(1, self.head)).ljust(self.body_at, b"\0")


def _slot(sequence: int, head: bytes) -> bytes:
    return SLOT.pack(sequence, len(head), _slot_checksum(sequence, head)) + head


def _slot_checksum(sequence: int, head: bytes) -> int:
    return zlib.crc32(head, zlib.crc32(SLOT.pack(sequence, len(head), 0)))


def is_ours(begin: bytes) -> bool:
    """Return whether a file that begins so may be one of the cache's, perhaps cut short, of whatever version."""
    magic = MAGIC[:-1]
    return begin.startswith(magic) or (len(begin) < len(magic) and magic.startswith(begin))


def read_info(data: bytes) -> ObjectInfo | int | None:
    """Read the bytes at the begin of a file.

    Returns None if it is unfinished, damaged or none of ours; a number if so many bytes are needed.
    """
    if len(data) < PREFIX.size or not data.startswith(MAGIC):
        return None
    prefix: tuple[bytes, int, int, int, int, bytes, int] = PREFIX.unpack_from(data)
    _, labels_size, slot_at, slot_size, length, digest, checksum = prefix
    body_at = slot_at + 2 * (SLOT.size + slot_size)
    if slot_at != PREFIX.size + labels_size or body_at > MAX_HEAD or length == NO_LENGTH:
        return None
    if len(data) < body_at:
        return body_at
    labels = data[PREFIX.size : slot_at]
    begin = data[: PREFIX.size - LABEL.size] + bytes(LABEL.size)
    if zlib.crc32(labels, zlib.crc32(begin)) != checksum:
        return None
    slots = [_read_slot(data, slot_at + number * (SLOT.size + slot_size), slot_size) for number in (0, 1)]
    sequence, head = max(slots)
    if not sequence:
        return None
    key, *tags = _split(labels)
    return ObjectInfo(digest, key, tuple(tags), head, length, body_at, sequence, slot_at, slot_size)


def _read_slot(data: bytes, offset: int, size: int) -> tuple[int, bytes]:
    """Return sequence and head; sequence 0 if the slot holds no valid head."""
    sequence, length, checksum = SLOT.unpack_from(data, offset)
    head = data[offset + SLOT.size : offset + SLOT.size + length]
    if length > size or _slot_checksum(sequence, head) != checksum:
        return 0, b""
    return sequence, head


def _split(labels: bytes) -> list[bytes]:
    found, position = [], 0
    while position < len(labels):
        (length,) = LABEL.unpack_from(labels, position)
        position += LABEL.size
        found.append(labels[position : position + length])
        position += length
    return found


def slot_write(info: ObjectInfo, head: bytes) -> tuple[int, bytes] | None:
    """Return the offset and the bytes of a write that replaces the head; None if it does not fit."""
    if len(head) > info.slot_size:
        return None
    sequence = info.sequence + 1
    slot = (sequence - 1) % 2
    return info.slot_at + slot * (SLOT.size + info.slot_size), _slot(sequence, head)
