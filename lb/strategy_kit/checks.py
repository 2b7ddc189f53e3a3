"""What a strategy is worth, found out by asking it: ``lb strategy test``. Built-ins are held to the same.

No clock here: what a pick costs is in :mod:`lb.strategy_kit.bench`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Literal, TypeAlias

import attrs

from lb.model import Server
from lb.strategy_drive import client, finish, lease, release, start, use
from lb.strategy_kit.explaining import Make, what_it_tells
from lb.strategy_kit.trial import Misbehaved, TooLong, Trial, history, make_servers
from strategies.base import Strategy

__all__ = ["Check", "Finding", "Make", "checks", "choices", "examine"]

EQUAL = (1,) * 10
CLIENTS = 3_000
SOME_CLIENTS = 1_000
OPEN = 200
"""Connections open at a time; strategies that go by load have something to go by."""
STEPS = 3_000
RELOADS = 30
BETWEEN_RELOADS = 3
UNEVEN = 2.0
"""Times the share that a server should have. A guess: a ketama table of ten servers stays below 1.3."""
MANY_MOVE = 0.2
"""Of the other clients when one of ten servers goes. A guess: a maglev table moves under 1 %, a modulus 90 %."""


@attrs.frozen
class Finding:
    """What one check came to."""

    check: str
    verdict: Literal["ok", "warn", "fail"]
    """``warn``: allowed, and may be just what it is for, but better known."""
    text: str


Check: TypeAlias = tuple[str, Callable[[], Finding]]
"""What it is called, and how it is carried out."""


def checks(make: Make, elsewhere: Callable[[], Sequence[str]] | None = None) -> Sequence[Check]:
    """All of them. ``elsewhere`` tells what :func:`choices` comes to in another process, and may raise Misbehaved."""
    return (
        ("choice", lambda: _choice(make)),
        ("none", lambda: _none(make)),
        ("weight-0", lambda: _weight_0(make)),
        ("balance", lambda: _balance(make)),
        ("weights", lambda: _weights(make)),
        ("disruption", lambda: _disruption(make)),
        ("reload", lambda: _reload(make)),
        ("determinism", lambda: _determinism(make, elsewhere)),
        ("explain", lambda: Finding("explain", "ok", what_it_tells(make))),
    )


def examine(
    todo: Iterable[Check], limited: Callable[[], AbstractContextManager[object]] = nullcontext
) -> Iterator[Finding]:
    """What these checks come to, one after another, each within ``limited()``, which may raise TooLong.

    One that takes too long is the last: the others would, too.
    """
    for name, check in todo:
        try:
            with limited():
                finding = check()
        except TooLong as misbehaviour:
            yield Finding(name, "fail", f"{misbehaviour}; nothing else is asked of it")
            return
        except Misbehaved as misbehaviour:
            finding = Finding(name, "fail", str(misbehaviour))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - somebody else's code: it may raise anything
            finding = Finding(name, "fail", f"it raised {type(error).__name__}: {error}")
        yield finding


def choices(make: Make) -> list[str]:
    """The names that a new strategy chooses in a history that is always the same."""
    trial = Trial(make())
    for step in history(Random(1), STEPS):  # noqa: S311 - no secret
        trial.take(step)
    return trial.picks


def _choice(make: Make) -> Finding:
    picks = choices(make)
    return Finding("choice", "ok", f"{len(picks):,} picks: always a server that was available and not tried")


def _none(make: Make) -> Finding:
    """Nobody is there, or all are out, or all were tried."""
    _expect_nobody(make(), "before the first list")
    _expect_nobody(start(make(), []), "with an empty list")
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    _expect_nobody(strategy, "with all servers tried", servers)
    for server in servers:
        strategy.disable(server)
    _expect_nobody(strategy, "with all servers out")
    return Finding("none", "ok", "None with an empty list, with all servers out, and with all tried")


def _expect_nobody(strategy: Strategy, when: str, tried: Sequence[Server] = ()) -> None:
    chosen = strategy.pick(client(0), tried)
    if chosen is not None:
        raise Misbehaved(f"it chose {getattr(chosen, 'name', repr(chosen))} {when}; it must be None")


def _weight_0(make: Make) -> Finding:
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    held = list(filter(None, (lease(strategy, client(number)) for number in range(OPEN))))
    gone = servers[3]
    gone.spec = attrs.evolve(gone.spec, weight=0)
    use(strategy, [server for server in servers if server is not gone])
    for number, server in enumerate(held):
        release(strategy, server)
        if strategy.pick(client(OPEN + number), ()) is gone:
            raise Misbehaved(f"it chose {gone.name} after a reload that gave it weight 0")
    return Finding("weight-0", "ok", "a server that a reload gives weight 0 is not chosen again")


def _balance(make: Make) -> Finding:
    counts = _counts(make, EQUAL)
    least, most = min(counts) / CLIENTS, max(counts) / CLIENTS
    text = f"of 10 equal servers each gets {least:.1%} to {most:.1%} of the clients"
    if not min(counts):
        idle = counts.count(0)
        return Finding("balance", "warn", f"{idle} of 10 equal servers {'gets' if idle == 1 else 'get'} no clients")
    even = max(most * 10, 0.1 / least) <= UNEVEN
    return Finding("balance", "ok" if even else "warn", text)


def _weights(make: Make) -> Finding:
    weights = (1, 2, 3, 4)
    counts = _counts(make, weights)
    shares = ", ".join(f"{count / CLIENTS:.0%}" for count in counts)
    by_weight = [count / CLIENTS * sum(weights) / weight for count, weight in zip(counts, weights, strict=True)]
    equal = [count / CLIENTS * len(weights) for count in counts]
    if _spread(by_weight) <= min(_spread(equal), UNEVEN):
        return Finding("weights", "ok", f"heeded: weights 1, 2, 3, 4 get {shares} of the clients")
    if _spread(equal) <= UNEVEN:
        return Finding("weights", "ok", f"no part of it: weights 1, 2, 3, 4 get {shares} of the clients")
    return Finding("weights", "warn", f"weights 1, 2, 3, 4 get {shares} of the clients: neither equal nor by weight")


def _spread(shares: Sequence[float]) -> float:
    """How far they are from 1, as a factor."""
    return max(*shares, 1 / min(shares)) if min(shares) else float("inf")


def _counts(make: Make, weights: Sequence[int]) -> list[int]:
    """How many clients each server gets, while some connections are open."""
    servers = make_servers(*weights)
    strategy = start(make(), servers)
    chosen = Counter(server.name for server in _leases(strategy, CLIENTS))
    return [chosen[server.name] for server in servers]


def _leases(strategy: Strategy, clients: int) -> Iterator[Server]:
    """Each client's server; its connection is open until ``OPEN`` others have come."""
    held: deque[Server] = deque()
    for number in range(clients):
        server = lease(strategy, client(number))
        if server is None:
            raise Misbehaved("it chose nobody with all servers available")
        held.append(server)
        yield server
        if len(held) > OPEN:
            release(strategy, held.popleft())


def _homes(strategy: Strategy, numbers: Sequence[int]) -> dict[int, Server]:
    """Each client's server, asked when no connection is open."""
    homes = {}
    for number in numbers:
        server = lease(strategy, client(number))
        if server is None:
            raise Misbehaved("it chose nobody with servers available")
        homes[number] = server
        release(strategy, server)
    return homes


def _keeps_clients(strategy: Strategy) -> bool:
    """The same client gets the same server, in whatever order they come."""
    numbers = range(SOME_CLIENTS)
    return _homes(strategy, numbers) == _homes(strategy, numbers[::-1])


def _disruption(make: Make) -> Finding:
    servers = make_servers(*EQUAL)
    strategy = start(make(), servers)
    if not _keeps_clients(strategy):
        return Finding("disruption", "ok", "does not apply: a client has no server of its own")
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
        f"of the other servers' clients {out:.1%} move when one of ten is out, {removed:.1%} when it leaves the list; "
        f"once it is back {away:.1%} of all are not home again"
    )
    return Finding("disruption", "warn" if max(out, removed) > MANY_MOVE else "ok", text)


def _moved(before: dict[int, Server], after: dict[int, Server]) -> float:
    """The share of those asked ``after`` that have another server than ``before``."""
    return sum(before[number] is not server for number, server in after.items()) / len(after) if after else 0.0


def _reload(make: Make) -> Finding:
    """One that fails, or brings the same list again, is no change: turns, credits and clients' homes go on."""
    strategy = start(make(), servers := make_servers(*EQUAL))
    finish(strategy.build([server.spec for server in make_servers(1, 2, 3)]))
    if list(strategy.servers) != servers or strategy.pick(client(0), ()) not in servers:
        raise Misbehaved("`build` changes what is in use; it is called for lists that may never be")
    if _keeps_clients(strategy):
        homes = _homes(strategy, range(SOME_CLIENTS))
        use(strategy, servers)
        if moved := _moved(homes, _homes(strategy, range(SOME_CLIENTS))):
            raise Misbehaved(f"{moved:.1%} of the clients move at a reload that changes nothing")
        return Finding("reload", "ok", "no client moves at a reload that changes nothing")
    quiet = _most_after_reloads(start(make(), make_servers(*EQUAL)), reloads=False)
    moving = _most_after_reloads(start(make(), make_servers(*EQUAL)), reloads=True)
    if moving > UNEVEN * quiet:
        raise Misbehaved(
            f"reloads that change nothing reset its turns: with one every {BETWEEN_RELOADS} clients the busiest of 10 "
            f"servers gets {moving:.0%} of them, without {quiet:.0%}"
        )
    return Finding("reload", "ok", "shares stay as they are over reloads that change nothing")


def _most_after_reloads(strategy: Strategy, *, reloads: bool) -> float:
    """The busiest server's share of the clients."""
    servers = strategy.servers
    chosen: Counter[str] = Counter()
    for number, server in enumerate(_leases(strategy, RELOADS * BETWEEN_RELOADS)):
        chosen[server.name] += 1
        if reloads and not number % BETWEEN_RELOADS:
            use(strategy, servers)
    return max(chosen.values()) / chosen.total()


def _determinism(make: Make, elsewhere: Callable[[], Sequence[str]] | None) -> Finding:
    first, again = choices(make), choices(make)
    differ = _differing(first, again)
    if make().random:
        if differ:
            return Finding(
                "determinism", "ok", f"random, as it says: {differ:.0%} of the same picks come out otherwise"
            )
        return Finding("determinism", "warn", "it says `random = True`, but two objects choose the same all the time")
    if differ:
        raise Misbehaved(
            f"two objects that were asked the same choose otherwise in {differ:.0%} of the picks; "
            "if chance is meant to play a part, say so: `random = True`"
        )
    if elsewhere is not None and (differ := _differing(first, elsewhere())):
        raise Misbehaved(
            f"another process chooses otherwise in {differ:.0%} of the picks: does it go by hash() or the order of a "
            "set? Those differ from process to process, so workers do not agree, nor does the balancer after a restart"
        )
    return Finding("determinism", "ok", "two objects that are asked the same choose the same")


def _differing(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of the picks."""
    return sum(a != b for a, b in zip(one, other, strict=True)) / len(one)
