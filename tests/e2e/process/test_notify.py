"""Notifications to the service manager: content, sender and time."""

from __future__ import annotations

import signal
import time

import pytest
import trio

from lb.events.process import NotifyFailed
from lb.service.notify import Notifier
from tests.support.balancer import ask, balancer, config, connect, request
from tests.support.servers import serving
from tests.support.service_manager import manager

slow = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")


@slow
@one_process_or_two
async def test_it_says_when_it_serves_reloads_and_stops(tmp_path):
    async with (
        serving() as server,
        manager(tmp_path) as receiver,
        balancer(tmp_path, config(server), env=receiver.environment) as lb,
    ):
        assert await receiver.receive("READY") == (lb.process.pid, {"READY": "1", "STATUS": "serving"})
        assert await ask(lb.port) == b"s\n"

        before = time.monotonic()
        await lb.reload(config(server, pool="retries = 0"))
        _, message = await receiver.receive("RELOADING", "1")
        assert before <= int(message["MONOTONIC_USEC"]) / 1e6 <= time.monotonic()
        assert (await receiver.receive("READY", "1"))[1]["STATUS"] == "serving"

        await lb.reload(config(server, pool="retires = 0"))
        await receiver.receive("RELOADING", "1")
        status = (await receiver.receive("READY", "1"))[1]["STATUS"]
        assert status.startswith("serving; the last reload was rejected: ")
        assert "pools.web.retires: unknown key" in status

        async with await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            lb.signal(signal.SIGTERM)
            stopping = (await receiver.receive("STOPPING", "1"))[1]
            assert stopping["STATUS"] == "stopping; 1 connections were open"
        assert await lb.exit_code() == 0
    assert {pid for pid, _ in receiver.messages} == {lb.process.pid}, "another process has sent a message"


@slow
@one_process_or_two
async def test_in_an_upgrade_the_old_process_names_the_new_one_before_that_one_speaks(tmp_path):
    async with (
        serving() as server,
        manager(tmp_path) as receiver,
        balancer(tmp_path, config(server), env=receiver.environment) as lb,
        await connect(lb.port) as stream,
    ):
        assert await request(stream, b"name") == b"s"
        await receiver.receive("READY")
        new = (await lb.upgrade())["pid"]
        assert await receiver.receive("READY") == (new, {"READY": "1", "STATUS": "serving"})
        await stream.aclose()
        await lb.event("server.stopped")
        lb.signal(signal.SIGTERM)
        assert (await receiver.receive("STOPPING"))[0] == new
        await lb.gone(new)
    messages = [(pid, message) for pid, message in receiver.messages if "STOPPING" not in message]
    old = lb.process.pid
    assert [(pid, *message) for pid, message in messages] == [
        (old, "READY", "STATUS"),
        (old, "MAINPID"),
        (new, "READY", "STATUS"),
    ]
    assert messages[1][1]["MAINPID"] == str(new)
    assert len(receiver.messages) == len(messages) + 1, "the old process must not report a stop"


@slow
async def test_a_reload_asked_of_the_old_process_is_said_by_the_new_one(tmp_path):
    async with (
        serving() as server,
        manager(tmp_path) as receiver,
        balancer(tmp_path, config(server), env=receiver.environment) as lb,
        await connect(lb.port) as stream,
    ):
        assert await request(stream, b"name") == b"s"
        new = (await lb.upgrade())["pid"]
        await lb.event("server.stopping")
        lb.process.send_signal(signal.SIGHUP)
        assert (await receiver.receive("RELOADING"))[0] == new


@slow
async def test_a_failed_upgrade_leaves_the_service_as_it_was(tmp_path):
    async with (
        serving() as server,
        manager(tmp_path) as receiver,
        balancer(tmp_path, config(server), env=receiver.environment) as lb,
    ):
        lb.config_file.write_text("listeners = 3")
        assert (await lb.upgrade())["event"] == "upgrade.failed"
        assert await lb.stop() == 0
        await receiver.receive("STOPPING")
    assert [(pid, *message) for pid, message in receiver.messages] == [
        (lb.process.pid, "READY", "STATUS"),
        (lb.process.pid, "STOPPING", "STATUS"),
    ]


@slow
async def test_it_gives_signs_of_life_and_so_does_the_next_process(tmp_path, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    async with (
        serving() as server,
        manager(tmp_path) as receiver,
        balancer(tmp_path, config(server), env=receiver.environment) as lb,
    ):
        await receiver.receive("READY")
        for _ in range(3):
            assert await receiver.receive("WATCHDOG", "1") == (lb.process.pid, {"WATCHDOG": "1"})
        new = (await lb.upgrade())["pid"]
        await receiver.receive("MAINPID")
        for _ in range(3):
            assert (await receiver.receive("WATCHDOG"))[0] == new


async def test_a_process_that_hangs_gives_no_sign_of_life(tmp_path, monkeypatch):
    """Watchdog messages come from the event loop of the traffic, so they stop if it hangs."""
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    async with manager(tmp_path) as receiver, trio.open_nursery() as nursery:
        monkeypatch.setenv("NOTIFY_SOCKET", receiver.environment["NOTIFY_SOCKET"])
        notifier = Notifier(pytest.fail)
        nursery.start_soon(notifier.run)
        notifier.ready()
        await receiver.receive("WATCHDOG")
        hangs_for = 0.2
        before = trio.current_time()
        time.sleep(hangs_for)  # noqa: ASYNC251, TID251 - blocks the event loop on purpose
        await receiver.receive("WATCHDOG")
        beats = [message for _, message in receiver.messages if "WATCHDOG" in message]
        assert len(beats) <= 3
        assert trio.current_time() - before >= hangs_for
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("pid", "microseconds", "interval"),
    [("", "20000000", 10.0), ("1", "20000000", None), ("", "", None), ("", "x", None)],
)
def test_signs_of_life_are_for_who_is_asked_for_them(monkeypatch, pid, microseconds, interval):
    monkeypatch.setenv("WATCHDOG_PID", pid)
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    assert Notifier(pytest.fail)._interval == interval


async def test_without_a_service_manager_nothing_is_said_and_nobody_waits(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier(pytest.fail)
    await notifier.run()
    notifier.ready()
    notifier.stopping(3)
    await notifier.all_sent()


async def test_a_service_manager_that_is_gone_is_told_of_once(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    events = []
    notifier = Notifier(events.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(notifier.run)
        for _ in range(2):
            notifier.ready()
            await notifier.all_sent()
        nursery.cancel_scope.cancel()
    assert events == [NotifyFailed("no such socket")]


async def test_one_that_does_not_read_holds_nobody_up_for_long(tmp_path, monkeypatch, autojump_clock):
    deaf = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM)
    await deaf.bind(str(tmp_path / "deaf"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "deaf"))
    notifier = Notifier(pytest.fail)
    with deaf:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            for _ in range(10_000):
                notifier.ready()
            before = trio.current_time()
            await notifier.all_sent()
            assert trio.current_time() - before == 5
            nursery.cancel_scope.cancel()


async def test_a_name_of_the_abstract_namespace_works(tmp_path, monkeypatch):
    with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(f"\0{tmp_path}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{tmp_path}")
        async with trio.open_nursery() as nursery:
            notifier = Notifier(pytest.fail)
            nursery.start_soon(notifier.run)
            notifier.ready()
            assert await sock.recv(100) == b"READY=1\nSTATUS=serving"
            nursery.cancel_scope.cancel()
