"""The field lines of a head together: what they say about the message, and which of them are passed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

import attrs

from lb.http1.derived import derived
from lb.http1.field import (
    CHUNKED,
    CONDITION,
    CONNECTION,
    EXPECT,
    FORWARDED,
    FRAMING,
    HOP_BY_HOP,
    HOST,
    LENGTH,
    ONCE,
    UPGRADE,
    Field,
    read_field,
)
from lb.http1.grammar import MAX_FIELDS, MalformedError
from lb.http1.interned import InternTable, SeenOnce

__all__ = ["FieldBlock", "FieldBlocks"]

_NOT_PASSED_ON = HOST | CONNECTION | FRAMING | HOP_BY_HOP | UPGRADE | EXPECT


@attrs.define(slots=False)  # the derived values below are kept in the instance
class FieldBlock:
    """The fields of a head, in their order. Nobody changes it; see :class:`Field`."""

    fields: tuple[Field, ...]
    meanings: int
    """The bits of all fields together."""
    host: bytes | None
    length: int | None
    """Content-Length in bytes, if there is one."""
    options: frozenset[bytes]
    """What Connection lists: ``close``, ``keep-alive``, ``upgrade``, names of fields."""
    written: tuple[object, tuple[bytes, bytes]] | None = attrs.field(default=None, init=False, eq=False, repr=False)
    """What follows from it in messages that are written anew, with whoever has written it last."""

    @property
    def memory(self) -> int:
        """About how many bytes it takes, with its fields."""
        return sum(field.memory for field in self.fields)

    @derived
    def chunked(self) -> bool:
        return bool(self.meanings & CHUNKED)

    @derived
    def is_bare(self) -> bool:
        """True if no body follows, no other protocol is offered, and nothing is waited for."""
        return not (self.length or self.meanings & (CHUNKED | UPGRADE | EXPECT))

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the first field of a name in lower case."""
        for field in self.fields:  # a generator costs more than the search
            if field.name == name:
                return field.value
        return None

    def get_all(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of a name in lower case."""
        return [field.value for field in self.fields if field.name == name]

    @derived
    def conditions(self) -> Mapping[bytes, list[bytes]]:
        """The values of Range, and of the fields that make a request conditional, by name."""
        found: dict[bytes, list[bytes]] = {}
        for field in self.fields:
            if field.meaning == CONDITION:
                found.setdefault(field.name, []).append(field.value)
        return found

    @derived
    def lines(self) -> bytes:
        """The lines of :meth:`end_to_end`, written anew."""
        return b"".join([field.wire for field in self.end_to_end()])

    @derived
    def lines_not_forwarded(self) -> bytes:
        """The same without what a proxy tells of its client."""
        return b"".join([field.wire for field in self.end_to_end() if field.meaning != FORWARDED])

    def end_to_end(self) -> list[Field]:
        """Return the fields for the next recipient: without Host, framing, and what belongs to one connection."""
        return [field for field in self.fields if not field.meaning & _NOT_PASSED_ON and field.name not in self.options]


class FieldBlocks:
    """Reads blocks of field lines; those that come again are looked up."""

    def __init__(self) -> None:
        self._fields: InternTable[Field] = InternTable(attrgetter("memory"))
        self._blocks: InternTable[FieldBlock] = InternTable(attrgetter("memory"))
        self._seen = SeenOnce()

    def read(self, data: bytes) -> FieldBlock:
        """Return the meaning of lines that each end with CRLF. Raises MalformedError."""
        block = self._blocks.find(data)
        if block is None:
            block = _block(self._read_lines(data[:-2].split(b"\r\n")) if data else [])
            if self._seen.again(data):
                self._blocks.put(data, block)
        return block

    def _read_lines(self, lines: Sequence[bytes]) -> list[Field]:
        if len(lines) > MAX_FIELDS:
            raise MalformedError("too many headers", 431)
        known = list(map(self._fields.young.get, lines))
        return [field or self._field(line) for field, line in zip(known, lines, strict=True)]

    def _field(self, line: bytes) -> Field:
        field = self._fields.find(line)
        if field is None:
            field = read_field(line)
            if self._seen.again(line):
                self._fields.put(line, field)
        return field


def _block(fields: Sequence[Field]) -> FieldBlock:
    meanings = 0
    host, length, options = None, None, frozenset[bytes]()
    for field in [field for field in fields if field.meaning]:
        meaning = field.meaning
        if meanings & meaning & ONCE:
            raise MalformedError("a header stands twice that may stand once")
        meanings |= meaning
        if meaning == HOST:
            host = field.value
        elif meaning == LENGTH:
            length = field.size
        elif meaning == CONNECTION:
            options |= field.options
    if meanings & FRAMING == FRAMING:
        raise MalformedError("both Content-Length and Transfer-Encoding")
    return FieldBlock(tuple(fields), meanings, host, length, options)
