"""The real command as a child process, and real servers and clients around it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import trio

LB = Path(sys.executable).parent / "lb"


class RunningBalancer:
    """A child process of ``lb --config``; ``events`` grows with each line of its log."""

    def __init__(self, process: trio.Process, config: Path):
        self.process = process
        self.config = config
        self.events = []
        self.other_lines = []
        self._arrived = trio.Event()

    async def read_log(self):
        rest = b""
        async for chunk in self.process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other_lines.append(line.decode())
            self._arrived.set()
            self._arrived = trio.Event()

    def of(self, name, **fields):
        """The events so far of this name, with these fields."""
        return [
            event
            for event in self.events
            if event["event"] == name and all(event.get(key) == value for key, value in fields.items())
        ]

    async def event(self, name, *, count=1, seconds=15, **fields):
        """Wait for the ``count``-th event of this name with these fields, and return it."""
        with trio.fail_after(seconds):
            while len(found := self.of(name, **fields)) < count:
                await self._arrived.wait()
        return found[count - 1]

    @property
    def ports(self):
        """Listener name -> the TCP port that it got."""
        return {
            event["listener"]: int(event["bind"].rpartition(":")[2])
            for event in self.of("listener.started")
            if not event["bind"].startswith("unix:")
        }

    def signal(self, number):
        self.process.send_signal(number)

    async def reload(self, text):
        """Write another configuration, SIGHUP, and wait for the verdict, which is returned."""
        before = len(self.of("config.applied")) + len(self.of("config.rejected"))
        self.config.write_text(text)
        self.signal(signal.SIGHUP)
        with trio.fail_after(15):
            while (
                len(verdicts := [e for e in self.events if e["event"] in ("config.applied", "config.rejected")])
                <= before
            ):
                await self._arrived.wait()
        return verdicts[-1]

    async def stop(self):
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        with trio.fail_after(45):
            return await self.process.wait()


@asynccontextmanager
async def balancer(tmp_path, text, *, env=None, preexec=None):
    """``lb --config`` with this text, from its first listener.started until the end of the block, which kills it.

    Give port 0 to listeners and ask ``ports`` for what they got.
    """
    config = tmp_path / "lb.toml"
    config.write_text(text)
    process = await trio.lowlevel.open_process(
        [LB, "--config", config],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        preexec_fn=preexec,
    )
    running = RunningBalancer(process, config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.read_log)
        try:
            await running.event("server.started")
            yield running
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.cancel()
    assert not running.of("fault"), "the balancer reported a bug of its own"


class Backend:
    """A server in a process of its own, so that it can be killed and stopped. Speaks ``tests/backend.py``."""

    def __init__(self, name, port=0, *options):
        self.name = name
        self.port = port
        self.options = options
        self.process = None

    async def start(self):
        """(Re)start on the same port; returns when it listens."""
        self.process = await trio.lowlevel.open_process(
            [sys.executable, Path(__file__).parent / "backend.py", self.name, str(self.port), *self.options],
            stdout=subprocess.PIPE,
        )
        line = b""
        while not line.endswith(b"\n"):
            line += await self.process.stdout.receive_some()
        self.port = int(line)
        await self.process.stdout.aclose()
        return self

    async def kill(self):
        """kill -9."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def backends(*names):
    """Servers of :mod:`tests.backend` for the length of a block."""
    started = []
    try:
        for name in names:
            started.append(await Backend(name).start())
        yield started
    finally:
        with trio.CancelScope(shield=True):
            for backend in started:
                await backend.kill()


async def ask(port, request=b"name\n", *, host="127.0.0.1"):
    """One session: connect, send a line, half-close, and return all that comes back."""
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(request)
        await stream.send_eof()
        answer = b""
        async for chunk in stream:
            answer += chunk
        return answer
