"""The handover keeps all state: the successor decides on a server as the predecessor would have."""

from __future__ import annotations

import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.result import Advice
from healthcheck.state import Health, HealthSnapshot
from lb.control.inherited import RuntimeState
from lb.control.overrides import Override
from lb.model import HealthSpec, PassiveSpec, PluginSpec, PoolSpec, ServerSpec
from lb.model.address import Address
from lb.pools.backend import new_backend
from lb.service.handover import HandoverDocument, HandoverError

CHECKED, EJECTING = HealthSpec(rise=2, fall=3), PassiveSpec(failures=2, eject_for=4.0)
INITIALLY_DOWN = attrs.evolve(CHECKED, initial="down")
SERVER = ("web", "a")


def arrived(runtime_state):
    return RuntimeState.from_json(json.loads(json.dumps(runtime_state.as_json())))


def through_json(memory):
    return arrived(RuntimeState({SERVER: memory})).snapshots[SERVER]


def apply(health, event, now):
    """Apply an event. P, F: a check passes, fails; x, c: a connect fails, succeeds; >: an ejection may expire."""
    match event:
        case "P" | "F":
            return health.check(event == "P", "HTTP 503", now)
        case "x":
            return health.connect_failed("connection refused", now)
        case "c":
            return health.connected(now)
    return health.expire(now)


EVENTS = st.text("PFxc>", max_size=12)


@given(EVENTS, EVENTS, st.sampled_from([CHECKED, INITIALLY_DOWN, None]), st.integers(-1000, 1000))
def test_the_next_process_judges_a_server_as_this_one_would_have(before, after, spec, clock):
    """Events are one second apart. The clocks of the two processes differ by ``clock`` seconds."""
    here = Health(spec, EJECTING, 0.0)
    now = 0.0
    for event in before:
        now += 1.0
        apply(here, event, now)
    there = Health(spec, EJECTING, now + clock)
    there.recall(through_json(here.memory(now)), now + clock)
    for event in after:
        now += 1.0
        assert apply(there, event, now + clock) == apply(here, event, now)
        assert (there.state, there.reason, there.check_interval) == (here.state, here.reason, here.check_interval)
        assert (there.since, there.deadline) == (here.since + clock, here.deadline + clock)
        assert there.success_matters_from == here.success_matters_from + clock


@pytest.mark.parametrize(("events", "state"), [("FFF", "down"), ("", "checking")])
def test_a_server_that_checks_kept_out_is_up_where_there_are_none(events, state):
    here = Health(INITIALLY_DOWN, EJECTING, 0.0)
    for event in events:
        apply(here, event, 0.0)
    assert here.state == state
    there = Health(None, EJECTING, 0.0)
    there.recall(through_json(here.memory(0.0)), 0.0)
    assert there.state == "up"


def test_a_server_that_never_failed_takes_little_room():
    health = Health(CHECKED, EJECTING, 0.0)
    assert RuntimeState({SERVER: health.memory(0.0)}).as_json()["health"] == {"web": {"a": {}}}


def test_what_another_version_adds_is_passed_over_and_what_it_does_not_know_is_as_in_a_new_server():
    read = {"health": {"web": {"a": {"state": "down", "mood": "grumpy"}}}, "weather": "fine"}
    assert RuntimeState.from_json(read) == RuntimeState({SERVER: HealthSnapshot(state="down")})


def test_what_discovery_knows_arrives_as_it_was_told():
    sources = [{"pool": "web", "source": "etcd /x/", "servers": [{"name": "ü"}], "memory": None}]
    assert arrived(RuntimeState(sources=sources)).sources == sources


ADVISED = attrs.evolve(CHECKED, probe=PluginSpec("agent"))


@pytest.mark.parametrize(
    ("spec", "kept"),
    [(ADVISED, True), (attrs.evolve(ADVISED, interval=9.0), True), (CHECKED, False), (None, False)],
)
def test_what_an_agent_asked_for_holds_where_it_is_asked_again(spec, kept):
    here = new_backend(PoolSpec("web", health=ADVISED), ServerSpec("a", Address.parse(":80")), 0.0)
    here.health.apply_advice(Advice(20, "drain"))
    here.change(3.0, advice=here.health.advice)
    there = new_backend(PoolSpec("web", health=spec), ServerSpec("a", Address.parse(":80")), 100.0)
    there.recall(through_json(here.memory(5.0)), 100.0)
    assert there.health.advice == (Advice(20, "drain") if kept else Advice())
    assert there.since == 98.0


def test_a_server_has_been_as_it_is_since_its_health_its_weight_or_its_agent_changed_last():
    spec = ServerSpec("a", Address.parse(":80"))
    backend = new_backend(PoolSpec("web", health=CHECKED), spec, 1.0)
    for now, change, since in (
        (2.0, {"spec": attrs.evolve(spec, weight=5)}, 1.0),
        (3.0, {"spec": attrs.evolve(spec, weight=0)}, 3.0),
        (4.0, {"advice": Advice(admin="maint")}, 3.0),
        (5.0, {"spec": spec}, 3.0),
        (6.0, {"advice": Advice(50, "ready")}, 6.0),
    ):
        backend.change(now, **change)
        assert backend.since == since
    for _ in range(3):
        backend.health.check(False, "HTTP 503", 7.0)
    assert (backend.state, backend.since) == ("down", 7.0)


MEMORIES = st.builds(HealthSnapshot, remaining=st.none() | st.floats(0, 1e6), age=st.floats(0, 1e9))
NAMES = st.text(min_size=1)


@given(st.dictionaries(st.tuples(NAMES, NAMES), MEMORIES))
def test_memories_arrive_as_they_were(snapshots):
    assert arrived(RuntimeState(snapshots)).snapshots == snapshots


OVERRIDES = st.builds(Override, drained=st.booleans(), weight=st.none() | st.integers(0, 9))


@given(st.dictionaries(st.tuples(NAMES, NAMES), OVERRIDES), st.booleans())
def test_what_operators_said_arrives_with_the_weights_that_it_was_said_of(overrides, known):
    configured = dict.fromkeys(overrides, 3) if known else {}
    there = arrived(RuntimeState({}, overrides, {**configured, ("other", "server"): 1}))
    assert (there.overrides, there.configured) == (overrides, configured)


ADDRESSES = st.sampled_from([":80", "127.0.0.1:0", "[::1]:80", "unix:/run/ü"]).map(Address.parse)
NUMBERS = st.integers(0, 2**20)


@given(
    NUMBERS,
    st.dictionaries(st.tuples(NAMES, ADDRESSES), st.lists(NUMBERS).map(tuple)),
    st.dictionaries(NUMBERS, st.text()),
    st.binary(),
)
def test_a_document_arrives_as_it_was(channel, sockets, given_ones, secret):
    document = HandoverDocument(channel, sockets, given_ones, secret=secret)
    assert HandoverDocument.from_json(document.as_json()) == document


def test_a_version_without_a_secret_hands_none_over_and_none_is_printed():
    read = HandoverDocument.from_json(b'{"format": 1, "channel": 3, "sockets": [], "given": []}')
    assert read == HandoverDocument(3, {}, {})
    assert "hush" not in repr(HandoverDocument(3, {}, {}, secret=b"hush"))


def test_another_format_is_refused_and_said():
    with pytest.raises(HandoverError, match="the running version uses handover format 2, this one needs 1"):
        HandoverDocument.from_json(b'{"format": 2, "everything": "else"}')


def test_there_is_no_deadline_without_an_ejection():
    assert Health(CHECKED, EJECTING, 5.0).memory(9.0) == HealthSnapshot(age=4.0)
    there = Health(CHECKED, EJECTING, 0.0)
    there.recall(HealthSnapshot(), 7.0)
    assert there.deadline == math.inf
