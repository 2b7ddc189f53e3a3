"""Two workers and their supervisor: crashes, hangs and signals."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, connect, read_all, request
from tests.support.load import load
from tests.support.sabotage import sabotage
from tests.support.servers import backends, serving
from tests.support.two_workers import BOTH, TWO, both_serve, connections, lives, pids, served_by, worker_of

pytestmark = pytest.mark.slow
both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
MANY = 40
"""Enough connections that each worker gets some."""
ROUNDS = 10
"""Of a measurement that other programs on the machine may spoil."""


@pytest.mark.usefixtures("real_command")
async def test_both_serve_and_each_session_has_one_whole_line(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO)) as lb:
        assert pids(lb).keys() == BOTH
        assert len({*pids(lb).values(), lb.process.pid}) == 3

        async def client():
            for _ in range(20):
                assert await ask(lb.port) == b"s\n"

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(client)
        assert await lb.stop() == 0
    assert len(lb.of("connection.closed", reason="eof", server="s")) == 600
    assert min(len(served_by(lb, worker)) for worker in BOTH) > 100
    assert lb.events[-1]["event"] == "server.stopped"
    assert not lb.of("worker.died")


async def test_a_killed_worker_takes_only_its_own_connections_with_it(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, health=None, top=TWO)) as lb:
        before = pids(lb)
        async with connections(lb.port, MANY) as streams:
            os.kill(before[0], signal.SIGKILL)
            died = await lb.event("worker.died")
            alive = [await lives(stream) for stream in streams].count(True)
            assert 0 < alive < MANY, "one worker had all connections"
            lost = MANY - alive
            assert {key: died[key] for key in ("level", "worker", "pid", "reason", "connections")} == {
                "level": "error",
                "worker": 0,
                "pid": before[0],
                "reason": "killed by SIGKILL",
                "connections": lost,
            }
            await server.until(lambda served: served.open == alive)
            started = await lb.event("worker.started", count=3)
            assert started["worker"] == 0
            assert started["pid"] not in before.values()
        assert await lb.stop() == 0
    assert len(lb.of("connection.closed")) == alive
    assert {worker_of(record) for record in lb.of("connection.closed")} == {1}


async def test_a_worker_with_few_connections_gets_the_next_ones(tmp_path, monkeypatch):
    """Also on a busy machine, where it may get no time for as long as the other one usually steps back."""
    sabotage(monkeypatch, "step-back")
    shares = []
    async with (
        serving() as server,
        balancer(tmp_path, config(server, health=None, top=TWO)) as lb,
        connections(lb.port, 2 * MANY) as streams,
    ):
        os.kill(pids(lb)[0], signal.SIGKILL)
        await lb.event("worker.started", count=3)
        left = [await lives(stream) for stream in streams].count(True)
        while not shares or (max(shares) <= 0.7 and len(shares) < ROUNDS):
            before = len(served_by(lb, 0))
            async with connections(lb.port, left):
                pass
            await lb.event("connection.closed", count=left * (len(shares) + 1))
            shares.append((len(served_by(lb, 0)) - before) / left)
    assert max(shares) > 0.7, shares


async def test_a_worker_with_many_connections_accepts_all_while_the_others_hang(tmp_path):
    """Several rounds: other programs may need the machine more in one half of a round than in the other."""
    async with (
        serving() as server,
        balancer(tmp_path, config(server, health=None, top=TWO)) as lb,
        connections(lb.port, 2 * MANY),
    ):
        os.kill(pids(lb)[0], signal.SIGKILL)
        await lb.event("worker.started", count=3)
        times = []
        while not times or (slower(times) and len(times) < ROUNDS):
            usual = await seconds(lb.port)
            hangs = pids(lb)[0]
            os.kill(hangs, signal.SIGSTOP)
            assert await ask(lb.port) == b"s\n", "once, the kernel wakes the one that hangs"
            times.append((usual, await seconds(lb.port)))
            with suppress(ProcessLookupError):  # replaced meanwhile
                os.kill(hangs, signal.SIGCONT)
    assert not slower(times), "it left clients to a worker that does not accept"


async def seconds(port):
    """Return how long some sessions take, one after the other."""
    began = trio.current_time()
    for _ in range(MANY // 2):
        assert await ask(port) == b"s\n"
    return trio.current_time() - began


def slower(times):
    """Return whether each time of those that belong together is much longer than the usual one before it."""
    return all(took > 3 * usual for usual, took in times)


@pytest.mark.parametrize("clients", [1, 30])
async def test_no_session_that_begins_after_a_worker_was_killed_fails(tmp_path, clients):
    async with (
        backends("a", "b") as servers,
        balancer(tmp_path, config(*servers, top=TWO)) as lb,
        load(lb.port, servers, clients=clients) as sessions,
    ):
        await both_serve(lb, sessions)
        assert not sessions.failures, "sessions failed before anything was killed"
        for worker in (0, 1, 0):
            deaths = len(lb.of("worker.died"))
            killed = trio.current_time()
            os.kill(pids(lb)[worker], signal.SIGKILL)
            await lb.event("worker.started", count=deaths + 3)
            await both_serve(lb, sessions)
            assert not sessions.failed_since(killed)
        assert len(sessions.failures) <= 3 * clients
        assert [died["worker"] for died in lb.of("worker.died")] == [0, 1, 0]
    assert not lb.of("connection.closed", reason="no_server")


async def test_a_reload_reaches_whoever_starts_meanwhile(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, top=TWO)) as lb,
        load(lb.port, [a, b], clients=10) as sessions,
    ):
        await both_serve(lb, sessions)
        for number in range(4):
            server = a if number % 2 else b
            killed = trio.current_time()
            os.kill(pids(lb)[number // 2], signal.SIGKILL)
            verdict = await lb.reload(config(server, top=TWO))
            assert verdict["event"] == "config.applied"
            await lb.event("worker.started", count=3 + number)
            await both_serve(lb, sessions)
            sessions.seen.clear()
            await both_serve(lb, sessions)
            assert not sessions.failed_since(killed)
            assert sessions.seen == {f"{server.name}\n".encode()}
        assert len(sessions.failures) <= 4 * sessions.clients
    assert len(lb.of("listener.started")) == 1


async def test_a_worker_that_hangs_is_replaced_and_clients_who_come_meanwhile_are_served(tmp_path):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, top=TWO)) as lb,
        load(lb.port, [server], clients=10) as sessions,
    ):
        await both_serve(lb, sessions)
        frozen = trio.current_time()
        pid = pids(lb)[1]
        os.kill(pid, signal.SIGSTOP)
        died = await lb.event("worker.died")
        assert (died["worker"], died["pid"], died["reason"]) == (1, pid, "did not answer for 5 s")
        assert trio.current_time() - frozen > 4
        await lb.event("worker.started", count=3)
        await both_serve(lb, sessions)
        assert not sessions.failed_since(frozen)
        assert len(sessions.failures) <= 10


ENDLESS = """
from pathlib import Path
import lb.workers.supervisor
from strategies.round_robin import RoundRobin

lb.workers.supervisor.HEARTBEAT_TIMEOUT = 2

class Endless(RoundRobin):
    def pick(self, client, tried):
        trap = Path(__file__).with_name("trap")
        if trap.exists():
            trap.unlink()
            while True:
                pass
        return super().pick(client, tried)
"""


async def test_a_worker_in_an_endless_loop_of_a_plug_in_is_replaced(tmp_path):
    (tmp_path / "endless.py").write_text(ENDLESS)
    text = config(health=None, top=TWO, pool='strategy = "endless:Endless"\n')
    async with serving() as server, balancer(tmp_path, text + f'servers = ["{server.address}"]\n') as lb:
        assert await ask(lb.port) == b"s\n"
        (tmp_path / "trap").touch()
        with pytest.raises(trio.BrokenResourceError):
            await ask(lb.port)
        died = await lb.event("worker.died")
        assert died["reason"] == "did not answer for 2 s of CPU time"
        await lb.event("worker.started", count=3)
        assert await ask(lb.port) == b"s\n"


# The supervisor


async def test_workers_end_with_the_supervisor_and_the_port_is_free(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO)) as lb:
        port = lb.port
        assert await ask(port) == b"s\n"
        lb.process.kill()
        assert await lb.exit_code() == -signal.SIGKILL, "the log has ended, so no worker holds it open"
        with socket.create_server(("127.0.0.1", port)):
            pass


async def test_open_connections_may_finish_without_the_supervisor_but_nobody_else_is_accepted(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO)) as lb:
        port = lb.port
        async with connections(port, MANY) as streams:
            lb.process.kill()
            await refused(port)
            assert all([await lives(stream) for stream in streams])
            with socket.create_server(("127.0.0.1", port)):
                pass
        await lb.exit_code()


async def test_open_connections_end_after_the_stop_timeout_without_the_supervisor(tmp_path):
    async with serving() as server:
        text = config(server, top=f'{TWO}\nstop_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            lb.process.kill()
            with pytest.raises(trio.BrokenResourceError):
                await read_all(stream)
            await lb.exit_code()


async def refused(port):
    """Wait until connects are refused."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await connect(port)
            except OSError:
                return
            await stream.aclose()


# Signals to the whole process group: Ctrl-C in a terminal, systemd


@both_signals
async def test_a_signal_to_the_whole_group_stops_gracefully(tmp_path, number):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO), preexec=os.setsid) as lb:
        async with connections(lb.port, MANY) as streams:
            os.killpg(lb.process.pid, number)
            stopping = await lb.event("server.stopping")
            assert stopping["open_connections"] == MANY
            await lb.event("listener.stopped")
            assert all([await lives(stream) for stream in streams])
        assert await lb.exit_code() == 0
    assert not lb.of("worker.died")
    assert {record["reason"] for record in lb.of("connection.closed")} == {"eof"}
    assert len(lb.of("connection.closed")) == MANY


async def test_a_second_signal_to_the_whole_group_stops_now(tmp_path):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, top=TWO), preexec=os.setsid) as lb,
        connections(lb.port, MANY),
    ):
        os.killpg(lb.process.pid, signal.SIGINT)
        await lb.event("listener.stopped")
        os.killpg(lb.process.pid, signal.SIGINT)
        assert await lb.exit_code() == 0
    assert [record["reason"] for record in lb.of("connection.closed")] == ["stopped"] * MANY
    assert not lb.of("worker.died")


async def test_a_signal_to_the_group_while_a_worker_starts_stops_gracefully_too(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO), preexec=os.setsid) as lb:
        os.kill(pids(lb)[1], signal.SIGKILL)
        await lb.event("worker.died")
        os.killpg(lb.process.pid, signal.SIGTERM)
        assert await lb.exit_code() == 0
    assert len(lb.of("worker.died")) == 1


async def test_a_worker_that_is_killed_during_the_stop_is_not_replaced(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top=TWO)) as lb:
        async with connections(lb.port, MANY) as streams:
            lb.signal(signal.SIGTERM)
            await lb.event("listener.stopped")
            os.kill(pids(lb)[0], signal.SIGKILL)
            died = await lb.event("worker.died", worker=0)
            alive = [await lives(stream) for stream in streams].count(True)
            assert died["connections"] == MANY - alive
        assert await lb.exit_code() == 0
    assert len(lb.of("worker.started")) == 2


async def test_a_hangup_of_the_whole_group_is_one_reload(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, top=TWO), preexec=os.setsid) as lb,
    ):
        lb.config_file.write_text(config(b, top=TWO))
        os.killpg(lb.process.pid, signal.SIGHUP)
        await lb.event("config.applied")
        async with load(lb.port, [b], clients=10) as sessions:
            await both_serve(lb, sessions)
            assert not sessions.failures
        assert len(lb.of("config.applied")) == 1
        assert not lb.of("worker.died")
