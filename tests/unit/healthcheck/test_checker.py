import errno
import itertools
import math
import random
from contextlib import asynccontextmanager
from functools import partial

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from healthcheck.check import Checks
from healthcheck.checker import Checker
from healthcheck.probe import Probe, ProbeFailed, Target, Word
from healthcheck.result import Advice, CheckResult
from healthcheck.state import Health
from lb.model import CheckSpec, HealthSpec, PassiveSpec, PluginSpec
from lb.model.address import Address
from lb.net.errors import LOCAL_ERRORS

TARGET = Target("web", "a", Address.parse("10.0.0.1:80"), ())
SPEC = HealthSpec(interval=10.0, fast_interval=1.0, down_interval=30.0, timeout=2.0)


class FakeProbe(Probe):
    """Runs one script per check, and repeats the last one: a plain or async function without arguments."""

    def __init__(self, *scripts):
        self.scripts = list(scripts)
        self.starts, self.targets = [], []
        self.started = trio.Event()

    async def check(self, target):
        self.starts.append(trio.current_time())
        self.targets.append(target)
        self.started.set()
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        return await script()


async def passes():
    return "fine"


async def fails():
    raise ProbeFailed("HTTP 503")


def raises(exception):
    async def script():
        raise exception

    return script


def takes(seconds):
    async def script():
        await trio.sleep(seconds)
        return "late"

    return script


async def results_of(*probes, count=1, spec=SPEC, interval=None, target=lambda: TARGET):
    """Return the results of the first checks; the clock jumps while they wait."""
    results = []

    def report(result):
        results.append(result)
        if len(results) == count:
            scope.cancel()

    with trio.CancelScope() as scope:
        targets = [target] * len(probes)
        await check_forever(
            Checks(probes, spec, targets=targets, interval=interval or (lambda: spec.interval), report=report)
        )
    return results


async def check_forever(*servers, checker=None):
    checker = checker or Checker(random.Random(1), lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        for checks in servers:
            checker.add(checks)


async def verdict_of(script):
    (result,) = await results_of(FakeProbe(script))
    return result.passed, result.detail


def gaps(probe):
    return [later - earlier for earlier, later in itertools.pairwise(probe.starts)]


@pytest.mark.parametrize(
    ("script", "passed", "detail"),
    [
        (passes, True, "fine"),
        (fails, False, "HTTP 503"),
        (raises(ProbeFailed()), False, "failed without a reason"),
        (takes(1.9), True, "late"),
        (takes(2.1), False, "no answer in 2 s"),
        (raises(ConnectionRefusedError(errno.ECONNREFUSED, "x")), False, "connection refused"),
        (raises(ValueError("oops")), False, "probe error: ValueError: oops"),
        (raises(ProbeFailed("two\x1b\nlines")), False, "two?"),
    ],
)
async def test_verdicts(autojump_clock, script, passed, detail):
    assert await verdict_of(script) == (passed, detail)


async def test_a_connection_that_breaks_is_a_failure_with_the_system_s_reason(autojump_clock):
    async def script():
        raise trio.BrokenResourceError("x") from ConnectionResetError(errno.ECONNRESET, "x")

    assert await verdict_of(script) == (False, "connection reset")


async def test_the_time_taken_is_in_the_result(autojump_clock):
    assert await results_of(FakeProbe(takes(1.5))) == [CheckResult(passed=True, detail="late", ms=pytest.approx(1500))]


async def test_a_broken_probe_hands_out_its_exception_and_goes_on(autojump_clock):
    bug = KeyError("oops")
    broken, fine = await results_of(FakeProbe(raises(bug), passes), count=2)
    assert broken.exception is bug
    assert fine.passed
    assert fine.exception is None


async def test_a_bug_in_a_task_of_the_probe_s_own_does_not_get_out_either(autojump_clock):
    async def script():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(raises(ValueError("oops")))

    (result,) = await results_of(FakeProbe(script))
    assert isinstance(result.exception, ExceptionGroup)


async def test_a_probe_that_forgets_to_return_a_detail_passes(autojump_clock):
    assert await verdict_of(trio.lowlevel.checkpoint) == (True, "None")


async def test_a_lack_of_descriptors_of_our_own_is_no_verdict(autojump_clock):
    probe = FakeProbe(raises(OSError(errno.EMFILE, "x")), raises(OSError(errno.EMFILE, "x")), passes)
    *without_verdict, result = await results_of(probe, count=3)
    assert without_verdict == [None, None]
    assert result.passed


@pytest.mark.parametrize("code", sorted(LOCAL_ERRORS - {errno.EADDRNOTAVAIL}))
async def test_what_is_no_verdict_in_a_client_s_connect_is_none_in_a_check(autojump_clock, code):
    async def script():
        raise trio.BrokenResourceError from OSError(code, "x")

    assert await results_of(FakeProbe(raises(OSError(code, "x")), script), count=2) == [None, None]


async def test_a_probe_may_say_what_was_amiss_when_its_time_ran_out(autojump_clock):
    async def script():
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            raise ProbeFailed("half an answer") from None

    assert await verdict_of(script) == (False, "half an answer")


async def test_no_verdict_is_reported_when_the_checks_are_cancelled(autojump_clock):
    began = trio.Event()

    async def script():
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            raise ProbeFailed("cancelled")

    results = []
    spec = HealthSpec(timeout=math.inf)
    checks = Checks(
        [FakeProbe(script)],
        spec,
        targets=[lambda: TARGET],
        interval=lambda: spec.interval,
        report=results.append,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(check_forever, checks)
        await began.wait()
        nursery.cancel_scope.cancel()
    assert results == []


async def test_checks_are_an_interval_apart_from_start_to_start(autojump_clock):
    probe = FakeProbe(takes(1.0))
    await results_of(probe, count=20)
    assert all(9.0 <= gap <= 11.0 for gap in gaps(probe))
    assert 9.5 < sum(gaps(probe)) / 19 < 10.5


async def test_each_result_decides_the_interval_to_the_next_check(autojump_clock):
    health = Health(SPEC, PassiveSpec(), trio.current_time())
    probe = FakeProbe(passes, fails, fails, fails, passes, passes)
    checks = Checks(
        [probe],
        SPEC,
        targets=[lambda: TARGET],
        interval=lambda: health.check_interval,
        report=lambda result: health.check(result.passed, result.detail, trio.current_time()),
    )
    with trio.move_on_after(100):
        await check_forever(checks)
    assert [round(gap, -1) if gap > 5 else 1 for gap in gaps(probe)[:6]] == [10, 1, 1, 30, 1, 10]


async def test_a_server_that_waits_for_its_first_pass_is_checked_within_the_fast_interval(autojump_clock):
    probe = FakeProbe(passes)
    began = trio.current_time()
    health = Health(attrs.evolve(SPEC, initial="down"), PassiveSpec(), began)
    await results_of(probe, interval=lambda: health.check_interval)
    assert probe.starts[0] - began <= 1.1


async def test_checks_longer_than_the_interval_never_overlap(autojump_clock):
    running = 0

    async def script():
        nonlocal running
        running += 1
        assert running == 1
        await trio.sleep(5.0)
        running -= 1

    probe = FakeProbe(script)
    spec = HealthSpec(interval=1.0, timeout=20.0)
    assert all(result.passed for result in await results_of(probe, count=5, spec=spec))
    assert gaps(probe) == pytest.approx([5.0] * 4)


async def test_each_check_goes_where_the_name_points_then(autojump_clock):
    probe = FakeProbe(passes)
    addresses = iter("abcd")
    await results_of(probe, count=3, target=lambda: Target("web", next(addresses), TARGET.address, ()))
    assert [target.server for target in probe.targets] == ["b", "c", "d"], "only the name of the first is used"


async def test_several_checks_are_made_at_the_same_time_and_are_one_verdict(autojump_clock):
    checks = (CheckSpec(PluginSpec("tcp")), CheckSpec(PluginSpec("http"), name="ready"))
    probes = [FakeProbe(takes(1.5), fails), FakeProbe(takes(1.8), takes(3.0))]
    spec = attrs.evolve(SPEC, checks=checks)
    fine, bad = await results_of(*probes, count=2, spec=spec)
    assert fine == CheckResult(True, "check 1 (tcp): late; check 2 (ready): late", pytest.approx(1800))
    assert bad == CheckResult(False, "check 1 (tcp): HTTP 503; check 2 (ready): no answer in 2 s", pytest.approx(2000))
    assert probes[0].starts == probes[1].starts


async def test_a_check_that_cannot_be_made_leaves_the_verdict_to_the_next_time(autojump_clock):
    unable = FakeProbe(raises(OSError(errno.EMFILE, "x")), passes)
    spec = attrs.evolve(SPEC, checks=(CheckSpec(), CheckSpec()))
    without_verdict, result = await results_of(FakeProbe(passes), unable, count=2, spec=spec)
    assert without_verdict is None
    assert result.passed


async def test_the_word_of_a_server_about_itself_counts_at_once(autojump_clock):
    async def script():
        return Word(passed=False, detail="down: as told", advice=Advice(share=20))

    (result,) = await results_of(FakeProbe(script))
    assert result == CheckResult(False, "down: as told", 0.0, at_once=True, advice=Advice(share=20))


async def test_an_ejection_brings_the_next_check_forward(autojump_clock):
    probe = FakeProbe(passes)
    checks = Checks(
        [probe],
        HealthSpec(interval=1000.0, fast_interval=1.0),
        targets=[lambda: TARGET],
        interval=lambda: 1000.0,
        report=lambda result: None,
    )
    checker = Checker(random.Random(1), lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        checker.add(checks)
        await wait_all_tasks_blocked()
        hurried = trio.current_time()
        checker.hurry(checks)
        await trio.sleep(1.0)
        assert len(probe.starts) == 1
        assert probe.starts[0] <= hurried + 1.0
        nursery.cancel_scope.cancel()


# The process's own lateness. A jump of the clock is a time in which nothing runs.


@asynccontextmanager
async def checker_of(*servers):
    """Run a checker; yield what it says about late checks."""
    late = []
    checker = Checker(random.Random(1), lambda *report: late.append(report))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(check_forever, *servers, checker=checker))
        yield checker, late
        nursery.cancel_scope.cancel()


def checks_of(probe, results, interval=10.0, name="a"):
    target = attrs.evolve(TARGET, server=name)
    return Checks([probe], SPEC, targets=[lambda: target], interval=lambda: interval, report=results.append)


async def started(probe, count=1):
    while len(probe.starts) < count:  # noqa: ASYNC110 - virtual time
        await trio.sleep(0.05)


async def test_a_check_that_ended_while_nothing_ran_is_no_verdict(autojump_clock):
    probe, results = FakeProbe(takes(1.5), passes), []
    async with checker_of(checks_of(probe, results)):
        await started(probe)
        autojump_clock.jump(3.0)
        await trio.sleep(5.0)
    assert results[0] is None
    assert results[1].passed


async def test_a_check_whose_whole_time_a_stall_took_is_no_verdict(autojump_clock):
    """It ends in time, a moment after the stall: trio ends it before anybody can give it that time again."""
    probe, results = FakeProbe(takes(1.9), passes), []
    async with checker_of(checks_of(probe, results)):
        await started(probe)
        autojump_clock.jump(1.99)
        await trio.sleep(5.0)
    assert results[0] is None
    assert results[1].passed


async def test_a_check_gets_the_time_in_which_nothing_ran(autojump_clock):
    probe, results = FakeProbe(takes(math.inf)), []
    async with checker_of(checks_of(probe, results)):
        await started(probe)
        await trio.sleep(0.5)
        autojump_clock.jump(1.0)
        await trio.sleep(5.0)
    assert results[0].detail == "no answer in 2 s"
    assert results[0].ms == pytest.approx(3000, abs=150)


async def test_late_checks_are_reported_once_a_streak(autojump_clock):
    servers = [checks_of(FakeProbe(passes), [], name=str(number)) for number in range(50)]
    async with checker_of(*servers) as (checker, late):
        await trio.sleep(20.0)
        assert (late, checker.late) == ([], 0)
        for _ in range(3):
            autojump_clock.jump(5.0)
            await trio.sleep(5.0)
        assert [(pool, servers > 10, 1 < seconds <= 5) for pool, servers, seconds in late] == [("web", True, True)]
        assert checker.late > 30
        await trio.sleep(30.0)
        autojump_clock.jump(5.0)
        await trio.sleep(5.0)
        assert len(late) == 2


async def test_late_checks_are_not_made_at_the_fast_interval(autojump_clock):
    """It would quadruple the load of a process that has no time for the usual one."""
    probe = FakeProbe(fails)
    async with checker_of(checks_of(probe, [], interval=SPEC.fast_interval)):
        await started(probe, 3)
        autojump_clock.jump(5.0)
        await started(probe, 5)
    first, _, late, after = gaps(probe)[-4:]
    assert first < 2
    assert late > 5
    assert after > 8


@asynccontextmanager
async def one_server(probe, *, report=lambda _: None):
    """A checker that checks one server every 10 s, and its checks."""
    checker = Checker(random.Random(1), lambda *_: None)
    checks = Checks([probe], SPEC, targets=[lambda: TARGET], interval=lambda: SPEC.interval, report=report)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        checker.add(checks)
        yield checker, checks
        nursery.cancel_scope.cancel()


async def test_checks_that_rest_are_not_made_until_they_resume(autojump_clock):
    probe = FakeProbe(passes)
    async with one_server(probe) as (checker, checks):
        await trio.sleep(25)
        made = len(probe.starts)
        checker.rest(checks)
        await trio.sleep(1000)
        assert len(probe.starts) == made
        checker.hurry(checks)
        await trio.sleep(1000)
        assert len(probe.starts) == made
        checker.resume(checks)
        resumed = trio.current_time()
        await trio.sleep(100)
        assert 9 <= len(probe.starts) - made <= 12
        assert probe.starts[made] - resumed <= 11


async def test_a_check_in_progress_ends_before_the_rest(autojump_clock):
    results = []
    probe = FakeProbe(takes(1.5))
    async with one_server(probe, report=results.append) as (checker, checks):
        await probe.started.wait()
        checker.rest(checks)
        await trio.sleep(100)
        assert len(results) == len(probe.starts) == 1
        checker.resume(checks)
        await trio.sleep(12)
        assert len(results) == 2


async def test_checks_that_resume_during_a_check_are_made_one_at_a_time(autojump_clock):
    probe = FakeProbe(takes(1.5))
    async with one_server(probe) as (checker, checks):
        await probe.started.wait()
        checker.rest(checks)
        checker.resume(checks)
        await trio.sleep(60)
    assert min(gaps(probe)) >= 9


async def test_checks_may_rest_by_the_result_of_one(autojump_clock):
    probe = FakeProbe(passes)
    results = []

    def report(result):
        results.append(result)
        if len(results) == 2:
            checker.rest(checks)

    async with one_server(probe, report=report) as (checker, checks):
        await trio.sleep(100)
        assert len(probe.starts) == 2
        checker.resume(checks)
        checker.hurry(checks)
        resumed = trio.current_time()
        await trio.sleep(5)
        assert probe.starts[2] - resumed <= SPEC.fast_interval
