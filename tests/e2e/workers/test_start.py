"""Workers that cannot start, and reloads that fail in one worker."""

from __future__ import annotations

import os
import signal
import socket
from datetime import datetime

import pytest

from tests.support.balancer import ask, balancer, config, run_lb
from tests.support.load import load
from tests.support.servers import Named, serving
from tests.support.two_workers import TWO, both_serve, pids

pytestmark = pytest.mark.slow

BROKEN_WORKER = """
import os
from pathlib import Path

SUPERVISOR = os.getpid()

def end_in_a_worker():
    if os.getppid() != SUPERVISOR and Path(__file__).with_name("broken").exists():
        os._exit(3)

os.register_at_fork(after_in_child=end_in_a_worker)
"""
PLUGIN = """
from pathlib import Path
from strategies.round_robin import RoundRobin

class OnlyElsewhere(RoundRobin):
    def build(self, servers):
        if Path("/proc/self/comm").read_text() == "lb worker 1\\n":
            raise LookupError("no table here")
        yield
"""


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A file. While it exists, every new worker exits with code 3."""
    (tmp_path / "sitecustomize.py").write_text(BROKEN_WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "broken"


async def test_no_worker_at_all_is_one_line_and_exit_1(tmp_path, broken):
    broken.touch()
    path = tmp_path / "lb.toml"
    path.write_text(config(Named("a", "127.0.0.1:9001"), top=TWO))
    code, out, err = await run_lb("--config", path)
    assert (code, out) == (1, "")
    assert err in {f"lb: worker {number} cannot start: exit code 3\n" for number in (0, 1)}


async def test_who_dies_at_each_start_is_tried_again_with_pauses_and_the_others_serve(tmp_path, broken):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, top=TWO)) as lb,
        load(lb.port, [server], clients=5) as sessions,
    ):
        await both_serve(lb, sessions)
        broken.touch()
        os.kill(pids(lb)[0], signal.SIGKILL)
        deaths = [await lb.event("worker.died", count=count) for count in range(1, 5)]
        failures = len(sessions.failures)
        assert [died["reason"] for died in deaths] == ["killed by SIGKILL"] + ["exit code 3"] * 3
        times = [datetime.fromisoformat(died["timestamp"]).timestamp() for died in deaths]
        assert times[3] - times[2] > 0.2, "it spins"
        await sessions.sessions(100)
        broken.unlink()
        await lb.event("worker.started", count=3)
        await both_serve(lb, sessions)
        assert len(sessions.failures) == failures <= 5
        assert {died["worker"] for died in lb.of("worker.died")} == {0}


async def test_a_reload_cannot_change_the_number(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, top=TWO)) as lb,
    ):
        for number in (1, 4):
            rejected = await lb.reload(config(b, top=f"[process]\nworkers = {number}"))
            assert rejected["event"] == "config.rejected"
            assert rejected["errors"] == [
                f"{lb.config_file}: process.workers: a reload cannot change it (2 -> {number}); upgrade or restart"
            ]
        await only(a, lb)
        assert len(lb.of("worker.started")) == 2


async def test_a_bind_that_fails_changes_nothing_in_any_worker(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = f"127.0.0.1:{taken.getsockname()[1]}"
        async with (
            serving(name="a") as a,
            serving(name="b") as b,
            balancer(tmp_path, config(a, top=TWO)) as lb,
        ):
            rejected = await lb.reload(config(b, bind=["127.0.0.2:0", in_use], top=TWO))
            assert rejected["errors"] == [f"cannot listen on {in_use}: address already in use"]
            await only(a, lb)


async def test_what_one_worker_cannot_take_no_worker_takes(tmp_path, monkeypatch):
    (tmp_path / "elsewhere.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, top=TWO), faults=True) as lb,
    ):
        port = lb.port
        refused = config(b, pool='strategy = "elsewhere:OnlyElsewhere"', bind=["127.0.0.1:0", "127.0.0.2:0"], top=TWO)
        rejected = await lb.reload(refused)
        assert rejected["errors"] == ["worker 1: LookupError: no table here"]
        assert (await lb.event("fault"))["where"] == "worker 1"
        assert lb.port == port
        await only(a, lb)
        assert (await lb.reload(config(b, top=TWO)))["event"] == "config.applied"
        await only(b, lb)
        assert await ask(port) == b"b\n"
    assert len(lb.of("listener.started")) == 1


async def only(server, lb):
    """Check that each worker serves, from this server only."""
    async with load(lb.port, [server], clients=5) as sessions:
        await both_serve(lb, sessions)
        assert not sessions.failures
