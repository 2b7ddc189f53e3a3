"""``lb ctl``: look at a running balancer and steer it, over its admin endpoint."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lb.operate import ctl_tables
from lb.operate.ctl_client import AdminClient, AdminError
from lb.operate.ctl_endpoint import BAD_USAGE, OK, asking, complain
from lb.operate.ctl_words import printable

__all__ = ["ctl"]


def ctl(options: argparse.Namespace) -> int:
    """Run the command that ``options.action`` names; returns the exit code. What fails is one line on stderr."""
    return asking(options, lambda client: ACTIONS[options.action](client, options))


# Looking


def _status(client: AdminClient, options: argparse.Namespace) -> int:
    answer = client.status()
    if options.json:
        return _print_json(answer)
    ctl_tables.show(ctl_tables.status(answer))
    return OK


def _servers(client: AdminClient, options: argparse.Namespace) -> int:
    status = client.status()
    pools: Mapping[str, Any] = status["pools"]
    if options.pool is not None and options.pool not in pools:
        raise AdminError(f"there is no pool {options.pool!r}")
    found = [
        {"pool": pool, "server": name, **server}
        for pool in pools
        if options.pool in (None, pool)
        for name, server in pools[pool]["servers"].items()
    ]
    answer = {"servers": found}
    if options.json:
        return _print_json(answer)
    ctl_tables.show(ctl_tables.servers(answer, status["timestamp"]))
    return OK


def _connections(client: AdminClient, options: argparse.Namespace) -> int:
    answer = client.get(
        "connections",
        listener=options.listener,
        pool=options.pool,
        server=options.server,
        client=options.client,
        limit=options.limit,
    )
    if options.json:
        return _print_json(answer)
    ctl_tables.show(ctl_tables.connections(answer))
    return OK


def _explain(client: AdminClient, options: argparse.Namespace) -> int:
    """Of ``lb explain``, where it asks a balancer that runs."""
    answer = client.get(
        "explain", listener=options.listener, source=options.source, name=options.name, without=options.without
    )
    if options.json:
        return _print_json(answer)
    ctl_tables.show(ctl_tables.explanation(answer))
    return OK


def _events(client: AdminClient, options: argparse.Namespace) -> int:
    """Never returns by itself: an interrupt or the end of the balancer is the end of it."""
    for number, fields in client.events(options.after):
        if options.json:
            print(json.dumps({"number": number, **fields}), flush=True)
        else:
            ctl_tables.show(ctl_tables.event_line(fields))
            sys.stdout.flush()
    return OK


# Steering


def _override(client: AdminClient, options: argparse.Namespace) -> int:
    pool, server = options.server
    body = {"weight": options.weight} if options.action == "weight" else None
    answer = client.post("pools", pool, "servers", server, options.action, body=body)
    if options.json:
        return _print_json(answer)
    print(printable(f"{pool}/{server}: {answer['state']}, weight {answer['weight']}"))
    return OK


def _close(client: AdminClient, options: argparse.Namespace) -> int:
    if isinstance(options.target, int):
        answer = client.post("connections", str(options.target), "close")
    else:
        pool, server = options.target
        answer = client.post("pools", pool, "servers", server, "close")
    if options.json:
        return _print_json(answer)
    print(f"{answer['closed']} closed")
    return OK


def _reload(client: AdminClient, options: argparse.Namespace) -> int:
    """A rejected file is a configuration with errors: all of them on stderr, and the same exit code."""
    try:
        answer = client.get("reload") if options.dry_run else client.post("reload")
    except AdminError as error:
        if "errors" not in error.answer:
            raise
        answer = dict(error.answer)
    if options.json:
        _print_json(answer)
    elif answer["errors"]:
        complain(BAD_USAGE, *answer["errors"])
    else:
        print("\n".join(map(printable, answer["changes"] if options.dry_run else ["applied"])))
    return BAD_USAGE if answer["errors"] else OK


def _print_json(answer: object) -> int:
    print(json.dumps(answer, indent=2))
    return OK


Action = Callable[[AdminClient, argparse.Namespace], int]
ACTIONS: Mapping[str, Action] = {
    "status": _status,
    "servers": _servers,
    "connections": _connections,
    "events": _events,
    "explain": _explain,
    "drain": _override,
    "enable": _override,
    "weight": _override,
    "close": _close,
    "reload": _reload,
}
