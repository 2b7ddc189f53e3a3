"""The check of ``explain``: compares it with the picks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import TypeAlias, get_args

from lb.model import Server
from lb.model.decision import Decides
from lb.tools.strategy_kit.trial import RuleViolationError, Trial, TrialStep, history
from strategies.base import Strategy, View

__all__ = ["Make", "check_explain"]

Make: TypeAlias = Callable[[], Strategy]
"""Creates a new strategy, with the same options each time."""

EXPLAIN_STEPS = 2_000
DECIDES = get_args(Decides)
CERTAIN = ("client", "request", "order", "load", "turn")


def check_explain(make: Make) -> str:
    """Call ``explain`` before each pick of a history; return the result as text.

    Raises RuleViolationError if ``pick`` chooses another server than ``explain`` announces, or another one than without
    ``explain``, and whatever the strategy raises.
    """
    explained, plain = Trial(make()), Trial(make())
    by: Counter[str] = Counter()
    for step in history(Random(2), EXPLAIN_STEPS):  # noqa: S311 - no secret
        announced = None
        if step.what == "pick" and explained.candidates(step):
            view = explained.strategy.explain(explained.next_client, explained.candidates(step))
            by[view.decides] += 1
            announced = _first(explained, step, view)
        explained.take(step)
        plain.take(step)
        if announced is not None and explained.picks[-1] != announced:
            raise RuleViolationError(f"`explain` announces {announced}, but `pick` chooses {explained.picks[-1]}")
        if explained.picks != plain.picks and not explained.strategy.random:
            raise RuleViolationError(
                "two objects with the same calls pick differently if `explain` is also called on one of them"
            )
    if set(by) == {"unknown"}:
        return "does not report its criterion"
    return f"reports its criterion ({', '.join(sorted(by))}), and does not change the picks"


def _first(trial: Trial, step: TrialStep, view: View) -> str | None:
    """Return the name of the server that ``explain`` announces, if it announces one."""
    if view.decides not in DECIDES:
        raise RuleViolationError(f"`explain` returns decides={view.decides!r}; it must be one of {', '.join(DECIDES)}")
    for server, figures in view.order:
        _check(trial, server, figures)
    if view.decides not in CERTAIN:
        return None
    candidates = trial.candidates(step)
    first = next((server for server, _ in view.order if server in candidates), None)
    if first is None:
        raise RuleViolationError(f"`explain` lists none of the {len(candidates)} candidates")
    return first.name


def _check(trial: Trial, server: Server, figures: object) -> None:
    if server not in trial.strategy.servers:
        raise RuleViolationError(
            f"`explain` lists {getattr(server, 'name', repr(server))}, which is not a server of the pool"
        )
    if not isinstance(figures, Mapping) or not all(isinstance(figure, int | float) for figure in figures.values()):
        raise RuleViolationError(f"`explain` must map names to numbers for {server.name}")
