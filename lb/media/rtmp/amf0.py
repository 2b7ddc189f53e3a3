"""AMF0, the format of commands and metadata: values to bytes and back."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, Union

from lb.media.rtmp.errors import ProtocolError

__all__ = ["MAX_AMF_BYTES", "AmfValue", "decode_amf0", "encode_amf0"]

AmfValue: TypeAlias = Union[bool, float, str, Sequence["AmfValue"], Mapping[str, "AmfValue"], None]  # noqa: UP007
"""Undefined is read as None, a date as milliseconds since 1970, an XML document as text.

Bytes that are not UTF-8 are left out.
"""

MAX_AMF_BYTES = 64 * 1024
"""Of all values of a message together."""
_MAX_DEPTH = 8
"""Objects and arrays inside each other."""
_NUMBER, _BOOLEAN, _STRING, _OBJECT, _NULL, _UNDEFINED = 0, 1, 2, 3, 5, 6
_ECMA_ARRAY, _END, _STRICT_ARRAY, _DATE, _LONG_STRING, _UNSUPPORTED, _XML, _TYPED_OBJECT = 8, 9, 10, 11, 12, 13, 15, 16
_LONGEST_STRING = 0xFFFF
_DOUBLE = struct.Struct(">d")


def encode_amf0(*values: AmfValue) -> bytes:
    """Return the values one after the other. A mapping becomes an object, another sequence a strict array."""
    out = bytearray()
    for value in values:
        _write(out, value)
    return bytes(out)


def _write(out: bytearray, value: AmfValue) -> None:
    if value is None:
        out.append(_NULL)
    elif isinstance(value, bool):
        out += bytes((_BOOLEAN, value))
    elif isinstance(value, int | float):
        out.append(_NUMBER)
        out += _DOUBLE.pack(value)
    elif isinstance(value, str):
        _write_text(out, value.encode())
    elif isinstance(value, Mapping):
        out.append(_OBJECT)
        for key, each in value.items():
            out += _short_text(key.encode())
            _write(out, each)
        out += bytes((0, 0, _END))
    else:
        out.append(_STRICT_ARRAY)
        out += len(value).to_bytes(4, "big")
        for each in value:
            _write(out, each)


def _write_text(out: bytearray, text: bytes) -> None:
    if len(text) <= _LONGEST_STRING:
        out.append(_STRING)
        out += _short_text(text)
    else:
        out.append(_LONG_STRING)
        out += len(text).to_bytes(4, "big") + text


def _short_text(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def decode_amf0(data: bytes) -> list[AmfValue]:
    """Return all values of a message. Raises ProtocolError."""
    if len(data) > MAX_AMF_BYTES:
        raise ProtocolError(f"a message of AMF is longer than {MAX_AMF_BYTES} bytes", "limit")
    reader = _Reader(data)
    values = []
    while not reader.at_end:
        values.append(reader.value(0))
    return values


class _Reader:
    """Reads values from left to right."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._simple: dict[int, Callable[[], AmfValue]] = {
            _NUMBER: self._number,
            _BOOLEAN: lambda: self._take(1) != b"\0",
            _STRING: lambda: self._text(2),
            _NULL: lambda: None,
            _UNDEFINED: lambda: None,
            _UNSUPPORTED: lambda: None,
            _DATE: self._date,
            _LONG_STRING: lambda: self._text(4),
            _XML: lambda: self._text(4),
        }
        self._nested: dict[int, Callable[[int], AmfValue]] = {
            _OBJECT: self._object,
            _ECMA_ARRAY: self._ecma_array,
            _STRICT_ARRAY: self._strict_array,
            _TYPED_OBJECT: self._typed_object,
        }

    @property
    def at_end(self) -> bool:
        return self._at == len(self._data)

    def value(self, depth: int) -> AmfValue:
        """Read a value that stands in ``depth`` others."""
        kind = self._take(1)[0]
        if kind in self._simple:
            return self._simple[kind]()
        if kind not in self._nested:
            raise ProtocolError(f"AMF0 has no values of type {kind} that are supported")
        if depth == _MAX_DEPTH:
            raise ProtocolError(f"values of AMF0 are nested deeper than {_MAX_DEPTH}", "limit")
        return self._nested[kind](depth + 1)

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise ProtocolError("a value of AMF0 is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _number(self) -> float:
        number: float = _DOUBLE.unpack(self._take(8))[0]
        return number

    def _date(self) -> float:
        """Read the time; the time zone behind it is always 0."""
        date = self._number()
        self._take(2)
        return date

    def _text(self, length_bytes: int) -> str:
        return self._take(int.from_bytes(self._take(length_bytes), "big")).decode(errors="ignore")

    def _object(self, depth: int) -> dict[str, AmfValue]:
        found: dict[str, AmfValue] = {}
        while True:
            key = self._text(2)
            if not key and self._data[self._at : self._at + 1] == bytes((_END,)):
                self._at += 1
                return found
            found[key] = self.value(depth)

    def _ecma_array(self, depth: int) -> dict[str, AmfValue]:
        """Read an object with a count before it, which encoders often get wrong."""
        self._take(4)
        return self._object(depth)

    def _strict_array(self, depth: int) -> list[AmfValue]:
        return [self.value(depth) for _ in range(int.from_bytes(self._take(4), "big"))]

    def _typed_object(self, depth: int) -> dict[str, AmfValue]:
        self._text(2)
        return self._object(depth)
