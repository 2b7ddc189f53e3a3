"""Predicted picks: the strategies' figures, and the reasons for servers that are not chosen."""

from __future__ import annotations

import json
from random import Random

import pytest

from healthcheck.result import Advice, CheckResult
from lb.events import Fault
from lb.explain.explain import expected_share, explain, explained
from lb.model import PluginSpec
from lb.model.address import Client
from lb.model.decision import MOST_NAMED
from strategies.base import Strategy, View
from tests.support.pooling import CLIENT, Harness, server, servers
from tests.support.strategy_driver import finish

# Figures of the strategies


def told(*specs, strategy, client=CLIENT, tried=(), before=lambda harness: None, **options):
    harness = Harness(*specs, strategy=PluginSpec(strategy, tuple(options.pop("plug", {}).items())), **options)
    before(harness)
    return explain(harness.pool, client, [harness[name] for name in tried])


def figures(decision):
    return {each.name: dict(each.figures) for each in decision.servers}


def test_round_robin_tells_the_turns_of_those_who_have_one():
    decision = told(
        *servers("abc"), strategy="round-robin", before=lambda pool: (pool.pick(), pool.check("c", False, 3))
    )
    assert [each.name for each in decision.servers] == ["b", "c", "a"]
    assert figures(decision) == {"a": {"turn": 2, "share": 0.5}, "b": {"turn": 1, "share": 0.5}, "c": {}}
    assert (decision.chosen, decision.decides) == ("b", "turn")


def test_weighted_tells_credits_as_the_pick_compares_them():
    specs = (server("a", weight=5), server("b", weight=1), server("c", weight=1))
    decision = told(*specs, strategy="weighted", before=lambda pool: pool.picks(1))
    assert {name: each["credit"] for name, each in figures(decision).items()} == {"a": 3, "b": 2, "c": 2}
    assert sum(each["share"] for each in figures(decision).values()) == pytest.approx(1)
    assert decision.chosen == "a"


def test_least_conn_tells_loads_and_between_equal_ones_whose_turn_is_first():
    specs = (server("a", weight=2), *servers("bc"))
    decision = told(*specs, strategy="least-conn", before=lambda pool: [pool.pick() for _ in range(4)])
    assert [each.name for each in decision.servers] == ["a", "b", "c"]
    assert {name: each["load"] for name, each in figures(decision).items()} == {"a": 1, "b": 1, "c": 1}
    deadlines = {name: each["deadline"] for name, each in figures(decision).items()}
    assert deadlines == pytest.approx({"a": 0.5, "b": 1, "c": 1}, abs=1e-6)
    assert decision.chosen == "a"


@pytest.mark.parametrize("failback", [True, False])
@pytest.mark.parametrize("here", [True, False])
def test_first_tells_the_order_in_every_process(failback, here):
    harness = Harness(*servers("abc"), strategy=PluginSpec("first", (("failback", failback),)))
    harness.now = 5.0
    harness.check("a", False, 3)
    harness.now = 9.0
    harness.check("a", True, 2)
    decision = finish(explained(harness.pool, CLIENT, here=here))
    assert decision.decides == "order"
    assert decision.chosen == harness.pick().name == ("a" if failback else "b")
    assert [each.name for each in decision.servers] == (["a", "b", "c"] if failback else ["b", "c", "a"])
    assert [each.figures for each in decision.servers] == [{"share": 1}, {"share": 0}, {"share": 0}]


def test_random_two_tells_chances_and_no_more():
    specs = servers("abc")
    decision = told(*specs, strategy="random-two", before=lambda pool: pool["a"].leases.add(1))
    assert {name: each["share"] for name, each in figures(decision).items()} == {"a": 0, "b": 0.5, "c": 0.5}
    assert (decision.chosen, decision.counts) == (None, {"candidate": 3})
    assert told(*specs, strategy="random-two", tried="ab").chosen == "c"


def test_random_two_draws_what_it_would_have_drawn():
    strategies = [
        Harness(*servers("abcd"), strategy=PluginSpec("random-two")).pool.groups[0].strategy for _ in range(2)
    ]
    for strategy in strategies:
        strategy.rng = Random(7)
    asked, alone = strategies
    for _ in range(20):
        asked.explain(CLIENT, set(asked.servers))
        assert asked.pick(CLIENT, ()).name == alone.pick(CLIENT, ()).name


def test_the_chances_of_random_two_are_those_that_it_gives():
    harness = Harness(*servers("abcd"), strategy=PluginSpec("random-two"))
    harness["a"].leases.add(1)
    harness["b"].leases.add(1)
    shares = {name: each["share"] for name, each in figures(explain(harness.pool, CLIENT)).items()}
    strategy = harness.pool.groups[0].strategy
    strategy.rng = Random(1)
    picks = [strategy.pick(CLIENT, ()).name for _ in range(20_000)]
    assert {name: picks.count(name) / 20_000 for name in "abcd"} == pytest.approx(shares, abs=0.02)


def test_a_hash_tells_where_the_client_is_and_whose_place_was_passed_over():
    specs = servers("abcd")
    up = told(*specs, strategy="consistent-hash")
    home, following = (each.name for each in up.servers[:2])
    assert up.key.keys() == {"key", "position", "of"}
    assert (up.key["key"], up.key["of"], up.servers[0].figures) == ("10.1.2.3", 65537, {"distance": 0})
    down = told(*specs, strategy="consistent-hash", before=lambda pool: pool.check(home, False, 3))
    assert [(each.name, each.verdict, each.reason) for each in down.servers[:2]] == [
        (home, "down", "HTTP 503"),
        (following, "chosen", ""),
    ]


def test_a_hash_of_the_port_cannot_be_told_without_it():
    plug = {"key": "source-ip-port"}
    known = told(*servers("ab"), strategy="consistent-hash", plug=plug)
    unknown = told(*servers("ab"), strategy="consistent-hash", plug=plug, client=Client("10.1.2.3", 0))
    assert (known.decides, known.key["key"]) == ("client", "10.1.2.3:5555")
    assert (unknown.decides, unknown.chosen) == ("unknown", None)


# Reasons


def test_why_each_server_is_passed_over():
    def before(pool):
        pool.check("down", False, 3)
        for _ in range(3):
            pool.pool.connect_failed(pool["ejected"], "connection refused", 0.0)
        pool["full"].leases.add(2)
        drain = CheckResult(passed=True, detail="up", ms=1.0, advice=Advice(None, "drain"))
        pool.pool.checked(pool["agent"], drain, 0.0)

    specs = (
        *servers(["good", "tried", "down", "ejected", "agent"]),
        server("zero", weight=0),
        server("full", max_connections=2),
        server("spare", backup=True),
    )
    decision = told(*specs, strategy="round-robin", tried=["tried"], before=before)
    assert {each.name: (each.verdict, each.reason) for each in decision.servers} == {
        "good": ("chosen", ""),
        "tried": ("tried", ""),
        "down": ("down", "HTTP 503"),
        "ejected": ("ejected", "connection refused"),
        "agent": ("draining", "by its agent check"),
        "zero": ("draining", "weight 0"),
        "full": ("full", "2 of 2 connections"),
        "spare": ("backup", ""),
    }


def test_a_server_that_ramps_is_held_back_after_its_pick():
    harness = Harness(*servers("ab"), strategy=PluginSpec("least-conn"), slow_start=10.0)
    harness.check("b", False, 3)
    harness.check("b", True, 2)
    harness.now = 1.0
    harness.pool.ramp(harness.now)
    decision = explain(harness.pool, CLIENT)
    assert {each.name: (each.verdict, each.reason) for each in decision.servers} == {
        "a": ("chosen", ""),
        "b": ("slow start", "at 10% of its weight"),
    }
    assert explain(harness.pool, CLIENT, [harness["a"]]).chosen == "b", "no other server is left"
    for _ in range(30):
        assert explain(harness.pool, CLIENT).chosen == harness.pick().name
    assert harness["b"].active == 2, "it got its turns meanwhile"


@pytest.mark.parametrize(
    ("options", "otherwise"),
    [
        ({}, "reject"),
        ({"when_all_down": "hold"}, "hold"),
        ({"queue": 1}, "queue"),
        ({"when_all_down": "any"}, "reject"),
    ],
)
def test_what_becomes_of_a_client_without_a_server(options, otherwise):
    full = server("a", max_connections=1)
    decision = told(full, strategy="round-robin", before=lambda pool: pool.pick(), **options)
    assert (decision.chosen, decision.otherwise, decision.counts) == (None, otherwise, {"full": 1})


def test_health_is_left_aside_if_the_pool_says_so():
    decision = told(
        *servers("a"), strategy="round-robin", when_all_down="any", before=lambda pool: pool.check("a", False, 3)
    )
    assert (decision.chosen, decision.servers[0].reason) == ("a", "HTTP 503")


# Other processes make the picks


def elsewhere(harness):
    return finish(explained(harness.pool, CLIENT, here=False))


def test_where_others_pick_turns_are_not_told_and_loads_are_those_of_now():
    harness = Harness(*servers("ab"), strategy=PluginSpec("round-robin"))
    decision = elsewhere(harness)
    assert (decision.chosen, figures(decision)) == (None, {"a": {"share": 0.5}, "b": {"share": 0.5}})
    harness.reload(*servers("ab"), strategy=PluginSpec("least-conn"))
    harness["a"].leases.add(3)  # the strategy is not informed
    decision = elsewhere(harness)
    assert [(each.name, each.figures["load"]) for each in decision.servers] == [("b", 0), ("a", 3)]
    harness.reload(*servers("ab"), strategy=PluginSpec("consistent-hash"))
    assert elsewhere(harness) == explain(harness.pool, CLIENT)


def test_of_those_who_are_no_candidates_the_loads_are_those_of_now_as_well():
    specs = (server("a", max_connections=1), server("b", backup=True), *servers("c"))
    harness = Harness(*specs, strategy=PluginSpec("least-conn"))
    harness["a"].leases.add(1)  # the strategy is not informed
    decision = elsewhere(harness)
    assert [(each.verdict, each.active, each.figures.get("load")) for each in decision.servers if each.name == "a"] == [
        ("full", 1, 1)
    ]


def test_the_least_load_is_the_same_in_all_processes():
    harness = Harness(*servers("abc"), strategy=PluginSpec("least-conn"))
    harness["a"].leases.add(1)
    assert elsewhere(harness).chosen is None, "between b and c the last picks decide"
    harness["b"].leases.add(1)
    assert elsewhere(harness).chosen == "c"
    harness.reload(*servers("abc"), slow_start=10.0)
    assert elsewhere(harness).chosen is None, "the workers may hold it back"
    harness.reload(*servers("abc"), strategy=PluginSpec("random-two"))
    assert elsewhere(harness).chosen is None


def test_servers_may_come_up_and_go_while_one_looks():
    harness = Harness(*servers("abcd"), strategy=PluginSpec("round-robin"))
    harness.check("b", False, 3)
    work = explained(harness.pool, CLIENT)
    for _ in range(2):  # the choice is made, but no server has been listed yet
        next(work)
    harness.check("b", True, 2)
    harness.reload(*servers("abc"))
    verdicts = {each.name: each.verdict for each in finish(work).servers}
    assert verdicts == {"a": "chosen", "b": "candidate", "c": "candidate"}


def test_servers_are_supposed_to_be_down():
    harness = Harness(*servers("abc"), strategy=PluginSpec("round-robin"))
    decision = finish(explained(harness.pool, CLIENT, without=["a"]))
    assert decision.chosen == "b"
    assert [(each.verdict, each.reason) for each in decision.servers if each.name == "a"] == [("down", "assumed")]
    assert harness.pick().name == "a", "its state has not changed"


# Plug-ins


class Silent(Strategy):
    def pick(self, client, tried):
        return next(self.candidates(tried), None)


class Broken(Silent):
    def explain(self, client, candidates):
        raise LookupError("no idea")


class Nonsense(Silent):
    def explain(self, client, candidates):
        return View("load", [(server, {"load": "little"}) for server in self.servers])


class Confused(Silent):
    def explain(self, client, candidates):
        return View("load", [("the best one", {}), *super().explain(client, candidates).order[1:]])


@pytest.mark.parametrize(
    ("plug_in", "decides", "faults"),
    [(Silent, "unknown", 0), (Broken, "unknown", 1), (Nonsense, "unknown", 1), (Confused, "load", 0)],
)
def test_a_plug_in_need_not_tell_and_cannot_harm(plug_in, decides, faults):
    harness = Harness(*servers("ab"), strategy=PluginSpec(f"{__name__}:{plug_in.__name__}"))
    decision = explain(harness.pool, CLIENT)
    expected = {"a": "candidate", "b": "candidate"} if decides == "unknown" else {"b": "chosen", "a": "candidate"}
    assert {each.name: each.verdict for each in decision.servers} == expected
    assert decision.decides == decides
    assert len(harness.of(Fault)) == faults


# The record


def test_a_record_is_of_bounded_size_and_names_the_chosen_one():
    harness = Harness(*servers([f"s{number}" for number in range(1000)]), strategy=PluginSpec("consistent-hash"))
    harness.check("s7", False, 3)
    whole = explain(harness.pool, CLIENT)
    short = whole.choosing("s500", "").shortened()
    assert len(short.servers) == MOST_NAMED
    assert [each.name for each in short.servers if each.verdict == "chosen"] == ["s500"]
    assert short.counts == {"chosen": 1, "candidate": 998, "down": 1}
    assert len(json.dumps(short.fields())) < 2_000
    assert whole.choosing(whole.chosen, "") == whole
    assert whole.choosing(None, "reject").counts == {"candidate": 999, "down": 1}


# Expected shares


@pytest.mark.parametrize(
    ("strategy", "shares"),
    [
        ("weighted", {"a": 0.6, "b": 0.2, "c": 0.2}),
        ("least-conn", {"a": 0.6, "b": 0.2, "c": 0.2}),
        ("random-two", {"a": 0.6, "b": 0.2, "c": 0.2}),
        ("consistent-hash", {"a": 0.6, "b": 0.2, "c": 0.2}),
        ("round-robin", {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
        ("first", {"a": 1, "b": 0, "c": 0}),
    ],
)
def test_the_share_that_follows_from_the_weights(strategy, shares):
    specs = (server("a", weight=3), *servers("bc"), server("s", backup=True))
    harness = Harness(*specs, strategy=PluginSpec(strategy))
    harness.pick()
    found = {name: expected_share(harness.pool, backend) for name, backend in harness.pool.backends.items()}
    assert found == pytest.approx(shares | {"s": 0}, abs=0.01)
    harness.check("a", False, 3)
    assert expected_share(harness.pool, harness["a"]) == 0
    for name in "bc":
        harness.check(name, False, 3)
    assert expected_share(harness.pool, harness["s"]) == 1


class DoesNotKnow(Strategy):
    def pick(self, client, tried):
        return next(self.candidates(tried), None)


class KnowsWrong(DoesNotKnow):
    def expected_shares(self, candidates):
        raise LookupError("no idea")


@pytest.mark.parametrize(("strategy", "faults"), [(DoesNotKnow, 0), (KnowsWrong, 1)])
def test_a_strategy_that_knows_no_shares(strategy, faults):
    harness = Harness(*servers("ab"), strategy=PluginSpec(f"{__name__}:{strategy.__name__}"))
    assert expected_share(harness.pool, harness["a"]) is None
    assert len(harness.of(Fault)) == faults
