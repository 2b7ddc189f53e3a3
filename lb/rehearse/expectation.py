"""What a rehearsal is expected to come to: ``failed == 0``. Pure."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Mapping

import attrs

from lb.config_file.values import did_you_mean, duration

__all__ = ["Expectation", "parse_expectation"]

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
FORM = re.compile(r"\s*([^\s=<>!]+)\s*(==|!=|<=|>=|<|>)\s*(\S+)\s*")


@attrs.frozen
class Expectation:
    """A named figure, and what it is compared with."""

    text: str
    name: str
    compare: str
    value: float

    def met(self, statistics: Mapping[str, float]) -> bool:
        return OPERATORS[self.compare](statistics[self.name], self.value)


def parse_expectation(text: str, known: Collection[str]) -> Expectation:
    """``NAME OPERATOR VALUE``, for a name that is ``known``. Raises ValueError that says what is wrong.

    Of a server, ``share.b`` will do for ``share.web/b`` if no other pool has a ``b``.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no comparison like 'failed == 0'")
    return Expectation(text.strip(), _resolved(match[1], known), match[2], _value(match[3]))


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


def _value(text: str) -> float:
    """A number, with a ``%`` or not, or a duration."""
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        try:
            return duration(text)
        except ValueError:
            raise ValueError(f"{text!r} is neither a number nor a duration") from None
