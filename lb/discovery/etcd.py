"""Discovery in etcd: the servers that registered themselves under a prefix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import attrs
import trio

from lb.discovery.etcd_entries import EntrySet, Registered, recalled_entry
from lb.discovery.last_set import LastSet, ServerTables
from lb.discovery.source import Findings
from lb.etcd.client import EtcdClient
from lb.etcd.follower import PrefixFollower
from lb.etcd.messages import KeyValue, PrefixEvent
from lb.model import EtcdSource, ServerSpec
from lb.net.cooperate import in_turns
from lb.net.threads import Threads

__all__ = ["EtcdServers"]

FIRST_READ_TIMEOUT = 1.0
"""Seconds to read the file with the last set: etcd is asked after that."""
WRITE_DELAY = 1.0
"""Seconds from a change to the write of that file: so many between two writes, at least."""
FILE_TIMEOUT = 5.0
"""Seconds until a write is reported as failed. It goes on: nothing can interrupt it."""
REWRITE_INTERVAL = 10.0
"""Seconds until a set that could not be written is written again, if it does not change before."""
AFTER_FAULT = 1.0
"""Seconds before another attempt after a bug of a library."""


@attrs.frozen
class EtcdServers:
    """Servers in etcd. Implements :class:`lb.discovery.source.Source`."""

    source: EtcdSource
    file: LastSet

    @property
    def where(self) -> str:
        return f"under {self.source.etcd.prefix}"

    @property
    def asked(self) -> str:
        return self.source.etcd.endpoints[0]

    async def watch(self, findings: Findings) -> NoReturn:
        entries = EntrySet(self.source.etcd.prefix, Path(self.source.directory))
        kept = _KeptSet(self.file, entries, findings)
        if findings.handed is None:
            await kept.recall(self._recalled)
        else:
            kept.go_on_with([each async for each in in_turns(self._entries_of(findings.handed))])
        findings.keep(lambda: entries.tables)
        observer = _Registrations(self.source, entries, findings, kept)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.write_again_and_again)
            while True:
                try:
                    async with EtcdClient(self.source.etcd) as client:
                        await PrefixFollower(client, self.source.etcd.prefix.encode(), observer).run()
                except Exception as exception:  # noqa: BLE001 - a library that fails must not end the balancer
                    findings.fault(exception)
                    observer.lost((type(exception).__name__,))
                await trio.sleep(AFTER_FAULT)

    def read(self) -> tuple[tuple[ServerSpec, ...], tuple[str, ...]] | None:
        """Return the last set, which may be old; None if there is none that can be read."""
        try:
            return tuple(each.server for each in self._recalled()), ()
        except ValueError:
            return None

    def _recalled(self) -> list[Registered]:
        """Return the last set, by name. Raises ValueError if it cannot be read."""
        return list(self._entries_of(self.file.read()))

    def _entries_of(self, tables: ServerTables) -> Iterator[Registered]:
        """Yield the valid ones of these entries, by name."""
        found = (recalled_entry(name, tables[name], Path(self.source.directory)) for name in sorted(tables))
        return (each for each in found if each is not None)


@attrs.define
class _Registrations:
    """Passes on the servers of a prefix. Implements :class:`lb.etcd.follower.PrefixObserver`."""

    source: EtcdSource
    entries: EntrySet
    findings: Findings
    kept: _KeptSet
    is_lost: bool = False
    """What was lost is restored once a watch is alive: an etcd may answer, and yet refuse all watches."""

    async def snapshot(self, entries: Mapping[bytes, KeyValue]) -> None:
        values = {self._name(key): entry.value for key, entry in entries.items()}
        async for name, value in in_turns(values.items()):
            self.entries.put(name, value)
        self.entries.keep({*values})
        self._found()

    async def changed(self, events: Sequence[PrefixEvent]) -> None:
        async for event in in_turns(events):
            if event.deleted:
                self.entries.remove(self._name(event.entry.key))
            else:
                self.entries.put(self._name(event.entry.key), event.entry.value)
        self._found()

    def followed(self) -> None:
        if self.is_lost:
            self.is_lost = False
            self._found()

    def lost(self, errors: tuple[str, ...]) -> None:
        self.is_lost = True
        self.kept.stop_emptying()
        self.findings.found(None, errors)

    def _name(self, key: bytes) -> bytes:
        return key.removeprefix(self.source.etcd.prefix.encode())

    def _found(self) -> None:
        servers, hold = self.entries.servers, self.source.hold
        self.findings.found(servers, self.entries.errors, hold_all=hold, more=self.is_lost)
        if servers:
            self.kept.changed()
        else:
            self.kept.emptied(hold)


class _KeptSet:
    """Keeps the last set in its file: in a thread, at most once a second."""

    def __init__(self, file: LastSet, entries: EntrySet, findings: Findings) -> None:
        self._file = file
        self._entries = entries
        self._findings = findings
        self._thread = Threads(1, FILE_TIMEOUT)
        self._written: ServerTables | None = {}  # None = it is not known what the file has
        self._due = math.inf
        self._is_emptying = False
        self._due_changed = trio.Event()

    async def recall(self, read: Callable[[], Sequence[Registered]]) -> None:
        """Begin with the entries of the file."""
        try:
            entries = await Threads(1, FIRST_READ_TIMEOUT).run(read)
        except (ValueError, TimeoutError) as error:
            self._failed(error)
            return
        if entries:
            self._entries.recall(entries)
            self._written = self._entries.tables
            self._findings.remembered(self._entries.servers)

    def go_on_with(self, entries: Sequence[Registered]) -> None:
        """Begin with the entries of a watch before. It may not have been able to write its file."""
        self._entries.recall(entries)
        self._written = None
        if entries:
            self.changed()

    def changed(self) -> None:
        """Write the set within a second. All servers may be about to go, and then the file keeps them."""
        if self._is_emptying or self._due == math.inf:
            self._is_emptying = False
            self._set_due(trio.current_time() + WRITE_DELAY)

    def emptied(self, hold: float) -> None:
        """Write that there are no servers, once the last ones have stayed for their time."""
        if not self._is_emptying:
            self._is_emptying = True
            self._set_due(trio.current_time() + hold)

    def stop_emptying(self) -> None:
        """Do not write that there are no servers: etcd does not say so any more."""
        if self._is_emptying:
            self._is_emptying = False
            self._set_due(math.inf)

    def _set_due(self, due: float) -> None:
        self._due = due
        self._due_changed.set()

    async def write_again_and_again(self) -> NoReturn:
        while True:
            with trio.CancelScope(deadline=self._due):
                await self._due_changed.wait()
                self._due_changed = trio.Event()
            if trio.current_time() >= self._due:
                self._due, self._is_emptying = math.inf, False
                await self._write(self._entries.tables)

    async def _write(self, tables: ServerTables) -> None:
        if tables == self._written:
            return
        try:
            await self._thread.run(self._file.write, tables)
        except (ValueError, TimeoutError) as error:
            self._failed(error)
            if self._due == math.inf:
                self._set_due(trio.current_time() + REWRITE_INTERVAL)
        else:
            self._written = tables
            self._findings.file_failed("")

    def _failed(self, error: Exception) -> None:
        self._findings.file_failed(f"{self._file.path}: {error}")
