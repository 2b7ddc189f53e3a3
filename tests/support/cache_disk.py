"""A running disk store, and what a test does with it; a process of its own with one: ``python -m … PATH SIZE SEED``."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trio
import trio.lowlevel

from lb.cache import shared_cells
from lb.cache.disk_store import SMALL_OBJECT, DiskStore
from lb.cache.shared_cells import SHARED_NAME
from lb.model import CacheSpec
from lb.net.descriptors import Descriptors
from tests.support.balancer import PATIENCE
from tests.support.directories import all_within

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


def digest_of(name):
    return hashlib.sha256(str(name).encode()).digest()


class Store:
    """A disk store whose events are kept. Calls wait for their result."""

    def __init__(self, nursery, spec, descriptors, clock):
        self.events = []
        self.faults = []
        self.nursery = nursery
        self.clock = trio.current_time
        self.descriptors = descriptors
        self.disk = DiskStore(spec, self, descriptors, self.events.append, clock)

    def fault(self, where, exception):
        self.faults.append(exception)

    def spawn(self, function):
        self.nursery.start_soon(function)

    async def until(self, condition):
        """The other side is a disk, in threads: nothing tells when it has done its work."""
        with trio.fail_after(PATIENCE):
            while not condition():  # noqa: ASYNC110 - there is no event
                await trio.sleep(0.002)

    def named(self, name):
        return [event for event in self.events if event.name == name]

    async def call(self, method, *args, **kwargs):
        """Call a method with a callback as its last argument."""
        results = []
        arrived = trio.Event()

        def done(result):
            results.append(result)
            arrived.set()

        kwargs["done"] = done
        method(*args, **kwargs)
        with trio.fail_after(PATIENCE):
            await arrived.wait()
        assert len(results) == 1, "called twice"
        return results[0]

    async def store(self, name, body=b"body", head=HEAD, key=b"", tags=()):
        """Store a small object, and wait until it is on the disk, or dropped."""
        taken = self.disk.store(digest_of(name), head, body, key, tags)
        await self.idle()
        return taken

    async def idle(self):
        await self.until(lambda: not self.disk._changes._queue and self.disk._changes._idle.is_set())

    async def create(self, name, length=None, head=HEAD, **labels):
        return await self.call(self.disk.create, digest_of(name), head, length, **labels)

    async def write(self, name, body, piece=100_000, *, known=True):
        """Store an object in pieces. Return whether it was."""
        writer = await self.create(name, len(body) if known else None)
        if writer is None:
            return False
        for start in range(0, len(body), piece):
            data = body[start : start + piece]
            if not writer.reserve(len(data)) and not await self.call(writer.wait_for_room, len(data)):
                writer.abort()
                return False
            try:
                os.writev(writer.fd, [data])
            except OSError as error:
                writer.abort(error)
                return False
        return await self.call(writer.commit, len(body))

    async def read(self, name):
        """Return head and body; None if there is none."""
        file = await self.call(self.disk.open, digest_of(name))
        if file is None:
            return None
        try:
            assert file.is_intact()
            assert file.digest == digest_of(name)
            return file.head, os.pread(file.fd, file.length, file.body_at)
        finally:
            file.release()

    async def has(self, name):
        return await self.read(name) is not None

    async def remove(self, name):
        return await self.call(self.disk.remove, digest_of(name))

    def path_of(self, name):
        return Path(self.disk._state.attached.files.path_of(digest_of(name)))


@asynccontextmanager
async def disk_store(path, *, max_size=1 << 30, inactive=3600.0, descriptors=1000, wait=True, clock=time.monotonic):
    """Run a store until it stores, if ``wait``. Faults, and descriptors that are not given back, fail the test."""
    budget = Descriptors(descriptors)
    async with trio.open_nursery() as nursery:
        spec = CacheSpec("zone", str(path), max_size=max_size, inactive=inactive)
        store = Store(nursery, spec, budget, clock)
        running = await nursery.start(_run, store)
        if wait:
            await store.until(lambda: store.disk.is_storing)
        yield store
        running.cancel()
        await store.until(lambda: not budget.used)
        nursery.cancel_scope.cancel()
    assert store.faults == []


async def _run(store, task_status):
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await store.disk.run()


@contextmanager
def shared_memory_cleared(path):
    """Remove the shared memory of a directory at the end."""
    try:
        yield
    finally:
        name = Path(path, SHARED_NAME)
        if name.exists() and name.read_text():
            (shared_cells.MEMORY / name.read_text()).unlink(missing_ok=True)


def disk_usage(path):
    """What du(1) shows, for all files and directories. A file that gets its name has two for a moment: it is one."""
    blocks = {each.st_ino: each.st_blocks for each in (Path(path).stat(), *all_within(path).values())}
    return 512 * sum(blocks.values())


def body_of(name, size):
    return random.Random(str(name)).randbytes(size)


async def _work(path, max_size, seed):
    """Store, replace, read, revalidate and remove objects until killed."""
    chance = random.Random(seed)
    async with disk_store(path, max_size=max_size) as store:
        print("ready", flush=True)
        while True:
            name = chance.randrange(400)
            size = chance.choice((100, 3000, 20_000, 150_000, 700_000)) + name
            if size <= SMALL_OBJECT and chance.random() < 0.7:
                store.disk.store(digest_of(name), HEAD, body_of(name, size), b"key %d" % name, (b"tag",))
                await trio.lowlevel.checkpoint()
            elif chance.random() < 0.7:
                await store.write(name, body_of(name, size), known=chance.random() < 0.5)
            elif chance.random() < 0.6:
                store.disk.update_head(digest_of(name), HEAD, HEAD + b"x" * chance.randrange(100))
            elif chance.random() < 0.5:
                await store.remove(name)
            elif (found := await store.read(name)) is not None:
                assert found[1] == body_of(name, len(found[1])), "a wrong byte"


if __name__ == "__main__":
    trio.run(_work, sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
