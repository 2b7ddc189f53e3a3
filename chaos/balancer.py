"""The real ``lb`` as a child process: its log goes into the ledger, and it can be reloaded and looked at."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import Any

import trio

from chaos.ledger import Deed, Ledger
from chaos.outside import Sight, look

__all__ = ["BrokenError", "RunningBalancer"]

CALM_PATIENCE = 20.0
"""Seconds in which descriptors have to be back: checks open some for a moment, and threads live on for ten."""
PATIENCE = 30.0
"""Seconds for anything that should come at once. A guess, for a machine that is busy and paused."""
VERDICTS = {"config.applied": True, "config.rejected": False}
NEWS_IS_OLD = 2.0
"""Seconds that the line about a server's end may come before or after the ends of its connections."""
HANGS = 6.0
"""Seconds for which a worker that is killed as hanging may not have answered."""


class BrokenError(Exception):
    """The balancer does not do what it must for the storm to go on."""


class RunningBalancer:
    """``lb --config``; ``addresses`` are what ``$name`` stands for in configurations."""

    def __init__(self, folder: Path, ledger: Ledger, addresses: Mapping[str, str]) -> None:
        self.counts: Counter[str] = Counter()
        """Lines of the log, by event."""
        self.workers: dict[int, int] = {}
        """The process ids of those that serve, by number."""
        self.port = 0
        self.stopping: Mapping[str, Any] = {}
        """The line ``server.stopping``."""
        self._ledger = ledger
        self._addresses = addresses
        self._file = folder / "lb.toml"
        self._process: trio.Process
        self._news = trio.Event()
        self._verdict: bool | None = None
        self._ended = False

    async def start(self, nursery: trio.Nursery, text: str, descriptors: int) -> None:
        """Returns when it serves. Each of its processes may have so many descriptors."""
        self._write(text)
        self._process = await trio.lowlevel.open_process(
            [Path(sys.executable).with_name("lb"), "--config", self._file],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors)),
        )
        nursery.start_soon(self._read_log, self._process)
        await self._until(lambda: self.counts["server.started"] == 1, "started")

    def _write(self, text: str) -> None:
        self._file.write_text(Template(text).safe_substitute(self._addresses))

    async def _read_log(self, process: trio.Process) -> None:
        assert process.stderr is not None
        rest = b""
        async with process.stderr as log:
            async for chunk in log:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._heard(line)
                self._tell()
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def _heard(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self._ledger.broken.append(f"not an event in the log: {line!r}")
            return
        name = event["event"]
        self.counts[name] += 1
        if name == "connection.closed":
            self._ledger.record(event)
        elif name in ("fault", "log.dropped"):
            self._ledger.broken.append(f"in the log: {event}")
        elif name in VERDICTS:
            self._verdict = VERDICTS[name]
        elif name == "listener.started":
            self.port = int(event["bind"].rpartition(":")[2])
        elif name == "server.stopping":
            self.stopping = event
        else:
            self._heard_of_change(name, event)

    def _heard_of_change(self, name: str, event: Mapping[str, Any]) -> None:
        """Of who carries the traffic."""
        now = trio.current_time()
        if name == "worker.started":
            self.workers[event["worker"]] = event["pid"]
        elif name == "worker.died":
            began = now - HANGS if "did not answer" in event["reason"] else now
            self._ledger.deeds.append(Deed("death", str(event["worker"]), began, now))
            if self.workers.get(event["worker"]) == event["pid"]:
                del self.workers[event["worker"]]
        elif name == "backend.ejected":
            self._ledger.deeds.append(Deed("down", event["server"], now - NEWS_IS_OLD, now + NEWS_IS_OLD))

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(PATIENCE):
            while not condition():
                if self._ended:
                    break
                await self._news.wait()
        if not condition():
            raise BrokenError(f"the balancer has not {what} in {PATIENCE:g} s")

    async def lines(self, name: str, count: int) -> None:
        """Wait for so many events of this name. Raises BrokenError."""
        await self._until(lambda: self.counts[name] >= count, f"said {name} {count} times")

    async def records(self) -> None:
        """Wait a while until each session has its record; the judge says who has none."""
        with trio.move_on_after(2 * NEWS_IS_OLD):
            while self._ledger.sessions.keys() - self._ledger.records.keys():
                await self._news.wait()

    async def reload(self, text: str, *, accepted: bool) -> None:
        """Returns after the verdict. Raises BrokenError if there is none; a wrong one goes into the ledger."""
        self._write(text)
        self._verdict = None
        self._process.send_signal(signal.SIGHUP)
        await self._until(lambda: self._verdict is not None, "answered a reload")
        if self._verdict is not accepted:
            self._ledger.broken.append(f"a configuration was {'not ' * accepted}accepted: {text}")

    def signal_worker(self, number: int, what: signal.Signals) -> None:
        """To the one that serves under this number; nothing happens if it has gone."""
        if number in self.workers:
            with suppress(ProcessLookupError):
                os.kill(self.workers[number], what)

    def look(self) -> dict[str, Sight]:
        """All its processes, by their roles."""
        roles = {"supervisor": self._process.pid, **{f"worker {number}": pid for number, pid in self.workers.items()}}
        return {role: look(pid) for role, pid in roles.items()}

    async def calm(self, before: Mapping[str, Sight]) -> dict[str, Sight]:
        """The same, once its descriptors are those of before, or as it is when they do not come to be.

        A probe has one for a moment, and so has a connection that is just being closed.
        """
        await trio.sleep(0.5)
        seen = self.look()
        with trio.move_on_after(CALM_PATIENCE):
            while any(seen[role].descriptors > before[role].descriptors for role in seen):
                await trio.sleep(0.1)
                seen = self.look()
        return seen

    async def stop(self) -> int:
        """SIGTERM; returns the exit code. Raises BrokenError if it does not end."""
        self._process.send_signal(signal.SIGTERM)
        await self._until(lambda: self._ended, "stopped")
        return await self._process.wait()

    def kill(self) -> None:
        """Whatever is left of it."""
        for number in self.workers:
            self.signal_worker(number, signal.SIGKILL)
        if self._process.returncode is None:
            self._process.kill()
