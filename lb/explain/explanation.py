"""The answer of ``lb explain``: the server that a client of a listener gets, and what changes without some servers.

The admin endpoint and the command line share it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

import attrs

from lb.explain.disruption import keys_moved_without
from lb.explain.explain import explained
from lb.explain.request import request_fields
from lb.model import ListenerSpec, PoolSpec, TcpSettings
from lb.model.address import Client, address_of
from lb.model.decision import Decision
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.explained_target import AskedTarget, JudgedTarget
from lb.model.listener import find
from lb.model.modes import load
from lb.model.request import RequestClient
from lb.model.suggestion import did_you_mean
from lb.model.values import shown
from lb.pools.pool import Pool

__all__ = ["ExplainQuestion", "client_of_text", "explanation", "judged", "listener_of", "pool_name", "routed"]

LONGEST_NAME = 255
"""Characters of a name in a lookup; names in DNS are not longer."""
MOST_GUESSED = 100
"""Names searched for a suggestion. An estimate: each takes some microseconds."""


@attrs.frozen
class ExplainQuestion:
    """A question: which server does this client of a listener get?"""

    listener: ListenerSpec
    client: Client
    """Port 0 = unknown. With its request, if it sends one: :class:`lb.model.request.RequestClient`."""
    asks_for: str
    """The SNI server name of the client; "" for none."""
    without: Collection[str]
    """Servers to assume down."""
    request: RoutedRequest | None = None
    """The request that it sends, if the mode of the listener reads requests."""
    target: JudgedTarget | None = None
    """The target that it names, if the mode of the listener is a proxy that clients are told of."""

    @property
    def chosen_for(self) -> Client:
        """The client whom the pool sees: with its request, and behind trusted proxies the one that they name."""
        return self.client if self.request is None else self.request.client


def client_of_text(text: str) -> Client:
    """Parse ``10.1.2.3``, ``10.1.2.3:5555``, ``::1``, ``[::1]:5555`` or ``unix:``. Raises ValueError."""
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
    """Return the listener with this name. Raises LookupError with a message."""
    if name not in listeners:
        raise LookupError(f"there is no listener {shown(name)}{_suggestion(name, listeners)}")
    return listeners[name]


def routed(
    question: ExplainQuestion, asked: AskedRequest, pools: Mapping[str, PoolSpec], secret: bytes | None = None
) -> ExplainQuestion:
    """Return the question with what the listener would do with a request.

    ``secret`` is the balancer's, if it is known. Raises ValueError if it is no request, and LookupError if the mode of
    the listener reads none.
    """
    listener = question.listener
    found = load(listener.mode).explain_request(listener, question.client, asked, pools, secret)
    return attrs.evolve(question, request=found)


async def judged(question: ExplainQuestion, asked: AskedTarget) -> ExplainQuestion:
    """Return the question with what the listener would do with a target, whose name is looked up.

    Raises ValueError if it is no target, and LookupError if clients of the listener name none.
    """
    listener = question.listener
    return attrs.evolve(question, target=await load(listener.mode).explain_target(listener, asked))


def pool_name(question: ExplainQuestion) -> str:
    """Return the name of the pool that the client gets a server of; empty if the balancer itself answers.

    It follows from the request, or from the SNI server name. Raises LookupError if neither is known.
    """
    if question.request is not None:
        return question.request.pool
    if question.target is not None:
        return question.target.pool
    listener, asks_for = question.listener, question.asks_for
    settings = listener.settings
    if not isinstance(settings, TcpSettings):
        raise LookupError(f"the listener {listener.name!r} has mode {listener.mode!r}: ask with a URL, or a target")  # noqa: TRY004 - not a bug
    known = dict(settings.sni or ())
    return (find(known, asks_for.lower()) if len(asks_for) <= LONGEST_NAME else None) or settings.pool


def explanation(
    question: ExplainQuestion, pool: Pool | None, *, turns: str = "", notes: Sequence[str] = ()
) -> Generator[None, None, dict[str, object]]:
    """Return a generator that builds the answer as a JSON object. It yields between slices.

    ``pool`` is that of :func:`pool_name`, if there is one. ``turns`` is the note for the answer if another process
    picks, so that the turns are unknown. Raises LookupError if the pool lacks one of the servers.
    """
    if pool is None and question.without:
        raise LookupError("no pool is asked: there is no server to leave out")
    if pool is None:
        return _answer_without_pool(question)
    _check_known(pool.spec, question.without)
    return _answer(question, pool, turns, notes)


def _asked(question: ExplainQuestion, pool: str | None) -> dict[str, object]:
    """Return the part of the answer that does not depend on servers."""
    client, request = question.client, question.request
    fields: dict[str, object] = {
        "listener": question.listener.name,
        "source": str(client) if client.port else client.host or "unix:",
        "pool": pool,
        "denied": _denied(question),
    }
    if question.target is not None:
        fields["target"] = _target_fields(question.target)
    return fields if request is None else {**fields, "request": request_fields(request)}


def _target_fields(target: JudgedTarget) -> dict[str, object]:
    return {
        "target": target.target,
        "allowed": target.allowed,
        "why": target.why,
        "addresses": [{"address": each.address, "refused": each.refused or None} for each in target.addresses],
    }


def _answer_without_pool(question: ExplainQuestion) -> Generator[None, None, dict[str, object]]:
    """Return the answer for a request that the balancer itself answers, or for a target that no parent reaches."""
    request, target = question.request, question.target
    fields = _asked(question, None)
    yield
    answered = bool(request.answer) if request is not None else target is not None and target.allowed
    served = answered and fields["denied"] is None
    return {**fields, "served": served, "notes": [*_notes(question, None)]}


def _answer(
    question: ExplainQuestion, pool: Pool, turns: str, notes: Sequence[str]
) -> Generator[None, None, dict[str, object]]:
    without, client = frozenset(question.without), question.chosen_for
    stays_with = question.request.sticky_server if question.request is not None else ""
    now = _staying(stays_with, (yield from explained(pool, client, here=not turns)))
    answer = {**_asked(question, pool.name), **(yield from _fields(now))}
    if question.request is not None or question.target is not None:
        answer["served"] = not now.otherwise and answer["denied"] is None
    undecided = _undecided(now)
    if without:
        then = _staying(stays_with, (yield from explained(pool, client, without=without, here=not turns)))
        undecided = undecided or _undecided(then)
        answer["without"] = {
            "names": list(dict.fromkeys(question.without)),
            **(yield from _fields(then)),
            "share": _share(now, without),
            "moves": (yield from keys_moved_without(pool.spec, [group.strategy for group in pool.groups], without)),
        }
    answer["notes"] = [*_notes(question, pool), *([turns] if turns and undecided else []), *notes]
    return answer


def _staying(name: str, decision: Decision) -> Decision:
    """Return the decision for a client whose cookie names a server; unchanged if that cannot be chosen."""
    if not any(server.name == name and server.verdict in ("chosen", "candidate") for server in decision.servers):
        return decision
    return attrs.evolve(decision.choosing(name, ""), decides="cookie", key={})


def _check_known(pool: PoolSpec, names: Collection[str]) -> None:
    known = {server.name for server in pool.servers}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise LookupError(f"the pool {pool.name!r} has no server {shown(unknown)}{_suggestion(unknown, known)}")


def _suggestion(name: str, known: Collection[str]) -> str:
    """Return a hint for a misspelt name, unless the search takes too long."""
    return did_you_mean(name, known) if len(name) <= LONGEST_NAME and len(known) <= MOST_GUESSED else ""


def _fields(decision: Decision) -> Generator[None, None, dict[str, object]]:
    """Build the JSON object of a decision; yields after each server."""
    fields = attrs.evolve(decision, servers=()).fields()
    servers: list[dict[str, object]] = []
    fields["servers"] = servers
    for server in decision.servers:
        servers.append(server.fields())
        yield
    return fields


def _undecided(decision: Decision) -> bool:
    """Return whether only the picking process can tell which server is chosen."""
    return decision.decides in ("turn", "load") and decision.chosen is None and not decision.otherwise


def _share(decision: Decision, names: Collection[str]) -> float | None:
    """Return the share of new connections that these servers get; None if the strategy reports no shares."""
    parts = [server.figures.get("share", 0.0) for server in decision.servers if server.name in names]
    known = any("share" in server.figures for server in decision.servers)
    return round(sum(parts), 4) if known else None


def _denied(question: ExplainQuestion) -> str | None:
    """Return the rule of the access list that denies the client; None if it is admitted."""
    listener = question.listener
    address = address_of(question.client.host)
    if listener.admits(address):
        return None
    return f"deny = {listener.deny}" if address in listener.deny else f"not in allow = {listener.allow}"


def _notes(question: ExplainQuestion, pool: Pool | None) -> Iterator[str]:
    """Yield the limitations of the answer."""
    listener = question.listener
    if listener.accept_proxy:
        yield "the source is the client that the PROXY header names, not the proxy"
    if listener.max_per_source or listener.rate_per_source:
        yield "the answer ignores the source's connection and rate limits"
    if question.request is not None and question.request.asked.url.lower().startswith("https:") != bool(listener.tls):
        yield f"whatever the URL says, clients of this listener come by {'https' if listener.tls else 'http'}"
    sni = listener.settings.sni if isinstance(listener.settings, TcpSettings) else None
    if sni is not None and not question.asks_for:
        yield "the SNI name selects the pool, and none was given"
    if sni is None and question.asks_for:
        yield "the listener has no sni, so the SNI name has no effect"
    if pool is not None:
        yield from _notes_of_pool(question.chosen_for, pool)
        if pool.spec.sticky is not None and not (question.request is not None and question.request.sticky_server):
            yield f"a client with a cookie {pool.spec.sticky.cookie!r} of the pool goes to the server that it names"


def _notes_of_pool(client: Client, pool: Pool) -> Iterator[str]:
    if not isinstance(client, RequestClient) and pool.groups[0].strategy.reads_requests:
        yield "the strategy chooses by requests, and this client has none"
    if ("key", "source-ip-port") in pool.spec.strategy.options and client.host and not client.port:
        yield "the client's port is part of the hash key, and none was given"
