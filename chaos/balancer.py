"""The real ``lb`` as a child process. Its log goes into the ledger; it can be reloaded and inspected."""

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
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import trio

from chaos import configs
from chaos.ledger import Disturbance, Ledger
from chaos.outside import ProcessStats, process_stats

__all__ = ["BrokenError", "RunningBalancer"]

CALM_PATIENCE = 20.0
"""Seconds in which descriptors must be closed: checks open some for a moment, and threads live for another ten."""
PATIENCE = 30.0
"""Timeout in seconds of anything that should happen at once. An estimate for a busy machine."""
VERDICTS = {"config.applied": True, "config.rejected": False}
EVENT_SKEW = 2.0
"""Seconds between the event of a server's ejection and the ends of its connections, before or after."""


class BrokenError(Exception):
    """The balancer does not do what the storm needs to continue."""


class RunningBalancer:
    """A running ``lb --config``. ``addresses`` replace ``$name`` in configurations."""

    def __init__(self, folder: Path, ledger: Ledger, addresses: Mapping[str, str]) -> None:
        self.counts: Counter[str] = Counter()
        """Lines of the log per event."""
        self.workers: dict[int, int] = {}
        """Process ids of the running workers, by number."""
        self.ports: dict[str, int] = {}
        """The port of each listener."""
        self.stopping: Mapping[str, Any] = {}
        """The event ``server.stopping``."""
        self._ledger = ledger
        self._addresses = addresses
        self._file = folder / "lb.toml"
        self._process: trio.Process
        self._changed = trio.Event()
        self._verdict: bool | None = None
        self._frozen: dict[int, float] = {}
        """Since when workers are frozen."""
        self._heard: dict[int, str] = {}
        """By worker, the time of its last record, or of its start: with it die the records of what ended since then."""
        self._ended = False

    async def start(self, nursery: trio.Nursery, text: str, descriptors: int) -> None:
        """Start; return when it serves. ``descriptors`` is the limit of each of its processes."""
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
                    self._handle_line(line)
                self._notify()
        self._ended = True
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _handle_line(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            self._ledger.broken.append(f"not an event in the log: {line!r}")
            return
        name = event["event"]
        self.counts[name] += 1
        if name == "http.request":
            self._ledger.record(event)
        elif name == "connection.closed":
            self._ledger.record(event)
            self._heard[(event["id"] - 1) % max(1, len(self._heard))] = event["timestamp"]
        elif name in ("fault", "log.dropped"):
            self._ledger.broken.append(f"in the log: {event}")
        elif name in VERDICTS:
            self._verdict = VERDICTS[name]
        elif name == "listener.started":
            self.ports[event["listener"]] = int(event["bind"].rpartition(":")[2])
        elif name == "server.stopping":
            self.stopping = event
        else:
            self._handle_change(name, event)

    def _handle_change(self, name: str, event: Mapping[str, Any]) -> None:
        """Handle an event about workers or servers."""
        now = trio.current_time()
        if name == "worker.started":
            self.workers[event["worker"]] = event["pid"]
            self._heard[event["worker"]] = event["timestamp"]
        elif name == "worker.died":
            heard = datetime.fromisoformat(self._heard[event["worker"]])
            began = now - (datetime.now(UTC) - heard).total_seconds()
            self._ledger.disturbances.append(Disturbance("death", str(event["worker"]), began, now))
            if self.workers.get(event["worker"]) == event["pid"]:
                del self.workers[event["worker"]]
        elif name == "backend.ejected":
            self._ledger.disturbances.append(Disturbance("down", event["server"], now - EVENT_SKEW, now + EVENT_SKEW))

    async def _until(self, condition: Callable[[], bool], text: str) -> None:
        with trio.move_on_after(PATIENCE):
            while not condition():
                if self._ended:
                    break
                await self._changed.wait()
        if not condition():
            raise BrokenError(f"the balancer has not {text} in {PATIENCE:g} s")

    async def lines(self, name: str, count: int) -> None:
        """Wait for this number of events, as long as they come. Raises BrokenError."""
        while (before := self.counts[name]) < count:
            await self._until(partial(self._more_than, name, before), f"logged {name} {before + 1} times")

    def _more_than(self, name: str, count: int) -> bool:
        return self.counts[name] > count

    async def records(self) -> None:
        """Wait until each session has its record, for a limited time. The judge reports those without."""
        with trio.move_on_after(2 * EVENT_SKEW):
            while self._ledger.sessions.keys() - self._ledger.records.keys() - self._ledger.unserved():
                await self._changed.wait()

    async def reload(self, text: str, *, accepted: bool) -> None:
        """Reload; return after the verdict. Raises BrokenError if there is none; a wrong one goes into the ledger."""
        self._write(text)
        self._verdict = None
        self._process.send_signal(signal.SIGHUP)
        await self._until(lambda: self._verdict is not None, "completed a reload")
        if self._verdict is not accepted:
            self._ledger.broken.append(f"a configuration was {'not ' * accepted}accepted: {text}")

    def signal_worker(self, number: int, sig: signal.Signals) -> None:
        """Send a signal to a worker, unless it has exited."""
        if number in self.workers:
            with suppress(ProcessLookupError):
                os.kill(self.workers[number], sig)
        if sig == signal.SIGSTOP:
            self._frozen[number] = trio.current_time()
        elif sig == signal.SIGCONT:
            self._ledger.thawed(self._frozen.pop(number), trio.current_time() + EVENT_SKEW)

    def stats(self) -> dict[str, ProcessStats]:
        """Return the statistics of its processes, by role."""
        roles = {"supervisor": self._process.pid, **{f"worker {number}": pid for number, pid in self.workers.items()}}
        return {role: process_stats(pid) for role, pid in roles.items()}

    async def calm_stats(self) -> dict[str, ProcessStats]:
        """Return the statistics once no idle connection to a server is kept."""
        await trio.sleep(configs.KEPT_TIME + 0.5)
        return self.stats()

    async def settled_stats(self, before: Mapping[str, ProcessStats]) -> dict[str, ProcessStats]:
        """Return the statistics when there are no more descriptors than before, or after CALM_PATIENCE.

        A probe has a descriptor for a moment, and so has a connection that is just being closed.
        """
        await trio.sleep(configs.KEPT_TIME + 0.5)
        current = self.stats()
        with trio.move_on_after(CALM_PATIENCE):
            while any(current[role].descriptors > before[role].descriptors for role in current):
                await trio.sleep(0.1)
                current = self.stats()
        return current

    async def stop(self) -> int:
        """Send SIGTERM; return the exit code. Raises BrokenError if it does not exit."""
        self._process.send_signal(signal.SIGTERM)
        await self._until(lambda: self._ended, "stopped")
        return await self._process.wait()

    def kill(self) -> None:
        """Kill all processes that are left."""
        for number in self.workers:
            self.signal_worker(number, signal.SIGKILL)
        if self._process.returncode is None:
            self._process.kill()
