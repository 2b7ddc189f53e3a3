"""The health checks of one server, repeated while the task runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NoReturn

import trio

from healthcheck.probe import UNABLE, Passed, Probe, ProbeFailed, Target, Word, describe_broken
from healthcheck.result import CheckResult, combined
from healthcheck.schedule import first_delay, next_start, soon
from lb.model import HealthSpec
from lb.net.errors import describe_error

__all__ = ["Checks"]


class Checks:
    """Checks one server at the intervals of ``spec``, with one probe per check.

    ``target()`` is called before each check, so that it can follow changes of the address. ``report(result)`` is called
    after each check, then ``in_balance()``, which selects the fast or the normal interval.
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
        """Check until cancelled. An exception of a probe only ends its check; one of ``report`` propagates."""
        target = self._target()
        delay = first_delay(f"{target.pool}/{target.server}", self._interval(), self._rng)
        await self._pause_until(trio.current_time() + delay)
        while True:
            started = trio.current_time()
            result = await self._check()
            # A probe may turn Cancelled into a failure. That is no result if all checks were cancelled.
            await trio.lowlevel.checkpoint_if_cancelled()
            if result is not None:
                self._report(result)
            await self._pause_until(next_start(started, self._interval(), self._rng))

    def hurry(self) -> None:
        """Start the next check within the fast interval, as a passive health check ejected the server."""
        self._pause.deadline = min(self._pause.deadline, soon(trio.current_time(), self._spec.fast_interval, self._rng))

    def _interval(self) -> float:
        return self._spec.fast_interval if self._in_balance() else self._spec.interval

    async def _pause_until(self, start: float) -> None:
        with trio.CancelScope(deadline=start) as self._pause:
            await trio.sleep_forever()

    async def _check(self) -> CheckResult | None:
        """Run all checks at the same time; None if the result depends on one that could not run."""
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
        """Run one check; None if the balancer lacks descriptors, processes or memory for it."""
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
        except Exception as error:  # noqa: BLE001 - a plug-in's bug must affect this check only
            detail, bug = f"probe error: {type(error).__name__}: {error}", error
        return CheckResult(passed, detail, (trio.current_time() - started) * 1000, warning, bug)
