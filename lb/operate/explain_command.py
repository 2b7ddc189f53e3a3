"""``lb explain``: who gets this client, asked of a balancer that runs, or worked out from its file alone."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import attrs

from lb.config import ConfigError, load
from lb.discovery.servers_file import with_servers_files
from lb.events import Event, Fault
from lb.explain.explanation import Question, client_of_text, explanation, listener_of, pool_name
from lb.model import PoolSpec
from lb.operate import ctl_tables
from lb.operate.ctl import ctl
from lb.operate.ctl_endpoint import BAD_USAGE, OK, complain
from lb.pool import Pool
from lb.strategy_drive import finish

__all__ = ["explain"]


def explain(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    if options.running or options.admin or options.config is None:
        options.action = "explain"
        return ctl(options)
    try:
        answer = _answer(options, options.config)
    except ConfigError as error:
        return complain(BAD_USAGE, *error.errors)
    except (ValueError, LookupError) as error:
        return complain(BAD_USAGE, f"lb: {error}")
    if options.json:
        print(json.dumps(answer, indent=2))
    else:
        ctl_tables.show(ctl_tables.explanation(answer))
    return OK


def _answer(options: argparse.Namespace, path: Path) -> dict[str, object]:
    """Raises ConfigError, and ValueError or LookupError if the question makes no sense."""
    config = with_servers_files(load(path))
    listener = listener_of(config.listeners, options.listener)
    try:
        client = client_of_text(options.source)
    except ValueError as error:
        raise ValueError(f"--source {error}") from error
    question = Question(listener, client, options.name or "", tuple(options.without))
    spec = config.pools[pool_name(listener, question.asks_for)]
    notes = ["from the file alone: all servers count as up and idle"]
    if spec.dns:
        notes.append("servers that are found in DNS are not among them")
    turns = "whose turn it will be cannot be told"
    faults: dict[str, None] = {}
    answer = finish(explanation(question, _pool(spec, faults), turns=turns, notes=notes))
    complain(OK, *faults)
    return answer


def _pool(spec: PoolSpec, faults: dict[str, None]) -> Pool:
    """All its servers are up: nobody checks them. What fails in the strategy's own code is a line in ``faults``, once.

    Raises ValueError if the strategy cannot take the servers at all.
    """

    def fault(event: Event) -> None:
        assert isinstance(event, Fault)  # noqa: S101 - the only thing that can happen
        faults[f"lb: {_failed(spec, event.exception)}"] = None

    pool = Pool(spec.name, fault, lambda _pool, _backend, _change: None)
    try:
        prepared = finish(pool.prepare(attrs.evolve(spec, health=None)))
    except Exception as error:  # somebody else's code: it may raise anything
        raise ValueError(_failed(spec, error)) from error
    pool.apply(prepared, {}, now=0.0)
    return pool


def _failed(spec: PoolSpec, error: BaseException) -> str:
    return f"pool {spec.name}: the strategy {spec.strategy.name!r} fails: {type(error).__name__}: {error}"
