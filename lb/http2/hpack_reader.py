"""HPACK, the reading side (RFC 7541): header blocks to field sections; those that come again are looked up.

What a block means depends on the dynamic table, which is the sum of the blocks before it. Here a table never changes:
a block makes a new one, or leaves it as it is. So a table together with a block is a key, under which both what it
means and the table after it are kept. Clients of a kind begin with the same blocks, and repeat themselves: then a head
costs a look-up, on a fresh connection, too.
"""

from __future__ import annotations

from itertools import count
from operator import attrgetter
from typing import NamedTuple

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from lb.http1.interned import InternTable, SeenOnce
from lb.http2.errors import ErrorCode, Http2Error
from lb.http2.field_section import FieldSection, SectionKind, read_section
from lb.http2.hpack_field import FieldKind, HpackField, judge_field

__all__ = ["EMPTY_TABLE", "MAX_TABLE", "DynamicTable", "FieldSections", "KnownBlock"]

MAX_TABLE = 4096
"""Bytes of a dynamic table: SETTINGS_HEADER_TABLE_SIZE has its first value."""
_TOLERATED = 4
"""Times the allowed size of a header list: a larger one ends the connection, as even reading it costs too much."""
_MAX_READ = 300
"""Fields of a block. Those of real heads are fewer, with all crumbs of cookies: more only take time."""
_MAX_INTEGER = 2**28

_PATH_LITERALS = (0x04, 0x14)
"""The beginning of ``:path`` with a value that does not enter the table."""
_OTHER_PATH = b"\x04\x01/"

_STATIC = tuple(judge_field(name, value) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_SIZE = len(_STATIC)

_new_mark = count(1)


class DynamicTable:
    """A state of the dynamic table. Nobody changes it."""

    __slots__ = ("fields", "mark", "max_size", "size")

    def __init__(self, fields: tuple[HpackField, ...], size: int, max_size: int) -> None:
        self.mark = next(_new_mark).to_bytes(8)
        """Never given twice, so it stands for this table in a key."""
        self.fields = fields
        """The latest first."""
        self.size = size
        self.max_size = max_size

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""
        return 200 + sum(field.memory for field in self.fields)

    def with_entries(self, fields: tuple[HpackField, ...], size: int) -> DynamicTable:
        """Return the table after fields have entered it, the latest first. ``size``: of them all."""
        return DynamicTable(*_evict(fields + self.fields, size + self.size, self.max_size), self.max_size)


def _evict(fields: tuple[HpackField, ...], size: int, max_size: int) -> tuple[tuple[HpackField, ...], int]:
    """Return the latest fields that have room, and the size of them all: RFC 7541, section 4.4."""
    left = len(fields)
    while size > max_size:
        left -= 1
        size -= fields[left].size
    return fields[:left], size


EMPTY_TABLE = DynamicTable((), 0, MAX_TABLE)


class KnownBlock(NamedTuple):
    """What a block means in a table, and the table after it."""

    section: FieldSection
    table: DynamicTable

    @property
    def memory(self) -> int:
        return self.section.memory + self.table.memory


class FreeBlock(NamedTuple):
    """What a block means in any table, as it refers to none, and the fields that it puts into it, the latest first.

    Some servers have no other blocks, and let each change the table.
    """

    section: FieldSection
    entries: tuple[HpackField, ...]
    size: int
    """Of the entries."""

    @property
    def memory(self) -> int:
        return self.section.memory + sum(field.memory for field in self.entries)


class FieldSections:
    """What was read from header blocks before, by the state of the dynamic table and the bytes of the block.

    One for each listener (or pool) and configuration, as what its users keep in a section
    (:attr:`~lb.http2.field_section.FieldSection.kept`) depends on these. Bounded in entries and bytes.
    """

    def __init__(self) -> None:
        self._blocks: InternTable[KnownBlock] = InternTable(attrgetter("memory"))
        self.known = self._blocks.young
        """Blocks that came lately, by a table's mark and their bytes: a look-up saves :meth:`read`."""
        self._free_blocks: InternTable[FreeBlock] = InternTable(attrgetter("memory"))
        self._fields: InternTable[HpackField] = InternTable(attrgetter("memory"))
        self._seen = SeenOnce()

    def read(self, table: DynamicTable, block: bytes, max_list: int) -> KnownBlock:
        """Return what a block means after those that made this table. ``max_list``: bytes of the header list.

        A section that is larger is TOO_LARGE. Raises Http2Error for what is no HPACK, and for what is much larger.
        """
        key = table.mark + block
        found = self._blocks.find(key)
        if found is None:
            free = self._free_blocks.find(block)
            if free is not None and free.section.size <= max_list:
                found = KnownBlock(free.section, table.with_entries(free.entries, free.size))
            else:
                found = self._read_anew(table, block, max_list)
            if self._seen.again(key):
                self._blocks.put(key, found)
        return found

    def _read_anew(self, table: DynamicTable, block: bytes, max_list: int) -> KnownBlock:
        reader = _BlockReader(table, block, self._fields, self._seen)
        found = self._read_without_path(table, block, reader, max_list)
        if found is None:
            found = reader.read(max_list)
            if reader.entered and not reader.refers and self._seen.again(block):
                entered = reader.entered
                free = FreeBlock(found.section, tuple(reversed(entered)), sum(field.size for field in entered))
                self._free_blocks.put(block, free)
        return found

    def _read_without_path(
        self, table: DynamicTable, block: bytes, reader: _BlockReader, max_list: int
    ) -> KnownBlock | None:
        """Read a block as if its path were another one: the blocks of a browser differ in that, and in nothing else.

        None if its path does not stand in it, or is not a usual one.
        """
        found = reader.path()
        if found is None:
            return None
        start, end, path = found
        rest = block[:start] + _OTHER_PATH + block[end:]
        section, after = self.known.get(table.mark + rest) or self.read(table, rest, max_list)
        if section.kind is not SectionKind.REQUEST:
            return KnownBlock(section, after)  # its path does not make it better
        section = section.with_path(path)
        if section.size > max_list:
            section = FieldSection(SectionKind.TOO_LARGE, size=section.size)
        return KnownBlock(section, after)


class _BlockReader:
    """Reads one block, and makes the table that follows."""

    def __init__(self, table: DynamicTable, block: bytes, known: InternTable[HpackField], seen: SeenOnce) -> None:
        self._before = table
        self._block = block
        self._known = known
        self._seen = seen
        self._entries, self._size, self._max_size = table.fields, table.size, table.max_size
        self.entered: list[HpackField] = []
        """What the block has put into the table."""
        self.refers = False
        """What the block means depends on the table, or it changes its size."""

    def read(self, max_list: int) -> KnownBlock:
        try:
            fields, size = self._fields(max_list)
        except IndexError:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, "a header block that is not complete") from None
        except HPACKDecodingError as error:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        section = read_section(fields, size) if size <= max_list else FieldSection(SectionKind.TOO_LARGE, size=size)
        before = self._before
        if self._entries is before.fields and self._max_size == before.max_size:
            return KnownBlock(section, before)
        return KnownBlock(section, DynamicTable(self._entries, self._size, self._max_size))

    def path(self) -> tuple[int, int, bytes] | None:
        """Return where a path begins and ends that follows the indexed fields at the beginning, and the path.

        None if there is none, or if it is for the table, or not usual.
        """
        block, start = self._block, 0
        try:
            while 0x80 <= block[start] < 0xFF:
                start += 1
            if block[start] not in _PATH_LITERALS or block[start : start + 3] == _OTHER_PATH:
                return None
            end, path = self._string_end(start + 1), self._string(start + 1)
        except (IndexError, HPACKDecodingError):
            return None  # who reads the block says so
        usual = path.startswith(b"/") and judge_field(b":path", path).kind is FieldKind.PATH
        return (start, end, path) if usual else None

    def _fields(self, max_list: int) -> tuple[list[HpackField], int]:
        block, end = self._block, len(self._block)
        fields: list[HpackField] = []
        at = total = 0
        while at < end:
            first = block[at]
            if first >= 0x80:
                index, at = (first & 0x7F, at + 1) if first < 0xFF else self._integer(at, 0x7F)
                field = self._indexed(index)
            elif 0x20 <= first < 0x40:
                at = self._resize(at, is_first=not fields)
                continue
            else:
                field, at = self._literal(at, 0x3F if first >= 0x40 else 0x0F)
                if first >= 0x40:
                    self._insert(field)
            fields.append(field)
            total += field.size
            if total > max_list * _TOLERATED or len(fields) > _MAX_READ:
                raise Http2Error(ErrorCode.ENHANCE_YOUR_CALM, "a header list that is much too large")
        return fields, total

    def _indexed(self, index: int) -> HpackField:
        if not index:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, "an index of 0")
        if index <= _STATIC_SIZE:
            return _STATIC[index - 1]
        self.refers = True
        return self._entries[index - _STATIC_SIZE - 1]

    def _integer(self, at: int, mask: int) -> tuple[int, int]:
        """Return an integer, and where it ends: RFC 7541, section 5.1."""
        value, at = self._block[at] & mask, at + 1
        if value < mask:
            return value, at
        shift = 0
        while True:
            byte, at = self._block[at], at + 1
            value += (byte & 0x7F) << shift
            shift += 7
            if value > _MAX_INTEGER or shift > 35:
                raise Http2Error(ErrorCode.COMPRESSION_ERROR, "an integer that is too large")
            if byte < 0x80:
                return value, at

    def _literal(self, start: int, mask: int) -> tuple[HpackField, int]:
        """Return a field, and where it ends.

        Its bytes mean the same everywhere, and so are a key, unless its name is in the dynamic table.
        """
        index, name_at = self._block[start] & mask, start + 1
        if index == mask:
            index, name_at = self._integer(start, mask)
        value_at = name_at if index else self._string_end(name_at)
        end = self._string_end(value_at)
        line = self._block[start:end] if index <= _STATIC_SIZE else None
        field = self._known.find(line) if line is not None else None
        if field is None:
            name = self._indexed(index).pair[0] if index else self._string(name_at)
            field = judge_field(name, self._string(value_at))
            if line is not None and self._seen.again(line):
                self._known.put(line, field)
        return field, end

    def _string_end(self, at: int) -> int:
        end = at + 1 + (self._block[at] & 0x7F)
        if end == at + 0x80:
            size, at = self._integer(at, 0x7F)
            end = at + size
        if end > len(self._block):
            raise IndexError
        return end

    def _string(self, at: int) -> bytes:
        """Return the string that begins here: RFC 7541, section 5.2. Its end was looked for before."""
        size, start = self._integer(at, 0x7F)
        text = self._block[start : start + size]
        return decode_huffman(text) if self._block[at] >= 0x80 else text

    def _resize(self, at: int, *, is_first: bool) -> int:
        size, at = self._integer(at, 0x1F)
        if size > MAX_TABLE or not is_first:
            raise Http2Error(ErrorCode.COMPRESSION_ERROR, "a table size that was not agreed on, or that comes late")
        self.refers = True
        self._max_size = size
        self._entries, self._size = _evict(self._entries, self._size, size)
        return at

    def _insert(self, field: HpackField) -> None:
        self.entered.append(field)
        self._entries = (field, *self._entries)
        self._size += field.size
        if self._size > self._max_size:
            self._entries, self._size = _evict(self._entries, self._size, self._max_size)
