"""Servers in etcd: how long a snapshot of 1,000 takes, how long it holds the loop, and when a change is in the pool.

Run it alone: ``python bench/etcd.py``. It needs Debian's etcd-server.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import trio

from lb.discovery.etcd_entries import EntrySet
from lb.etcd.client import EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.follower import PrefixFollower
from lb.etcd.messages import Deletion, KeyValue, PrefixEvent, Put, RangeRequest
from lb.model import EtcdSpec
from lb.net.cooperate import in_turns, keep_garbage_collection_short

PREFIX = "/trio-lb/pools/web/"
PORT, PEER_PORT = 23_790, 23_800
SPEC = EtcdSpec((f"http://127.0.0.1:{PORT}",), PREFIX)
CONFIGURATION = f"""
[log]
level = "info"
[listeners.web]
bind = "127.0.0.1:0"
[pools.web]
health = false
[pools.web.etcd]
endpoints = {json.dumps(SPEC.endpoints)}
prefix = "{PREFIX}"
"""


class Holds(trio.abc.Instrument):
    """The longest step of any task, in seconds of CPU time."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._begun = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - named by trio
        self._begun = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - likewise
        self.longest = max(self.longest, time.thread_time() - self._begun)


class Registrations:
    """Reads entries as the balancer does. Implements :class:`lb.etcd.follower.PrefixObserver`."""

    def __init__(self) -> None:
        self.count = 0
        self.done = trio.Event()

    async def snapshot(self, entries: Mapping[bytes, KeyValue]) -> None:
        read = EntrySet(PREFIX, Path())
        async for key, entry in in_turns(entries.items()):
            read.put(key.removeprefix(PREFIX.encode()), entry.value)
        self.count = len(read.servers)
        self.done.set()

    async def changed(self, events: Sequence[PrefixEvent]) -> None:
        """Nothing changes."""

    def followed(self) -> None:
        """Not of interest."""

    def lost(self, errors: tuple[str, ...]) -> None:
        raise RuntimeError(errors)


@asynccontextmanager
async def running_etcd(home: Path) -> AsyncIterator[EtcdClient]:
    """Run etcd, and yield a client of it."""
    client_url, peer = SPEC.endpoints[0], f"http://127.0.0.1:{PEER_PORT}"
    command = ["etcd", "--name=one", f"--data-dir={home}", f"--listen-client-urls={client_url}", "--log-level=error"]
    command += [f"--advertise-client-urls={client_url}", f"--listen-peer-urls={peer}"]
    command += [f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=one={peer}"]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        async with EtcdClient(SPEC) as client:
            while True:
                try:
                    await client.range(RangeRequest(b"x"))
                    break
                except EtcdError:
                    await trio.sleep(0.1)
            yield client
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def register(client: EtcdClient, servers: int) -> None:
    for number in range(servers):
        table = {"address": f"10.0.{number // 250}.{number % 250 + 1}:80", "weight": 1 + number % 3}
        await client.put(Put(f"{PREFIX}server-{number:04}".encode(), json.dumps(table).encode()))


async def snapshots(client: EtcdClient, rounds: int) -> tuple[list[float], float]:
    """Return the seconds of each snapshot, and the longest hold of the loop."""
    holds, times = Holds(), []
    trio.lowlevel.add_instrument(holds)
    for _ in range(rounds):
        async with trio.open_nursery() as nursery:
            observer, began = Registrations(), time.perf_counter()
            nursery.start_soon(PrefixFollower(client, PREFIX.encode(), observer).run)
            await observer.done.wait()
            times.append(time.perf_counter() - began)
            nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(holds)
    return times, holds.longest


async def changes(client: EtcdClient, home: Path, rounds: int, pause: float) -> list[float]:
    """Return the seconds from etcd's answer until the balancer says that a change is applied, for each change."""
    (home / "lb.toml").write_text(CONFIGURATION)
    command = [Path(sys.executable).parent / "lb", "--config", home / "lb.toml"]
    process = await trio.lowlevel.open_process(command, stderr=subprocess.PIPE)
    applied: dict[str, float] = {}
    news = trio.Event()

    async def read_log() -> None:
        nonlocal news
        rest = b""
        async for chunk in process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            for event in map(json.loads, lines):
                at = datetime.fromisoformat(event["timestamp"]).timestamp()
                if event["event"] == "config.applied":
                    applied.update(dict.fromkeys([*event["added"], *event["removed"]], at))
                elif event["event"] == "server.started":
                    applied["start"] = at
            news.set()
            news = trio.Event()

    async def until_applied(name: str) -> float:
        with trio.fail_after(60):
            while name not in applied:
                await news.wait()
        return applied.pop(name)

    found = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_log)
        await until_applied("start")
        key = f"{PREFIX}new".encode()
        for number in range(rounds):
            if number % 2:
                await client.delete(Deletion(key))
            else:
                await client.put(Put(key, b"10.9.0.1:80"))
            answered = time.time()
            found.append(await until_applied("web/new") - answered)
            await trio.sleep(pause)
        process.kill()
        nursery.cancel_scope.cancel()
    await process.wait()
    return found


def told(seconds: list[float]) -> str:
    """Return the median, the 99th percentile and the most, in milliseconds."""
    ordered = sorted(seconds)
    chosen = {"median": len(ordered) // 2, "p99": int(len(ordered) * 0.99), "most": len(ordered) - 1}
    return ", ".join(f"{name} {1000 * ordered[place]:.1f} ms" for name, place in chosen.items())


async def main(servers: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        async with running_etcd(Path(home, "data")) as client:
            await register(client, servers)
            keep_garbage_collection_short()  # as the balancer does
            times, longest = await snapshots(client, 20)
            print(f"a snapshot of {servers} servers: {told(times)}; one step of it: {1000 * longest:.2f} ms of CPU")
            found = await changes(client, Path(home), rounds, 0.06)
            print(f"from etcd's answer to a change until it is applied: {told(found)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=1_000)
    parser.add_argument("--changes", type=int, default=300)
    options = parser.parse_args()
    trio.run(main, options.servers, options.changes)
