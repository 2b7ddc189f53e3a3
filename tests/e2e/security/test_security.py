"""Claims of docs/explanation/security.md without another test. Also checks that the tests named there exist."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, connect, killed_at_end, read_all, request, start_lb
from tests.support.paths import DOCS
from tests.support.processes import socket_inodes
from tests.support.servers import Named, serving

PAGE = DOCS / "explanation" / "security.md"
HOSTILE = r"""\033[2J\302\233\r{\042event\042: \042server.stopped\042}\377\342\200\250"""
"""For printf: terminal escapes, line ends, a fake event, invalid UTF-8."""
SECRET = "hunter2"
QUICK = 'interval = "100ms"\nfast_interval = "50ms"\nfall = 1'


# The page


def test_each_test_that_the_page_names_is_there():
    named = re.findall(r"\[`(test_\w+)`\]\(\.\./\.\./(tests/[\w/]+\.py)\)", PAGE.read_text())
    assert len(named) > 20
    for name, path in named:
        assert f"def {name}(" in (PAGE.parents[2] / path).read_text(), f"{path} has no {name}"


# The log


def check_output(tmp_path, script):
    """Return a health check that always fails, with the first output line of this script as the reason."""
    path = tmp_path / "check"
    path.write_text(f"#!/bin/sh\n{script}\nexit 1\n")
    path.chmod(0o700)
    return f'probe = "exec"\ncommand = ["{path}"]\n{QUICK}'


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_what_a_server_says_stays_within_its_value(tmp_path):
    async with balancer(
        tmp_path, config(Named("a", "127.0.0.1:1"), health=check_output(tmp_path, f"printf '{HOSTILE}'"))
    ) as lb:
        reason = (await lb.event("backend.ejected"))["reason"]
    assert reason.isprintable()
    assert 'event": "server.stopped' in reason
    assert not lb.of("server.stopped")


@pytest.mark.slow
async def test_what_a_server_says_does_nothing_to_a_terminal(tmp_path):
    text = config(
        Named("a", "127.0.0.1:1"), health=check_output(tmp_path, f"printf '{HOSTILE}'"), top='[log]\nformat = "console"'
    )
    (tmp_path / "lb.toml").write_text(text)
    process = await start_lb("--config", tmp_path / "lb.toml", stderr=subprocess.PIPE)
    log = b""
    async with process.stderr, killed_at_end(process):
        with trio.fail_after(PATIENCE):
            while b"backend.ejected" not in log:
                log += await process.stderr.receive_some()
    assert all(line.isprintable() for line in log.decode().split("\n"))


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_neither_secrets_of_the_configuration_nor_what_clients_send_are_in_the_log(tmp_path):
    checks = f'probe = "exchange"\nsend = "AUTH {SECRET}\\n"\n{QUICK}\nexpect = '
    async with serving() as server:
        text = config(server, top='[log]\nlevel = "debug"', health=f'{checks}"^nothing"', pool='when_all_down = "any"')
        async with balancer(tmp_path, text) as lb:
            await lb.event("backend.ejected")
            assert await ask(lb.port, f"echo {SECRET}".encode()) == f"{SECRET}\n".encode()
            await lb.reload(text.replace("^nothing", "."))
            await lb.event("connection.closed")
            assert await lb.reload(f"{text}\nx = ") == lb.of("config.rejected")[0]
            assert await lb.stop() == 0
    assert SECRET not in str(lb.events)


# Other resources


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_command_of_a_check_gets_none_of_our_descriptors(tmp_path):
    checks = check_output(tmp_path, "ls -x -w 1000 /proc/self/fd")
    async with serving() as server:
        text = config(server, health=checks, pool='when_all_down = "any"')
        async with balancer(tmp_path, text) as lb, AsyncExitStack() as clients:
            for _ in range(5):
                await request(await clients.enter_async_context(await connect(lb.port)), b"name")
            ejected = await lb.event("backend.ejected")
    assert ejected["reason"].split() == ["0", "1", "2", "3"], "the fourth is that of ls"


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o700), (0o007, 0o770)])
async def test_the_socket_of_a_listener_is_open_to_whom_the_umask_says(tmp_path, umask, mode):
    path = tmp_path / "front"
    text = config(Named("a", "127.0.0.1:1"), bind=f"unix:{path}")
    async with balancer(tmp_path, text, preexec=lambda: os.umask(umask)):
        assert path.stat().st_mode & 0o777 == mode


def listening_inodes():
    """Return the inodes of all listening TCP sockets of this machine; see proc_pid_net(5)."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A"}


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_it_listens_where_the_configuration_says_and_nowhere_else(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        assert await ask(lb.port) == b"s\n"
        pids = [lb.process.pid, *(event["pid"] for event in lb.of("worker.started"))]
        assert len(set.union(*map(socket_inodes, pids)) & listening_inodes()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("balancer_kind")
async def test_clients_that_only_hold_their_places_lose_them(tmp_path):
    limits = 'max_connections = 5\nidle_timeout = "500ms"'
    async with (
        serving() as server,
        balancer(tmp_path, config(server, listener=limits)) as lb,
        AsyncExitStack() as stack,
    ):
        silent = [await stack.enter_async_context(await connect(lb.port)) for _ in range(5)]
        assert await ask(lb.port) == b"s\n"
        assert [await read_all(stream) for stream in silent] == [b""] * 5
        await lb.event("connection.closed", reason="idle_timeout", count=5)
