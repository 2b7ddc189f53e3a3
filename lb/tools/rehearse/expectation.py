"""Expectations of the result of a rehearsal, such as ``failed == 0``. No I/O."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias

import attrs

from lb.model.suggestion import did_you_mean
from lb.model.values import duration

__all__ = ["Expectation", "Unit", "parse_expectation"]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*(\S.*?)\s*(==|!=|<=|>=|<|>)\s*(\S+(?:\s+%)?)\s*")
"""The name extends to the operator: names of servers may contain spaces."""
COUNT = re.compile(r"[0-9]{1,15}")
PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)")

Unit: TypeAlias = Literal["count", "percent", "seconds"]
UNITS: Mapping[str, Unit] = {
    "share": "percent",
    "wait": "seconds",
    "time_to_eject": "seconds",
    "time_to_restore": "seconds",
}
"""Unit by the first part of a figure's name; all others are counts."""
ENDS = ("ok", "failed", "cut", "left")
PARTS = (*ENDS, "moved", "misplaced")
"""Counts that are a part of the ended sessions."""


@attrs.frozen
class Expectation:
    """A comparison of a named figure with a value."""

    text: str
    name: str
    compare: str
    value: float
    unit: Unit
    """Unit of the value. A count compared with a percentage is taken as a share of the ended sessions."""

    def actual(self, statistics: Mapping[str, float]) -> float:
        """Return the figure in the unit of the value."""
        figure = statistics[self.name]
        return 100 * figure / max(1, self._whole(statistics)) if self._is_part else figure

    def met(self, statistics: Mapping[str, float]) -> bool:
        """Return whether the expectation is met. Without sessions it is not: nothing was tested."""
        return self._whole(statistics) > 0 and OPERATORS[self.compare](self.actual(statistics), self.value)

    @property
    def _is_part(self) -> bool:
        return self.unit == "percent" and self.name in PARTS

    def _whole(self, statistics: Mapping[str, float]) -> float:
        """Return the number of sessions that the figure refers to."""
        return sum(statistics[end] for end in ENDS) if self._is_part else statistics["sessions"]


def parse_expectation(text: str, known: Collection[str]) -> Expectation:
    """Parse ``NAME OPERATOR VALUE`` with a ``known`` name. Raises ValueError with the reason.

    ``share.b`` is short for ``share.web/b`` if no other pool has a server ``b``.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a comparison like 'failed == 0'")
    name = _resolved(match[1], known)
    try:
        value, unit = _value(name, match[3])
    except ValueError as error:
        raise ValueError(f"{text.strip()!r}: the value {error}") from None
    return Expectation(text.strip(), name, match[2], value, unit)


def _resolved(name: str, known: Collection[str]) -> str:
    if name in known:
        return name
    figure, _, server = name.partition(".")
    matching = [each for each in known if each.startswith(f"{figure}.") and each.endswith(f"/{server}")]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise ValueError(f"{name!r} is ambiguous: {' or '.join(map(repr, matching))}")
    raise ValueError(f"there is no figure {name!r}{did_you_mean(name, known)}")


def _value(name: str, text: str) -> tuple[float, Unit]:
    """Parse the value and return it with its unit, which depends on the figure."""
    unit = UNITS.get(name.partition(".")[0], "count")
    if unit == "seconds":
        return duration(text), unit
    percentage = PERCENTAGE.fullmatch(text)
    if percentage and float(percentage[1]) <= 100 and (unit == "percent" or (name in PARTS and percentage[2])):
        return float(percentage[1]), "percent"
    if unit == "percent":
        raise ValueError(f"must be a percentage from 0% to 100%, not {text!r}")
    if COUNT.fullmatch(text):
        return float(text), unit
    share = ", or a percentage of the ended sessions, from 0% to 100%" if name in PARTS else ""
    raise ValueError(f"must be a whole number{share}, not {text!r}")
