"""The balancer as process 1 of a container: it reaps orphans, passes signals on and ends as it should."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config
from tests.support.processes import children
from tests.support.servers import serving
from tests.support.service_manager import giving

pytestmark = pytest.mark.slow
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def may_unshare():
    return subprocess.run([*CONTAINER, "true"], check=False, capture_output=True).returncode == 0


needs_namespaces = pytest.mark.skipif(not may_unshare(), reason="needs the right to make a PID namespace")


def zombies(pid):
    """Return the children that have ended and that nobody has reaped."""
    found = []
    for child in children(pid):
        with suppress(FileNotFoundError):  # reaped meanwhile
            if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                found.append(child)
    return found


@needs_namespaces
@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_reach_the_balancer_and_its_exit_code_is_that_of_the_container(tmp_path, number):
    async with serving() as server, balancer(tmp_path, config(server), through=CONTAINER) as lb:
        (init,) = children(lb.process.pid)
        assert await ask(lb.port) == b"s\n"
        os.kill(init, signal.SIGHUP)
        await lb.event("config.applied")
        os.kill(init, number)
        assert await lb.exit_code() == 0


@needs_namespaces
async def test_sockets_that_are_passed_to_process_1_reach_the_balancer(tmp_path):
    """Their variable names process 1, which is no longer the balancer; binding the address again would fail."""
    async with serving() as server:
        with socket.create_server(("127.0.0.1", 0)) as passed:
            port, passing = passed.getsockname()[1], giving(passed)
            through = {**passing, "through": [*CONTAINER, *passing["through"]]}
            async with balancer(tmp_path, config(server, bind=f"127.0.0.1:{port}"), **through):
                assert await ask(port) == b"s\n"


@needs_namespaces
async def test_orphans_are_reaped(tmp_path):
    """Each check leaves a process whose parent has ended; without a parent that waits it stays a zombie."""
    left = tmp_path / "left"
    command = f'["sh", "-c", "(sleep 0.01; echo >>{left}) >/dev/null 2>&1 &"]'
    checks = f'probe = "exec"\ncommand = {command}\ninterval = "50ms"\nfast_interval = "50ms"'
    async with serving() as server, balancer(tmp_path, config(server, health=checks), through=CONTAINER) as lb:
        (init,) = children(lb.process.pid)
        with trio.fail_after(PATIENCE):
            while not left.exists() or len(left.read_text()) < 10:  # noqa: ASYNC110 - no event for it
                await trio.sleep(0.01)
            while zombies(init):  # noqa: ASYNC110 - as above
                await trio.sleep(0.001)
