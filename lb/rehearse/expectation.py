"""What a rehearsal is expected to come to: ``failed == 0``. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping
from typing import Literal, TypeAlias

import attrs

from lb.config_file.values import did_you_mean, duration

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
"""The name goes up to the operator, as a server's may hold spaces."""
COUNT = re.compile(r"[0-9]{1,15}")
PERCENTAGE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(%?)")

Unit: TypeAlias = Literal["count", "percent", "seconds"]
UNITS: Mapping[str, Unit] = {
    "share": "percent",
    "wait": "seconds",
    "time_to_eject": "seconds",
    "time_to_restore": "seconds",
}
"""By the first word of a figure's name; all others are counts."""
ENDS = ("ok", "failed", "cut", "left")
PARTS = (*ENDS, "moved")
"""The counts that are a part of the sessions that ended."""


@attrs.frozen
class Expectation:
    """A named figure, and what it is compared with."""

    text: str
    name: str
    compare: str
    value: float
    unit: Unit
    """Of the value; a count that is compared with a percentage is taken as the part of the sessions that ended."""

    def came_to(self, statistics: Mapping[str, float]) -> float:
        """The figure in the unit of the value."""
        figure = statistics[self.name]
        return 100 * figure / max(1, self._whole(statistics)) if self._is_part else figure

    def met(self, statistics: Mapping[str, float]) -> bool:
        """Of no sessions nothing is: nothing could have gone wrong."""
        return self._whole(statistics) > 0 and OPERATORS[self.compare](self.came_to(statistics), self.value)

    @property
    def _is_part(self) -> bool:
        return self.unit == "percent" and self.name in PARTS

    def _whole(self, statistics: Mapping[str, float]) -> float:
        """How many sessions it is about."""
        return sum(statistics[end] for end in ENDS) if self._is_part else statistics["sessions"]


def parse_expectation(text: str, known: Collection[str]) -> Expectation:
    """``NAME OPERATOR VALUE``, for a name that is ``known``. Raises ValueError that says what is wrong.

    Of a server, ``share.b`` will do for ``share.web/b`` if no other pool has a ``b``.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no comparison like 'failed == 0'")
    name = _resolved(match[1], known)
    try:
        value, unit = _value(name, match[3])
    except ValueError as error:
        raise ValueError(f"{text.strip()!r}: the value {error}") from None
    return Expectation(text.strip(), name, match[2], value, unit)


def _resolved(name: str, known: Collection[str]) -> str:
    if name in known:
        return name
    what, _, server = name.partition(".")
    fitting = [each for each in known if each.startswith(f"{what}.") and each.endswith(f"/{server}")]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ValueError(f"{name!r} may be {' or '.join(map(repr, fitting))}")
    raise ValueError(f"there is no figure {name!r}{did_you_mean(name, known)}")


def _value(name: str, text: str) -> tuple[float, Unit]:
    """What a figure may be compared with depends on its unit."""
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
    share = ", or a part of the sessions that ended, from 0% to 100%" if name in PARTS else ""
    raise ValueError(f"must be a whole number{share}, not {text!r}")
