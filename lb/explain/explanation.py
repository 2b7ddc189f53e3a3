"""Who gets a client of a listener, and what changes without some servers: one answer for the admin endpoint and the
command line."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

import attrs

from lb.address import Client
from lb.config_file.values import did_you_mean, shown
from lb.explain.decision import Decision
from lb.explain.explain import explained
from lb.key_moves import keys_moved_without
from lb.model import ListenerSpec, PoolSpec
from lb.networks import address_of
from lb.pool import Pool
from lb.server_names import find

__all__ = ["Question", "client_of_text", "explanation", "listener_of", "pool_name"]

LONGEST_NAME = 255
"""Characters of a name that can be that of something: those in DNS are no longer."""
MOST_GUESSED = 100
"""Names among which one is looked for that was meant. A guess: each takes some microseconds."""


@attrs.frozen
class Question:
    """Who gets this client of a listener?"""

    listener: ListenerSpec
    client: Client
    """Port 0: not known."""
    asks_for: str
    """The name that it asks for in its TLS handshake; "" for none."""
    without: Collection[str]
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
        raise ValueError(f"must be an address like 10.1.2.3, 10.1.2.3:5555 or [::1]:5555, not {shown(text)}")
    return Client(str(getattr(address, "ipv4_mapped", None) or address), int(port))


def listener_of(listeners: Mapping[str, ListenerSpec], name: str) -> ListenerSpec:
    """The listener of this name. Raises LookupError with a message."""
    if name not in listeners:
        raise LookupError(f"there is no listener {shown(name)}{_guess(name, listeners)}")
    return listeners[name]


def pool_name(listener: ListenerSpec, asks_for: str) -> str:
    """The pool that serves a client that asks for this name."""
    known = dict(listener.sni or ())
    return (find(known, asks_for.lower()) if len(asks_for) <= LONGEST_NAME else None) or listener.pool


def explanation(
    question: Question, pool: Pool, *, turns: str = "", notes: Sequence[str] = ()
) -> Generator[None, None, dict[str, object]]:
    """What makes the answer, as JSON has it; yields between slices, see :func:`explained`.

    ``turns`` says why it is not known whose turn it is, if another process picks. Raises LookupError if the pool lacks
    one of the servers.
    """
    _check_known(pool.spec, question.without)
    return _answer(question, pool, turns, notes)


def _answer(
    question: Question, pool: Pool, turns: str, notes: Sequence[str]
) -> Generator[None, None, dict[str, object]]:
    without = frozenset(question.without)
    now = yield from explained(pool, question.client, here=not turns)
    answer: dict[str, object] = {
        "listener": question.listener.name,
        "source": str(question.client) if question.client.port else question.client.host or "unix:",
        "pool": pool.name,
        "denied": _denied(question),
        **(yield from _fields(now)),
    }
    undecided = _undecided(now)
    if without:
        then = yield from explained(pool, question.client, without=without, here=not turns)
        undecided = undecided or _undecided(then)
        answer["without"] = {
            "names": list(dict.fromkeys(question.without)),
            **(yield from _fields(then)),
            "share": _share(now, without),
            "moves": (yield from keys_moved_without(pool.spec, [tier.strategy for tier in pool.tiers], without)),
        }
    answer["notes"] = [*_notes(question, pool.spec), *([turns] if turns and undecided else []), *notes]
    return answer


def _check_known(pool: PoolSpec, names: Collection[str]) -> None:
    known = {server.name for server in pool.servers}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise LookupError(f"the pool {pool.name!r} has no server {shown(unknown)}{_guess(unknown, known)}")


def _guess(name: str, known: Collection[str]) -> str:
    """What may have been meant, where that is soon found."""
    return did_you_mean(name, known) if len(name) <= LONGEST_NAME and len(known) <= MOST_GUESSED else ""


def _fields(decision: Decision) -> Generator[None, None, dict[str, object]]:
    """As JSON has it."""
    fields = attrs.evolve(decision, servers=()).fields()
    servers: list[dict[str, object]] = []
    fields["servers"] = servers
    for server in decision.servers:
        servers.append(server.fields())
        yield
    return fields


def _undecided(decision: Decision) -> bool:
    """One of several is chosen, by what only those know who pick."""
    return decision.decides in ("turn", "load") and decision.chosen is None and not decision.otherwise


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


def _notes(question: Question, pool: PoolSpec) -> Iterator[str]:
    """What the answer leaves open."""
    listener = question.listener
    if listener.accept_proxy:
        yield "the source is the client that the PROXY header names, not the proxy"
    if listener.max_per_source or listener.rate_per_source:
        yield "whether the source is at its limit of connections is not looked at"
    if listener.sni is not None and not question.asks_for:
        yield "the name that the client asks for decides about the pool, and none was given"
    if listener.sni is None and question.asks_for:
        yield "the listener has no sni, so the name that the client asks for decides nothing"
    if ("key", "source-ip-port") in pool.strategy.options and question.client.host and not question.client.port:
        yield "the client's port is hashed as well, and none was given"
