"""``lb explain``: who gets this client, asked of a balancer that runs, or worked out from its file alone."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import attrs

from lb.config import ConfigError, load
from lb.discovery.servers_file import with_servers_files
from lb.events import Event, Fault
from lb.explain.explanation import Question, client_of_text, explanation, listener_of, moves, pool_name
from lb.model import PoolSpec
from lb.operate import ctl_tables
from lb.operate.ctl import ctl
from lb.pool import Pool
from lb.strategy_kit.drive import finish

__all__ = ["explain"]

OK, BAD_USAGE = 0, 2


def explain(options: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    if options.running or options.admin or options.config is None:
        options.action = "explain"
        return ctl(options)
    try:
        answer = _answer(options, options.config)
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return BAD_USAGE
    except (ValueError, LookupError) as error:
        print(f"lb: {error}", file=sys.stderr)
        return BAD_USAGE
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
    return explanation(question, _pool(spec), moves(spec, question.without), turns=turns, notes=notes)


def _pool(spec: PoolSpec) -> Pool:
    """All its servers are up: nobody checks them."""
    pool = Pool(spec.name, _fault, lambda _pool, _backend, _change: None)
    pool.apply(finish(pool.prepare(attrs.evolve(spec, health=None))), {}, now=0.0)
    return pool


def _fault(event: Event) -> None:
    """The only thing that can happen: a strategy that fails."""
    assert isinstance(event, Fault)  # noqa: S101 - it says so
    raise event.exception
