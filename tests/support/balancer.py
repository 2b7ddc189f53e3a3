"""The real command as a child process, and its clients. Servers are in ``tests/support/servers.py``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from tests.support.zygote import may_fork, zygote

LB = Path(sys.executable).parent / "lb"
PATIENCE = 60  # timeout in seconds for anything that should be immediate; long, for busy machines
COMPUTING = 5 * PATIENCE
"""The same for a command that computes for some seconds when nothing else does."""
QUICK_CHECKS = 'interval = "100ms"\nfast_interval = "50ms"'


def config(*servers, bind="127.0.0.1:0", listener="", pool="", health=QUICK_CHECKS, top=""):
    """Return a configuration of one listener and one pool, both named ``web``. The other arguments are lines of TOML.

    Servers are objects with a ``name`` and an ``address``, or pairs of such an object and further lines.
    ``health=None`` means ``health = false``.
    """
    pairs = [each if isinstance(each, tuple) else (each, "") for each in servers]
    tables = (f'[[pools.web.servers]]\nname = "{s.name}"\naddress = "{s.address}"\n{lines}' for s, lines in pairs)
    unchecked = "health = false" if health is None else ""
    checks = "" if health is None else f"[pools.web.health]\n{health}"
    front = f'[listeners.web]\nbind = {json.dumps(bind)}\npool = "web"'
    return with_workers("\n".join([top, front, listener, "[pools.web]", unchecked, pool, checks, *tables, ""]))


def with_workers(text):
    """Set the number of workers to ``LB_TEST_WORKERS``, if set; see the fixtures in conftest.py."""
    workers = os.environ.get("LB_TEST_WORKERS")
    if workers is None or "\nworkers = " in text:
        return text
    before, _, rest = text.rpartition("[process]\n")
    return f"{before}[process]\nworkers = {workers}\n{rest}"


class RunningBalancer:
    """A child process of ``lb --config``. ``events`` collects the events of its log."""

    def __init__(self, process, config_file):
        self.process = process
        self.config_file = config_file
        self.events = []
        self.other_lines = []
        self._log_ended = False
        self._arrived = trio.Event()
        self.successors = {}
        """Successors: pidfd by pid. They are not our children, so a pid may have been reused."""

    async def read_log(self):
        rest = b""
        async with self.process.stderr:
            async for chunk in self.process.stderr:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    try:
                        self.events.append(json.loads(line))
                        self._note_successor(self.events[-1])
                    except ValueError:
                        self.other_lines.append(line.decode())
                self._notify()
        self._log_ended = True
        self._notify()

    def _note_successor(self, event):
        if event["event"] == "upgrade.started":
            with suppress(ProcessLookupError):
                self.successors[event["pid"]] = os.pidfd_open(event["pid"])

    def _notify(self):
        self._arrived.set()
        self._arrived = trio.Event()

    def of(self, *names, **fields):
        """Return the events so far with one of these names and with these fields."""
        return [
            event
            for event in self.events
            if event["event"] in names and all(event.get(key) == value for key, value in fields.items())
        ]

    async def event(self, *names, count=1, **fields):
        """Wait for the ``count``-th event of one of these names with these fields, and return it."""
        with trio.move_on_after(PATIENCE):
            while len(found := self.of(*names, **fields)) < count:
                if self._log_ended:
                    break
                await self._arrived.wait()
        assert len(found) >= count, f"no {names} {fields} no. {count}; {self.events[-10:]} {self.other_lines}"
        return found[count - 1]

    async def known(self, *names, **fields):
        """Wait for an event of a server, as :meth:`event` does, and until all workers know of it.

        The supervisor logs it when it tells them. They handle a reload after what they were told before.
        """
        event = await self.event(*names, **fields)
        if self.of("worker.started"):
            assert (await self.reload(self.config_file.read_text()))["event"] == "config.applied"
        return event

    @property
    def binds(self):
        """The bound addresses by listener, in the order of their start."""
        bound = {}
        for event in self.of("listener.started", "listener.stopped"):
            binds = bound.setdefault(event["listener"], [])
            (binds.append if event["event"] == "listener.started" else binds.remove)(event["bind"])
        return bound

    @property
    def ports(self):
        """The first port of each listener that has one."""
        first = {listener: binds[0] for listener, binds in self.binds.items() if binds}
        return {name: int(bind.rpartition(":")[2]) for name, bind in first.items() if not bind.startswith("unix:")}

    @property
    def port(self):
        """That of the listener ``web``."""
        return self.ports["web"]

    def signal(self, number):
        """Send a signal to the process that serves."""
        done = self.of("upgrade.done")
        if done:
            signal.pidfd_send_signal(self.successors[done[-1]["pid"]], number)
        else:
            self.process.send_signal(number)

    async def upgrade(self):
        """Send SIGUSR2, wait for the result and return its event."""
        results = ("upgrade.done", "upgrade.failed", "upgrade.ignored")
        before = len(self.of(*results))
        self.signal(signal.SIGUSR2)
        return await self.event(*results, count=before + 1)

    async def gone(self, pid):
        """Wait until a successor has ended."""
        with trio.fail_after(PATIENCE):
            await trio.lowlevel.wait_readable(self.successors[pid])

    def kill_successors(self):
        for pidfd in self.successors.values():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)

    async def reload(self, text):
        """Write another configuration, send SIGHUP, wait for the result and return its event.

        The file is replaced: discovery reports changes, too, so an earlier reload may still read it.
        """
        results = ("config.applied", "config.rejected")
        before = len(self.of(*results))
        new = self.config_file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.config_file)
        self.signal(signal.SIGHUP)
        return await self.event(*results, count=before + 1)

    async def exit_code(self):
        """Wait for the end of the process and of its log. Return the exit code."""
        with trio.move_on_after(PATIENCE) as scope:
            await self.process.wait()
            while not self._log_ended:
                await self._arrived.wait()
        assert not scope.cancelled_caught, f"the balancer does not end; {self.events[-10:]}"
        return self.process.returncode

    async def stop(self):
        """Send SIGTERM and return the exit code."""
        self.signal(signal.SIGTERM)
        return await self.exit_code()

    async def only_record(self):
        """Stop the balancer and return the only ``connection.closed`` event."""
        await self.event("connection.closed")
        assert await self.stop() == 0
        (record,) = self.of("connection.closed")
        return record


@asynccontextmanager
async def balancer(tmp_path, text, *, faults=False, env=None, preexec=None, through=(), pass_fds=()):
    """Run ``lb --config`` with this text until the end of the block, which kills it.

    Give listeners port 0 and read ``port``. ``faults`` allows ``fault`` events. ``through`` is a command that execs the
    one after it, with ``pass_fds``.
    """
    config_file = tmp_path / "lb.toml"
    config_file.write_text(text)
    command, env = ["--config", config_file], {**os.environ, **(env or {})}
    if through or preexec or pass_fds:
        process = await exec_lb(
            *command, through=through, stderr=subprocess.PIPE, pass_fds=pass_fds, env=env, preexec_fn=preexec
        )
    else:
        process = await start_lb(*command, stderr=subprocess.PIPE, env=env)
    async with followed(process, config_file) as running:
        yield running
    assert faults or not running.of("fault"), f"the balancer reported a bug of its own: {running.of('fault')[0]}"
    assert not running.other_lines, "the log holds more than events"
    ids = [event["id"] for event in running.of("connection.closed")]
    assert running.successors or len(ids) == len(set(ids)), "a connection has more than one record"


@asynccontextmanager
async def followed(process, config_file):
    """Read the log of a balancer that starts until the end of the block, which kills it."""
    running = RunningBalancer(process, config_file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running.read_log)
        try:
            await running.event("server.started")
            yield running
        finally:
            with trio.CancelScope(shield=True):
                running.kill_successors()
                if process.returncode is None:
                    process.kill()
                await running.exit_code()


async def exec_lb(*arguments, through=(), env=None, **options):
    """Start the real command. The options are those of :class:`subprocess.Popen`."""
    return await trio.lowlevel.open_process([*through, LB, *arguments], stdin=subprocess.DEVNULL, env=env, **options)


async def start_lb(*arguments, env=None, **options):
    """Start a command, forked from the zygote where that makes no difference. Options: stdout, stderr, cwd."""
    env = {**os.environ} if env is None else env
    if "LB_TEST_EXEC" in env or not may_fork(env):
        return await exec_lb(*arguments, env=env, **options)
    return zygote().start("lb.cli", [LB, *arguments], env, **options)


@asynccontextmanager
async def killed_at_end(process):
    """Kill a process at the end of the block, unless it has ended, and wait for it."""
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def run_lb(*arguments, cwd=None):
    """Run a command until it ends. Return exit code, stdout and stderr."""
    written = {}

    async def read(name, stream):
        async with stream:
            written[name] = b"".join([chunk async for chunk in stream]).decode()

    with trio.fail_after(COMPUTING):
        process = await start_lb(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
        async with killed_at_end(process):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, "stdout", process.stdout)
                nursery.start_soon(read, "stderr", process.stderr)
            return await process.wait(), written["stdout"], written["stderr"]


async def connect(port, host="127.0.0.1"):
    return await trio.open_tcp_stream(host, port)


async def request(stream, line):
    """Send a line on an open connection and return the line of the answer."""
    await stream.send_all(line + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        chunk = await stream.receive_some()
        assert chunk, "the connection ended instead of an answer"
        answer += chunk
    return answer.rstrip()


async def by_server(*streams):
    """Return open connections by the name of their server. The first pick depends on the worker."""
    return {(await request(stream, b"name")).decode(): stream for stream in streams}


async def ask(port, line=b"name", *, host="127.0.0.1"):
    """Run a session: connect, send a line, half-close, and return the answer.

    Raises OSError and trio.BrokenResourceError.
    """
    async with await connect(port, host) as stream:
        await stream.send_all(line + b"\n")
        await stream.send_eof()
        return await read_all(stream)


async def expect_reset(stream):
    """Read to the end, which must be a reset."""
    with trio.fail_after(PATIENCE):
        try:
            await read_all(stream)
        except trio.BrokenResourceError:
            return
    raise AssertionError("an orderly end instead of a reset")


async def read_all(stream):
    with trio.fail_after(PATIENCE):
        return b"".join([chunk async for chunk in stream])
