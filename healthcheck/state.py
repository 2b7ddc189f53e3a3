"""The health of one server: a pure state machine, driven by health checks and real connections.

States and transitions (``fall``, ``rise`` and ``failures`` count consecutive results):

=========  ==============================  ================================  ========================
state      a check passes                  a check fails                     real traffic, time
=========  ==============================  ================================  ========================
up                                         the ``fall``-th: down             the ``failures``-th failed
                                                                             connect or request: ejected
down       the ``rise``-th: up
checking   up                              the ``fall``-th: down
ejected    up                              the ``fall``-th: down             the ejection expires, or a
                                                                             connect succeeds: up
=========  ==============================  ================================  ========================

A check that was under way when the server was ejected does not bring it up; one that began afterwards does.

A server ejected as slow accepts connections, so neither checks nor connects restore it; the ejection must expire. So
must that of a server whose requests failed (``passive.statuses``). Failed connects and failed requests count together,
in one row. A successful connect ends a row of failed connects only, as it says nothing about responses; a successful
request ends each.

A server that starts in ``checking`` (``initial = "down"``) needs one passed check to come up for the first time, even
after ``fall`` failures have made it ``down``. After an ejection expires, the server is on trial: the failed connects
before the ejection still count, so one more ejects it again, until a connect succeeds or a check passes.

The result of an agent check counts at once, without ``rise`` or ``fall``. ``maint`` takes the server down, whatever
other checks find, until ``ready``.

Times are seconds of one clock, passed in as ``now``.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import attrs

from healthcheck.result import Advice
from lb.model import HealthSpec, PassiveSpec

__all__ = ["Change", "Health", "HealthSnapshot", "State", "VerdictSource"]

State: TypeAlias = Literal["up", "down", "ejected", "checking"]
VerdictSource: TypeAlias = Literal["active", "passive", "outlier"]

_LONGEST_EJECTION = 10  # times ``eject_for``


@attrs.frozen
class Change:
    """A change of state, with its reason and its source.

    The source is a health check (``active``), a connect (``passive``) or outlier detection (``outlier``).
    """

    old: State
    new: State
    reason: str
    """Why the server is not up; empty if it is."""
    source: VerdictSource


@attrs.frozen
class HealthSnapshot:
    """The health of a server, for another process. The defaults are a server that is up and has no history."""

    state: State = "up"
    reason: str = ""
    proven: bool = True
    streak: int = 0
    failed_connects: int = 0
    factor: int = 0
    age: float = 0.0
    """Seconds since the last change of state."""
    remaining: float | None = None
    """Seconds until the ejection expires; None without an ejection."""
    share: int | None = None
    admin: Literal["ready", "drain", "maint"] | None = None
    """The administrative state from its agent check, as in :class:`Advice`."""
    asked: str = ""
    """The probes that gave ``share`` and ``admin``; other probes invalidate them."""
    turned: float | None = None
    """Seconds since it was closed to new connections, or opened again; None if never."""
    slow: bool = False
    slow_for: float = 0.0
    requests_failed: bool = False


class Health:
    """The health of one server. Each method that takes a result returns the change of state, if any."""

    def __init__(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> None:
        self._proven = spec is None or spec.initial == "up"
        """It was up before, or the configuration says so."""
        self.state: State = "up" if self._proven else "checking"
        self.reason = "" if self._proven else "not checked yet"
        """Why it is not up; empty if it is up."""
        self.advice = Advice()
        """The share and administrative state from the agent check."""
        self.since = now
        """When the state last changed."""
        self.deadline = math.inf
        """When :meth:`expire` ends an ejection."""
        self._spec = spec
        self._passive = passive
        self._streak = 0
        """Consecutive checks that contradict the state: passed checks of a server that is down, else failed ones."""
        self._failed_connects = 0
        """Consecutive failed connects and requests."""
        self.requests_failed = False
        """A request is among them: a connect proves nothing."""
        self._factor = 0
        """Length of the last ejection in multiples of ``eject_for``; 0 if there is none to consider."""
        self._slow = False
        """It is ejected as slow."""
        self._slow_for = 0.0
        """Length of the last ejection as slow, in seconds; 0 if there was none."""

    @property
    def serving(self) -> bool:
        """True if it may get traffic."""
        return self.state == "up"

    @property
    def check_interval(self) -> float:
        """Seconds between health checks; infinite without checks.

        They are fast while a verdict is pending: during ``fall`` or ``rise``, after an ejection that one passed check
        ends, and before the first check of all.
        """
        if self._spec is None:
            return math.inf
        if self.state == "checking":
            return self._spec.down_interval if self._streak else self._spec.fast_interval
        if self._streak or (self.state == "ejected" and not self._must_expire):
            return self._spec.fast_interval
        return self._spec.down_interval if self.state == "down" else self._spec.interval

    @property
    def success_matters_from(self) -> float:
        """The time from which a successful connect or request has an effect; ``math.inf`` if never."""
        if self._failed_connects or (self.state == "ejected" and not self._must_expire):
            return -math.inf
        if self._factor and self.state == "up":
            return self.since + self._passive.eject_for * self._factor
        return math.inf

    def apply_advice(self, advice: Advice) -> None:
        """Apply the advice of an agent check. Call it before :meth:`check` with the same result."""
        if self._spec is not None:
            self.advice = self.advice.then(advice)

    def check(
        self, passed: bool, detail: str, now: float, *, took: float = 0.0, at_once: bool = False
    ) -> Change | None:
        """Apply the result of a health check that took so many seconds.

        ``detail`` is the reason for a failure; ``at_once`` skips rise, fall.
        """
        if self._spec is None:  # the last result of checks that a reload has just disabled
            return None
        if self.advice.admin == "maint":
            return self._check_failed(1, "maint" if passed else detail, now)
        if passed and self.state == "ejected" and now - took < self.since:
            return None  # it began before the ejection, so it does not know better than the failed connects
        if passed:
            return self._check_passed(1 if at_once else self._spec.rise, now)
        return self._check_failed(1 if at_once else self._spec.fall, detail, now)

    def _check_passed(self, rise: int, now: float) -> Change | None:
        if self._failed_connects >= self._passive.failures and not self.requests_failed:
            self._failed_connects = 0  # it was ejected, or on trial after that
        if self.state == "up" or self._must_expire:
            self._streak = 0
            return None
        if self.state == "down" and self._proven:
            self._streak += 1
            if self._streak < rise:
                return None
        self._proven = True
        self._streak = 0
        return self._become("up", "", "active", now)

    def _check_failed(self, fall: int, detail: str, now: float) -> Change | None:
        if self.state != "up":
            self.reason = detail
        if self.state == "down":
            self._streak = 0
            return None
        self._streak += 1
        if self._streak < fall:
            return None
        self._streak = 0
        return self._become("down", detail, "active", now)

    def connect_failed(self, error: str, now: float) -> Change | None:
        """Record a failed connect. Has no effect unless the server is up."""
        return self._failed(error, now)

    def request_failed(self, text: str, now: float) -> Change | None:
        """Record a response that counts as a failure. Has no effect unless the server is up."""
        self.requests_failed = self.requests_failed or self.state == "up"
        return self._failed(text, now)

    def _failed(self, error: str, now: float) -> Change | None:
        if self.state != "up" or not self._passive.failures:
            return None
        self._failed_connects += 1
        if self._failed_connects < self._passive.failures:
            return None
        self._factor = min(max(1, 2 * self._factor), _LONGEST_EJECTION)
        change = self._become("ejected", error, "passive", now)
        self.deadline = now + self._passive.eject_for * self._factor
        return change

    def connected(self, now: float) -> Change | None:
        """Record a successful connect.

        Ejections stop doubling once one succeeds after the server was back for as long as the last ejection; or, if
        requests failed, once a request does.
        """
        if self.requests_failed:
            return None
        if self.state == "ejected" and not self._slow:
            self._failed_connects = 0
            return self._become("up", "", "passive", now)
        self._succeeded(now)
        return None

    def request_succeeded(self, now: float) -> None:
        """Record a response that does not count as a failure. Restores nothing: it may be older than the ejection."""
        if self.state == "up":
            self.requests_failed = False
            self._succeeded(now)

    def _succeeded(self, now: float) -> None:
        self._failed_connects = 0
        if self._factor and self.state == "up" and now - self.since >= self._passive.eject_for * self._factor:
            self._factor = 0

    def slow(self, reason: str, eject_for: float, now: float) -> Change | None:
        """Eject the server as slow, for ``eject_for`` seconds. A repeated ejection doubles, up to ten times that."""
        if self.state != "up":
            return None
        repeated = now - self.since < self._slow_for
        self._slow_for = min(2 * self._slow_for, _LONGEST_EJECTION * eject_for) if repeated else eject_for
        change = self._become("ejected", reason, "outlier", now)
        self._slow = True
        self.deadline = now + self._slow_for
        return change

    def expire(self, now: float) -> Change | None:
        """End the ejection if its deadline has passed."""
        if now < self.deadline:
            return None
        return self._become("up", "", "outlier" if self._slow else "passive", now)

    def respec(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> Change | None:
        """Apply a new configuration. The state and the streaks stay, and an ejection keeps its deadline.

        If health checks are disabled, a server that they took down comes up, as nothing else would restore it. The
        advice of an agent check is dropped if the checks change.
        """
        if spec is None or self._spec is None or spec.all_checks != self._spec.all_checks:
            self.advice = Advice()
        self._spec, self._passive = spec, passive
        self.requests_failed = self.requests_failed and bool(passive.statuses)
        if spec is not None:
            return None
        self._streak = 0
        self._proven = True
        return self._become("up", "", "active", now) if self.state in ("down", "checking") else None

    def memory(self, now: float) -> HealthSnapshot:
        """Return the state to hand over to another process."""
        return HealthSnapshot(
            state=self.state,
            reason=self.reason,
            proven=self._proven,
            streak=self._streak,
            failed_connects=self._failed_connects,
            factor=self._factor,
            age=now - self.since,
            remaining=None if math.isinf(self.deadline) else self.deadline - now,
            share=self.advice.share,
            admin=self.advice.admin,
            asked=self._asked if self.advice != Advice() else "",
            slow=self._slow,
            slow_for=self._slow_for,
            requests_failed=self.requests_failed,
        )

    def recall(self, memory: HealthSnapshot, now: float) -> None:
        """Restore the state of another process, under a configuration that may differ."""
        self.state, self.reason, self._proven = memory.state, memory.reason, memory.proven
        self._streak, self._failed_connects, self._factor = memory.streak, memory.failed_connects, memory.factor
        self._slow, self._slow_for = memory.slow, memory.slow_for
        self.requests_failed = memory.requests_failed
        self.since = now - memory.age
        self.deadline = math.inf if memory.remaining is None else now + memory.remaining
        if memory.asked == self._asked:
            self.advice = Advice(memory.share, memory.admin)
        self.respec(self._spec, self._passive, now)

    @property
    def _must_expire(self) -> bool:
        """True if it is ejected, and neither checks nor connects restore it."""
        return self.state == "ejected" and (self._slow or self.requests_failed)

    @property
    def _asked(self) -> str:
        return " ".join(check.probe.name for check in self._spec.all_checks) if self._spec is not None else ""

    def _become(self, new: State, reason: str, source: VerdictSource, now: float) -> Change:
        change = Change(self.state, new, reason, source)
        self.state, self.reason, self.since, self.deadline = new, reason, now, math.inf
        self._slow = False
        return change
