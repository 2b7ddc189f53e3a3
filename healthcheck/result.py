"""What one check found."""

from __future__ import annotations

import attrs

__all__ = ["CheckResult", "one_line"]

_LONGEST = 200  # characters of a detail; a guess at what a log line and a status table can bear


def one_line(text: str) -> str:
    """The first line of what a server or a script said, printable and short enough for a log line."""
    line = text.strip().partition("\n")[0].rstrip()
    printable = "".join(character if character.isprintable() else "?" for character in line)
    return printable if len(printable) <= _LONGEST else printable[: _LONGEST - 1] + "…"


@attrs.frozen
class CheckResult:
    """The verdict of one active check and its reason, such as ``connection refused`` or ``HTTP 200``."""

    passed: bool
    detail: str = attrs.field(converter=one_line)
    ms: float
    """How long the check took, milliseconds."""
    warning: str = attrs.field(default="", converter=one_line)
    """What somebody should know of, though the server passed."""
    exception: Exception | None = attrs.field(default=None, eq=False)
    """Set if the probe itself is broken: what it raised."""
