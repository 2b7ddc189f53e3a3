"""Regular expressions over what a server has sent. The time that they take is linear in its length.

The engine is RE2. Python's own tries one way after the other: with 64 KiB of digits, a server held the process for ten
seconds against ``\\d+ up``.
"""

from __future__ import annotations

import re

__all__ = ["Pattern"]

_TOKEN = re.compile(rb"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\$", re.DOTALL)
"""An escape, a set or a dollar; what is between them means the same to both engines."""
_MULTILINE = re.compile(rb"\(\?[a-zA-Z]*m[a-zA-Z-]*[:)]")


class Pattern:
    r"""A regular expression for bytes. Text in it matches its UTF-8 form, ``\xff`` matches that byte.

    Raises ValueError for an invalid one, and for what no engine does in linear time: back references, look-ahead and
    look-behind.
    """

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        import re2  # noqa: PLC0415 - the import costs 30 ms and 3 MB; only checks with a pattern need it

        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        try:
            self._compiled = re2.compile(_translated(text.encode()), options)
        except re2.error as error:
            raise ValueError(error.args[0].decode(errors="replace")) from error

    def end_in(self, data: bytes | bytearray) -> int | None:
        """Return where the first match ends, None if there is none."""
        match = self._compiled.search(data)
        return None if match is None else int(match.end())


def _translated(pattern: bytes) -> bytes:
    r"""Return a pattern of Python's in RE2's syntax: ``$`` also matches before the last newline, ``\Z`` is ``\z``."""
    end = b"$" if _MULTILINE.search(pattern) else rb"(?:\n?\z)"
    terms = {b"$": end, rb"\Z": rb"\z"}
    return _TOKEN.sub(lambda token: terms.get(token[0], token[0]), pattern)
