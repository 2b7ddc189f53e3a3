"""The arguments of ``lb ctl``, ``lb top`` and ``lb explain``. The commands themselves are imported when they run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

from lb.console.config_file import add_config

__all__ = ["add_ctl", "add_explain", "add_top"]

MAX_WEIGHT = 65_535
"""The largest weight of a server, as in the configuration."""
CONFIG_HELP = "configuration file whose [admin] section has the address and the token; the default is as for 'lb run'"


def add_ctl(ctl: argparse.ArgumentParser) -> None:
    """Add the commands of ``lb ctl`` to its parser. ``options.action`` is the name of the command."""
    _add_endpoint(ctl, default=None)
    ctl.add_argument("--cluster", action="store_true", help="with 'status': the nodes of the balancer's cluster")
    shared = argparse.ArgumentParser(add_help=False)
    _add_endpoint(shared, default=argparse.SUPPRESS)  # a default would replace an option given before the command
    actions = ctl.add_subparsers(required=True, metavar="COMMAND", dest="action")

    def action(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=parents)

    _add_queries(action, shared)
    _add_changes(action, shared)
    completion = action("completion", "print a shell completion script")
    completion.add_argument("shell", choices=("bash", "fish", "zsh"))


class _Action(Protocol):
    def __call__(self, name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        """Add a command."""


def _add_queries(action: _Action, shared: argparse.ArgumentParser) -> None:
    """Add the commands that only read."""
    status = action("status", "show listeners, pools, and why connections ended", shared)
    status.add_argument("--cluster", action="store_true", default=argparse.SUPPRESS, help="the nodes of its cluster")

    servers = action("servers", "list servers with their state and its reason", shared)
    servers.add_argument("pool", nargs="?", metavar="POOL", help="only servers of this pool")

    connections = action("connections", "list open connections, oldest first", shared)
    for name in ("listener", "pool", "server"):
        connections.add_argument(f"--{name}", metavar=name.upper(), help=f"only connections of this {name}")
    connections.add_argument("--client", metavar="PREFIX", help="only clients whose address starts with PREFIX")
    connections.add_argument(
        "--limit", type=_whole_number, metavar="N", help="list at most N connections (default 100, maximum 1000)"
    )

    _add_cache(action("cache", "list caches with what they hold and their hit ratios, or purge one", shared), shared)

    action("streams", "list live streams with their publishers, bitrates and viewers", shared)

    events = action("events", "print events as they occur, until interrupted", shared)
    events.add_argument(
        "--after", type=_whole_number, metavar="N", help="first print the stored events after number N; 0 = all"
    )


def _add_cache(cache: argparse.ArgumentParser, shared: argparse.ArgumentParser) -> None:
    text = "remove responses from a cache, in all workers"
    commands = cache.add_subparsers(metavar="COMMAND", dest="cache_action")
    purge = commands.add_parser("purge", help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[shared])
    purge.add_argument("zone", metavar="ZONE", help="as listed by 'cache'")
    what = purge.add_mutually_exclusive_group(required=True)
    what.add_argument("--url", metavar="URL", help="all responses of this URL")
    what.add_argument("--prefix", metavar="URL", help="all responses of URLs that begin so")
    what.add_argument("--tag", metavar="TAG", help="all responses with this tag in Surrogate-Key or Cache-Tag")


def _add_changes(action: _Action, shared: argparse.ArgumentParser) -> None:
    """Add the commands that change something."""
    _add_server(action("drain", "send no new connections to a server; open ones may finish", shared))
    _add_server(action("enable", "send new connections to a drained server again", shared))
    weight = action("weight", "override the configured weight of a server", shared)
    _add_server(weight)
    weight.add_argument(
        "weight", type=_weight, metavar="WEIGHT", help=f"0 to {MAX_WEIGHT}, or 'configured' to remove the override"
    )

    close = action("close", "reset one connection, or all connections of a server", shared)
    close.add_argument(
        "target", type=_connection_or_server, metavar="ID|POOL/SERVER", help="as listed by 'connections' or 'servers'"
    )

    reload = action("reload", "reload the configuration file, as SIGHUP does", shared)
    reload.add_argument("--dry-run", action="store_true", help="only show the changes")


def add_top(top: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lb top`` to its parser."""
    _add_admin(top, default=None, argument=True)


def add_explain(explain: argparse.ArgumentParser) -> None:
    """Add the arguments of ``lb explain`` to its parser."""
    _add_endpoint(
        explain,
        default=None,
        argument=True,
        config="configuration file; with --running, its [admin] has the address and the token",
    )
    explain.add_argument("--running", action="store_true", help="ask the balancer that runs with the file of --config")
    explain.add_argument("--listener", metavar="LISTENER", help="listener that the client connects to")
    explain.add_argument("--source", metavar="ADDRESS", help="address of the client: '10.1.2.3', '10.1.2.3:5555'")
    explain.add_argument("--url", metavar="URL", help="URL of a request, for a listener with mode http")
    explain.add_argument("--method", metavar="M", help="method of the request (default GET)")
    explain.add_argument(
        "--header", action="append", default=[], metavar="'N: V'", help="header of the request; may be repeated"
    )
    explain.add_argument("--target", metavar="HOST:PORT", help="target of a client, for a listener with mode forward")
    explain.add_argument("--user", metavar="NAME", help="user that the client logs in as, with --target")
    explain.add_argument(
        "--stream", metavar="APP/NAME", help="a live stream: who may publish it, and how it is served; stands alone"
    )
    explain.add_argument("--name", metavar="NAME", help="server name in the TLS handshake of the client (SNI)")
    explain.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="SERVER",
        help="also show the result without this server; may be repeated",
    )


def _add_endpoint(
    parser: argparse.ArgumentParser, default: object, *, argument: bool = False, config: str = CONFIG_HELP
) -> None:
    """Add the options for the admin endpoint, and ``--json``. ``config`` is the help text of ``--config``."""
    _add_admin(parser, default, argument=argument, config=config)
    parser.add_argument("--json", action="store_true", default=False if default is None else default, help="print JSON")


def _add_admin(
    parser: argparse.ArgumentParser, default: object, *, argument: bool = False, config: str = CONFIG_HELP
) -> None:
    add_config(parser, default=default, argument=argument, text=config)
    parser.add_argument(
        "--admin",
        default=default,
        metavar="ADDRESS",
        help="address of the admin endpoint ('host:port' or 'unix:/path'); overrides the file",
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        default=default,
        metavar="FILE",
        help="file with the token; overrides the configuration and LB_TOKEN",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", type=_server, metavar="POOL/SERVER", help="as listed by 'servers'")


def _server(text: str) -> tuple[str, str]:
    """Return pool and server. A pool name has no slash; a server name may have, if it is the path of a socket."""
    pool, _, server = text.partition("/")
    if not (pool and server):
        raise argparse.ArgumentTypeError(f"must be POOL/SERVER, not {text!r}")
    return pool, server


def _connection_or_server(text: str) -> int | tuple[str, str]:
    return _whole_number(text) if text.isdigit() else _server(text)


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def _weight(text: str) -> int | None:
    """Return the weight; None for the configured one."""
    if text == "configured":
        return None
    weight = _whole_number(text)
    if weight > MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"must be {MAX_WEIGHT} or less, not {text}")
    return weight
