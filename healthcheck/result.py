"""What one check found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from healthcheck.advice import Advice

__all__ = ["CheckResult", "combined", "one_line"]

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
    at_once: bool = False
    """It counts without the rest of ``fall`` or ``rise``."""
    advice: Advice = attrs.field(factory=Advice)
    """What the server asks for."""


def combined(results: Mapping[str, CheckResult | None], require: Literal["all", "any"]) -> CheckResult | None:
    """The verdict of several checks, by what failures call them: ``check 2 (http)``. None if it hangs on a missing one.

    If it is a failure, its reason names all checks that failed.
    """
    made = {label: result for label, result in results.items() if result is not None}
    failed = {label: result for label, result in made.items() if not result.passed}
    passed = len(made) > len(failed) if require == "any" else not failed
    settled = passed if require == "any" else not passed
    if len(made) < len(results) and not settled:
        return None
    deciding = {label: result for label, result in made.items() if result.passed is passed}
    advice = Advice()
    for result in made.values():
        advice = advice.then(result.advice)
    return CheckResult(
        passed,
        "; ".join(f"{label}: {result.detail}" for label, result in deciding.items()),
        max(result.ms for result in made.values()),
        "; ".join(f"{label}: {result.warning}" for label, result in made.items() if result.warning),
        next((result.exception for result in made.values() if result.exception is not None), None),
        at_once=any(result.at_once for result in deciding.values()) and not (passed and require == "all"),
        advice=advice,
    )
