"""One server whose checks several nodes share. Messages between them arrive late, and in any order."""

from collections import deque

import attrs
import hypothesis.strategies as st
import pytest
from hypothesis import given

from healthcheck.assignment import CHECKERS, position
from healthcheck.result import Advice, CheckResult
from healthcheck.shared_checks import CheckClaim, SharedChecks
from healthcheck.state import Health
from lb.model import HealthSpec, PassiveSpec

NODES = ["lb1", "lb2", "lb3", "lb4", "lb5", "lb6"]
SERVER, ADDRESS = "web/a", "10.0.0.1:80"
IN_ORDER = sorted(NODES, key=lambda node: position(SERVER, node, NODES))
FIRST, LATER = IN_ORDER[:CHECKERS], IN_ORDER[CHECKERS:]
SPEC = HealthSpec(rise=2, fall=3)
UP, DOWN = CheckClaim(True, ADDRESS), CheckClaim(False, ADDRESS)


def result(passed, **options):
    return CheckResult(passed, "fine" if passed else "HTTP 503", 1.0, **options)


class Node:
    """A node and what it knows of one server. ``told`` are its claims so far."""

    def __init__(self, name, nodes=(), spec=SPEC):
        self.health = Health(spec, PassiveSpec(failures=1), 0.0)
        self.shared = SharedChecks(SERVER, ADDRESS)
        self.told = []
        self.name = name
        if nodes:
            self.join(nodes)

    def join(self, nodes):
        self.shared.join(self.name, frozenset(nodes))
        self.decide()

    def hear(self, **claims):
        self.shared.hear(claims)
        self.decide()
        return self

    def check(self, passed, times=1, **options):
        for _ in range(times):
            weighed = self.shared.weigh(result(passed, **options), self.health.state)
            self.health.check(weighed.passed, weighed.detail, 0.0, at_once=weighed.at_once)
            self.decide()
        return self

    def decide(self):
        before = self.shared.claim
        self.shared.decide(self.health.state)
        if self.shared.claim != before:
            self.told.append(self.shared.claim)

    @property
    def state(self):
        return self.health.state


def first_say(claim):
    return dict.fromkeys(FIRST, claim)


def resting(name=LATER[0]):
    node = Node(name, NODES).check(passed=True).hear(**first_say(UP))
    assert node.shared.rests
    return node


def test_a_node_checks_by_itself_before_it_is_in_the_cluster_and_says_nothing():
    node = Node("lb1").check(passed=True, times=100)
    assert not node.shared.rests
    assert node.told == []


def test_one_of_the_first_three_checks_and_says_what_it_found():
    node = Node(FIRST[0], NODES)
    assert node.told == []
    node.check(passed=True).hear(**first_say(UP)).check(passed=False, times=3)
    assert not node.shared.rests
    assert node.told == [UP, DOWN]


def test_nothing_is_said_before_the_first_check_has_confirmed_the_state():
    node = Node(FIRST[0], NODES).check(passed=False, times=2)
    assert node.told == []
    assert node.check(passed=False).told == [DOWN]


def test_any_other_node_rests_once_it_has_a_verdict_of_its_own_and_three_say_the_same():
    node = Node(LATER[0], NODES).hear(**first_say(UP))
    assert not node.shared.rests
    node.check(passed=True)
    assert node.shared.rests
    assert node.told == []


def test_two_are_not_enough():
    node = resting().hear(**{FIRST[0]: UP, FIRST[1]: UP})
    assert not node.shared.rests


def test_nodes_that_come_later_in_the_order_do_not_count():
    node = resting(LATER[0]).hear(**dict.fromkeys([*FIRST[:2], *LATER[1:]], UP))
    assert not node.shared.rests


def test_another_address_is_another_server():
    node = resting().hear(**first_say(attrs.evolve(UP, address="10.0.0.9:80")))
    assert not node.shared.rests


def test_with_three_nodes_all_check():
    three = NODES[:3]
    for name in three:
        node = Node(name, three).check(passed=True)
        assert not node.hear(**{each: UP for each in three if each != name}).shared.rests


def test_a_word_that_it_is_down_is_believed_after_one_failed_check():
    node = resting().hear(**{**first_say(UP), FIRST[1]: DOWN})
    assert not node.shared.rests
    assert node.shared.doubts(node.state)
    assert node.state == "up"
    node.check(passed=False)
    assert (node.state, node.health.reason) == ("down", f"HTTP 503, as on {FIRST[1]}")


def test_a_word_that_it_is_down_is_not_believed_against_a_check_of_one_s_own():
    node = resting().hear(**first_say(DOWN)).check(passed=True, times=5)
    assert node.state == "up"
    assert not node.shared.rests, "it has to look itself as long as others disagree"
    assert node.hear(**first_say(UP)).shared.rests


def test_a_word_that_it_is_up_is_believed_after_one_passed_check():
    node = resting().hear(**first_say(DOWN)).check(passed=False)
    assert node.state == "down"
    assert node.shared.rests
    node.hear(**first_say(UP))
    assert not node.shared.rests
    assert node.shared.doubts(node.state)
    node.check(passed=True)
    assert node.state == "up"
    assert node.shared.rests


def test_as_long_as_one_says_that_it_is_down_it_comes_up_by_as_many_checks_as_ever():
    node = resting().hear(**first_say(DOWN)).check(passed=False).hear(**{**first_say(UP), FIRST[0]: DOWN})
    assert node.check(passed=True).state == "down"
    assert node.check(passed=True).state == "up"


def test_without_a_word_of_others_a_server_falls_and_rises_as_ever():
    node = Node(FIRST[0], NODES).check(passed=True)
    assert [node.check(passed=False).state for _ in range(3)] == ["up", "up", "down"]
    assert [node.check(passed=True).state for _ in range(2)] == ["down", "up"]


def test_a_server_that_traffic_ejected_is_looked_at():
    node = resting()
    node.health.connect_failed("connection refused", 0.0)
    node.decide()
    assert (node.state, node.shared.rests) == ("ejected", False)
    node.check(passed=False, times=3)
    assert node.state == "down"
    assert not node.shared.rests, "the others hold it up, so this node looks on"
    assert node.check(passed=True).state == "up"
    assert node.shared.rests


def test_a_check_without_a_verdict_withdraws_the_claim():
    node = Node(FIRST[0], NODES).check(passed=True)
    node.shared.weigh(None, node.state)
    node.decide()
    assert node.told == [UP, None]
    assert node.check(passed=True).told == [UP, None, UP]


@pytest.mark.parametrize("word", [{"at_once": True}, {"advice": Advice(share=50)}])
def test_what_an_agent_says_is_heard_by_each_node(word):
    node = Node(LATER[0], NODES).hear(**first_say(UP)).check(passed=True, **word)
    assert not node.shared.rests
    assert Node(FIRST[0], NODES).check(passed=True, **word).told == []


def test_a_node_that_has_lost_the_others_checks_and_keeps_its_claim_for_later():
    node = resting()
    node.shared.leave()
    node.decide()
    assert not node.shared.rests
    first = Node(FIRST[0], NODES).check(passed=True)
    first.shared.leave()
    first.decide()
    assert (first.shared.claim, first.told) == (UP, [UP])


def test_who_is_no_longer_needed_stays_until_three_others_have_said_that_they_check():
    without = [node for node in NODES if node != FIRST[0]]
    node = Node(LATER[0], without)
    node.check(passed=True).join(NODES)
    node.hear(**{FIRST[1]: UP, FIRST[2]: UP}).check(passed=True)
    assert (node.shared.rests, node.shared.claim) == (False, UP)
    node.hear(**first_say(UP))
    assert (node.shared.rests, node.shared.claim) == (True, None)


def test_the_next_in_the_order_claims_a_server_that_one_of_the_first_does_not_know():
    nodes = [Node(name, NODES).hear(**{FIRST[0]: UP, FIRST[1]: UP}) for name in LATER]
    rounds = 0
    while not any(node.told for node in nodes):
        rounds += 1
        for node in nodes:
            node.check(passed=True)
    assert rounds == 2
    assert [node.name for node in nodes if node.told] == LATER[:1]


@given(st.lists(st.frozensets(st.sampled_from(NODES[1:]))))
def test_a_node_finds_its_place_however_the_others_came_and_went(changes):
    node = Node(NODES[0])
    for others in changes:
        nodes = others | {node.name}
        node.join(nodes)
        assert node.shared.is_checker == (position(SERVER, node.name, nodes) < CHECKERS)


def test_who_checks_is_shown():
    assert resting().shared.checked_by == sorted(FIRST)
    assert Node(LATER[0], NODES).hear(**first_say(UP)).shared.checked_by == sorted({*FIRST, LATER[0]})


@pytest.mark.parametrize("claim", [UP, DOWN])
def test_claims_are_small_json(claim):
    assert CheckClaim.from_json(claim.as_json()) == claim
    assert len(repr(claim.as_json())) < 60


@pytest.mark.parametrize(
    "read",
    [
        None,
        [],
        "up",
        {},
        {"up": 1, "address": "a"},
        {"up": True},
        {"up": True, "address": 3},
    ],
)
def test_what_is_no_claim_is_refused(read):
    with pytest.raises(ValueError, match="not a claim"):
        CheckClaim.from_json(read)


def test_keys_of_a_later_version_are_passed_over():
    assert CheckClaim.from_json({"up": True, "address": "a", "since": 3}) == CheckClaim(True, "a")


class Cluster:
    """Nodes that tell each other by way of a store. ``pending`` has what each has not heard yet."""

    def __init__(self, live, knowing):
        self.live = set(live)
        self.knowing = set(knowing)
        self.alive = True
        self.store = {}
        self.nodes, self.pending = {}, {}
        for name in live:
            self.start(name)

    def start(self, name):
        self.live.add(name)
        self.nodes[name] = Node(name)
        self.pending[name] = deque([("nodes", sorted(self.live)), ("claims", dict(self.store))])
        self.tell_nodes()

    def die(self, name):
        self.live.discard(name)
        self.store.pop(name, None)
        del self.nodes[name], self.pending[name]
        self.tell_nodes()
        self.tell_claims()

    def tell_nodes(self):
        for queue in self.pending.values():
            queue.append(("nodes", sorted(self.live)))

    def tell_claims(self):
        for queue in self.pending.values():
            queue.append(("claims", dict(self.store)))

    def deliver(self, name):
        if self.pending[name] and name in self.knowing:
            kind, news = self.pending[name].popleft()
            if kind == "nodes":
                self.nodes[name].join(news)
            else:
                self.nodes[name].hear(**{node: claim for node, claim in news.items() if node != name})
            self.publish(name)

    def check(self, name):
        if name in self.knowing and not self.nodes[name].shared.rests:
            self.nodes[name].check(passed=self.alive)
            self.publish(name)

    def publish(self, name):
        claim = self.nodes[name].shared.claim
        if self.store.get(name) != claim:
            if claim is None:
                self.store.pop(name, None)
            else:
                self.store[name] = claim
            self.tell_claims()

    def settle(self):
        for _ in range(4 * len(NODES)):
            while any(self.pending[name] for name in self.live & self.knowing):
                for name in sorted(self.live & self.knowing):
                    self.deliver(name)
            for name in sorted(self.live):
                self.check(name)

    def checking(self):
        return {name for name in self.live & self.knowing if not self.nodes[name].shared.rests}


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["deliver", "check", "check", "deliver", "restart"]), st.sampled_from(NODES)),
        st.tuples(st.sampled_from(["stop", "server"]), st.sampled_from(NODES)),
    ),
    max_size=80,
)


@given(st.sets(st.sampled_from(NODES)), st.sets(st.sampled_from(NODES), min_size=1), ACTIONS)
def test_whatever_happens_three_check_the_server_in_the_end_and_all_hold_what_is_true(live, knowing, actions):
    cluster = Cluster(live, knowing)
    for action, name in actions:
        if action == "server":
            cluster.alive = not cluster.alive
        elif action in ("restart", "stop"):
            if name in cluster.live:
                cluster.die(name)
            if action == "restart":
                cluster.start(name)
        elif name in cluster.live:
            getattr(cluster, action)(name)
    cluster.settle()
    needed = min(CHECKERS, len(cluster.live & cluster.knowing))
    assert len(cluster.checking()) == needed
    assert len(cluster.store) == needed
    for name in cluster.live & cluster.knowing:
        assert cluster.nodes[name].state == ("up" if cluster.alive else "down")
