"""``lb explain``: which server a client or a request gets, by a running balancer or by the configuration alone."""

from __future__ import annotations

import argparse
from pathlib import Path

import attrs
import trio

from lb.config.load import ConfigError, load
from lb.console.config_file import UsageError, config_file
from lb.console.ctl import ctl, show_explanation
from lb.console.endpoint import BAD_USAGE, OK, print_errors
from lb.discovery.sources import with_servers_files
from lb.events import Event, Fault
from lb.explain.explanation import ExplainQuestion, client_of_text, explanation, judged, listener_of, pool_name, routed
from lb.explain.stream import explain_stream
from lb.model import PoolSpec
from lb.model.explained_request import AskedRequest
from lb.model.explained_target import AskedTarget
from lb.pools.pool import Pool
from strategies.driver import finish

__all__ = ["explain_command"]

THIS_HOST = "127.0.0.1"
"""The source of requests, if none is given."""


def explain_command(options: argparse.Namespace) -> int:
    """Run ``lb explain`` and return the exit code: 1 if nothing would answer a request. Raises UsageError."""
    _complete(options)
    if options.running or options.admin:
        options.action = "explain"
        return ctl(options)
    try:
        answer = _answer(options, config_file(options))
    except ConfigError as error:
        return print_errors(BAD_USAGE, *error.errors)
    except (ValueError, LookupError) as error:
        return print_errors(BAD_USAGE, f"lb: {error}")
    return show_explanation(answer, options)


def _complete(options: argparse.Namespace) -> None:
    """Add the source of a request if none is given: this host. Raises UsageError for options that need others."""
    if options.stream is not None:
        _stands_alone(options)
        return
    if options.listener is None:
        raise UsageError("give the --listener that the client connects to, or a --stream")
    if options.url is None and (options.method or options.header):
        raise UsageError("--method and --header are of a request: give its --url")
    if options.target is None and options.user is not None:
        raise UsageError("--user asks for a target: give the --target")
    if options.target is not None and options.url is not None:
        raise UsageError("give --url or --target, not both")
    if options.url is None and options.target is None and options.source is None:
        raise UsageError("give the --source of a client, the --url of a request, or the --target of a tunnel")
    options.source = options.source or THIS_HOST


def _stands_alone(options: argparse.Namespace) -> None:
    others = ("listener", "source", "url", "method", "header", "target", "user", "name", "without")
    given = next((key for key in others if getattr(options, key)), None)
    if given is not None:
        raise UsageError(f"--stream stands alone: --{given} is of clients")


def _answer(options: argparse.Namespace, path: Path) -> dict[str, object]:
    """Return the answer as JSON. Raises ConfigError; ValueError or LookupError for invalid arguments."""
    config = with_servers_files(load(path))
    if options.stream is not None:
        bound = {name: [str(bind) for bind in spec.bind] for name, spec in config.listeners.items()}
        return explain_stream(config, options.stream, bound)
    listener = listener_of(config.listeners, options.listener)
    try:
        client = client_of_text(options.source)
    except ValueError as error:
        raise ValueError(f"--source {error}") from error
    question = ExplainQuestion(listener, client, options.name or "", tuple(options.without))
    if options.url is not None:
        question = routed(
            question, AskedRequest(options.url, options.method or "GET", tuple(options.header)), config.pools
        )
    elif options.target is not None:
        question = trio.run(judged, question, AskedTarget(options.target, options.user))
    name = pool_name(question)
    if not name:
        return finish(explanation(question, None))
    spec = config.pools[name]
    notes = ["computed from the file alone: all servers count as up and idle"]
    if spec.dns:
        notes.append("servers from DNS are not included")
    if spec.etcd:
        notes.append("servers from etcd are those of the last set that a file keeps, if it can be read")
    if spec.kubernetes:
        notes.append("servers from Kubernetes are not included")
    turns = "the server whose turn is next is known only to the running balancer"
    faults: dict[str, None] = {}
    answer = finish(explanation(question, _pool(spec, faults), turns=turns, notes=notes))
    print_errors(OK, *faults)
    return answer


def _pool(spec: PoolSpec, faults: dict[str, None]) -> Pool:
    """Return a pool without health checks, all servers up. Adds each fault of the strategy to ``faults`` once.

    Raises ValueError if the strategy cannot be built with the servers.
    """

    def fault(event: Event) -> None:
        assert isinstance(event, Fault)  # noqa: S101 - the only event possible here
        faults[f"lb: {_failed(spec, event.exception)}"] = None

    pool = Pool(spec.name, fault, lambda _pool, _backend, _change: None)
    try:
        prepared = finish(pool.prepare(attrs.evolve(spec, health=None)))
    except Exception as error:  # third-party code may raise anything
        raise ValueError(_failed(spec, error)) from error
    pool.apply(prepared, {}, now=0.0)
    return pool


def _failed(spec: PoolSpec, error: BaseException) -> str:
    return f"pool {spec.name}: the strategy {spec.strategy.name!r} fails: {type(error).__name__}: {error}"
