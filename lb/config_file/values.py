"""Single values of the configuration file: what TOML gives in, what the model wants out.

A reader takes any TOML value and returns the value it stands for, or raises ValueError with a message that
follows the key's path: ``must be 0 or more, not -3``.
"""
# ruff: noqa: TRY004  a value of the wrong type is, here, one more kind of wrong value

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias, TypeVar, get_args, get_type_hints

from lb.address import Address
from lb.model import Share

__all__ = [
    "Reader",
    "address",
    "boolean",
    "choice",
    "did_you_mean",
    "duration",
    "duration_above_zero",
    "duration_or_never",
    "duration_text",
    "file_name",
    "name",
    "network",
    "plain",
    "secret",
    "server_address",
    "share",
    "shown",
    "text",
    "whole_number",
    "workers",
]

T = TypeVar("T")
Reader: TypeAlias = Callable[[object], T]

_MOST_WORKERS = 1024  # a guess at "more than any machine has CPUs for"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(
    rf"(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?(?:(?P<ms>{_NUMBER})ms)?",
)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_LARGEST = 2**31 - 1  # what C interfaces such as listen(2) take
_DEEPEST = 20  # levels in an option of a plug-in: a guess, far from Python's limit of recursion
_LONGEST_SHOWN = 60  # characters of a wrong value in a message, so that the message stays a line


def shown(value: object) -> str:
    """A TOML value as a message quotes it: short, and on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
    if isinstance(value, int) and abs(value) > 10**_LONGEST_SHOWN:
        return "a number that long"
    return str(value)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The end of a message about a misspelt word; empty if nothing known is close to it."""
    close = difflib.get_close_matches(wrong, sorted(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def text(value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)}")
    return value


def secret(value: object) -> str:
    """Any string, which no message shows; what is no string might be one without its quotes."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def name(value: object) -> str:
    """A name for a listener, a pool or a server: it appears in logs and in paths like ``pool/server``."""
    word = text(value)
    if not word:
        raise ValueError("a name must not be empty")
    if "/" in word or not word.isprintable():
        raise ValueError(f"a name must not hold '/' or control characters, like {shown(word)}")
    return word


def file_name(value: object) -> str:
    """The path of a file."""
    path = text(value)
    if not path:
        raise ValueError("must be the name of a file, not ''")
    if "\0" in path:
        raise ValueError(f"a file's name must not hold a NUL, like {shown(path)}")
    return path


def boolean(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def whole_number(least: int = 0, most: int = _LARGEST) -> Reader[int]:
    """An integer from ``least`` to ``most``. TOML's booleans are no integers."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {shown(value)}")
        if value < least:
            raise ValueError(f"must be {least} or more, not {shown(value)}")
        if value > most:
            raise ValueError(f"must be {most} or less, not {shown(value)}")
        return value

    return read


def share(value: object) -> Share:
    """A part of a whole, a number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {shown(value)}")
    return Share(value)


def workers(value: object) -> int | Literal["auto"]:
    """How many processes: a number, or ``"auto"``."""
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise ValueError(f"must be a whole number or 'auto', not {shown(value)}{did_you_mean(value, ['auto'])}")
    return whole_number(least=1, most=_MOST_WORKERS)(value)


def choice(spec: type, key: str) -> Reader[str]:
    """One of the words that the model's ``spec.key`` allows."""
    words: tuple[str, ...] = get_args(get_type_hints(spec)[key])

    def read(value: object) -> str:
        if value in words:
            return str(value)
        hint = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ValueError(f"must be {' or '.join(map(repr, words))}, not {shown(value)}{hint}")

    return read


def address(value: object) -> Address:
    """An address to listen at: ``host:port``, ``[v6]:port``, ``:port`` or ``unix:/path``."""
    return Address.parse(text(value))


def server_address(value: object) -> Address:
    """An address to connect to, so one with a host and a port of its own."""
    parsed = address(value)
    if parsed.is_unix:
        return parsed
    if not parsed.host:
        raise ValueError(f"a server needs a host before the port, not {shown(parsed.text)}")
    if not parsed.port:
        raise ValueError(f"a server needs a port from 1 to 65535, not {shown(parsed.text)}")
    return parsed


def network(value: object) -> str:
    """IP addresses in CIDR form, ``10.0.0.0/8`` or ``2001:db8::/32``; a bare address is a network of one.

    Mapped IPv4 (``::ffff:10.0.0.0/104``) becomes plain, as clients are.
    """
    word = text(value)
    try:
        found = None if "%" in word else ipaddress.ip_network(word, strict=False)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"must be a network like '10.0.0.0/8' or '2001:db8::/32', not {shown(word)}")
    if ipaddress.ip_address(word.partition("/")[0]) != found.network_address:
        raise ValueError(f"{shown(word)} has bits set beyond its length, did you mean '{found}'?")
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) else None
    if mapped and found.prefixlen >= 96:
        return f"{mapped}/{found.prefixlen - 96}"
    return word


def duration(value: object) -> float:
    """Seconds, from ``"250ms" "0.5s" "2s" "1m30s" "1h"``, ``"0"`` or a number of seconds."""
    if isinstance(value, str):
        seconds = _spelt_duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= _LARGEST:  # NaN is not, either
            raise ValueError(f"must be a finite time below 68 years, not {shown(value)}")
        seconds = float(value)
    else:
        raise ValueError(f"must be a duration like '250ms', '2s' or '1m30s', not {shown(value)}")
    if seconds < 0:
        raise ValueError(f"must be 0 or more, not {shown(value)}")
    return seconds


def _spelt_duration(value: str) -> float:
    if value == "0":
        return 0.0
    if re.fullmatch(_NUMBER, value):
        raise ValueError(f"needs a unit, as in {shown(value + 's')} or {shown(value + 'ms')}, not {shown(value)}")
    match = _DURATION.fullmatch(value)
    if not match or not value:
        raise ValueError(f"must be a duration like '250ms', '2s' or '1m30s', not {shown(value)}")
    seconds = sum(float(match[unit] or 0) * factor for unit, factor in _SECONDS.items())
    seconds += float(match["ms"] or 0) / 1000
    if seconds > _LARGEST:
        raise ValueError(f"must be a finite time below 68 years, not {shown(value)}")
    return seconds


def duration_above_zero(value: object) -> float:
    """A duration that would be a busy loop or a certain failure if it were 0."""
    seconds = duration(value)
    if not seconds:
        raise ValueError(f"must be more than 0, not {shown(value)}")
    return seconds


def duration_or_never(value: object) -> float:
    """A duration of which 0 means that the time never comes: ``math.inf``."""
    return duration(value) or math.inf


def duration_text(seconds: float) -> str:
    """A duration as the file spells it (``1m30s``, ``250ms``); ``never`` for ``math.inf``."""
    if math.isinf(seconds):
        return "never"
    if seconds < 1:
        return f"{seconds * 1000:.10g}ms" if seconds else "0"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = ((f"{hours}h", hours), (f"{minutes}m", minutes), (f"{rest:.10g}s", rest))
    return "".join(part for part, amount in parts if amount)


def plain(value: object, levels: int = _DEEPEST) -> object:
    """A value for a plug-in: lists become tuples and tables tuples of pairs, so that it can be compared and kept."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    if isinstance(value, list | dict) and not levels:
        raise ValueError(f"must be nested at most {_DEEPEST} levels deep")
    if isinstance(value, list):
        return tuple(plain(item, levels - 1) for item in value)
    if isinstance(value, dict):
        return tuple((key, plain(item, levels - 1)) for key, item in value.items())
    return value
