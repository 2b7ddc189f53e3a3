"""What is handed over to the next process arrives, and a server is judged there as it would have been here."""

from __future__ import annotations

import json
import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from healthcheck.state import Health, Memory
from lb.address import Address
from lb.handover import Document, HandoverError, memories_as_json, memories_from_json
from lb.model import HealthSpec, PassiveSpec

CHECKED, EJECTING = HealthSpec(rise=2, fall=3), PassiveSpec(failures=2, eject_for=4.0)
INITIALLY_DOWN = attrs.evolve(CHECKED, initial="down")
SERVER = ("web", "a")


def through_json(memory):
    return memories_from_json(json.loads(json.dumps(memories_as_json({SERVER: memory}))))[SERVER]


def tell(health, event, now):
    """P, F: a check passes, fails; x, c: a connect fails, works; >: the end of an ejection is looked at."""
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
    """Events come a second apart, and the two processes' clocks are ``clock`` seconds apart."""
    here = Health(spec, EJECTING, 0.0)
    now = 0.0
    for event in before:
        now += 1.0
        tell(here, event, now)
    there = Health(spec, EJECTING, now + clock)
    there.recall(through_json(here.memory(now)), now + clock)
    for event in after:
        now += 1.0
        assert tell(there, event, now + clock) == tell(here, event, now)
        assert (there.state, there.reason, there.in_balance) == (here.state, here.reason, here.in_balance)
        assert (there.since, there.deadline) == (here.since + clock, here.deadline + clock)
        assert there.success_matters_from == here.success_matters_from + clock


@pytest.mark.parametrize(("events", "state"), [("FFF", "down"), ("", "checking")])
def test_a_server_that_checks_kept_out_is_up_where_there_are_none(events, state):
    here = Health(INITIALLY_DOWN, EJECTING, 0.0)
    for event in events:
        tell(here, event, 0.0)
    assert here.state == state
    there = Health(None, EJECTING, 0.0)
    there.recall(through_json(here.memory(0.0)), 0.0)
    assert there.state == "up"


def test_a_server_that_never_failed_takes_little_room():
    health = Health(CHECKED, EJECTING, 0.0)
    assert memories_as_json({SERVER: health.memory(0.0)}) == {"web": {"a": {}}}


def test_what_another_version_adds_is_passed_over_and_what_it_does_not_know_is_as_in_a_new_server():
    assert memories_from_json({"web": {"a": {"state": "down", "mood": "grumpy"}}}) == {SERVER: Memory(state="down")}


MEMORIES = st.builds(Memory, remaining=st.none() | st.floats(0, 1e6), age=st.floats(0, 1e9))
NAMES = st.text(min_size=1)


@given(st.dictionaries(st.tuples(NAMES, NAMES), MEMORIES))
def test_memories_arrive_as_they_were(memories):
    assert memories_from_json(json.loads(json.dumps(memories_as_json(memories)))) == memories


ADDRESSES = st.sampled_from([":80", "127.0.0.1:0", "[::1]:80", "unix:/run/ü"]).map(Address.parse)
NUMBERS = st.integers(0, 2**20)


@given(
    NUMBERS,
    st.dictionaries(st.tuples(NAMES, ADDRESSES), st.lists(NUMBERS).map(tuple)),
    st.dictionaries(NUMBERS, st.text()),
)
def test_a_document_arrives_as_it_was(channel, sockets, given_ones):
    document = Document(channel, sockets, given_ones)
    assert Document.from_json(document.as_json()) == document


def test_another_format_is_refused_and_said():
    with pytest.raises(HandoverError, match="the running version hands over in format 2, this one knows 1"):
        Document.from_json(b'{"format": 2, "everything": "else"}')


def test_there_is_no_deadline_without_an_ejection():
    assert Health(CHECKED, EJECTING, 5.0).memory(9.0) == Memory(age=4.0)
    there = Health(CHECKED, EJECTING, 0.0)
    there.recall(Memory(), 7.0)
    assert there.deadline == math.inf
