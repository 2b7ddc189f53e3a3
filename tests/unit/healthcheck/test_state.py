import math

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from healthcheck.result import Advice
from healthcheck.state import Change, Health
from lb.model import HealthSpec, PassiveSpec, PluginSpec

RISE_2_FALL_3 = HealthSpec(rise=2, fall=3)
INITIALLY_DOWN = HealthSpec(rise=2, fall=3, initial="down")
EJECT_AT_2 = PassiveSpec(failures=2, eject_for=10.0, statuses=((500, 599),))

# One letter per event, one second apart. P, F: a check passes, fails; x, c: a connect fails, succeeds;
# s: the server is slow; r, a: a request fails, succeeds; >: ten seconds pass, and an ejection may expire.
TRANSITIONS = [
    ("", "up"),
    ("FF", "up"),
    ("FFF", "down"),
    ("FFPFF", "up"),
    ("FFFP", "down"),
    ("FFFPFP", "down"),
    ("FFFPP", "up"),
    ("FFFxxcc", "down"),
    ("x", "up"),
    ("xx", "ejected"),
    ("xcx", "up"),
    ("xPx", "ejected"),
    ("xxP", "up"),
    ("xxc", "up"),
    ("xx>", "up"),
    ("xx>x", "ejected"),
    ("xx>cx", "up"),
    ("xx>Px", "up"),
    ("xxPx", "up"),
    ("xxFF", "ejected"),
    ("xxFFF", "down"),
    ("xxFFF>", "down"),
    ("xxFFFP", "down"),
    ("xxFFFPP", "up"),
    ("FFxxF", "down"),
    ("xxFF>F", "down"),
    ("s", "ejected"),
    ("sPPPcc", "ejected"),
    ("sFF", "ejected"),
    ("sFFPF", "ejected"),
    ("sFFF", "down"),
    ("sFFFPP", "up"),
    ("sFFFs", "down"),
    ("s>", "up"),
    ("xxs", "ejected"),
    ("xxsP", "up"),
    ("sxx>x", "up"),
    ("r", "up"),
    ("rr", "ejected"),
    ("rar", "up"),
    ("crcr", "ejected"),  # a connection for each request
    ("rPr", "ejected"),
    ("xr", "ejected"),
    ("rx", "ejected"),
    ("xcr", "up"),
    ("xar", "up"),
    ("rcax", "up"),
    ("rrPPcca", "ejected"),
    ("rraPc", "ejected"),
    ("rrFFF", "down"),
    ("rrFFFPP", "up"),
    ("rr>", "up"),
    ("rr>Pcr", "ejected"),
    ("rr>ar", "up"),
    ("FFFrrPP", "up"),
    ("FFFra", "down"),
    ("xxrc", "up"),
]
TRANSITIONS_WHEN_INITIALLY_DOWN = [
    ("", "checking"),
    ("FF", "checking"),
    ("P", "up"),
    ("FFP", "up"),
    ("FFF", "down"),
    ("FFFP", "up"),
    ("FFFPFFFP", "down"),
    ("xxcc", "checking"),
]


TELL = {
    "P": lambda health, now: health.check(True, "connected", now),
    "F": lambda health, now: health.check(False, "HTTP 503", now),
    "x": lambda health, now: health.connect_failed("connection refused", now),
    "c": lambda health, now: health.connected(now),
    "s": lambda health, now: health.slow("connect 48 ms", 10.0, now),
    "r": lambda health, now: health.request_failed("HTTP 503", now),
    "a": lambda health, now: health.request_succeeded(now),
    ">": lambda health, now: health.expire(now),
}


def play(health, events):
    """Feed the events one second apart. Return the changes and the time of the last event."""
    now, changes = 0.0, []
    for event in events:
        now += 10.0 if event == ">" else 1.0
        changes.append(TELL[event](health, now))
    return [change for change in changes if change], now


@pytest.mark.parametrize(("events", "state"), TRANSITIONS)
def test_transitions(events, state):
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    changes, _ = play(health, events)
    assert health.state == state
    assert health.serving is (state == "up")
    assert [change.new for change in changes][-1:] == ([state] if changes else [])


@pytest.mark.parametrize(("events", "state"), TRANSITIONS_WHEN_INITIALLY_DOWN)
def test_transitions_of_a_server_that_is_initially_down(events, state):
    health = Health(INITIALLY_DOWN, EJECT_AT_2, 0.0)
    play(health, events)
    assert health.state == state


def test_a_change_tells_its_reason_and_source():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    changes, _ = play(health, "xxFFFPP")
    assert changes == [
        Change("up", "ejected", "connection refused", "passive"),
        Change("ejected", "down", "HTTP 503", "active"),
        Change("down", "up", "", "active"),
    ]


def test_reason_and_time_of_the_last_change_can_be_read():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, "FFFF")
    assert (health.reason, health.since) == ("HTTP 503", 3.0)
    health.check(False, "no answer in 1 s", 5.0)
    assert (health.reason, health.since) == ("no answer in 1 s", 3.0), "a new reason is not a change of state"


def test_an_ejection_ends_exactly_at_its_deadline():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    assert health.deadline == math.inf
    _, now = play(health, "xx")
    assert health.deadline == now + 10.0
    assert health.expire(now + 9.999) is None
    assert health.expire(now + 10.0) == Change("ejected", "up", "", "passive")
    assert health.deadline == math.inf


def test_repeated_ejections_double_up_to_ten_times():
    health = Health(None, PassiveSpec(failures=1, eject_for=3.0), 0.0)
    now, lengths = 0.0, []
    for _ in range(6):
        health.connect_failed("timed out", now)
        lengths.append(health.deadline - now)
        now = health.deadline
        health.expire(now)
    assert lengths == [3.0, 6.0, 12.0, 24.0, 30.0, 30.0]


def test_repeated_ejections_for_being_slow_double_until_the_server_was_as_fast_for_as_long():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    now, lengths = 0.0, []
    for back_for in (9.9, 0.0, 0.0, 0.0, 100.0, 0.0):
        change = health.slow("connect 48 ms", 10.0, now)
        assert change == Change("up", "ejected", "connect 48 ms", "outlier")
        lengths.append(health.deadline - now)
        now = health.deadline
        assert health.expire(now) == Change("ejected", "up", "", "outlier")
        now += back_for
    assert lengths == pytest.approx([10.0, 20.0, 40.0, 80.0, 100.0, 10.0])


def test_a_slow_server_is_checked_at_the_usual_pace_and_its_connects_do_not_matter():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, "s")
    assert health.check_interval == RISE_2_FALL_3.interval
    assert health.success_matters_from == math.inf


def test_another_process_knows_that_a_server_is_ejected_for_being_slow():
    health, other = (Health(RISE_2_FALL_3, EJECT_AT_2, 0.0) for _ in range(2))
    play(health, "s")
    other.recall(health.memory(5.0), 100.0)
    assert other.check(True, "connected", 101.0) is None
    other.expire(106.0)
    other.slow("connect 48 ms", 10.0, 107.0)
    assert other.deadline == 127.0


@pytest.mark.parametrize(("back_for", "next_length"), [(9.9, 20.0), (10.0, 10.0)])
def test_doubling_is_forgotten_once_connects_work_after_as_long_as_the_last_ejection(back_for, next_length):
    health = Health(None, PassiveSpec(failures=1, eject_for=10.0), 0.0)
    health.connect_failed("timed out", 0.0)
    health.expire(10.0)
    health.connected(10.0 + back_for)
    health.connect_failed("timed out", 50.0)
    assert health.deadline == 50.0 + next_length


def test_doubling_survives_a_passing_check_that_contradicts_the_traffic():
    health = Health(RISE_2_FALL_3, PassiveSpec(failures=1, eject_for=10.0), 0.0)
    health.connect_failed("timed out", 0.0)
    health.check(True, "connected", 1.0)
    health.connect_failed("timed out", 50.0)
    assert health.deadline == 70.0


@pytest.mark.parametrize("at_once", [True, False])
def test_a_check_that_was_under_way_when_the_server_was_ejected_does_not_restore_it(at_once):
    """Seen: ejected, restored 5 ms later by such a check, ejected again."""
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    _, ejected = play(health, "xx")
    assert health.check(True, "connected", ejected + 0.005, took=0.006, at_once=at_once) is None
    assert health.state == "ejected"
    assert health.check(True, "connected", ejected + 0.015, took=0.006) == Change("ejected", "up", "", "active")


def test_a_check_that_was_under_way_when_the_server_was_ejected_still_counts_as_failed():
    health = Health(HealthSpec(fall=1), EJECT_AT_2, 0.0)
    _, ejected = play(health, "xx")
    assert health.check(False, "HTTP 503", ejected + 0.005, took=0.006) == Change(
        "ejected", "down", "HTTP 503", "active"
    )


def test_requests_that_failed_eject_until_the_time_is_over_whatever_connects_and_checks_find():
    """A server that answers 500 accepts connections, and passes the default check."""
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    changes, now = play(health, "rr")
    assert changes == [Change("up", "ejected", "HTTP 503", "passive")]
    assert health.check_interval == RISE_2_FALL_3.interval
    assert (health.check(True, "connected", now + 1.0), health.connected(now + 1.0)) == (None, None)
    assert health.expire(now + 10.0) == Change("ejected", "up", "", "passive")


@pytest.mark.parametrize(("success", "length"), [("c", 20.0), ("P", 20.0), ("a", 10.0)])
def test_doubling_goes_on_until_a_request_succeeds(success, length):
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, "rr")
    health.expire(12.0)
    TELL[success](health, 30.0)
    while health.request_failed("HTTP 503", 31.0) is None:
        assert health.serving
    assert health.deadline == 31.0 + length


def test_another_process_knows_that_requests_failed():
    health, other = (Health(RISE_2_FALL_3, EJECT_AT_2, 0.0) for _ in range(2))
    play(health, "r")
    other.recall(health.memory(5.0), 100.0)
    other.connected(101.0)
    assert other.request_failed("HTTP 503", 102.0) == Change("up", "ejected", "HTTP 503", "passive")


def test_where_no_status_counts_any_more_connects_count_again():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, "r")
    health.respec(RISE_2_FALL_3, attrs.evolve(EJECT_AT_2, statuses=()), 5.0)
    play(health, "c")
    assert health.connect_failed("connection refused", 6.0) is None


def test_zero_failures_turn_ejection_off():
    health = Health(None, PassiveSpec(failures=0), 0.0)
    for now in range(100):
        assert health.connect_failed("connection refused", now) is None
    assert health.serving


NORMAL, FAST, DOWN = 2.0, 0.5, 30.0


@pytest.mark.parametrize(
    ("spec", "events", "interval"),
    [
        (RISE_2_FALL_3, "", NORMAL),
        (RISE_2_FALL_3, "F", FAST),
        (RISE_2_FALL_3, "FP", NORMAL),
        (RISE_2_FALL_3, "FFF", DOWN),
        (RISE_2_FALL_3, "FFFP", FAST),
        (RISE_2_FALL_3, "FFFPF", DOWN),
        (RISE_2_FALL_3, "FFFPP", NORMAL),
        (RISE_2_FALL_3, "x", NORMAL),
        (RISE_2_FALL_3, "xx", FAST),
        (RISE_2_FALL_3, "xxFFF", DOWN),
        (RISE_2_FALL_3, "s", NORMAL),
        (INITIALLY_DOWN, "", FAST),
        (INITIALLY_DOWN, "F", DOWN),
        (INITIALLY_DOWN, "FFF", DOWN),
    ],
)
def test_checks_are_fast_while_a_verdict_is_pending_and_slow_while_a_server_is_down(spec, events, interval):
    health = Health(attrs.evolve(spec, down_interval=DOWN), EJECT_AT_2, 0.0)
    play(health, events)
    assert health.check_interval == interval


def test_a_server_that_is_down_is_checked_at_the_interval_if_none_is_given_for_it():
    health = Health(HealthSpec(interval=7.0), EJECT_AT_2, 0.0)
    play(health, "FFF")
    assert health.check_interval == 7.0


def test_without_checks_no_check_is_due():
    assert Health(None, EJECT_AT_2, 0.0).check_interval == math.inf


@pytest.mark.parametrize(("spec", "events"), [(RISE_2_FALL_3, "FFF"), (INITIALLY_DOWN, ""), (INITIALLY_DOWN, "FFF")])
def test_a_server_comes_up_when_a_reload_switches_checks_off(spec, events):
    health = Health(spec, EJECT_AT_2, 0.0)
    play(health, events)
    change = health.respec(None, EJECT_AT_2, 9.0)
    assert change is not None
    assert (change.new, health.state, health.since) == ("up", "up", 9.0)
    assert health.check(False, "a check that was under way", 10.0) is None


@pytest.mark.parametrize("events", ["", "FF", "FFFP", "xx"])
def test_a_reload_keeps_state_and_streaks(events):
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, events)
    before = health.state, health.check_interval, health.deadline, health.since
    assert health.respec(INITIALLY_DOWN, EJECT_AT_2, 50.0) is None
    assert (health.state, health.check_interval, health.deadline, health.since) == before


def test_a_lower_fall_counts_the_failures_seen_before_the_reload():
    health = Health(HealthSpec(fall=5), EJECT_AT_2, 0.0)
    play(health, "FFF")
    health.respec(HealthSpec(fall=2), EJECT_AT_2, 4.0)
    assert health.check(False, "HTTP 500", 5.0) == Change("up", "down", "HTTP 500", "active")


def test_checks_switched_off_leave_an_ejection_to_its_time():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    _, now = play(health, "xx")
    assert health.respec(None, EJECT_AT_2, now) is None
    assert health.expire(now + 10.0) == Change("ejected", "up", "", "passive")


@given(
    fall=st.integers(2, 5),
    failures=st.integers(2, 5),
    bursts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4))),
)
def test_scattered_failures_never_take_a_server_out(fall, failures, bursts):
    """However often fewer than ``fall`` checks or fewer than ``failures`` connects fail between successes."""
    health = Health(HealthSpec(fall=fall), PassiveSpec(failures=failures), 0.0)
    for checks, connects in bursts:
        play(health, "F" * min(checks, fall - 1) + "P" + "x" * min(connects, failures - 1) + "c")
        assert health.state == "up"


def said(health, passed, now, **advice):
    """The result of an agent check, which counts at once."""
    health.apply_advice(Advice(**advice))
    return health.check(passed, "down: as told" if not passed else "up", now, at_once=True)


def test_a_word_of_the_server_about_itself_needs_no_confirmation():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    assert said(health, False, 1.0) == Change("up", "down", "down: as told", "active")
    assert said(health, True, 2.0) == Change("down", "up", "", "active")


def test_a_word_restores_an_ejected_server_as_a_pass_does():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    play(health, "xx")
    assert said(health, True, 3.0) == Change("ejected", "up", "", "active")


def test_a_maintenance_lasts_until_ready_whatever_is_found():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    assert said(health, True, 1.0, admin="maint") == Change("up", "down", "maint", "active")
    play(health, "PPPPcP")
    said(health, True, 10.0, share=50)
    assert (health.state, health.reason) == ("down", "maint")
    assert said(health, True, 11.0, admin="ready") == Change("down", "up", "", "active")
    assert health.advice == Advice(50, "ready")


def test_a_reload_keeps_what_was_asked_for_unless_the_checks_change():
    health = Health(RISE_2_FALL_3, EJECT_AT_2, 0.0)
    said(health, True, 1.0, admin="drain", share=20)
    health.respec(HealthSpec(rise=9, fall=9), EJECT_AT_2, 2.0)
    assert health.advice == Advice(20, "drain")
    health.respec(HealthSpec(probe=PluginSpec("http")), EJECT_AT_2, 3.0)
    assert health.advice == Advice()


def test_a_word_that_comes_after_a_reload_has_switched_checks_off_is_not_heeded():
    health = Health(None, EJECT_AT_2, 0.0)
    assert said(health, False, 1.0, admin="maint") is None
    assert health.advice == Advice()


class AgainstHistory(RuleBasedStateMachine):
    """Every change must be justified by the history of events, which the state machine does not keep."""

    @initialize(
        spec=st.builds(
            HealthSpec, rise=st.integers(1, 3), fall=st.integers(1, 3), initial=st.sampled_from(["up", "down"])
        ),
        passive=st.builds(PassiveSpec, failures=st.integers(0, 3), eject_for=st.just(10.0)),
    )
    def start(self, spec, passive):
        self.spec, self.passive, self.now = spec, passive, 0.0
        self.health = Health(spec, passive, 0.0)
        self.checks, self.connects = [], []
        self.was_up = spec.initial == "up"
        self.slow = False
        """Return whether the last ejection was of a slow server."""

    def note(self, before, change):
        assert (change is None) == (self.health.state == before)
        if change is not None:
            assert (change.old, change.new) == (before, self.health.state)
            assert self.health.since == self.now
            self.was_up |= change.new == "up"

    @rule(passed=st.booleans())
    def check(self, passed):
        before, was_up = self.health.state, self.was_up
        self.checks.append(passed)
        self.note(before, self.health.check(passed, "reason", self.now))
        fell = self.checks[-self.spec.fall :] == [False] * self.spec.fall
        rose = self.checks[-self.spec.rise :] == [True] * self.spec.rise
        if before == "down":
            assert self.health.serving is (rose if was_up else passed)
        elif before == "ejected" and self.slow:
            assert self.health.state == ("down" if fell else "ejected")
        elif passed:
            assert self.health.serving
        else:
            assert (self.health.state == "down") is fell

    @rule(worked=st.booleans())
    def connect(self, worked):
        before = self.health.state
        self.connects.append(worked)
        self.note(before, self.health.connected(self.now) if worked else self.health.connect_failed("reason", self.now))
        if self.health.state == "ejected" != before:
            assert self.connects[-self.passive.failures :] == [False] * self.passive.failures
            assert self.passive.failures
        if before in ("down", "checking"):
            assert self.health.state == before, "real traffic does not judge what checks have taken out"
        if before == "ejected":
            assert self.health.serving is (worked and not self.slow)
        elif self.health.state == "ejected":
            self.slow = False

    @rule()
    def compare(self):
        before = self.health.state
        self.note(before, self.health.slow("reason", 10.0, self.now))
        assert (self.health.state != before) is (before == "up")
        self.slow |= before == "up"

    @rule(seconds=st.floats(0.0, 150.0))
    def wait(self, seconds):
        before = self.health.state
        self.now += seconds
        due = self.now >= self.health.deadline
        self.note(before, self.health.expire(self.now))
        assert self.health.state == ("up" if due else before)

    @precondition(lambda self: self.health.state == "ejected")
    @rule()
    def wait_for_the_deadline(self):
        assert self.now < self.health.deadline <= self.now + 100.0
        self.now = self.health.deadline
        self.note("ejected", self.health.expire(self.now))
        assert self.health.serving

    @invariant()
    def the_views_agree(self):
        if hasattr(self, "health"):
            assert self.health.serving is (self.health.state == "up") is (self.health.reason == "")
            assert (self.health.deadline < math.inf) is (self.health.state == "ejected")


TestAgainstHistory = pytest.mark.slow(AgainstHistory.TestCase)
