"""Failed upgrades, and other signals during an upgrade: the old process continues unchanged."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import ClassVar

import pytest
import trio
import trio.lowlevel

from lb.announce.announcer import Announcer
from lb.control.inherited import RuntimeState
from lb.events.process import UpgradeFailed, UpgradeStarted
from lb.net.activation import GivenSockets
from lb.service import upgrade
from tests.support.balancer import PATIENCE, ask, balancer, config, connect, read_all, request
from tests.support.load import load
from tests.support.servers import backends, serving

SUCCESSOR = """
import os, signal
from pathlib import Path

if "LB_UPGRADE" in os.environ:
    if Path(__file__).with_name("crash").exists():
        os._exit(3)
    if Path(__file__).with_name("hang").exists():
        Path(__file__).with_name("hangs").touch()
        signal.pause()
"""
one_process_or_two = pytest.mark.usefixtures("worker_count")
slow = pytest.mark.slow


@pytest.fixture
def successors(tmp_path, monkeypatch):
    """A directory. While it contains "crash" or "hang", a successor does that at its start."""
    (tmp_path / "sitecustomize.py").write_text(SUCCESSOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@slow
@one_process_or_two
async def test_whatever_is_wrong_the_old_process_goes_on_and_says_why(successors):
    async with backends("a") as servers, balancer(successors, config(*servers)) as lb:
        good = lb.config_file.read_text()
        async with load(lb.port, servers, clients=5) as sessions:
            lb.config_file.write_text(good.replace("[listeners.web]", "[listeners.web]\nbnd = 1"))
            failed = await lb.upgrade()
            assert failed["event"] == "upgrade.failed"
            assert "listeners.web.bnd: unknown key, did you mean 'bind'?" in failed["reason"]

            lb.config_file.write_text(good.replace("127.0.0.1:0", "192.0.2.1:1"))
            failed = await lb.upgrade()
            assert failed["reason"] == "cannot listen on 192.0.2.1:1: not an address of this host"

            lb.config_file.write_text(good)
            (successors / "crash").touch()
            assert (await lb.upgrade())["reason"] == "exit code 3"
            (successors / "crash").unlink()

            (successors / "hang").touch()
            lb.signal(signal.SIGUSR2)
            os.kill((await lb.event("upgrade.started", count=4))["pid"], signal.SIGKILL)
            assert (await lb.event("upgrade.failed", count=4))["reason"] == "killed by SIGKILL"
            (successors / "hang").unlink()

            await sessions.sessions(50)
            assert lb.process.poll() is None
            assert (await lb.upgrade())["event"] == "upgrade.done"
            await sessions.sessions(50)
            assert not sessions.failures


@slow
async def test_a_second_one_meanwhile_is_ignored_and_a_reload_waits_for_the_outcome(successors):
    async with serving(name="a") as a, serving(name="b") as b, balancer(successors, config(a)) as lb:
        (successors / "hang").touch()
        lb.signal(signal.SIGUSR2)
        pid = (await lb.event("upgrade.started"))["pid"]
        assert (await lb.upgrade())["reason"] == "an upgrade is under way"
        lb.config_file.write_text(config(b))
        lb.signal(signal.SIGHUP)
        assert (await lb.upgrade())["reason"] == "an upgrade is under way"
        assert await ask(lb.port) == b"a\n"
        assert not lb.of("config.applied")
        os.kill(pid, signal.SIGKILL)
        await lb.event("upgrade.failed")
        await lb.event("config.applied")
        assert await ask(lb.port) == b"b\n"


@slow
async def test_a_reload_asked_of_the_old_process_reaches_the_new_one(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a)) as lb,
        await connect(lb.port) as stream,
    ):
        assert await request(stream, b"name") == b"a"  # an open connection keeps the old process running
        assert (await lb.upgrade())["event"] == "upgrade.done"
        lb.config_file.write_text(config(b))
        lb.process.send_signal(signal.SIGHUP)
        await lb.event("config.applied")
        assert await ask(lb.port) == b"b\n"
        lb.process.send_signal(signal.SIGUSR2)
        assert (await lb.event("upgrade.ignored"))["reason"] == "this process stops"


@slow
@one_process_or_two
async def test_a_stop_meanwhile_stops_everything(successors):
    async with serving() as server, balancer(successors, config(server)) as lb:
        (successors / "hang").touch()
        lb.signal(signal.SIGUSR2)
        pid = (await lb.event("upgrade.started"))["pid"]
        with trio.fail_after(PATIENCE):
            assert await lb.stop() == 0
        assert (await lb.event("upgrade.failed"))["reason"] == "this process was told to stop"
        await lb.gone(pid)


@slow
async def test_an_old_process_that_drains_stops_now_at_the_second_signal(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb, await connect(lb.port) as stream:
        port = lb.port
        assert await request(stream, b"name") == b"s"
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.stopping")
        lb.process.send_signal(signal.SIGTERM)
        lb.process.send_signal(signal.SIGINT)  # two equal signals may be merged into one
        with pytest.raises(trio.BrokenResourceError):
            await read_all(stream)
        assert await lb.process.wait() == 0
        assert await ask(port) == b"s\n"


class Silent:
    """A successor that never sends a message."""

    pid = 7
    killed = False

    def __init__(self, sockets, given, secret):
        pass

    async def ready(self, runtime_state):
        await trio.sleep_forever()

    async def kill(self):
        Silent.killed = True


class Serving:
    stop_begun = False
    secret = b""
    listening: ClassVar = {}

    def __init__(self):
        self.changing = trio.Lock()
        self.overriding = trio.Lock()

    def runtime_state(self):
        return RuntimeState()


async def test_one_that_says_nothing_for_long_has_failed(autojump_clock, monkeypatch):
    monkeypatch.setattr(upgrade, "Successor", Silent)
    events = []
    nothing, cluster = Announcer(None), SimpleNamespace(as_json=dict)
    upgrades = upgrade.Upgrades(
        Serving(), Serving(), nothing, cluster, GivenSockets(), events.append, None, trio.Lock()
    )
    await upgrades.run()
    assert events == [UpgradeStarted(7), UpgradeFailed("it did not serve in 60 s")]
    assert Silent.killed
    assert upgrades.successor is None
