"""The zygote of the tests: a command that it forks is like the real one."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from tests.support.balancer import LB, PATIENCE, balancer, config, killed_at_end, run_lb, start_lb
from tests.support.processes import open_files
from tests.support.servers import Named
from tests.support.zygote import ForkedCommand, Zygote

SERVER = Named("a", "127.0.0.1:1")
pytestmark = pytest.mark.slow


@pytest.fixture(params=["forked", "real"])
def kind(request, monkeypatch):
    if request.param == "real":
        monkeypatch.setenv("LB_TEST_EXEC", "1")
    return request.param


def state(pid):
    """Return what a process inherits at its start."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    files = open_files(pid)
    standard = {fd: files[fd].partition(":")[0] for fd in (0, 1, 2)}
    return {key: status[key] for key in ("SigBlk", "SigIgn", "SigCgt", "Umask")}, standard, len(files)


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["check", "-c", "good.toml"], ["check", "-c", "bad.toml"], ["diff", "bad.toml"], ["no"]],
)
async def test_a_forked_command_has_the_outputs_and_the_exit_code_of_the_real_one(tmp_path, monkeypatch, arguments):
    (tmp_path / "good.toml").write_text(config(SERVER))
    (tmp_path / "bad.toml").write_text("listeners = 3")
    forked = await run_lb(*arguments, cwd=tmp_path)
    monkeypatch.setenv("LB_TEST_EXEC", "1")
    assert forked == await run_lb(*arguments, cwd=tmp_path)


async def test_a_forked_balancer_has_the_signals_and_descriptors_of_the_real_one(tmp_path, monkeypatch):
    async with balancer(tmp_path, config(SERVER)) as lb:
        assert isinstance(lb.process, ForkedCommand)
        forked = state(lb.process.pid)
    monkeypatch.setenv("LB_TEST_EXEC", "1")
    async with balancer(tmp_path, config(SERVER)) as lb:
        assert not isinstance(lb.process, ForkedCommand)
        assert state(lb.process.pid) == forked


async def test_a_forked_command_takes_the_variables_of_its_start(tmp_path):
    async with balancer(tmp_path, config(SERVER), env={"NOTIFY_SOCKET": str(tmp_path / "none")}) as lb:
        assert isinstance(lb.process, ForkedCommand)
        await lb.event("notify.failed")


async def test_a_signal_ends_a_forked_command_and_its_return_code_tells(tmp_path, kind):
    async with balancer(tmp_path, config(SERVER)) as lb:
        assert lb.process.returncode is None
        lb.process.send_signal(signal.SIGKILL)
        assert await lb.process.wait() == lb.process.returncode == -signal.SIGKILL
        lb.process.kill()  # nothing happens to another process


@pytest.mark.parametrize("variable", ["PYTHONPATH", "LC_ALL"])
async def test_an_interpreter_that_would_start_otherwise_is_not_forked(monkeypatch, variable):
    monkeypatch.setenv(variable, "C")
    process = await start_lb("--version", stdout=subprocess.PIPE)
    async with process.stdout, killed_at_end(process):
        assert not isinstance(process, ForkedCommand)


async def test_a_zygote_ends_what_it_has_forked(tmp_path):
    (tmp_path / "lb.toml").write_text(config(SERVER))
    own = Zygote()
    process = own.start("lb.cli", [LB, "-c", tmp_path / "lb.toml"], {**os.environ}, stderr=subprocess.PIPE)
    async with process.stderr:
        own.close()
        with trio.fail_after(PATIENCE):
            assert b"server.stopped" not in b"".join([chunk async for chunk in process.stderr])
