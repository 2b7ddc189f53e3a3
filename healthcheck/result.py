"""The result of a health check."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from lb.model.printable import shortened

__all__ = ["Advice", "CheckResult", "combined", "one_line"]


@attrs.frozen
class Advice:
    """The share of traffic that a server requests through its agent. None means never requested: as configured."""

    share: int | None = None
    """Percentage of the weight, 0 to 100."""
    admin: Literal["ready", "drain", "maint"] | None = None

    def then(self, later: Advice) -> Advice:
        """Return this advice updated by a later one. Values that the later one lacks stay."""
        if later.share is None and later.admin is None:
            return self
        return Advice(self.share if later.share is None else later.share, later.admin or self.admin)

    @property
    def percent(self) -> int:
        """The requested share; 100 if never requested."""
        return 100 if self.share is None else self.share

    @property
    def wants_new(self) -> bool:
        """True if the server accepts new connections."""
        return self.share != 0 and self.admin not in ("drain", "maint")


_LONGEST = 200  # characters of a detail; an estimate of what fits into a log line and a status table


def one_line(text: str) -> str:
    """Return the first line of a server's or script's output, printable and short enough for a log line."""
    line = shortened(text.strip().partition("\n")[0].rstrip(), _LONGEST)
    if line.isprintable():
        return line
    return "".join(character if character.isprintable() else "?" for character in line)


@attrs.frozen
class CheckResult:
    """The result of one health check and its reason, such as ``connection refused`` or ``HTTP 200``."""

    passed: bool
    detail: str = attrs.field(converter=one_line)
    ms: float
    """Duration of the check in milliseconds."""
    warning: str = attrs.field(default="", converter=one_line)
    """A warning about a server that passed."""
    exception: Exception | None = attrs.field(default=None, eq=False)
    """The exception, if the probe itself is broken."""
    at_once: bool = False
    """The result skips ``fall`` and ``rise``."""
    advice: Advice = Advice()
    """The share and administrative state that the server's agent requests."""


def combined(results: Mapping[str, CheckResult | None], require: Literal["all", "any"]) -> CheckResult | None:
    """Combine the results of several checks, by label: ``check 2 (http)``. None if it depends on a missing result.

    The reason of a failure names all checks that failed.
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
