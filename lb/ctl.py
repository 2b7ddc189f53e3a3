"""``lb ctl``: look at a running balancer and steer it, over its admin endpoint."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lb import ctl_tables
from lb.address import Address
from lb.config import ConfigError, load_admin
from lb.ctl_client import AdminClient, AdminError

__all__ = ["ctl"]

OK, FAILED, BAD_USAGE = 0, 1, 2
TOKEN_VARIABLE = "LB_TOKEN"  # noqa: S105 - its name, not its value


class UsageError(Exception):
    """It does not say whom to ask, or with which token; the text is one line."""


def ctl(options: argparse.Namespace) -> int:
    """Run the command that ``options.action`` names; returns the exit code. What fails is one line on stderr."""
    try:
        return ACTIONS[options.action](_client(options), options)
    except ConfigError as error:
        return _complain(BAD_USAGE, *error.errors)
    except UsageError as error:
        return _complain(BAD_USAGE, f"lb: {error}")
    except AdminError as error:
        return _complain(FAILED, f"lb: {ctl_tables.printable(error)}")
    except KeyboardInterrupt:  # how a reader of events says that it has seen enough
        return OK


def _complain(code: int, *lines: str) -> int:
    print("\n".join(map(ctl_tables.printable, lines)), file=sys.stderr)
    return code


# Whom to ask


def _client(options: argparse.Namespace) -> AdminClient:
    """What the command line names counts before the file, and both before the environment."""
    spec = load_admin(options.config) if options.config else None
    token = _token_in(options.token_file) if options.token_file else ""
    token = token or (str(spec.token.value) if spec and spec.token else "") or os.environ.get(TOKEN_VARIABLE, "")
    return AdminClient(_address(options, spec.bind if spec else None), token)


def _address(options: argparse.Namespace, configured: Address | None) -> Address:
    if options.admin:
        try:
            address = Address.parse(options.admin)
        except ValueError as error:
            raise UsageError(f"--admin: {error}") from error
        if not (address.is_unix or address.port):
            raise UsageError("--admin: which port? 0 is none to ask at")
        return address
    if not options.config:
        raise UsageError("whom to ask? --config FILE, or --admin ADDRESS")
    if configured is None:
        raise UsageError(f"{options.config} has no [admin], so nobody answers; or --admin ADDRESS")
    if not (configured.is_unix or configured.port):
        raise UsageError(
            f"{options.config} lets the system choose the port: --admin ADDRESS, as 'admin.started' logs it"
        )
    return configured


def _token_in(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8") from error
    if not token:
        raise UsageError(f"{path}: holds no token")
    return token


# Looking


def _status(client: AdminClient, options: argparse.Namespace) -> int:
    answer = client.get("status")
    if options.json:
        return _print_json(answer)
    ctl_tables.show(ctl_tables.status(answer))
    return OK


def _servers(client: AdminClient, options: argparse.Namespace) -> int:
    status = client.get("status")
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
    print(ctl_tables.printable(f"{pool}/{server}: {answer['state']}, weight {answer['weight']}"))
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
        _complain(BAD_USAGE, *answer["errors"])
    else:
        print("\n".join(map(ctl_tables.printable, answer["changes"] if options.dry_run else ["applied"])))
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
