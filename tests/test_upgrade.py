"""SIGUSR2: a new process takes the place of the old one, or does not, and in neither case does a client notice."""

from __future__ import annotations

import pytest
import trio

from tests.balancer import ask, balancer, config, connect, read_all, request
from tests.load import load
from tests.servers import backends, serving

pytestmark = pytest.mark.slow
every_kind = pytest.mark.usefixtures("balancer_kind")
one_process_or_two = pytest.mark.usefixtures("worker_count")


async def ended_well(lb):
    """The process that was started first has drained and ended as after a stop."""
    with trio.fail_after(15):
        assert await lb.process.wait() == 0


@every_kind
async def test_ten_upgrades_in_a_row_under_load_lose_no_session(tmp_path):
    async with (
        backends("a", "b") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        load(lb.port, servers, clients=20) as sessions,
    ):
        port = lb.port
        for number in range(1, 11):
            assert (await lb.upgrade())["event"] == "upgrade.done", lb.events[-20:]
            await lb.event("server.started", count=number + 1)
            await sessions.sessions(100)
        await lb.event("server.stopped", count=10)
        assert not sessions.failures
        assert lb.port == port
    await ended_well(lb)
    assert not lb.of("upgrade.failed")


@every_kind
async def test_who_connects_at_any_moment_of_an_upgrade_is_served(tmp_path):
    """One client at a time: nobody who comes later would wake a process that has missed one."""
    async with (
        backends("a") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        load(lb.port, servers, clients=1) as sessions,
    ):
        for _ in range(3):
            assert (await lb.upgrade())["event"] == "upgrade.done"
            await sessions.sessions(20)
        assert not sessions.failures


@every_kind
async def test_open_connections_go_on_with_the_old_process_until_they_end(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        async with await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            done = await lb.upgrade()
            assert (await lb.event("server.started", count=2))["pid"] == done["pid"] != lb.process.pid
            stopping = await lb.event("server.stopping")
            assert (stopping["signal"], stopping["open_connections"]) == ("SIGUSR2", 1)
            assert await ask(lb.port) == b"s\n"
            assert await request(stream, b"echo still here") == b"still here"
            assert lb.process.poll() is None
        await ended_well(lb)
    assert [record["reason"] for record in lb.of("connection.closed")] == ["eof", "eof"]


@every_kind
async def test_after_the_stop_timeout_the_old_process_closes_what_is_open(tmp_path):
    async with serving() as server:
        text = config(server, top='[process]\nstop_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            assert (await lb.upgrade())["event"] == "upgrade.done"
            with pytest.raises(trio.BrokenResourceError):
                await read_all(stream)
            await ended_well(lb)
            assert await ask(lb.port) == b"s\n"
    assert lb.of("connection.closed")[0]["reason"] == "stopped"
