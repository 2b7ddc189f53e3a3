"""``lb explain``: parsing of the question, routes, the access list, and the share of clients that move."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from lb.console.tables import explanation_table
from lb.explain.explanation import ExplainQuestion, client_of_text, explanation, listener_of, pool_name
from lb.model import PluginSpec, PoolSpec
from lb.model.address import Client, Networks
from lb.model.request import client_with
from strategies.consistent_hash import ConsistentHash
from strategies.driver import SampleRequest
from tests.support.pooling import Harness, server, servers
from tests.support.specs import listener_spec
from tests.support.strategy_driver import finish

CLIENT = Client("10.1.2.3", 0)
SMALL_HASH = PluginSpec("consistent-hash", (("size", 1009),))


def asked(harness, client=CLIENT, without=(), turns="", asks_for="", **listener):
    question = ExplainQuestion(listener_spec("front", (), "web", **listener), client, asks_for, without)
    return finish(explanation(question, harness.pool, turns=turns))


@pytest.mark.parametrize(
    ("text", "client"),
    [
        ("10.1.2.3", ("10.1.2.3", 0)),
        ("10.1.2.3:5555", ("10.1.2.3", 5555)),
        ("::1", ("::1", 0)),
        ("[2001:DB8::1]:80", ("2001:db8::1", 80)),
        ("::ffff:10.1.2.3", ("10.1.2.3", 0)),
        ("unix:", ("", 0)),
    ],
)
def test_a_client_is_read_as_strategies_see_it(text, client):
    assert client_of_text(text) == client


@pytest.mark.parametrize(
    "text", ["", "example.org", "10.1.2", "10.1.2.3:", "10.1.2.3:99999", "[::1]", "[::1]:x", ":80"]
)
def test_what_is_no_client_is_refused(text):
    with pytest.raises(ValueError, match=r"must be an address like 10\.1\.2\.3"):
        client_of_text(text)


def test_the_pool_is_that_of_the_name_that_is_asked_for():
    listener = listener_spec("front", (), "others", sni=(("www.example.org", "www"), ("*.example.org", "apps")))
    names = {"": "others", "WWW.example.org": "www", "a.b.example.org": "apps", "example.com": "others"}
    assert {name: pool_name(ExplainQuestion(listener, CLIENT, name, ())) for name in names} == names


def test_unknown_names_are_refused_with_a_guess():
    with pytest.raises(LookupError, match="there is no listener 'wep', did you mean 'web'"):
        listener_of({"web": listener_spec("web", (), "web")}, "wep")
    with pytest.raises(LookupError, match="the pool 'web' has no server 'c'"):
        asked(Harness(*servers("ab")), without=["c"])
    with pytest.raises(LookupError) as caught:
        asked(Harness(*servers("ab")), without=["c" * 10_000])
    assert len(str(caught.value)) < 120
    with pytest.raises(ValueError, match="must be an address") as caught:
        client_of_text("1" * 10_000)
    assert len(str(caught.value)) < 200


def test_servers_that_are_named_again_are_left_out_once():
    answer = asked(Harness(*servers("abc"), strategy=SMALL_HASH), without=["b", "a", "b"])
    assert answer["without"]["names"] == ["b", "a"]
    assert answer["without"]["chosen"] == "c"


def test_without_the_last_server_nobody_gets_another_one():
    then = asked(Harness(*servers("ab"), strategy=SMALL_HASH), without="ab")["without"]
    assert (then["moves"], then["otherwise"]) == (None, "reject")
    spared = Harness(*servers("ab"), server("s", backup=True), strategy=SMALL_HASH)
    assert asked(spared, without="ab")["without"]["moves"] == {"down": 1, "removed": 1}


def test_a_request_is_explained_by_its_key():
    harness = Harness(*servers("abcd"), strategy=PluginSpec("consistent-hash", (("key", "uri"), ("size", 1009))))
    client = client_with(CLIENT, SampleRequest(7))
    answer = asked(harness, client, without="a")
    assert (answer["source"], answer["decides"], answer["key"]["key"]) == ("10.1.2.3", "request", "/items/7?id=7")
    assert answer["chosen"] == harness.pool.pick(client, ()).name
    assert answer["notes"] == []
    printed = shown_as_text(answer)
    assert "by a hash of the request (/items/7?id=7 is at " in printed
    assert "of the requests get another server while it is down" in printed
    without = asked(harness)
    assert (without["decides"], without["key"]["key"]) == ("client", "10.1.2.3")
    assert without["notes"] == ["the strategy chooses by requests, and this client has none"]


def shown_as_text(answer):
    console = Console(width=200, file=io.StringIO())
    console.print(explanation_table(answer))
    return console.file.getvalue()


def test_a_running_pool_builds_no_table_for_now(monkeypatch):
    harness = Harness(*servers("abcd"), strategy=SMALL_HASH)
    builds = []
    build = ConsistentHash.build
    monkeypatch.setattr(ConsistentHash, "build", lambda self, specs: builds.append(len(specs)) or build(self, specs))
    asked(harness, without="a")
    assert builds == [3]
    asked(harness)
    assert builds == [3]
    asked(Harness(*servers("ab"), strategy=PluginSpec("round-robin")), without="a")
    assert builds == [3]


@pytest.mark.parametrize("slices", [1, 4, 12, 300, 660, 1000], ids="{} slices".format)
def test_a_reload_meanwhile_does_no_harm(slices):
    harness = Harness(*servers("abcd"), strategy=SMALL_HASH)
    work = explanation(ExplainQuestion(listener_spec("front", (), "web"), CLIENT, "", ("a",)), harness.pool)
    for _ in range(slices):
        next(work)
    harness.reload(*servers("xyz"))
    moves = finish(work)["without"]["moves"]
    assert moves["down"] <= moves["removed"] < 0.5


def test_a_client_that_is_not_let_in_is_told_why():
    harness = Harness(*servers("ab"))
    assert asked(harness)["denied"] is None
    assert asked(harness, deny=Networks(("10.0.0.0/8",)))["denied"] == "deny = 10.0.0.0/8"
    assert asked(harness, allow=Networks(("192.0.2.0/24",)))["denied"] == "not in allow = 192.0.2.0/24"


def test_what_the_answer_leaves_open_is_noted():
    harness = Harness(*servers("ab"), strategy=PluginSpec("consistent-hash", (("key", "source-ip-port"),)))
    notes = asked(harness, accept_proxy=True, rate_per_source=3, sni=(("www.example.org", "web"),))["notes"]
    assert [note.split()[-3:] for note in notes] == [
        ["not", "the", "proxy"],
        ["and", "rate", "limits"],
        ["none", "was", "given"],
        ["none", "was", "given"],
    ]
    assert asked(harness, Client("10.1.2.3", 1), asks_for="www.example.org", sni=())["notes"] == []
    assert asked(harness, Client("10.1.2.3", 1), asks_for="a")["notes"] == [
        "the listener has no sni, so the SNI name has no effect"
    ]


@pytest.mark.parametrize(
    ("names", "without", "notes"),
    [("ab", (), ["who knows"]), ("a", (), []), ("ab", "b", ["who knows"]), ("a", "a", [])],
)
def test_turns_are_noted_where_they_decide(names, without, notes):
    assert asked(Harness(*servers(names)), without=without, turns="who knows")["notes"] == notes


def test_turns_are_noted_if_they_decide_only_without_a_server():
    harness = Harness(*servers("abc"), strategy=PluginSpec("least-conn"))
    for name in "ab":
        harness[name].leases.add(1)
    answer = asked(harness, turns="who knows")
    assert (answer["chosen"], answer["notes"]) == ("c", [])
    answer = asked(harness, without="c", turns="who knows")
    assert (answer["chosen"], answer["without"]["chosen"], answer["notes"]) == ("c", None, ["who knows"])


@pytest.mark.parametrize("options", [(("size", 1009),), (("table", "ketama"),)], ids=["maglev", "ketama"])
def test_of_a_hash_pool_the_clients_of_a_server_move_if_it_is_down(options):
    harness = Harness(*servers("abcd"), strategy=PluginSpec("consistent-hash", options))
    home = asked(harness)["chosen"]
    answer = asked(harness, without=[home])
    then = answer["without"]
    assert answer["chosen"] == home != then["chosen"]
    assert then["names"] == [home]
    assert [each["reason"] for each in then["servers"] if each["server"] == home] == ["assumed"]
    assert then["moves"]["down"] == pytest.approx(0.25, abs=0.08)
    assert then["moves"]["down"] <= then["moves"]["removed"] < 0.4
    other = next(name for name in "abcd" if name != home)
    assert asked(harness, without=[other])["without"]["chosen"] == home
    assert asked(harness, without="abcd")["without"]["otherwise"] == "reject"


def test_backups_have_no_clients_to_lose():
    harness = Harness(*servers("ab"), server("s", backup=True), strategy=SMALL_HASH)
    assert asked(harness, without=["s"])["without"]["moves"] == {"down": 0, "removed": 0}


@pytest.mark.parametrize(
    ("strategy", "share"), [("round-robin", 0.25), ("weighted", 0.4), ("random-two", 0.4), ("least-conn", None)]
)
def test_of_other_pools_new_connections_go_elsewhere(strategy, share):
    harness = Harness(server("a", weight=2), *servers("bcd"), strategy=PluginSpec(strategy))
    then = asked(harness, without=["a"])["without"]
    assert (then["share"], then["moves"]) == (share, None)


def test_a_pool_that_a_reload_has_just_removed_has_no_servers():
    harness = Harness(*servers("ab"))
    harness.pool.empty(0.0)
    assert asked(harness)["otherwise"] == "reject"
    assert harness.pool.spec == PoolSpec("web")
