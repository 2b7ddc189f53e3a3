"""The words of ``lb ctl``. The command itself, with what it imports, is loaded only once it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_ctl", "add_explain", "add_top"]

HEAVIEST = 65_535
"""The largest weight of a server, as in the configuration."""
CONFIG = "take address and token from its [admin]"


def add_ctl(ctl: argparse.ArgumentParser) -> None:
    """Give the parser of ``lb ctl`` its commands. ``action`` then holds which one it is."""
    _add_endpoint(ctl, default=None)
    shared = argparse.ArgumentParser(add_help=False)
    _add_endpoint(shared, default=argparse.SUPPRESS)  # or what is said before the command would be forgotten
    actions = ctl.add_subparsers(required=True, metavar="COMMAND", dest="action")

    def action(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=parents)

    action("status", "listeners and pools, and how connections have ended", shared)

    servers = action("servers", "the servers, and why one is not up", shared)
    servers.add_argument("pool", nargs="?", metavar="POOL", help="of this pool only")

    connections = action("connections", "open connections, the oldest first", shared)
    for name in ("listener", "pool", "server"):
        connections.add_argument(f"--{name}", metavar="NAME", help=f"of this {name} only")
    connections.add_argument("--client", metavar="START", help="of clients whose address begins so")
    connections.add_argument("--limit", type=_whole_number, metavar="N", help="at most so many (100; at most 1000)")

    for name, text in (
        ("drain", "no new connections for a server; those it has go on"),
        ("enable", "end the draining of a server"),
        ("weight", "another weight for a server than the configured one"),
    ):
        _add_server(action(name, text, shared))
    actions.choices["weight"].add_argument(
        "weight", type=_weight, metavar="WEIGHT", help=f"0 to {HEAVIEST}, or 'configured'"
    )

    close = action("close", "reset one connection, or all of a server", shared)
    close.add_argument(
        "target", type=_connection_or_server, metavar="ID|POOL/SERVER", help="as 'connections' or 'servers' lists it"
    )

    reload = action("reload", "read the configuration file again, as SIGHUP does", shared)
    reload.add_argument("--dry-run", action="store_true", help="only say what it would change")

    events = action("events", "events as they happen, until interrupted", shared)
    events.add_argument(
        "--after", type=_whole_number, metavar="N", help="first those kept after this one; 0 = all kept"
    )

    completion = action("completion", "print what teaches a shell the words of lb")
    completion.add_argument("shell", choices=("bash", "zsh"))


def add_top(top: argparse.ArgumentParser) -> None:
    """Give the parser of ``lb top`` its words."""
    _add_whom(top, default=None)


def add_explain(explain: argparse.ArgumentParser) -> None:
    """Give the parser of ``lb explain`` its words."""
    _add_endpoint(explain, default=None, config="work it out from this file; with --running, ask at its [admin]")
    explain.add_argument("--running", action="store_true", help="ask the balancer that runs with --config")
    explain.add_argument("--listener", required=True, metavar="NAME", help="where the client connects")
    explain.add_argument("--source", required=True, metavar="ADDRESS", help="the client: '10.1.2.3', '10.1.2.3:5555'")
    explain.add_argument("--name", metavar="NAME", help="the server's name that it asks for (SNI)")
    explain.add_argument(
        "--without", action="append", default=[], metavar="SERVER", help="and if this server were gone; may be repeated"
    )


def _add_endpoint(parser: argparse.ArgumentParser, default: object, config: str = CONFIG) -> None:
    """Where to ask, with what, and how to answer; ``config`` says what the file is for."""
    _add_whom(parser, default, config)
    parser.add_argument(
        "--json", action="store_true", default=False if default is None else default, help="for programs"
    )


def _add_whom(parser: argparse.ArgumentParser, default: object, config: str = CONFIG) -> None:
    parser.add_argument("-c", "--config", type=Path, default=default, metavar="FILE", help=config)
    parser.add_argument(
        "--admin", default=default, metavar="ADDRESS", help="'host:port' or 'unix:/path', whatever the file says"
    )
    parser.add_argument(
        "--token-file", type=Path, default=default, metavar="FILE", help="holds the token, whatever the others say"
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("server", type=_server, metavar="POOL/SERVER", help="as 'servers' lists it")


def _server(text: str) -> tuple[str, str]:
    """Pool and server. A pool's name holds no slash; a server's may, if it is the path of a socket."""
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
    """None for the configured one."""
    if text == "configured":
        return None
    weight = _whole_number(text)
    if weight > HEAVIEST:
        raise argparse.ArgumentTypeError(f"must be {HEAVIEST} or less, not {text}")
    return weight
