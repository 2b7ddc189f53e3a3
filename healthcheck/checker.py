"""The active checks of one server, one after another for as long as the task runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NoReturn

import trio

from healthcheck.probe import UNABLE, Passed, Probe, ProbeFailed, Target, Word, describe_broken
from healthcheck.result import CheckResult, combined
from healthcheck.schedule import first_delay, next_start, soon
from lb.errors import describe_error
from lb.model import HealthSpec

__all__ = ["Checks"]


class Checks:
    """Checks one server at the intervals of ``spec``, by a probe for each of its checks.

    ``target()`` is asked before each check, so that it may follow the name's addresses; ``report(result)`` is called
    after each, and what it changed is seen by ``in_balance()``, which chooses between the two intervals.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        spec: HealthSpec,
        *,
        target: Callable[[], Target],
        in_balance: Callable[[], bool],
        report: Callable[[CheckResult], None],
        rng: Random,
    ) -> None:
        numbered = enumerate(zip(spec.all_checks, probes, strict=True), start=1)
        self._probes = [(each.label(number), probe, each.port) for number, (each, probe) in numbered]
        self._spec = spec
        self._target = target
        self._in_balance = in_balance
        self._report = report
        self._rng = rng
        self._pause = trio.CancelScope()

    async def run(self) -> NoReturn:
        """Check until cancelled. Whatever a probe raises ends that check alone; what ``report`` raises gets out."""
        target = self._target()
        delay = first_delay(f"{target.pool}/{target.server}", self._interval(), self._rng)
        await self._pause_until(trio.current_time() + delay)
        while True:
            started = trio.current_time()
            result = await self._check()
            # A probe may turn Cancelled into a failure. It is no verdict if the checks as a whole were cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
            if result is not None:
                self._report(result)
            await self._pause_until(next_start(started, self._interval(), self._rng))

    def hurry(self) -> None:
        """Real traffic has just ejected the server: make the next check come within the fast interval."""
        self._pause.deadline = min(self._pause.deadline, soon(trio.current_time(), self._spec.fast_interval, self._rng))

    def _interval(self) -> float:
        return self._spec.fast_interval if self._in_balance() else self._spec.interval

    async def _pause_until(self, start: float) -> None:
        with trio.CancelScope(deadline=start) as self._pause:
            await trio.sleep_forever()

    async def _check(self) -> CheckResult | None:
        """All checks at the same time; None if the verdict hangs on one that could not be made."""
        if len(self._probes) == 1:
            _, probe, port = self._probes[0]
            return await self._check_by(probe, port)
        results: dict[str, CheckResult | None] = {label: None for label, _, _ in self._probes}

        async def check(label: str, probe: Probe, port: int) -> None:
            results[label] = await self._check_by(probe, port)

        async with trio.open_nursery() as nursery:
            for one in self._probes:
                nursery.start_soon(check, *one)
        return combined(results, self._spec.require)

    async def _check_by(self, probe: Probe, port: int) -> CheckResult | None:
        """One check; None if it could not be made for want of descriptors, processes or memory of our own."""
        started = trio.current_time()
        passed, detail, warning, bug = False, f"no answer in {self._spec.timeout:g} s", "", None
        try:
            with trio.move_on_after(self._spec.timeout):
                found = await probe.check(self._target().on_port(port))
                if isinstance(found, Word):
                    ms = (trio.current_time() - started) * 1000
                    return CheckResult(found.passed, found.detail, ms, at_once=True, advice=found.advice)
                detail, warning = (found.detail, found.warning) if isinstance(found, Passed) else (str(found), "")
                passed = True
        except ProbeFailed as failure:
            detail = str(failure) or "failed without a reason"
        except OSError as error:
            if error.errno in UNABLE:
                return None
            detail = describe_error(error)
        except trio.BrokenResourceError as error:
            detail = describe_broken(error)
        except Exception as error:  # noqa: BLE001 - a plug-in's bug must cost no more than this check
            detail, bug = f"probe error: {type(error).__name__}: {error}", error
        return CheckResult(passed, detail, (trio.current_time() - started) * 1000, warning, bug)
