"""Who gets a client of a listener, and what changes without some servers: one answer for the admin endpoint and the
command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from lb.address import Client
from lb.config_file.values import did_you_mean
from lb.explain.decision import Decision
from lb.explain.explain import explain
from lb.key_moves import keys_held, keys_moved
from lb.model import ListenerSpec, PoolSpec
from lb.networks import address_of
from lb.pool import Pool
from lb.server_names import find

__all__ = ["Question", "client_of_text", "explanation", "listener_of", "moves", "pool_name"]


@attrs.frozen
class Question:
    """Who gets this client of a listener?"""

    listener: ListenerSpec
    client: Client
    """Port 0: not known."""
    asks_for: str
    """The name that it asks for in its TLS handshake; "" for none."""
    without: tuple[str, ...]
    """Servers that are to be taken for down."""


def client_of_text(text: str) -> Client:
    """Read ``10.1.2.3``, ``10.1.2.3:5555``, ``::1``, ``[::1]:5555`` or ``unix:``. Raises ValueError."""
    if text == "unix:":
        return Client("", 0)
    host, port = text, "0"
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"must be an address like 10.1.2.3, 10.1.2.3:5555 or [::1]:5555, not {text!r}")
    return Client(str(getattr(address, "ipv4_mapped", None) or address), int(port))


def listener_of(listeners: Mapping[str, ListenerSpec], name: str) -> ListenerSpec:
    """The listener of this name. Raises LookupError with a message."""
    if name not in listeners:
        raise LookupError(f"there is no listener {name!r}{did_you_mean(name, listeners)}")
    return listeners[name]


def pool_name(listener: ListenerSpec, asks_for: str) -> str:
    """The pool that serves a client that asks for this name."""
    return (find(dict(listener.sni or ()), asks_for.lower()) if asks_for else None) or listener.pool


def explanation(
    question: Question, pool: Pool, moved: Mapping[str, float] | None, *, turns: str = "", notes: Sequence[str] = ()
) -> dict[str, object]:
    """The answer, as JSON has it; ``moved`` is what :func:`moves` says.

    ``turns`` says why it is not known whose turn it is, if another process picks.
    """
    now = explain(pool, question.client, here=not turns)
    answer: dict[str, object] = {
        "listener": question.listener.name,
        "source": str(question.client) if question.client.port else question.client.host or "unix:",
        "pool": pool.name,
        "denied": _denied(question),
        **now.fields(),
        "notes": [*_notes(question, pool.spec, now, turns), *notes],
    }
    if question.without:
        then = explain(pool, question.client, without=question.without, here=not turns)
        answer["without"] = {
            "names": list(question.without),
            **then.fields(),
            "share": _share(now, question.without),
            "moves": moved,
        }
    return answer


def moves(pool: PoolSpec, without: Collection[str]) -> dict[str, float] | None:
    """The share of clients, 0 to 1, that get another server while these are ``down``, and once they are ``removed``.

    As long as all others are up. None if the strategy keeps no client at a server, or if nobody is to go. It builds the
    pool's table thrice: seconds for a thousand servers. Raises LookupError if the pool lacks one of the servers.
    """
    known = [server.name for server in pool.servers]
    for name in without:
        if name not in known:
            raise LookupError(f"the pool {pool.name!r} has no server {name!r}{did_you_mean(name, known)}")
    rest = tuple(server for server in pool.servers if server.name not in without)
    removed = keys_moved(pool, attrs.evolve(pool, servers=rest))
    return None if removed is None else {"down": keys_held(pool, without), "removed": removed}


def _share(decision: Decision, names: Collection[str]) -> float | None:
    """The part of new connections that goes to these servers; None if the strategy gives none a fixed part."""
    parts = [server.figures.get("share", 0.0) for server in decision.servers if server.name in names]
    known = any("share" in server.figures for server in decision.servers)
    return round(sum(parts), 4) if known else None


def _denied(question: Question) -> str | None:
    """Why the listener turns this client away, if it does."""
    listener = question.listener
    address = address_of(question.client.host)
    if listener.admits(address):
        return None
    return f"deny = {listener.deny}" if address in listener.deny else f"not in allow = {listener.allow}"


def _notes(question: Question, pool: PoolSpec, now: Decision, turns: str) -> Iterator[str]:
    """What the answer leaves open."""
    listener = question.listener
    if listener.accept_proxy:
        yield "the source is the client that the PROXY header names, not the proxy"
    if listener.max_per_source or listener.rate_per_source:
        yield "whether the source is at its limit of connections is not looked at"
    if listener.sni is not None and not question.asks_for:
        yield "the name that the client asks for decides about the pool, and none was given"
    if ("key", "source-ip-port") in pool.strategy.options and question.client.host and not question.client.port:
        yield "the client's port is hashed as well, and none was given"
    if now.decides in ("turn", "load") and turns:
        yield turns
