"""The checks of ``lb strategy test``, except for the cost. The built-in strategies pass them too.

No clock: the cost is measured in :mod:`lb.tools.strategy_kit.bench`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Literal, TypeAlias

import attrs

from lb.model import Server
from lb.tools.strategy_kit.explaining import Make, check_explain
from lb.tools.strategy_kit.trial import CheckTimeoutError, RuleViolationError, Trial, history, make_servers
from strategies.base import Strategy
from strategies.driver import client, finish, lease, release, start, use

__all__ = ["Check", "Finding", "Make", "checks", "choices", "examine"]

EQUAL = (1,) * 10
CHECK_CLIENTS = 3_000
SOME_CLIENTS = 1_000
CHECK_OPEN = 200
"""Open connections at a time, so that strategies by load see a load."""
CHECK_STEPS = 3_000
RELOADS = 30
BETWEEN_RELOADS = 3
UNEVEN = 2.0
"""Maximum ratio of a server's share to its expected share. An estimate: a ketama table of ten servers is below 1.3."""
MANY_MOVE = 0.2
"""Maximum share of the other clients that move when one of ten servers goes. An estimate: a maglev table moves less
than 1 %, a modulus 90 %."""


@attrs.frozen
class Finding:
    """The result of one check."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    """``warn``: allowed, and possibly intended."""
    text: str


Check: TypeAlias = tuple[str, Callable[[], Finding]]
"""Name and function of a check."""


def checks(make: Make, in_other_process: Callable[[], Sequence[str]] | None = None) -> Sequence[Check]:
    """Return all checks. ``in_other_process`` is :func:`choices` in another process; may raise RuleViolationError."""
    return (
        ("choice", lambda: _choice(make)),
        ("none", lambda: _none(make)),
        ("weight-0", lambda: _weight_0(make)),
        ("balance", lambda: _balance(make)),
        ("weights", lambda: _weights(make)),
        ("disruption", lambda: _disruption(make)),
        ("reload", lambda: _reload(make)),
        ("determinism", lambda: _determinism(make, in_other_process)),
        ("explain", lambda: Finding("explain", "ok", check_explain(make))),
    )


def examine(
    todo: Iterable[Check], limited: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Iterator[Finding]:
    """Run checks one after another, each within ``limited()``, which may raise CheckTimeoutError.

    A check that times out is the last: the others would time out, too.
    """
    for name, check in todo:
        try:
            with limited():
                finding = check()
        except CheckTimeoutError as error:
            yield Finding(name, "fail", f"{error}; the remaining checks are skipped")
            return
        except RuleViolationError as error:
            finding = Finding(name, "fail", str(error))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - third-party code may raise anything
            finding = Finding(name, "fail", f"it raised {type(error).__name__}: {error}")
        yield finding


def choices(make: Make) -> list[str]:
    """Return the names that a new strategy picks in a fixed history."""
    trial = Trial(make())
    for step in history(Random(1), CHECK_STEPS):  # noqa: S311 - no secret
        trial.take(step)
    return trial.picks


def _choice(make: Make) -> Finding:
    picks = choices(make)
    return Finding("choice", "ok", f"{len(picks):,} picks: each server was available and not tried before")


def _none(make: Make) -> Finding:
    """Check that ``pick`` returns None if the list is empty, or all servers are down or tried."""
    _expect_none(make(), "before the first list")
    _expect_none(start(make(), []), "with an empty list")
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    _expect_none(strategy, "with all servers tried", servers)
    for server in servers:
        strategy.disable(server)
    _expect_none(strategy, "with all servers down")
    return Finding("none", "ok", "None with an empty list, with all servers down, and with all servers tried")


def _expect_none(strategy: Strategy, when: str, tried: Sequence[Server] = ()) -> None:
    chosen = strategy.pick(client(0), tried)
    if chosen is not None:
        raise RuleViolationError(f"it chose {getattr(chosen, 'name', repr(chosen))} {when}; it must be None")


def _weight_0(make: Make) -> Finding:
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    held = list(filter(None, (lease(strategy, client(number)) for number in range(CHECK_OPEN))))
    gone = servers[3]
    gone.spec = attrs.evolve(gone.spec, weight=0)
    use(strategy, [server for server in servers if server is not gone])
    for number, server in enumerate(held):
        release(strategy, server)
        if strategy.pick(client(CHECK_OPEN + number), ()) is gone:
            raise RuleViolationError(f"it chose {gone.name} after a reload that gave it weight 0")
    return Finding("weight-0", "ok", "a server with weight 0 after a reload is not chosen again")


def _balance(make: Make) -> Finding:
    counts = _counts(make, EQUAL)
    least, most = min(counts) / CHECK_CLIENTS, max(counts) / CHECK_CLIENTS
    text = f"each of 10 equal servers gets {least:.1%} to {most:.1%} of the clients"
    if not min(counts):
        idle = counts.count(0)
        return Finding("balance", "warn", f"{idle} of 10 equal servers {'gets' if idle == 1 else 'get'} no clients")
    even = max(most * 10, 0.1 / least) <= UNEVEN
    return Finding("balance", "ok" if even else "warn", text)


def _weights(make: Make) -> Finding:
    weights = (1, 2, 3, 4)
    counts = _counts(make, weights)
    shares = ", ".join(f"{count / CHECK_CLIENTS:.0%}" for count in counts)
    by_weight = [count / CHECK_CLIENTS * sum(weights) / weight for count, weight in zip(counts, weights, strict=True)]
    equal = [count / CHECK_CLIENTS * len(weights) for count in counts]
    if _spread(by_weight) <= min(_spread(equal), UNEVEN):
        return Finding("weights", "ok", f"followed: weights 1, 2, 3, 4 get {shares} of the clients")
    if _spread(equal) <= UNEVEN:
        return Finding("weights", "ok", f"ignored: weights 1, 2, 3, 4 get {shares} of the clients")
    return Finding(
        "weights",
        "warn",
        f"weights 1, 2, 3, 4 get {shares} of the clients: neither equal nor proportional to the weights",
    )


def _spread(shares: Sequence[float]) -> float:
    """Return the largest deviation from 1, as a factor."""
    return max(*shares, 1 / min(shares)) if min(shares) else float("inf")


def _counts(make: Make, weights: Sequence[int]) -> list[int]:
    """Count the clients of each server, with CHECK_OPEN connections open."""
    servers = make_servers(*weights)
    strategy = start(make(), servers)
    chosen = Counter(server.name for server in _leases(strategy, CHECK_CLIENTS))
    return [chosen[server.name] for server in servers]


def _leases(strategy: Strategy, clients: int) -> Iterator[Server]:
    """Yield the server of each client. Its connection stays open until ``CHECK_OPEN`` others have come."""
    held: deque[Server] = deque()
    for number in range(clients):
        server = lease(strategy, client(number))
        if server is None:
            raise RuleViolationError("it chose no server with all servers available")
        held.append(server)
        yield server
        if len(held) > CHECK_OPEN:
            release(strategy, held.popleft())


def _homes(strategy: Strategy, numbers: Sequence[int]) -> dict[int, Server]:
    """Return the server of each client, picked with no open connections."""
    homes = {}
    for number in numbers:
        server = lease(strategy, client(number))
        if server is None:
            raise RuleViolationError("it chose no server with servers available")
        homes[number] = server
        release(strategy, server)
    return homes


def _keeps_clients(strategy: Strategy) -> bool:
    """Return whether a client gets the same server, in whatever order clients come."""
    numbers = range(SOME_CLIENTS)
    return _homes(strategy, numbers) == _homes(strategy, numbers[::-1])


def _disruption(make: Make) -> Finding:
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    if not _keeps_clients(strategy):
        return Finding("disruption", "ok", "not applicable: clients are not tied to a server")
    numbers = range(SOME_CLIENTS)
    homes = _homes(strategy, numbers)
    out, removed, away = 0.0, 0.0, 0.0
    for gone in (servers[0], servers[4], servers[-1]):
        others = [number for number in numbers if homes[number] is not gone]
        strategy.disable(gone)
        out = max(out, _moved(homes, _homes(strategy, others)))
        use(strategy, [server for server in servers if server is not gone])
        removed = max(removed, _moved(homes, _homes(strategy, others)))
        use(strategy, servers)
        strategy.enable(gone)
        away = max(away, _moved(homes, _homes(strategy, numbers)))
    text = (
        f"{out:.1%} of the other servers' clients move when one of ten servers is down, {removed:.1%} when it is "
        f"removed; {away:.1%} of all clients do not return when it is back"
    )
    return Finding("disruption", "warn" if max(out, removed) > MANY_MOVE else "ok", text)


def _moved(before: dict[int, Server], after: dict[int, Server]) -> float:
    """Return the share of the clients in ``after`` that have another server than in ``before``."""
    return sum(before[number] is not server for number, server in after.items()) / len(after) if after else 0.0


def _reload(make: Make) -> Finding:
    """Check that a failed reload, or one with the same list, keeps turns, credits and the servers of clients."""
    strategy = start(make(), servers := make_servers(*EQUAL))
    finish(strategy.build([server.spec for server in make_servers(1, 2, 3)]))
    if list(strategy.servers) != servers or strategy.pick(client(0), ()) not in servers:
        raise RuleViolationError("`build` changes the state in use; it is also called for lists that never take effect")
    if _keeps_clients(strategy):
        homes = _homes(strategy, range(SOME_CLIENTS))
        use(strategy, servers)
        if moved := _moved(homes, _homes(strategy, range(SOME_CLIENTS))):
            raise RuleViolationError(f"{moved:.1%} of the clients move at a reload without changes")
        return Finding("reload", "ok", "no client moves at a reload without changes")
    quiet = _most_after_reloads(start(make(), make_servers(*EQUAL)), reloads=False)
    moving = _most_after_reloads(start(make(), make_servers(*EQUAL)), reloads=True)
    if moving > UNEVEN * quiet:
        raise RuleViolationError(
            f"reloads without changes reset its turns: with one every {BETWEEN_RELOADS} clients, the busiest of 10 "
            f"servers gets {moving:.0%} of them; without reloads, {quiet:.0%}"
        )
    return Finding("reload", "ok", "reloads without changes do not affect the shares")


def _most_after_reloads(strategy: Strategy, *, reloads: bool) -> float:
    """Return the share of the busiest server."""
    servers = strategy.servers
    chosen: Counter[str] = Counter()
    for number, server in enumerate(_leases(strategy, RELOADS * BETWEEN_RELOADS)):
        chosen[server.name] += 1
        if reloads and not number % BETWEEN_RELOADS:
            use(strategy, servers)
    return max(chosen.values()) / chosen.total()


def _determinism(make: Make, in_other_process: Callable[[], Sequence[str]] | None) -> Finding:
    first, again = choices(make), choices(make)
    differ = _differing(first, again)
    if make().random:
        if differ:
            return Finding(
                "determinism", "ok", f"random, as declared: {differ:.0%} of the picks differ between two objects"
            )
        return Finding("determinism", "warn", "it declares `random = True`, but two objects make the same picks")
    if differ:
        raise RuleViolationError(
            f"two objects with the same calls differ in {differ:.0%} of the picks; "
            "if the strategy is meant to be random, declare `random = True`"
        )
    if in_other_process is not None and (differ := _differing(first, in_other_process())):
        raise RuleViolationError(
            f"another process differs in {differ:.0%} of the picks: does it depend on hash() or on the order of a set? "
            "Those vary between processes, so workers disagree, and so does the balancer after a restart"
        )
    return Finding("determinism", "ok", "two objects with the same calls make the same picks")


def _differing(one: Sequence[str], other: Sequence[str]) -> float:
    """Return the share of different picks."""
    return sum(a != b for a, b in zip(one, other, strict=True)) / len(one)
