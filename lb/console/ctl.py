"""``lb ctl``: inspect and control a running balancer over its admin endpoint."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lb.console import tables
from lb.console.client import AdminClient, AdminError
from lb.console.config_file import UsageError, config_file
from lb.console.endpoint import BAD_USAGE, FAILED, OK, print_errors, with_client
from lb.model.config_hash import config_hash
from lb.model.printable import printable
from lb.net.files import read_file_or_pipe

__all__ = ["ctl", "diff_cluster", "show_explanation"]


def ctl(options: argparse.Namespace) -> int:
    """Run the command ``options.action`` and return the exit code. A failure is one line on stderr."""
    return with_client(options, lambda client: ACTIONS[options.action](client, options))


# Queries


def _status(client: AdminClient, options: argparse.Namespace) -> int:
    if options.cluster:
        return _cluster_status(client, options)
    answer = client.status()
    if options.json:
        return _print_json(answer)
    tables.show(tables.status_table(answer))
    return OK


def _cluster_status(client: AdminClient, options: argparse.Namespace) -> int:
    """One line a node, then where they differ. Without etcd the list may be old, which is said on stderr."""
    answer = client.get("cluster")
    if options.json:
        return _print_json(answer)
    for name, node in answer["nodes"].items():
        state = "ready" if node["ready"] else "not ready"
        print(printable(f"{name}  {state}  {node['version']}  {node['config']}"))
    print(f"differ: {', '.join(answer['differ'])}" if answer["differ"] else "all alike")
    return _etcd_noted(answer)


def _etcd_noted(cluster: Mapping[str, Any]) -> int:
    """Say on stderr if the balancer does not see the others now. That is no failure of the command."""
    if cluster["etcd"] != "ok":
        print_errors(OK, f"lb: as last known: {cluster['etcd']}")
    return OK


def diff_cluster(options: argparse.Namespace) -> int:
    """``lb diff --cluster``: compare a file with what each node has applied. Returns the exit code."""
    try:
        path = config_file(options)
        digest = config_hash(read_file_or_pipe(path))
    except UsageError as error:
        return print_errors(BAD_USAGE, f"lb: {error}")
    except OSError as error:
        return print_errors(BAD_USAGE, f"{path}: cannot be read: {error.strerror}")

    def compare(client: AdminClient) -> int:
        answer = client.get("cluster")
        hashes = {name: node["config"] for name, node in answer["nodes"].items()}
        print(printable(f"{path}  {digest}"))
        for name, found in hashes.items():
            print(printable(f"{name}  {found}  {'same' if found == digest else 'differs'}"))
        _etcd_noted(answer)
        return FAILED if options.exit_code and set(hashes.values()) - {digest} else OK

    return with_client(options, compare)


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
    tables.show(tables.servers_table(answer, status["timestamp"]))
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
    tables.show(tables.connections_table(answer))
    return OK


def _cache(client: AdminClient, options: argparse.Namespace) -> int:
    if options.cache_action == "purge":
        return _purge(client, options)
    answer = client.get("caches")
    if options.json:
        return _print_json(answer)
    tables.show(tables.caches_table(answer))
    return OK


def _streams(client: AdminClient, options: argparse.Namespace) -> int:
    answer = client.get("streams")
    if options.json:
        return _print_json(answer)
    tables.show(tables.streams_table(answer, client.status()["timestamp"]))
    return OK


def _explain(client: AdminClient, options: argparse.Namespace) -> int:
    """The part of ``lb explain`` that asks a running balancer."""
    answer = client.get(
        "explain",
        listener=options.listener,
        source=options.source,
        name=options.name,
        without=options.without,
        url=options.url,
        method=options.method,
        header=options.header,
        target=options.target,
        user=options.user,
        stream=options.stream,
    )
    return show_explanation(answer, options)


def show_explanation(answer: Mapping[str, Any], options: argparse.Namespace) -> int:
    """Print the answer of ``lb explain``. Returns the exit code: 1 if nothing would answer a request."""
    if options.json:
        _print_json(answer)
    else:
        tables.show(tables.stream_table(answer) if options.stream else tables.explanation_table(answer))
    return OK if answer.get("served", True) else FAILED


def _events(client: AdminClient, options: argparse.Namespace) -> int:
    """Print events until an interrupt or until the balancer stops."""
    for number, fields in client.events(options.after):
        if options.json:
            print(json.dumps({"number": number, **fields}), flush=True)
        else:
            tables.show(tables.event_line(fields))
            sys.stdout.flush()
    return OK


# Operations


def _override(client: AdminClient, options: argparse.Namespace) -> int:
    pool, server = options.server
    body = {"weight": options.weight} if options.action == "weight" else None
    answer = client.post("pools", pool, "servers", server, options.action, body=body)
    if options.json:
        return _print_json(answer)
    share = _share(answer) if options.action == "weight" else ""
    print(printable(f"{pool}/{server}: {answer['state']}, weight {answer['weight']}{share}"))
    if "cluster" in answer:
        print(printable(f"cluster: {answer['cluster']}"))
    return OK


def _share(answer: Mapping[str, Any]) -> str:
    """Return what follows from a weight."""
    share = "" if answer["share"] is None else f": {answer['share']:.1%} of new connections"
    return f"{share}; {answer['strategy']} ignores weights" if "weight" in answer["ignored"] else share


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


def _purge(client: AdminClient, options: argparse.Namespace) -> int:
    given = {"url": options.url, "prefix": options.prefix, "tag": options.tag}
    what = {kind: text for kind, text in given.items() if text is not None}
    answer = client.post("caches", options.zone, "purge", body=what)
    if options.json:
        return _print_json(answer)
    print(f"{answer['purged']} purged")
    return OK


def _reload(client: AdminClient, options: argparse.Namespace) -> int:
    """Reload. If the file is rejected, print all its errors on stderr and return 2, as ``lb check`` does."""
    try:
        answer = client.get("reload") if options.dry_run else client.post("reload")
    except AdminError as error:
        if "errors" not in error.answer:
            raise
        answer = dict(error.answer)
    if options.json:
        _print_json(answer)
    elif answer["errors"]:
        print_errors(BAD_USAGE, *answer["errors"])
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
    "cache": _cache,
    "streams": _streams,
    "events": _events,
    "explain": _explain,
    "drain": _override,
    "enable": _override,
    "weight": _override,
    "close": _close,
    "reload": _reload,
}
