"""The epoll runner against real sockets: timeouts, shortages of this host, kept connections, many servers."""

import errno
import random
import socket
import sys
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from healthcheck.check import Checks
from healthcheck.checker import MOST_IN_FLIGHT, Checker
from healthcheck.conversation import TimedOut
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed, Target, is_own_trouble
from healthcheck.probes.http import HttpProbe
from healthcheck.probes.tcp import TcpProbe
from healthcheck.task_runner import TaskRunner
from lb.model import HealthSpec
from lb.model.address import Address
from tests.support.balancer import PATIENCE
from tests.support.checking import OutcomeOf, turn
from tests.support.probe_server import server, stays_silent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="epoll")
if sys.platform == "linux":
    from healthcheck.epoll_runner import EpollRunner

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def runner():
    made = EpollRunner()
    yield made
    made.close()


async def outcome_of(runner, check):
    """Make a check and wait for its outcome."""
    before = len(check.outcomes)
    runner.start(check, trio.current_time())
    with trio.fail_after(PATIENCE):
        while len(check.outcomes) == before:
            await turn(runner)
    return check.outcomes[-1]


# Timeouts


async def test_a_silent_server_times_out_and_its_connection_is_closed(runner):
    async with server(stays_silent) as target:
        check = OutcomeOf(HttpProbe(), target, timeout=0.05)
        assert isinstance(await outcome_of(runner, check), TimedOut)
    assert runner.in_flight == 0


async def test_an_answer_that_is_there_when_the_time_is_over_passes(runner):
    """The process looks before it judges, however late it is."""
    answered = trio.Event()

    async def handle(stream):
        await stream.receive_some()
        await stream.send_all(OK)
        answered.set()

    async with server(handle) as target:
        check = OutcomeOf(HttpProbe(), target, timeout=0.05)
        runner.start(check, trio.current_time())
        await answered.wait()
        runner.look(trio.current_time() + 10, lag=10)
    assert check.outcomes == ["HTTP 200"]


async def test_the_server_gets_the_time_in_which_the_process_did_not_look(runner):
    """A stall of 2 s ejected servers whose answers took several steps: none of them had been looked at meanwhile."""
    async with server(stays_silent) as target:
        check = OutcomeOf(HttpProbe(), target, timeout=1.0)
        now = trio.current_time()
        runner.start(check, now)
        for passed, lag in [(2.5, 2.0), (0.4, 0.0), (1.0, 1.0)]:
            now += passed
            runner.look(now, lag)
            assert check.outcomes == []
        now += 0.1
        runner.look(now)
    assert [type(outcome) for outcome in check.outcomes] == [TimedOut]


async def test_the_process_looks_more_often_than_deadlines_pass(runner):
    async with server(stays_silent) as target:
        runner.start(OutcomeOf(HttpProbe(), target, timeout=1.0), trio.current_time())
        assert runner.next_look <= trio.current_time() + 0.125


# Shortages of this host and stalls of this process


class Results(list):
    """Results of checks, and a way to wait for them."""

    def __init__(self):
        self._arrived = trio.Event()

    def append(self, result):
        super().append(result)
        self._arrived.set()
        self._arrived = trio.Event()

    async def until(self, count):
        with trio.fail_after(PATIENCE):
            while len(self) < count:
                await self._arrived.wait()


def checks_at(target, probe, results, **spec):
    spec = HealthSpec(**{"interval": 0.05, "fast_interval": 0.05} | spec)
    return Checks([probe], spec, targets=[lambda: target], interval=lambda: spec.interval, report=results.append)


@asynccontextmanager
async def checking(*servers):
    checker = Checker(random.Random(1), lambda *_: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(checker.run)
        for checks in servers:
            checker.add(checks)
        yield checker
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_lack_of_sockets_is_no_verdict_and_the_check_is_made_again(monkeypatch, code):
    results = Results()
    async with server(stays_silent) as target:
        with monkeypatch.context() as short:
            short.setattr("healthcheck.epoll_runner.socket.socket", lambda *_: raises(OSError(code, "x")))
            async with checking(checks_at(target, TcpProbe(), results)):
                await results.until(3)
                assert set(results) == {None}
                short.undo()
                await results.until(len(results) + 2)
    assert results[-1].passed


async def test_a_lack_of_local_ports_is_no_verdict(monkeypatch):
    """Other sockets can reach the address, so it is not the address that is missing."""
    results = Results()
    async with server(stays_silent) as target:
        monkeypatch.setattr("healthcheck.epoll_runner._connect", lambda *_: raises(OSError(errno.EADDRNOTAVAIL, "x")))
        async with checking(checks_at(target, TcpProbe(), results)):
            await results.until(3)
    assert set(results) == {None}


def test_a_lack_of_local_ports_and_of_descriptors_is_no_verdict_either(monkeypatch):
    """No descriptor is left to find out whether it is the ports or the address that is missing."""
    target = Target("web", "a", Address.parse("127.0.0.1:80"), ((socket.AF_INET, ("127.0.0.1", 80)),))
    monkeypatch.setattr("socket.socket", lambda *_: raises(OSError(errno.EMFILE, "x")))
    assert is_own_trouble(OSError(errno.EADDRNOTAVAIL, "x"), target)


async def test_a_host_without_the_server_s_family_of_addresses_fails_the_check(monkeypatch):
    target = Target("web", "a", Address.parse("255.255.255.255:80"), ((socket.AF_INET, ("255.255.255.255", 80)),))
    results = Results()
    monkeypatch.setattr("healthcheck.epoll_runner._connect", lambda *_: raises(OSError(errno.EADDRNOTAVAIL, "x")))
    async with checking(checks_at(target, TcpProbe(), results)):
        await results.until(1)
    assert not results[0].passed


def raises(error):
    raise error


@pytest.fixture
def clock():
    """Goes as the real one, as sockets do. A jump of it is a stall: a time in which nothing ran."""
    return trio.testing.MockClock(rate=1.0)


class TwoSteps(ConversationProbe):
    """Asks twice, and calls a function between the first answer and the second question."""

    def __init__(self, between):
        self._between = between

    def talk(self, conversation):
        conversation.send(b"1")
        yield from conversation.exactly(1)
        self._between()
        conversation.send(b"2")
        yield from conversation.exactly(1)
        return "two answers"


async def echo(stream):
    async for data in stream:
        await stream.send_all(data)


@pytest.mark.parametrize("moment", ["look", "start", "answer"])
async def test_a_stall_in_the_middle_of_a_turn_fails_no_check(monkeypatch, clock, moment):
    """It was not counted: the checker read the clock only before and after it slept. Both checks are in progress."""
    results, left = Results(), [2.5]

    def stall(at):
        if at == moment and results and left:
            clock.jump(left.pop())

    def started():
        stall("start")
        return target

    def looked(runner, now, lag):
        if all(checks.each[0].running for checks in servers):
            stall("look")

    monkeypatch.setattr(TaskRunner, "look", looked)  # the first that looks
    async with server(echo) as target:
        probes = TwoSteps(lambda: None), TwoSteps(lambda: stall("answer"))
        spec = HealthSpec(interval=0.05, fast_interval=0.05, timeout=2.0)
        interval, report = lambda: spec.interval, results.append
        servers = [Checks([probe], spec, targets=[started], interval=interval, report=report) for probe in probes]
        async with checking(*servers):
            await results.until(10)
    assert not left
    assert {result.detail for result in results} == {"two answers"}


async def test_a_name_without_an_address_is_a_failure(runner):
    check = OutcomeOf(TcpProbe(), Target("web", "a", Address.parse("db:1"), ()))
    outcome = await outcome_of(runner, check)
    assert isinstance(outcome, ProbeFailed)
    assert str(outcome) == "cannot resolve db"


# Kept connections


@asynccontextmanager
async def keeping(answers_each=1000):
    """A server that closes each connection after so many answers. Yields its target and its connections."""
    connects = []

    async def handle(stream):
        connects.append(stream)
        for _ in range(answers_each):
            if not await stream.receive_some():
                return
            await stream.send_all(OK)

    async with server(handle) as target:
        yield target, connects


async def test_reuse_keeps_one_connection(runner):
    async with keeping() as (target, connects):
        check = OutcomeOf(HttpProbe(reuse=True), target)
        assert [await outcome_of(runner, check) for _ in range(5)] == ["HTTP 200"] * 5
        assert len(connects) == 1
        assert runner.in_flight == 0


async def test_without_reuse_each_check_connects(runner):
    async with keeping() as (target, connects):
        check = OutcomeOf(HttpProbe(), target)
        assert [await outcome_of(runner, check) for _ in range(3)] == ["HTTP 200"] * 3
        assert len(connects) == 3


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_server_that_closes_a_kept_connection_fails_no_check(runner, noticed):
    """Whether the close is seen before the next check, or by it."""
    async with keeping(answers_each=2) as (target, connects):
        check = OutcomeOf(HttpProbe(reuse=True), target)
        for _ in range(6):
            assert await outcome_of(runner, check) == "HTTP 200"
            await trio.testing.wait_all_tasks_blocked()
            if noticed:
                runner.look(trio.current_time())
        assert len(connects) == 3


async def test_a_server_that_closes_every_connection_without_an_answer_fails(runner):
    async with server(lambda stream: stream.receive_some()) as target:
        outcome = await outcome_of(runner, OutcomeOf(HttpProbe(reuse=True), target))
    assert str(outcome) == "closed the connection before its answer was complete"


async def test_a_kept_connection_is_left_when_the_address_changes(runner):
    async with keeping() as (first, _), keeping() as (second, connects):
        check = OutcomeOf(HttpProbe(reuse=True), first)
        await outcome_of(runner, check)
        check.move_to(second)
        assert await outcome_of(runner, check) == "HTTP 200"
        assert len(connects) == 1


async def test_a_failed_check_keeps_no_connection(runner):
    async with keeping() as (target, connects):
        check = OutcomeOf(HttpProbe(reuse=True, expect_status=500), target)
        await outcome_of(runner, check)
        await outcome_of(runner, check)
        assert len(connects) == 2


# Many servers


async def test_a_thousand_servers_are_all_checked(monkeypatch):
    results = {number: Results() for number in range(1000)}
    async with server(stays_silent) as target:
        servers = [checks_at(target, TcpProbe(), results[number], interval=1.0) for number in results]
        async with checking(*servers):
            for each in results.values():
                await each.until(2)
    assert all(result.passed for each in results.values() for result in each)


async def test_no_more_checks_than_the_limit_are_made_at_a_time():
    """The others wait, and are made when there is room."""
    results, opened, most = Results(), 0, 0

    async def handle(stream):
        nonlocal opened, most
        opened += 1
        most = max(most, opened)
        await stays_silent(stream)
        opened -= 1

    async with server(handle) as target:
        servers = [checks_at(target, HttpProbe(), results, timeout=1.0) for _ in range(MOST_IN_FLIGHT + 50)]
        async with checking(*servers):
            await results.until(MOST_IN_FLIGHT + 50)
    assert {result.detail for result in results} == {"no answer in 1 s"}
    assert MOST_IN_FLIGHT * 0.9 < most <= MOST_IN_FLIGHT


async def test_a_process_with_few_descriptors_makes_few_checks_at_a_time(monkeypatch):
    monkeypatch.setattr("healthcheck.checker.open_files_limit", lambda: 80)
    results = Results()
    async with server(stays_silent) as target:
        servers = [checks_at(target, HttpProbe(), results, timeout=0.2) for _ in range(30)]
        async with checking(*servers):
            began = trio.current_time()
            await results.until(30)
            assert trio.current_time() - began > 0.5


async def test_a_server_that_is_removed_is_not_checked_any_more():
    results, kept = Results(), Results()
    async with server(stays_silent) as target:
        stays, leaves = checks_at(target, TcpProbe(), kept), checks_at(target, TcpProbe(), results)
        async with checking(stays, leaves) as checker:
            await results.until(1)
            checker.remove(leaves)
            before, others = len(results), len(kept)
            await kept.until(others + 5)
    assert len(results) == before


async def test_a_removed_server_s_check_in_progress_ends_without_a_result():
    results = Results()
    async with server(stays_silent) as target:
        checks = checks_at(target, HttpProbe(), results, timeout=0.1)
        async with checking(checks) as checker:
            await trio.sleep(0.1)
            checker.remove(checks)
            await trio.sleep(0.2)
    assert results == []
