"""Signals before the balancer serves: they wait until it does, or end the start cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from lb.net.signals import SIGNALS
from tests.support.balancer import PATIENCE, config, killed_at_end, read_all, start_lb
from tests.support.name_server import name_server
from tests.support.sabotage import sabotage
from tests.support.servers import Named, serving

pytestmark = pytest.mark.slow
NOBODY = Named("s", "127.0.0.1:1")


async def read_events(stream, until=None):
    """Read the log up to this event, or up to its end."""
    rest, events = b"", []
    with trio.fail_after(PATIENCE):
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            events += map(json.loads, lines)
            if any(event["event"] == until for event in events):
                break
    return events


async def blocks_signals(process):
    """Wait until a process has blocked the signals, which is the first thing that it does."""
    mask = sum(1 << (number - 1) for number in SIGNALS)
    with trio.fail_after(PATIENCE):
        while blocked_by(process.pid) & mask != mask:  # noqa: ASYNC110 - no event for it
            await trio.sleep(0.001)


def blocked_by(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    (blocked,) = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigBlk:")]
    return blocked


async def started(tmp_path, text, *numbers):
    """Start the command, and send it signals as soon as it may get some."""
    path = tmp_path / "lb.toml"
    path.write_text(text)
    process = await start_lb("-c", path, stderr=subprocess.PIPE)
    await blocks_signals(process)
    for number in numbers:
        process.send_signal(number)
    return process


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_before_the_start_is_a_clean_end(tmp_path, number):
    path = tmp_path / "front.sock"
    process = await started(tmp_path, config(NOBODY, bind=f"unix:{path}"), number)
    async with killed_at_end(process):
        events = await read_events(process.stderr)
        assert await process.wait() == 0
    assert [event["event"] for event in events] == ["server.stopping", "server.stopped"]
    assert events[0]["signal"] == signal.Signals(number).name
    assert not path.exists()


@pytest.mark.usefixtures("worker_count")
async def test_a_reload_before_the_start_reads_the_file_again_once_started(tmp_path):
    async with serving() as server:
        process = await started(tmp_path, config(server), signal.SIGHUP)
        async with killed_at_end(process):
            events = await read_events(process.stderr, until="config.applied")
            assert "server.started" in [event["event"] for event in events]
            process.send_signal(signal.SIGTERM)
            await read_events(process.stderr)
            assert await process.wait() == 0


async def test_an_upgrade_before_the_start_waits_for_it(tmp_path):
    async with serving() as server:
        process = await started(tmp_path, config(server), signal.SIGUSR2)
        async with killed_at_end(process):
            events = await read_events(process.stderr, until="upgrade.done")
            names = [event["event"] for event in events]
            assert names.index("server.started") < names.index("upgrade.started")
            successor = os.pidfd_open(next(event["pid"] for event in events if event["event"] == "upgrade.done"))
            signal.pidfd_send_signal(successor, signal.SIGTERM)
            with trio.fail_after(PATIENCE):
                await trio.lowlevel.wait_readable(successor)
            os.close(successor)


async def test_a_stop_does_not_wait_for_the_look_up_of_names(tmp_path, monkeypatch):
    """Here the start would wait for it."""
    sabotage(monkeypatch, "first-look")
    async with name_server() as dns:
        dns.is_silent("web.test.", "A")
        dns.is_silent("web.test.", "AAAA")
        source = f'nameservers = ["{dns.address}"]\nservers = [{{ dns = "web.test", port = 80 }}]'
        process = await started(tmp_path, config(pool=source))
        async with killed_at_end(process):
            await dns.questions(1)
            process.send_signal(signal.SIGTERM)
            events = await read_events(process.stderr)
            assert await process.wait() == 0
    names = [event["event"] for event in events]
    assert "server.stopped" in names, events
    assert "server.started" not in names


async def test_a_command_that_is_interrupted_leaves_no_traceback(tmp_path):
    fifo = tmp_path / "lb.toml"
    os.mkfifo(fifo)
    process = await start_lb("check", "-c", fifo, stderr=subprocess.PIPE)
    async with killed_at_end(process):
        await blocks_signals(process)
        process.send_signal(signal.SIGINT)  # while it is blocked, or opens the pipe, which nobody else does
        with trio.fail_after(PATIENCE):
            assert await read_all(process.stderr) == b"lb: interrupted\n"
            assert await process.wait() == 130


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 1)])
async def test_a_demo_that_is_stopped_before_its_start_ends_without_a_traceback(number, code):
    """Exit code 1 as no session was served."""
    process = await start_lb("demo", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    async with killed_at_end(process):
        await blocks_signals(process)
        process.send_signal(number)
        with trio.fail_after(PATIENCE):
            assert await read_all(process.stderr) == b""
            assert await process.wait() == code
