"""What a strategy tells of its picks, against what it then does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import TypeAlias, get_args

from lb.explain.decision import Decides
from lb.model import Server
from lb.strategy_kit.trial import Misbehaved, Step, Trial, history
from strategies.base import Strategy, View

__all__ = ["Make", "what_it_tells"]

Make: TypeAlias = Callable[[], Strategy]
"""Makes a new strategy with the same options each time."""

STEPS = 2_000
WORDS = get_args(Decides)
CERTAIN = ("client", "load", "turn")


def what_it_tells(make: Make) -> str:
    """Ask before each pick of a history what it will go by; what came of it, in words.

    Raises Misbehaved if another server is chosen than was told, or another one than if nobody had asked, and whatever
    the strategy raises.
    """
    asked, alone = Trial(make()), Trial(make())
    by: Counter[str] = Counter()
    for step in history(Random(2), STEPS):  # noqa: S311 - no secret
        foreseen = None
        if step.what == "pick" and asked.candidates(step):
            view = asked.strategy.explain(asked.next_client, asked.candidates(step))
            by[view.decides] += 1
            foreseen = _first(asked, step, view)
        asked.take(step)
        alone.take(step)
        if foreseen is not None and asked.picks[-1] != foreseen:
            raise Misbehaved(f"`explain` tells that it would choose {foreseen}, and it chooses {asked.picks[-1]}")
        if asked.picks != alone.picks and not asked.strategy.random:
            raise Misbehaved(
                "of two objects that are asked the same, the one that is also asked to `explain` chooses otherwise"
            )
    if set(by) == {"unknown"}:
        return "does not tell by what it chooses"
    return f"tells by what it chooses ({', '.join(sorted(by))}), and changes nothing by that"


def _first(trial: Trial, step: Step, view: View) -> str | None:
    """The name of the server that is to be chosen, if that is told."""
    if view.decides not in WORDS:
        raise Misbehaved(f"`explain` says that {view.decides!r} decides; it must be one of {', '.join(WORDS)}")
    for server, figures in view.order:
        _check(trial, server, figures)
    if view.decides not in CERTAIN:
        return None
    candidates = trial.candidates(step)
    first = next((server for server, _ in view.order if server in candidates), None)
    if first is None:
        raise Misbehaved(f"`explain` tells of none of the {len(candidates)} servers that are left")
    return first.name


def _check(trial: Trial, server: Server, figures: object) -> None:
    if server not in trial.strategy.servers:
        raise Misbehaved(f"`explain` tells of {getattr(server, 'name', repr(server))}, which is not in the list")
    if not isinstance(figures, Mapping) or not all(isinstance(figure, int | float) for figure in figures.values()):
        raise Misbehaved(f"`explain` tells of {server.name} what are no numbers by name")
