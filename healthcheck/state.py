"""The health of one server: a pure state machine, fed with what checks and real connections found.

The states, and what leads from one to another (``fall``, ``rise``, ``failures`` in a row):

=========  ==============================  ================================  ========================
state      a check passes                  a check fails                     real traffic, time
=========  ==============================  ================================  ========================
up                                         the ``fall``-th: down             the ``failures``-th failed
                                                                             connect: ejected
down       the ``rise``-th: up
checking   up                              the ``fall``-th: down
ejected    up                              the ``fall``-th: down             its time is over, or a
                                                                             connect works: up
=========  ==============================  ================================  ========================

A server that was ejected for being slow accepts connections, so neither checks nor connects restore it: its time must
be over.

A server that starts in ``checking`` (``initial = "down"``) needs one pass for its first time up, also once so many
failures have called it ``down``. A server whose ejection ran out is up on trial: failed connects still are "in a row"
with those before the ejection, so one more ejects again, until a connect works or a check passes.

What a server's agent says of it counts at once, without ``rise`` or ``fall``. ``maint`` takes it down whatever else is
found, until ``ready``.

Times are seconds of any one clock, passed in as ``now``.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import attrs

from healthcheck.advice import Advice
from lb.model import HealthSpec, PassiveSpec

__all__ = ["Change", "Health", "Memory", "Source", "State"]

State: TypeAlias = Literal["up", "down", "ejected", "checking"]
Source: TypeAlias = Literal["active", "passive", "outlier"]

_LONGEST_EJECTION = 10  # times ``eject_for``


@attrs.frozen
class Change:
    """A change of state: why, and what brought it about.

    Checks (``active``), single connects (``passive``), or a comparison with the other servers (``outlier``).
    """

    old: State
    new: State
    reason: str
    """Why the server is not up; empty if it is."""
    source: Source


@attrs.frozen
class Memory:
    """All that is known of a server's health, for another process. Without arguments: up, and nothing to remember."""

    state: State = "up"
    reason: str = ""
    proven: bool = True
    streak: int = 0
    failed_connects: int = 0
    factor: int = 0
    age: float = 0.0
    """Seconds since the state changed last."""
    remaining: float | None = None
    """Seconds until an ejection ends; None if there is none."""
    share: int | None = None
    admin: Literal["ready", "drain", "maint"] | None = None
    """What its agent asks for, as in :class:`Advice`."""
    asked: str = ""
    """By which probes: who is asked by others does not speak of the same."""
    turned: float | None = None
    """Seconds since it was closed to new connections, or opened again; None if it never was."""
    slow: bool = False
    slow_for: float = 0.0


class Health:
    """Whether one server may get traffic. Each method that takes news returns the change it made, if any."""

    def __init__(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> None:
        self._proven = spec is None or spec.initial == "up"
        """It was up once, if only by the configuration's word."""
        self.state: State = "up" if self._proven else "checking"
        self.reason = "" if self._proven else "not checked yet"
        """Why it is not up; empty if it is."""
        self.advice = Advice()
        """What the server's agent asks for."""
        self.since = now
        """When the state changed last."""
        self.deadline = math.inf
        """When :meth:`expire` has something to do."""
        self._spec = spec
        self._passive = passive
        self._streak = 0
        """Consecutive checks that speak against the state: passes of a server that is down, else failures."""
        self._failed_connects = 0
        """Consecutive ones."""
        self._factor = 0
        """Of the last ejection: how many times ``eject_for`` it lasted; 0 if there is none to remember."""
        self._slow = False
        """It is ejected for being slow."""
        self._slow_for = 0.0
        """How long the last ejection for being slow lasted, seconds; 0 if there was none."""

    @property
    def serving(self) -> bool:
        """It may get traffic."""
        return self.state == "up"

    @property
    def in_balance(self) -> bool:
        """Some of ``fall`` or ``rise`` is seen, not all, or one pass would do: check at the fast interval."""
        one_would_do = self.state in ("checking", "ejected") and not self._slow
        return self._spec is not None and (self._streak > 0 or one_would_do)

    @property
    def success_matters_from(self) -> float:
        """From when on a connect that works would change anything; ``math.inf`` if it would not."""
        if self._failed_connects or (self.state == "ejected" and not self._slow):
            return -math.inf
        if self._factor and self.state == "up":
            return self.since + self._passive.eject_for * self._factor
        return math.inf

    def heed(self, advice: Advice) -> None:
        """The server's agent has asked for something. To be called before :meth:`check` with what it found."""
        if self._spec is not None:
            self.advice = self.advice.then(advice)

    def check(self, passed: bool, detail: str, now: float, *, at_once: bool = False) -> Change | None:
        """An active check has passed, or failed for the reason in ``detail``; ``at_once`` skips ``rise``, ``fall``."""
        if self._spec is None:  # the last result of checks that a reload has just switched off
            return None
        if self.advice.admin == "maint":
            return self._check_failed(1, "maint" if passed else detail, now)
        if passed:
            return self._check_passed(1 if at_once else self._spec.rise, now)
        return self._check_failed(1 if at_once else self._spec.fall, detail, now)

    def _check_passed(self, rise: int, now: float) -> Change | None:
        if self._failed_connects >= self._passive.failures:  # ejected, or on trial after it
            self._failed_connects = 0
        if self.state == "up" or self._slow:
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
        """A connection's attempt at this server failed. Tells of nothing new unless the server is up."""
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
        """A connection's attempt at this server worked.

        Ejections double no more once connects work after the server was back for as long as the last one lasted.
        """
        self._failed_connects = 0
        if self.state == "ejected" and not self._slow:
            return self._become("up", "", "passive", now)
        if self._factor and self.state == "up" and now - self.since >= self._passive.eject_for * self._factor:
            self._factor = 0
        return None

    def slow(self, reason: str, eject_for: float, now: float) -> Change | None:
        """It is much slower than the others: eject it for so many seconds, and longer at each repeat, as above."""
        if self.state != "up":
            return None
        repeated = now - self.since < self._slow_for
        self._slow_for = min(2 * self._slow_for, _LONGEST_EJECTION * eject_for) if repeated else eject_for
        change = self._become("ejected", reason, "outlier", now)
        self._slow = True
        self.deadline = now + self._slow_for
        return change

    def expire(self, now: float) -> Change | None:
        """Time has passed. Ends an ejection at its deadline, and does nothing before or without one."""
        if now < self.deadline:
            return None
        return self._become("up", "", "outlier" if self._slow else "passive", now)

    def respec(self, spec: HealthSpec | None, passive: PassiveSpec, now: float) -> Change | None:
        """A reload: new rules from now on. State and streaks stay, and a running ejection runs its time.

        Without active checks nothing would ever restore a server that they took down, so it comes up. What an agent
        has asked for is over if the server is asked in another way from now on.
        """
        if spec is None or self._spec is None or spec.all_checks != self._spec.all_checks:
            self.advice = Advice()
        self._spec, self._passive = spec, passive
        if spec is not None:
            return None
        self._streak = 0
        self._proven = True
        return self._become("up", "", "active", now) if self.state in ("down", "checking") else None

    def memory(self, now: float) -> Memory:
        """What another process has to know to judge on from here."""
        return Memory(
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
        )

    def recall(self, memory: Memory, now: float) -> None:
        """Go on from where another process was, under rules that may be others."""
        self.state, self.reason, self._proven = memory.state, memory.reason, memory.proven
        self._streak, self._failed_connects, self._factor = memory.streak, memory.failed_connects, memory.factor
        self._slow, self._slow_for = memory.slow, memory.slow_for
        self.since = now - memory.age
        self.deadline = math.inf if memory.remaining is None else now + memory.remaining
        if memory.asked == self._asked:
            self.advice = Advice(memory.share, memory.admin)
        self.respec(self._spec, self._passive, now)

    @property
    def _asked(self) -> str:
        return " ".join(check.probe.name for check in self._spec.all_checks) if self._spec is not None else ""

    def _become(self, new: State, reason: str, source: Source, now: float) -> Change:
        change = Change(self.state, new, reason, source)
        self.state, self.reason, self.since, self.deadline = new, reason, now, math.inf
        self._slow = False
        return change
