"""Readers for single values of the configuration file: they convert TOML values to model values.

A reader takes any TOML value and returns the converted value, or raises ValueError with a message that
follows the key's path: ``must be 0 or more, not -3``.
"""
# ruff: noqa: TRY004  a value of the wrong type is an invalid value here

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar, get_args, get_type_hints

import attrs

from lb.model.address import Address
from lb.model.listener import Share
from lb.model.shape import (
    HOST_PATTERN,
    IPV4_PATTERN,
    IPV6_PATTERN,
    PORT_PATTERN,
    UNIX_PATTERN,
    shape_of,
    shaped,
    whole,
)
from lb.model.suggestion import did_you_mean

__all__ = [
    "Reader",
    "account",
    "address",
    "boolean",
    "byte_size",
    "byte_size_text",
    "choice",
    "duration",
    "duration_above_zero",
    "duration_or_never",
    "duration_text",
    "file_mode",
    "file_name",
    "interval",
    "ip_address",
    "name",
    "network",
    "owner",
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

_MOST_WORKERS = 1024  # an estimate: more than the CPUs of any machine
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile(
    rf"(?:(?P<h>{_NUMBER})h)?(?:(?P<m>{_NUMBER})m)?(?:(?P<s>{_NUMBER})s)?(?:(?P<ms>{_NUMBER})ms)?",
)
_SPELT_DURATION = "|".join(
    f"{_NUMBER}{first}" + "".join(f"(?:{_NUMBER}{unit})?" for unit in others)
    for first, *others in (("h", "m", "s", "ms"), ("m", "s", "ms"), ("s", "ms"), ("ms",))
)
"""The same for JSON Schema, where a pattern with nothing in it would be one too many."""
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_SIZE = re.compile(r"(?P<number>[0-9]{1,10})(?P<unit>|KiB|MiB|GiB)")
_SIZE_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_OWNER = "[A-Za-z0-9_.$-]+(?::[A-Za-z0-9_.$-]+)?|:[A-Za-z0-9_.$-]+"
_FILE_MODE = "0?[0-7]{3}"
_VARIABLE = re.compile(r"\$\{\w+\}")
_SHORTEST_INTERVAL = 0.01  # seconds; a thousand checks a second of one server are a mistake
_LARGEST = 2**31 - 1  # what C interfaces such as listen(2) take
_DEEPEST = 20  # nesting levels in a plug-in option: an estimate, far below Python's recursion limit
_LONGEST_SHOWN = 60  # characters of an invalid value in a message, so that the message fits on a line


def shown(value: object) -> str:
    """Return a TOML value as quoted in messages: short and on one line."""
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


@shaped({"type": "string"})
def text(value: object) -> str:
    """Any string."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string, not {shown(value)}")
    return value


@shaped({"type": "string", "not": {"pattern": _VARIABLE.pattern}})
def secret(value: object) -> str:
    """Any string. Messages never show the value: a value of another type may be a secret without its quotes."""
    if not isinstance(value, str):
        raise ValueError("must be a string")
    if _VARIABLE.search(value):
        raise ValueError(
            "environment variables like ${NAME} are not replaced; write the secret itself, or a file's name"
        )
    return value


@shaped({"type": "string", "pattern": r"^[^/\x00-\x1f\x7f]+$"})
def name(value: object) -> str:
    """The name of a listener, pool or server. It appears in logs and in paths like ``pool/server``."""
    found = text(value)
    if not found:
        raise ValueError("a name must not be empty")
    if "/" in found or not found.isprintable():
        raise ValueError(f"a name must not hold '/' or control characters, like {shown(found)}")
    return found


@shaped({"type": "string", "pattern": r"^[^\x00]+$"})
def file_name(value: object) -> str:
    """The path of a file."""
    path = text(value)
    if not path:
        raise ValueError("must be the name of a file, not ''")
    if "\0" in path:
        raise ValueError(f"a file's name must not hold a NUL, like {shown(path)}")
    return path


@shaped({"type": "boolean"})
def boolean(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def whole_number(least: int = 0, most: int = _LARGEST) -> Reader[int]:
    """Return a reader for an integer from ``least`` to ``most``. It rejects booleans."""

    @shaped({"type": "integer", "minimum": least, "maximum": most})
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be a whole number, not {shown(value)}")
        if value < least:
            raise ValueError(f"must be {least} or more, not {shown(value)}")
        if value > most:
            raise ValueError(f"must be {most} or less, not {shown(value)}")
        return value

    return read


@shaped({"type": "number", "minimum": 0, "maximum": 1})
def share(value: object) -> Share:
    """A fraction, a number from 0 to 1."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {shown(value)}")
    return Share(value)


@shaped({"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": _MOST_WORKERS}]})
def workers(value: object) -> int | Literal["auto"]:
    """The number of worker processes, or ``"auto"``."""
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        raise ValueError(f"must be a whole number or 'auto', not {shown(value)}{did_you_mean(value, ['auto'])}")
    return whole_number(least=1, most=_MOST_WORKERS)(value)


def choice(spec: type, key: str) -> Reader[str]:
    """Return a reader for one of the values that the model's ``spec.key`` allows."""
    choices: tuple[str, ...] = get_args(_types_of(spec)[key])

    @shaped({"enum": list(choices)})
    def read(value: object) -> str:
        if value in choices:
            return str(value)
        hint = did_you_mean(value, choices) if isinstance(value, str) else ""
        raise ValueError(f"must be {' or '.join(map(repr, choices))}, not {shown(value)}{hint}")

    return read


@cache
def _types_of(spec: type) -> dict[str, object]:
    return get_type_hints(spec)


def address(directory: Path | None) -> Reader[Address]:
    """Return a reader for an address to listen on. Paths of unix sockets are relative to ``directory``."""

    @shaped({"type": "string", "pattern": whole(f"{UNIX_PATTERN}|{HOST_PATTERN}?:(?:{PORT_PATTERN}|0{{1,5}})")})
    def read(value: object) -> Address:
        return Address.parse(text(value), directory)

    return read


@cache
def server_address(directory: Path | None) -> Reader[Address]:
    """Return a reader for an address to connect to: a unix socket, or a host with a port from 1.

    A host alone has port 0: the port that the client came to. Paths of unix sockets are relative to ``directory``.
    """

    @shaped({"type": "string", "pattern": whole(f"{UNIX_PATTERN}|{HOST_PATTERN}(?::{PORT_PATTERN})?")})
    def read(value: object) -> Address:
        given = text(value)
        if _is_host_alone(given):
            with suppress(ValueError):  # the message below is that of an address with a port
                return attrs.evolve(Address.parse(f"{given}:0"), text=given)
        parsed = Address.parse(given, directory)
        if parsed.is_unix:
            return parsed
        if not parsed.host:
            raise ValueError(f"a server needs a host before the port, not {shown(parsed.text)}")
        if not parsed.port:
            raise ValueError(f"a server needs a port from 1 to 65535, not {shown(parsed.text)}")
        return parsed

    return read


def _is_host_alone(given: str) -> bool:
    return bool(given) and (given.endswith("]") or ":" not in given)


@shaped({"type": "string", "pattern": r"^[^\x00-\x1f\x7f]*$"})
def account(value: object) -> str:
    """The name of a user or group of this host; empty for none."""
    found = text(value)
    if not found.isprintable():
        raise ValueError(f"must not hold control characters, like {shown(found)}")
    return found


@shaped({"type": "string", "pattern": whole(_OWNER)})
def owner(value: object) -> str:
    """The owner of a file, as chown(1) takes it: ``user``, ``user:group`` or ``:group``."""
    found = text(value)
    if not re.fullmatch(_OWNER, found):
        raise ValueError(f"must be 'user', 'user:group' or ':group', not {shown(found)}")
    return found


@shaped({"type": "string", "pattern": whole(_FILE_MODE)})
def file_mode(value: object) -> int:
    """The permissions of a file, as chmod(1) takes them: octal digits in a string."""
    found = text(value) if isinstance(value, str) else ""
    if not re.fullmatch(_FILE_MODE, found):
        raise ValueError(f"must be octal digits in a string, as in '0660', not {shown(value)}")
    return int(found, 8)


def byte_size(least: int = 0, most: int = _LARGEST) -> Reader[int]:
    """Return a reader for a number of bytes, ``"256KiB"`` or a whole number: 0, or from ``least`` to ``most``."""

    units = "|".join(unit for unit in _SIZE_UNITS if unit)
    numbers: dict[str, object] = (
        {"minimum": 0, "maximum": most}
        if not least
        else {"anyOf": [{"type": "string"}, {"const": 0}, {"minimum": least, "maximum": most}]}
    )

    @shaped({"type": ["string", "integer"], "pattern": f"^[0-9]{{1,10}}(?:{units})?$", **numbers})
    def read(value: object) -> int:
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if match is None and (not isinstance(value, int) or isinstance(value, bool)):
            raise ValueError(f"must be a number of bytes like '256KiB' or '1MiB', not {shown(value)}")
        size = int(match["number"]) * _SIZE_UNITS[match["unit"]] if match else value
        return whole_number(least, most)(size) if size else 0

    return read


def byte_size_text(count: int) -> str:
    """Return a number of bytes in the syntax of the file, in the largest unit that needs no fraction."""
    units = reversed(_SIZE_UNITS.items())
    return next(f"{count // size}{unit}" for unit, size in units if not count % size) if count else "0"


@shaped(
    {"type": "string", "pattern": whole(f"{IPV4_PATTERN}(?:/(?:3[0-2]|[12]?[0-9]))?|{IPV6_PATTERN}(?:/[0-9]{{1,3}})?")}
)
def network(value: object) -> str:
    """A network in CIDR form, ``10.0.0.0/8`` or ``2001:db8::/32``. A bare address is a network of one address.

    IPv4-mapped networks (``::ffff:10.0.0.0/104``) become plain IPv4, as client addresses do.
    """
    cidr = text(value)
    try:
        found = None if "%" in cidr else ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        found = None
    if found is None:
        raise ValueError(f"must be a network like '10.0.0.0/8' or '2001:db8::/32', not {shown(cidr)}")
    if ipaddress.ip_address(cidr.partition("/")[0]) != found.network_address:
        raise ValueError(f"{shown(cidr)} has bits set beyond its length, did you mean '{found}'?")
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) else None
    if mapped and found.prefixlen >= 96:
        return f"{mapped}/{found.prefixlen - 96}"
    return cidr


@shaped({"type": "string", "pattern": whole(f"(?:{IPV4_PATTERN}|{IPV6_PATTERN}(?:%.+)?)?")})
def ip_address(value: object) -> str:
    """Read an IP address, or an empty text."""
    given = text(value)
    try:
        return given and str(ipaddress.ip_address(given))
    except ValueError as error:
        raise ValueError(f"must be an IP address without a port, like '10.0.0.9', not {shown(given)}") from error


@shaped({"type": ["string", "number"], "pattern": whole(f"0|{_SPELT_DURATION}"), "minimum": 0, "maximum": _LARGEST})
def duration(value: object) -> float:
    """A duration in seconds, from ``"250ms" "0.5s" "2s" "1m30s" "1h"``, ``"0"`` or a number of seconds."""
    if isinstance(value, str):
        seconds = _spelt_duration(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= _LARGEST:  # also true for NaN
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


@shaped({**shape_of(duration), "exclusiveMinimum": 0, "not": {"type": "string", "pattern": r"^[0.hms]*$"}})
def duration_above_zero(value: object) -> float:
    """A duration above 0: with 0 it would be a busy loop or a certain failure."""
    seconds = duration(value)
    if not seconds:
        raise ValueError(f"must be more than 0, not {shown(value)}")
    return seconds


@shaped(
    {
        **shape_of(duration),
        "minimum": _SHORTEST_INTERVAL,
        "not": {"type": "string", "pattern": whole(r"[0.hms]*|0*[0-9](?:\.[0-9]*)?ms")},
    }
)
def interval(value: object) -> float:
    """An interval: a duration of 10 ms or more, so that what it repeats costs a bounded share of the CPU."""
    seconds = duration(value)
    if seconds < _SHORTEST_INTERVAL:
        raise ValueError(f"must be {duration_text(_SHORTEST_INTERVAL)} or more, not {shown(value)}")
    return seconds


@shaped(shape_of(duration))
def duration_or_never(value: object) -> float:
    """A duration where 0 means never: ``math.inf``."""
    return duration(value) or math.inf


def duration_text(seconds: float) -> str:
    """Return a duration in the syntax of the file (``1m30s``, ``250ms``); ``never`` for ``math.inf``."""
    if math.isinf(seconds):
        return "never"
    if seconds < 1:
        return f"{seconds * 1000:.10g}ms" if seconds else "0"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    parts = ((f"{hours}h", hours), (f"{minutes}m", minutes), (f"{rest:.10g}s", rest))
    return "".join(part for part, amount in parts if amount)


@shaped({})
def plain(value: object, levels: int = _DEEPEST) -> object:
    """A plug-in option. Lists become tuples and tables tuples of pairs, so that the value is immutable."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be a finite number, not {value}")
    if isinstance(value, list | dict) and not levels:
        raise ValueError(f"must be nested at most {_DEEPEST} levels deep")
    if isinstance(value, list):
        return tuple(plain(item, levels - 1) for item in value)
    if isinstance(value, dict):
        return tuple((key, plain(item, levels - 1)) for key, item in value.items())
    return value
