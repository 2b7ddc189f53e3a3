"""Each check, with a strategy that has exactly the defect or property that it looks for."""

import itertools
import random
import time
from contextlib import contextmanager

import pytest

from lb.tools.strategy_kit import bench as strategy_bench
from lb.tools.strategy_kit.bench import costs
from lb.tools.strategy_kit.checks import checks, choices, examine
from lb.tools.strategy_kit.trial import CheckTimeoutError, RuleViolationError
from strategies.base import Strategy, View
from strategies.random_two import RandomTwo
from strategies.round_robin import RoundRobin


class Turns(Strategy):
    """Picks in turn, without the defects below."""

    turn = 0

    def pick(self, client, tried):
        self.turn += 1
        left = list(self.candidates(tried))
        return left[self.turn % len(left)] if left else None


class Tries(Turns):
    def pick(self, client, tried):
        return super().pick(client, ())


class Deaf(Turns):
    def pick(self, client, tried):
        self.turn += 1
        left = [server for server in self.servers if server not in tried]
        return left[self.turn % len(left)] if left else None


class GivesUp(Turns):
    def pick(self, client, tried):
        return None if tried else super().pick(client, tried)


class Forgets(Turns):
    def disable(self, server):
        pass


class Trips(Turns):
    def load_changed(self, server):
        self.servers.index(server)


class Divides(Turns):
    def pick(self, client, tried):
        self.turn += 1
        left = list(self.candidates(tried))
        return left[self.turn % len(left)]


class Hopes(Turns):
    def pick(self, client, tried):
        return super().pick(client, tried) or next(iter(self.servers), None)


class Remembers(Turns):
    def use(self, servers, built):
        self.ever = list(dict.fromkeys([*getattr(self, "ever", ()), *servers]))
        super().use(servers, built)

    def pick(self, client, tried):
        self.turn += 1
        return self.ever[self.turn % len(self.ever)]


class Mourns(Remembers):
    def pick(self, client, tried):
        gone = [server for server in self.ever if server not in self.servers and server not in tried]
        return Turns.pick(self, client, tried) or next(iter(gone), None)


class Prefers(Turns):
    def pick(self, client, tried):
        first = next(self.candidates(tried), None)
        return first if client.port % 2 else super().pick(client, tried)


class Squares(Turns):
    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return min(left, key=lambda server: server.active / server.weight**2, default=None)


class Modulus(Strategy):
    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return left[int(client.host.replace(".", "")) % len(left)] if left else None


class Salted(Modulus):
    salt = 0

    def use(self, servers, built):
        self.salt += 1
        super().use(servers, built)

    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return left[(client.port + self.salt) % len(left)] if left else None


class StartsOver(RoundRobin):
    def use(self, servers, built):
        super().use(servers, built)
        self._next = 0


class BuildsInPlace(Turns):
    def build(self, servers):
        self.servers = ()
        return
        yield


class Exits(Turns):
    def pick(self, client, tried):
        raise SystemExit(3)


class Chance(Strategy):
    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return random.choice(left) if left else None


class SaidChance(Chance):
    random = True


class NoChance(Turns):
    random = True


class Hashes(Strategy):
    seed = 0

    def pick(self, client, tried):
        left = list(self.candidates(tried))
        return left[(int(client.host.split(".")[3]) + self.seed) % len(left)] if left else None


class HashesElsewhere(Hashes):
    seed = 1


class TellsWrong(RoundRobin):
    def explain(self, client, candidates):
        view = super().explain(client, candidates)
        return View(view.decides, view.order[::-1])


class TakesTurns(Turns):
    def explain(self, client, candidates):
        self.turn += 1
        return super().explain(client, candidates)


class TellsNone(Turns):
    def explain(self, client, candidates):
        return View("turn", ())


class TellsWords(Turns):
    def explain(self, client, candidates):
        return View("unknown", [(server, {"mood": "good"}) for server in self.servers])


class TellsOfStrangers(Turns):
    def explain(self, client, candidates):
        return View("unknown", [("s1", {})])


class TellsWhim(Turns):
    def explain(self, client, candidates):
        return View("whim", ())


class Stutters(Turns):
    def explain(self, client, candidates):
        raise LookupError("no idea")


def finding(strategy, check, elsewhere=None):
    return next(found for found in examine(checks(strategy, elsewhere)) if found.check == check)


def test_a_plain_strategy_has_no_findings():
    assert {found.verdict for found in examine(checks(Turns))} == {"ok"}


@pytest.mark.parametrize(
    ("strategy", "check", "verdict", "text"),
    [
        (Tries, "choice", "fail", "which was tried before"),
        (Deaf, "choice", "fail", "which is not available"),
        (Mourns, "choice", "fail", "which is not in the list"),
        (GivesUp, "choice", "fail", "it chose no server, although"),
        (
            Forgets,
            "choice",
            "fail",
            "`available` is wrong after disable: does an overriding method not call super().disable()?",
        ),
        (Trips, "choice", "fail", "it raised ValueError: tuple.index(x): x not in tuple"),
        (Exits, "choice", "fail", "it raised SystemExit: 3"),
        (Divides, "none", "fail", "it raised ZeroDivisionError"),
        (Hopes, "none", "fail", "it chose s1 with all servers tried; it must be None"),
        (Remembers, "weight-0", "fail", "it chose s4 after a reload that gave it weight 0"),
        (Prefers, "balance", "warn", "each of 10 equal servers gets"),
        (Squares, "weights", "warn", "neither equal nor proportional to the weights"),
        (Turns, "weights", "ok", "ignored: weights 1, 2, 3, 4 get 25%"),
        (Modulus, "disruption", "warn", "move when one of ten servers is down"),
        (Turns, "disruption", "ok", "not applicable"),
        (Salted, "reload", "fail", "100.0% of the clients move at a reload without changes"),
        (StartsOver, "reload", "fail", "reloads without changes reset its turns"),
        (BuildsInPlace, "reload", "fail", "`build` changes the state in use"),
        (Chance, "determinism", "fail", "declare `random = True`"),
        (SaidChance, "determinism", "ok", "random, as declared"),
        (NoChance, "determinism", "warn", "it declares `random = True`, but"),
        (Turns, "explain", "ok", "does not report its criterion"),
        (RoundRobin, "explain", "ok", "reports its criterion (turn), and does not change the picks"),
        (RandomTwo, "explain", "ok", "reports its criterion (chance)"),
        (TellsWrong, "explain", "fail", "`explain` announces s"),
        (TakesTurns, "explain", "fail", "pick differently if `explain` is also called"),
        (TellsNone, "explain", "fail", "`explain` lists none of the"),
        (TellsWords, "explain", "fail", "`explain` must map names to numbers for s1"),
        (TellsOfStrangers, "explain", "fail", "`explain` lists 's1', which is not a server of the pool"),
        (TellsWhim, "explain", "fail", "`explain` returns decides='whim'; it must be one of client, request, order"),
        (Stutters, "explain", "fail", "it raised LookupError: no idea"),
    ],
)
def test_a_check_finds_it(strategy, check, verdict, text):
    found = finding(strategy, check)
    assert found.verdict == verdict
    assert text in found.text


def test_a_strategy_that_differs_from_process_to_process_is_found():
    assert finding(Hashes, "determinism", lambda: choices(Hashes)).verdict == "ok"
    found = finding(Hashes, "determinism", lambda: choices(HashesElsewhere))
    assert found.verdict == "fail"
    assert "another process differs in" in found.text


def test_a_strategy_that_fails_in_another_process_is_found():
    def elsewhere():
        raise RuleViolationError("it fails in another process: no")

    assert finding(Hashes, "determinism", elsewhere).text == "it fails in another process: no"


def test_what_takes_too_long_is_not_asked_further():
    @contextmanager
    def limited():
        yield
        raise CheckTimeoutError("it was stopped after 20 s")

    (found,) = examine(checks(Turns), limited)
    assert (found.check, found.verdict) == ("choice", "fail")
    assert found.text == "it was stopped after 20 s; the remaining checks are skipped"


@pytest.fixture
def clock(monkeypatch):
    """CPU time that only the strategies advance. A search of the list takes 1 µs per server."""
    clock = type("Clock", (), {"now": 0.0})()

    class Search(Turns):
        def pick(self, client, tried):
            clock.now += len(self.servers) * 1e-6

    monkeypatch.setattr(strategy_bench, "thread_time", lambda: clock.now)
    monkeypatch.setattr(strategy_bench, "Search", Search)
    return clock


def measured(clock, seconds_per_pick=lambda servers: 1e-6, slices=(0.001,)):
    class Timed(Turns):
        def pick(self, client, tried):
            clock.now += seconds_per_pick(len(self.servers))
            return next(self.candidates(tried))

        def build(self, servers):
            for slice_ in slices:
                clock.now += slice_
                yield

    return examine(costs(Timed))


def test_a_pick_that_grows_with_the_list_is_found(clock):
    cost, _ = measured(clock, lambda servers: servers * 1e-6)
    assert cost.verdict == "warn"
    assert cost.text.startswith("10.0 and 1000.0 µs of CPU with 10 and 1,000 servers")
    cost, _ = measured(clock, lambda servers: 1e-6 if servers < 100 else 330e-6)
    assert (cost.verdict, cost.text) == (
        "ok",
        "1.0 and 330.0 µs of CPU with 10 and 1,000 servers, 1.0 and 330.0 µs when the first half is down",
    )


def test_of_several_rounds_the_best_counts(clock):
    picks = itertools.count()

    def disturbed(_servers):
        return 1e-6 if next(picks) // strategy_bench.BENCH_CLIENTS % 4 else 1.0

    cost, _ = measured(clock, disturbed)
    assert (cost.verdict, cost.text.partition(" of CPU")[0]) == ("ok", "1.0 and 1.0 µs")


class Sleeps(Turns):
    """Takes no CPU time, but blocks all connections."""

    def pick(self, client, tried):
        if not client.port % 64:
            time.sleep(1e-4)  # noqa: TID251 - the defect to find
        return next(self.candidates(tried))


class SleepsAtBuild(Turns):
    def build(self, servers):
        time.sleep(1e-4)  # noqa: TID251 - the defect to find
        return
        yield


def test_a_strategy_that_waits_is_found():
    for strategy, check in ((Sleeps, "cost"), (SleepsAtBuild, "build")):
        found = dict(costs(strategy))[check]()
        assert found.verdict == "warn"
        assert "it sleeps or waits for I/O" in found.text


def test_a_build_without_pauses_is_found(clock):
    _, build = measured(clock, slices=(0.001, 0.020))
    assert build.verdict == "warn"
    assert build.text.startswith("21.0 ms of CPU for a list of 1,000 servers, longest slice 20.0 ms")
    _, build = measured(clock, slices=itertools.repeat(0.001, 21))
    assert build.verdict == "ok"
