"""Format values of the admin endpoint as text. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from lb.model.printable import printable
from lb.model.values import duration_text

__all__ = [
    "Json",
    "bitrate",
    "event_cells",
    "local_time",
    "milliseconds",
    "percent",
    "seconds_between",
    "since",
    "size",
    "weight",
    "why",
]

Json: TypeAlias = Mapping[str, Any]

DAY = 86_400


def size(count: float) -> str:
    """Format a number of bytes: ``17 B``, ``1.5 kB``, ``2.0 GB``; powers of 1000."""
    if count < 1000:
        return f"{count:.0f} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.95:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1000:.1f} PB"


def bitrate(bits: float) -> str:
    """Format bits a second: ``128 kbit/s``, ``3.1 Mbit/s``."""
    kilobits = bits / 1000
    return f"{kilobits:.0f} kbit/s" if kilobits < 999.5 else f"{kilobits / 1000:.1f} Mbit/s"


def milliseconds(amount: float | None) -> str:
    """Format a duration in few characters: ``0.7ms``, ``42ms``, ``1.5s``; nothing for None."""
    if amount is None:
        return ""
    if amount < 1000:
        return f"{amount:.1f}ms" if amount < 10 else f"{amount:.0f}ms"
    return f"{amount / 1000:.1f}s"


def percent(ratio: float | None) -> str:
    """Format a ratio from 0 to 1: ``97.3%``; nothing for None."""
    return "" if ratio is None else f"{ratio:.1%}"


def since(then: str, now: str) -> str:
    """Return the time from ``then`` to ``now``, both ISO 8601: ``31s``, ``2m4s``, ``5h2m``, ``12d``."""
    seconds = max(0, int(seconds_between(then, now)))
    if seconds >= 2 * DAY:
        return f"{seconds // DAY}d"
    return duration_text(seconds - seconds % 60 if seconds >= 3600 else seconds)


def seconds_between(then: str, now: str) -> float:
    """Return the seconds from ``then`` to ``now``, both ISO 8601."""
    return (datetime.fromisoformat(now) - datetime.fromisoformat(then)).total_seconds()


def local_time(timestamp: str) -> datetime:
    """Convert an ISO 8601 timestamp to local time."""
    return datetime.fromisoformat(timestamp).astimezone()


def weight(server: Json) -> str:
    """Return the weight; an asterisk marks an operator override."""
    override = server["override"] or {}
    return f"{server['weight']}*" if override.get("weight") is not None else str(server["weight"])


def why(server: Json) -> str:
    """Return the details of a server's state: backup, drained by an operator, reason."""
    drained = "drained by an operator" if (server["override"] or {}).get("drained") else ""
    return ", ".join(filter(None, ("backup" if server["backup"] else "", drained, printable(server["reason"]))))


def event_cells(event: Json) -> dict[str, str]:
    """Return the fields of an event without name, level and timestamp."""
    return {
        printable(key): printable(value) for key, value in event.items() if key not in ("timestamp", "level", "event")
    }
