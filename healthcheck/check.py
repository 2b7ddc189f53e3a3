"""The checks of one server: what is checked, and what the results together say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from healthcheck.connection import Outcome
from healthcheck.conversation import TimedOut
from healthcheck.probe import Passed, Probe, ProbeFailed, Target, Word, cause_of, is_own_trouble
from healthcheck.result import CheckResult, combined
from lb.model import HealthSpec
from lb.net.errors import describe_error

__all__ = ["Checks", "ServerCheck"]


class Cancellable(Protocol):
    """A check in progress, or a connection kept after it."""

    def cancel(self) -> None:
        """Stop, without a result."""


class ServerCheck:
    """One probe of one server. A runner makes the check again and again, one at a time.

    ``started`` and ``running`` belong to the runner, and ``kept``: a connection that it keeps for the next check.
    """

    __slots__ = (
        "_checks",
        "_target",
        "by_epoll",
        "kept",
        "label",
        "probe",
        "running",
        "started",
        "timeout",
    )

    def __init__(self, checks: Checks, label: str, probe: Probe, target: Callable[[], Target], timeout: float) -> None:
        self._checks = checks
        self._target = target
        self.label = label
        self.probe = probe
        self.timeout = timeout
        self.by_epoll = False
        """The checker's choice of the runner."""
        self.started = 0.0
        self.running: Cancellable | None = None
        self.kept: Cancellable | None = None

    @property
    def target(self) -> Target:
        """Where to connect at the moment; the same object while it does not change."""
        return self._target()

    def done(self, outcome: Outcome | None, now: float) -> None:
        """The check has ended. None: it could not be made, for a reason of the balancer's own."""
        self.running = None
        ms = (now - self.started) * 1000
        self._checks.add(self, None if outcome is None else self._result(outcome, ms))

    def stop(self) -> None:
        """Cancel the check in progress, and close a kept connection."""
        for each in (self.running, self.kept):
            if each is not None:
                each.cancel()
        self.running = self.kept = None

    def _result(self, outcome: Outcome, ms: float) -> CheckResult | None:
        match outcome:
            case str():
                return CheckResult(True, outcome, ms)
            case Word():
                return CheckResult(outcome.passed, outcome.detail, ms, at_once=True, advice=outcome.advice)
            case Passed():
                return CheckResult(True, outcome.detail, ms, outcome.warning)
            case TimedOut():
                return CheckResult(False, f"no answer in {self.timeout:g} s", ms)
            case ProbeFailed():
                return CheckResult(False, str(outcome) or "failed without a reason", ms)
            case OSError() | trio.BrokenResourceError():
                error = outcome if isinstance(outcome, OSError) else cause_of(outcome)
                return None if is_own_trouble(error, self.target) else CheckResult(False, describe_error(error), ms)
        detail = f"probe error: {type(outcome).__name__}: {outcome}"
        return CheckResult(False, detail, ms, exception=outcome)


class Checks:
    """The checks of one server with one or more probes, which are made at the same time and count as one.

    ``targets`` has a function for each probe. It is called before each check, so that it can follow changes of the
    address. It must return the same object while nothing changes. After each check ``report(result)`` is called, with
    None if the check is no verdict for a reason of the balancer's own, then ``interval()``, which returns the seconds
    from the start of this check to the start of the next.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        spec: HealthSpec,
        *,
        targets: Sequence[Callable[[], Target]],
        interval: Callable[[], float],
        report: Callable[[CheckResult | None], None],
    ) -> None:
        self.spec = spec
        self.report = report
        self.interval = interval
        numbered = enumerate(zip(spec.all_checks, probes, targets, strict=True), start=1)
        self.each = [
            ServerCheck(self, each.label(number), probe, target, spec.timeout)
            for number, (each, probe, target) in numbered
        ]
        self._results: dict[str, CheckResult | None] = {}
        self.due = 0.0
        """When the next check starts. Infinite while one is in progress, while they rest, or after the end."""
        self.resting = False
        """No check is made for the time being."""
        self.in_progress = False
        self.started = 0.0
        """When the check in progress, or the last one, was to start."""
        self.late = False
        """It started late."""
        self.finished: Callable[[Checks, CheckResult | None], None]
        """Called after each check, with None if the result depends on a check that could not be made."""

    @property
    def pool(self) -> str:
        """The name of the server's pool."""
        return self.each[0].target.pool

    def close_kept(self) -> None:
        """Close connections that are kept for the next check, as there is none soon."""
        for check in self.each:
            if check.kept is not None:
                check.kept.cancel()
                check.kept = None

    def end(self) -> None:
        """Stop checking. Drops the checks, which refer to this object: no cycle is left to the garbage collector."""
        self.due = math.inf
        each, self.each = self.each, []
        for check in each:
            check.stop()

    def add(self, check: ServerCheck, result: CheckResult | None) -> None:
        """Add the result of one of the checks."""
        if len(self.each) == 1:
            self.finished(self, result)
            return
        self._results[check.label] = result
        if len(self._results) == len(self.each):
            results = {each.label: self._results[each.label] for each in self.each}
            self._results = {}
            self.finished(self, combined(results, self.spec.require))
