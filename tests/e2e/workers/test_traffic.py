"""Traffic of two workers: distribution at low load, changes of servers, edge cases."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from tests.support.balancer import PATIENCE, QUICK_CHECKS, ask, balancer, config, read_all, request
from tests.support.servers import Named, serving
from tests.support.two_workers import BOTH, TWO, connections, pids, served_by

pytestmark = pytest.mark.slow


async def test_each_worker_gets_its_part_even_of_clients_who_come_one_by_one(tmp_path):
    """The kernel would always wake the same worker while it is idle.

    Several rounds: on a busy machine, one worker may get no time for a while, and the other has all the clients.
    """
    shares = []
    async with serving() as server, balancer(tmp_path, config(server, health=None, top=TWO)) as lb:
        while not shares or (max(shares) < 25 and len(shares) < 10):
            before = [len(served_by(lb, worker)) for worker in BOTH]
            for _ in range(100):
                assert await ask(lb.port) == b"s\n"
            await lb.event("connection.closed", count=sum(before) + 100)
            shares.append(min(len(served_by(lb, worker)) - before[worker] for worker in BOTH))
        assert await lb.stop() == 0
    assert max(shares) >= 25, shares


async def test_a_server_that_goes_down_loses_its_connections_in_all_workers(tmp_path):
    """Health checks use another port, so the server can be down and still answer."""
    async with serving(name="a") as server, serving() as checked:
        health = f"port = {checked.address.rpartition(':')[2]}\n{QUICK_CHECKS}"
        text = config(server, health=health, pool='on_down = "close"', top=TWO)
        async with balancer(tmp_path, text) as lb, connections(lb.port, 30) as streams:
            checked.stop_listening()
            await lb.event("connection.closed", count=30, reason="server_down", ended_by="lb")
            for stream in streams:
                with pytest.raises(trio.BrokenResourceError):
                    await read_all(stream)
            assert len(lb.of("backend.ejected")) == 1
            await lb.stop()
    assert {len(served_by(lb, worker)) > 0 for worker in BOTH} == {True}


async def test_what_a_name_resolves_to_reaches_all_workers(tmp_path):
    async with serving() as server:
        named = Named("s", f"localhost:{server.address.rpartition(':')[2]}")
        async with balancer(tmp_path, config(named, pool='resolve_interval = "100ms"', top=TWO)) as lb:
            with trio.fail_after(PATIENCE):
                while not all(served_by(lb, worker) for worker in BOTH):
                    assert await ask(lb.port) == b"s\n"
            await lb.stop()
    assert not any(record["attempts"] for record in lb.of("connection.closed", server=None))


async def test_a_second_signal_does_not_wait_for_a_worker_that_hangs(tmp_path):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, health=None, top=TWO)) as lb,
        connections(lb.port, 10),
    ):
        os.kill(pids(lb)[0], signal.SIGSTOP)
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        lb.signal(signal.SIGTERM)
        assert await lb.exit_code() == 0
    died = lb.of("worker.died")[0]
    assert len(lb.of("connection.closed", reason="stopped")) == 10 - died["connections"]
    assert len(lb.of("listener.stopped")) == 1
    assert lb.events[-1]["event"] == "server.stopped"


async def test_reloads_while_workers_die_reach_all(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a, top=TWO)) as lb:
        for number, server in enumerate([b, a, b, a, b, a]):
            os.kill(pids(lb)[number % 2], signal.SIGKILL)
            assert (await lb.reload(config(server, top=TWO)))["event"] == "config.applied"
            await lb.event("worker.started", count=3 + number)
            for _ in range(20):
                assert await ask(lb.port) == f"{server.name}\n".encode()
        assert await lb.stop() == 0
    assert len(lb.of("worker.died")) == 6
    assert len(lb.of("listener.started")) == 1


async def test_auto_is_one_for_each_cpu(tmp_path):
    cpus = len(os.sched_getaffinity(0))
    text = '[process]\nworkers = "auto"'
    async with serving() as server, balancer(tmp_path, config(server, top=text)) as lb:
        assert await ask(lb.port) == b"s\n"
        assert len(lb.of("worker.started")) == (cpus if cpus > 1 else 0)


async def test_the_file_of_a_unix_listener_goes_once_and_with_a_reload(tmp_path):
    path = tmp_path / "front"
    async with serving() as server, balancer(tmp_path, config(server, bind=f"unix:{path}", top=TWO)) as lb:
        async with await trio.open_unix_socket(path) as stream:
            assert await request(stream, b"name") == b"s"
            await lb.reload(config(server, top=TWO))
            assert not path.exists()
            assert await request(stream, b"echo still here") == b"still here"
        assert await ask(lb.port) == b"s\n"
