"""Which override holds when several nodes speak of a server and etcd may be away."""

from __future__ import annotations

import json
from itertools import count

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.cluster.said_override import SaidOverride
from lb.cluster.shared_overrides import KnownOverride, SharedOverrides
from lb.control.overrides import Override
from tests.support.effort import DEEP

PLACE = ("web", "a")
DRAIN, ENABLE, FIVE, CONFIGURED = {"drained": True}, {"drained": False}, {"weight": 5}, {"weight": None}
LONG_AGO, IN_A_YEAR = "1999-01-01T00:00:00.000Z", "2099-01-01T00:00:00.000Z"


class Store:
    """The keys of etcd as far as nodes use them: each change has a revision, and changes are kept for watches."""

    def __init__(self):
        self.revision = 1
        self.keys = {}
        self.changes = []

    def txn(self, place, base, said):
        """Set a key if its revision is ``base``. Return whether it was."""
        if (self.keys[place].revision if place in self.keys else 0) != base:
            return False
        self.revision += 1
        self.keys[place] = KnownOverride(said, self.revision)
        self.changes.append((place, self.keys[place]))
        return True


class Node:
    """A node: what it knows, and how far its watch is; None while it does not see etcd."""

    def __init__(self, name, at=LONG_AGO):
        self.name, self.at = name, at
        self.shared = SharedOverrides()
        self.read = None

    def say(self, change, place=PLACE, *, awaited=True):
        self.shared.say(place, change, self.name, self.at, awaited=awaited)

    def join(self, store):
        self.shared.heard_all(store.keys, {})
        self.read = len(store.changes)

    def leave(self):
        self.read = None
        for place in list(self.shared.untold):
            self.shared.no_longer_awaited(place)

    def hear(self, store, most=1000):
        for place, known in store.changes[self.read : self.read + most]:
            self.shared.heard(place, known.said, known.revision)
            self.read += 1

    def tell(self, store, *, answer=True):
        """Tell what is first, as the exchange does. ``answer=False``: etcd has it, and the answer is lost."""
        place, untold = next(iter(self.shared.untold.items()))
        done = store.txn(place, untold.base, untold.said)
        if done and answer:
            self.shared.told(place, untold.said, store.revision)
        elif not done:
            self.shared.heard(place, store.keys[place].said, store.keys[place].revision)

    def tell_all(self, store):
        for _ in range(100):
            if not self.shared.untold:
                return
            self.tell(store)
        raise AssertionError(f"never told: {self.shared.untold}")

    def override(self, place=PLACE):
        return self.shared.override(place)


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def nodes(store):
    """Two nodes that see etcd. The clock of the first is a century behind."""
    first, second = Node("lb1", LONG_AGO), Node("lb2", IN_A_YEAR)
    for node in (first, second):
        node.join(store)
    return first, second


def test_what_is_said_to_one_node_holds_there_at_once_and_on_all_once_told(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    assert first.override() == Override(drained=True)
    assert second.override() == Override()
    first.tell_all(store)
    second.hear(store)
    assert second.override() == Override(drained=True)
    assert second.shared.said(PLACE).node == "lb1"


def test_the_order_is_that_of_etcd_whatever_the_clocks_say(nodes, store):
    first, second = nodes
    for node, change in ((second, DRAIN), (first, ENABLE)):
        node.say(change)
        node.tell_all(store)
        for each in nodes:
            each.hear(store)
    assert [node.override().drained for node in nodes] == [False, False]


def test_two_nodes_that_speak_at_the_same_time_both_hold(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    second.say(FIVE)
    first.tell_all(store)
    second.tell_all(store)
    first.hear(store)
    assert first.override() == second.override() == Override(drained=True, weight=5)


def test_of_two_contrary_words_at_the_same_time_the_later_transaction_holds(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    second.say(ENABLE)
    first.tell_all(store)
    second.tell_all(store)
    first.hear(store)
    assert first.override() == second.override() == Override()


def test_what_was_said_while_etcd_was_away_is_told_when_it_is_back(nodes, store):
    first, second = nodes
    first.leave()
    first.say(DRAIN, awaited=False)
    first.say(FIVE, awaited=False)
    first.join(store)
    first.tell_all(store)
    second.hear(store)
    assert second.override() == Override(drained=True, weight=5)


def test_another_nodes_newer_word_holds_when_etcd_is_back(nodes, store):
    first, second = nodes
    first.leave()
    first.say(DRAIN, awaited=False)
    second.say(FIVE)
    second.tell_all(store)
    first.join(store)
    assert not first.shared.untold
    assert first.override() == second.override() == Override(weight=5)
    assert first.shared.said(PLACE).node == "lb2"


def test_a_word_of_another_server_is_no_newer_word(nodes, store):
    first, second = nodes
    first.leave()
    first.say(DRAIN, awaited=False)
    second.say(FIVE, ("web", "b"))
    second.tell_all(store)
    first.join(store)
    first.tell_all(store)
    second.hear(store)
    assert second.override() == Override(drained=True)


def test_what_was_told_without_an_answer_is_told(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    first.tell(store, answer=False)
    first.leave()
    first.join(store)
    assert not first.shared.untold
    second.hear(store)
    assert second.override() == Override(drained=True)


def test_after_a_lost_answer_a_newer_word_holds(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    first.tell(store, answer=False)
    first.leave()
    second.hear(store)
    second.say(ENABLE)
    second.tell_all(store)
    first.join(store)
    assert not first.shared.untold
    assert first.override() == Override()


def test_what_is_said_while_etcd_takes_it_is_told_next(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    untold = first.shared.untold[PLACE]
    store.txn(PLACE, untold.base, untold.said)
    first.say(FIVE)
    first.shared.told(PLACE, untold.said, store.revision)
    first.tell_all(store)
    second.hear(store)
    assert second.override() == first.override() == Override(drained=True, weight=5)


def test_an_answer_that_comes_after_another_nodes_newer_word_takes_nothing_back(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    untold = first.shared.untold[PLACE]
    store.txn(PLACE, untold.base, untold.said)
    revision = store.revision
    second.hear(store)
    second.say(ENABLE)
    second.tell_all(store)
    first.hear(store)
    first.shared.told(PLACE, untold.said, revision)
    assert first.override() == second.override() == Override()
    first.say(FIVE)
    first.tell_all(store)
    assert store.keys[PLACE].said.override == Override(weight=5)


def test_a_deleted_key_takes_the_override_back(nodes, store):
    first, _ = nodes
    first.say(DRAIN)
    first.tell_all(store)
    first.shared.heard(PLACE, None, store.revision + 1)
    assert (first.override(), first.shared.all()) == (Override(), {})


def test_what_an_operator_waits_for_survives_a_key_that_is_deleted_meanwhile(nodes, store):
    first, _ = nodes
    first.say(FIVE)
    first.tell_all(store)
    first.say(DRAIN)
    first.shared.heard(PLACE, None, store.revision + 1)
    assert first.override() == Override(drained=True)
    assert first.shared.untold[PLACE].base == 0


def test_a_value_that_cannot_be_read_takes_nothing_back_and_can_be_replaced(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    first.tell_all(store)
    second.hear(store)
    store.revision += 1
    store.keys[PLACE] = attrs.evolve(store.keys[PLACE], revision=store.revision)
    first.shared.heard_nonsense(PLACE, store.revision)
    second.shared.heard_all({}, {PLACE: store.revision})
    for node in nodes:
        assert node.override() == Override(drained=True)
    second.say(FIVE)
    second.tell_all(store)
    first.hear(store)
    assert first.override() == Override(drained=True, weight=5)


def test_an_etcd_that_was_rebuilt_empty_is_told_everything_by_whoever_comes_first(nodes, store):
    first, second = nodes
    first.say(DRAIN)
    first.tell_all(store)
    second.hear(store)
    rebuilt = Store()
    for node in nodes:
        node.join(rebuilt)
        assert node.override() == Override(drained=True), "it was in service meanwhile"
    for node in nodes:
        node.tell_all(rebuilt)
    assert len(rebuilt.changes) == 1
    assert rebuilt.keys[PLACE].said == store.keys[PLACE].said, "another node said it now"


def test_what_was_said_while_etcd_was_away_is_told_to_a_rebuilt_one_though_another_node_came_first(nodes, store):
    first, second = nodes
    second.say(FIVE)
    second.tell_all(store)
    first.hear(store)
    first.leave()
    first.say(DRAIN, awaited=False)
    rebuilt = Store()
    rebuilt.revision = -1
    for node in (second, first):
        node.join(rebuilt)
        node.tell_all(rebuilt)
    second.hear(rebuilt)
    assert first.override() == second.override() == Override(drained=True, weight=5)


def test_what_was_taken_back_is_not_told_to_a_rebuilt_etcd(nodes, store):
    first, _ = nodes
    for change in (DRAIN, ENABLE):
        first.say(change)
        first.tell_all(store)
    first.join(Store())
    assert not first.shared.untold


def test_a_word_that_is_newer_than_the_rebuilt_etcd_holds_though_its_revision_is_lower(nodes, store):
    first, second = nodes
    for change in (DRAIN, FIVE, DRAIN):
        first.say(change)
        first.tell_all(store)
    second.hear(store)
    rebuilt = Store()
    second.join(rebuilt)
    second.tell_all(rebuilt)
    second.say(ENABLE)
    second.tell_all(rebuilt)
    first.join(rebuilt)
    assert first.override() == second.override() == Override(weight=5)


def test_a_successor_knows_what_its_predecessor_knew(nodes, store):
    first, second = nodes
    second.say(DRAIN, ("web", "b"))
    second.tell_all(store)
    first.hear(store)
    first.leave()
    first.say(FIVE, awaited=False)
    successor = Node("lb1")
    successor.shared = SharedOverrides.from_json(json.loads(json.dumps(first.shared.as_json())))
    assert (
        successor.shared.all()
        == first.shared.all()
        == {PLACE: Override(weight=5), ("web", "b"): Override(drained=True)}
    )
    successor.join(store)
    successor.tell_all(store)
    second.hear(store)
    assert second.override() == Override(weight=5)


def test_a_newer_word_beats_what_a_successor_was_handed(nodes, store):
    first, second = nodes
    first.leave()
    first.say(FIVE, awaited=False)
    second.say(DRAIN)
    second.tell_all(store)
    successor = SharedOverrides.from_json(json.loads(json.dumps(first.shared.as_json())))
    successor.heard_all(store.keys, {})
    assert successor.override(PLACE) == Override(drained=True)


CHANGES = st.sampled_from([DRAIN, ENABLE, FIVE, CONFIGURED])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2), CHANGES, st.sampled_from("ab")),
        st.tuples(
            st.sampled_from(["tell", "tell without an answer", "hear one", "hear", "leave", "join"]), st.integers(0, 2)
        ),
        st.tuples(st.just("rebuild")),
    ),
    max_size=60,
)


@given(STEPS, st.lists(st.sampled_from([LONG_AGO, IN_A_YEAR]), min_size=3, max_size=3))
@settings(max_examples=2000 if DEEP else 100)
def test_in_the_end_all_nodes_agree_with_etcd_and_clocks_do_not_matter(steps, clocks):
    ends = []
    for at in (clocks, [LONG_AGO] * 3):
        nodes = [Node(f"lb{number}", at[number]) for number in range(3)]
        store = run(steps, nodes)
        for _ in range(4):
            for node in nodes:
                node.join(store)
                node.tell_all(store)
        held = {place: known.said.override for place, known in store.keys.items()}
        wanted = {place: override for place, override in held.items() if override != Override()}
        assert [node.shared.all() for node in nodes] == [wanted] * 3
        ends.append(wanted)
    assert ends[0] == ends[1]


def run(steps, nodes):
    store = Store()
    for step, *rest in steps:
        node = nodes[rest[0]] if rest else None
        match step:
            case "say":
                node.say(rest[1], ("web", rest[2]), awaited=node.read is not None)
                assert all(getattr(node.override(("web", rest[2])), key) == value for key, value in rest[1].items())
            case "join":
                node.join(store)
            case "leave":
                node.leave()
            case "rebuild":
                store = Store()
                for each in nodes:
                    each.leave()
            case _ if node.read is None:
                pass
            case "hear" | "hear one":
                node.hear(store, 1 if step == "hear one" else 1000)
            case _ if node.shared.untold:
                node.tell(store, answer=step == "tell")
    return store


@given(STEPS)
@settings(max_examples=1000 if DEEP else 50)
def test_a_word_that_is_told_is_the_last_of_etcd_then(steps):
    """Told means: no other node had said anything of this server that this node did not know, and was not merged."""
    nodes = [Node(f"lb{number}") for number in range(3)]
    store = run(steps, nodes)
    numbers = count()
    for node in nodes:
        node.join(store)
        node.say({"weight": next(numbers)})
        node.tell_all(store)
        assert store.keys[PLACE].said.override.weight == node.override().weight


@given(
    st.builds(
        SaidOverride,
        st.builds(Override, drained=st.booleans(), weight=st.none() | st.integers(0, 65_535)),
        node=st.text(),
        at=st.text(),
    )
)
def test_what_is_written_is_read(said):
    assert SaidOverride.decoded(said.encoded()) == said


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"", "Expecting value"),
        (b"[1]", "must be a JSON object"),
        pytest.param(b"[" * 100_000, "is nested too deeply", id="deep"),
        (b"{}", "must be true or false, not None"),
        (b'{"drained": 1}', "must be true or false, not 1"),
        (b'{"drained": true, "weight": -1}', "must be 0 or more, not -1"),
        (b'{"drained": true, "weight": 65536}', "must be 65535 or less"),
        (b'{"drained": true, "node": 1}', "must be a string, not 1"),
    ],
)
def test_what_no_node_has_written_is_an_error(value, error):
    with pytest.raises(ValueError, match=error):
        SaidOverride.decoded(value)


def test_keys_of_later_versions_are_ignored():
    assert SaidOverride.decoded(b'{"drained": true, "why": "disk"}') == SaidOverride(Override(drained=True), "", "")
    assert attrs.asdict(SaidOverride.decoded(b'{"drained": false}').override) == {"drained": False, "weight": None}
