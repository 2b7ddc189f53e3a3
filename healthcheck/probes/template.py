r"""Texts of the exchange probe: ``{host}``, ``{port}``, ``{server}`` stand for what is checked, ``\xNN`` for a byte."""

from __future__ import annotations

import re
from collections.abc import Callable

from healthcheck.pattern import Pattern
from healthcheck.probe import Target
from healthcheck.probes import options

__all__ = ["message_template", "pattern_template"]

_PLACEHOLDER = re.compile(r"\{(host|port|server)\}")
_BYTE = re.compile(rb"\\x([0-9A-Fa-f]{2})?")


def message_template(option: str, text: str) -> Callable[[Target], bytes]:
    """Return a function that makes the bytes to send. Raises ValueError for an invalid escape, without the text.

    A placeholder is recognized before escapes are, so the text of one can be sent with an escape in it.
    """
    message = _to_bytes(option, text)
    if not _PLACEHOLDER.search(text):
        return lambda _target: message
    return lambda target: _to_bytes(option, _fill(text, target, lambda value: value.replace("\\", "\\x5c")))


def pattern_template(option: str, text: str) -> Callable[[Target], Pattern | None]:
    """Return a function that makes the expression to expect; None if it is empty. Raises ValueError."""
    pattern = options.pattern(option, text)
    if not _PLACEHOLDER.search(text):
        return lambda _target: pattern
    return lambda target: options.pattern(option, _fill(text, target, re.escape))


def _fill(text: str, target: Target, escape: Callable[[str], str]) -> str:
    host, port = target.host_and_port
    values = {"host": host, "port": port, "server": target.server}
    return _PLACEHOLDER.sub(lambda found: escape(values[found[1]]), text)


def _to_bytes(option: str, text: str) -> bytes:
    def byte(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            raise ValueError(f"{option}: '\\x' needs two hexadecimal digits, as in '\\x0a'")
        return bytes.fromhex(found[1].decode())

    return _BYTE.sub(byte, text.encode())
