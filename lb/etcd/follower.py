"""Follow a prefix of etcd: all its keys, then each change, as long as it takes and whatever happens to etcd."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn, Protocol

import trio

from lb.etcd.client import ENDPOINT_TIMEOUT, EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.messages import KeyValue, PrefixEvent, RangeRequest, StoreState, WatchAnswer, prefix_end

__all__ = ["PrefixFollower", "PrefixObserver"]

PAGE_OF_KEYS = 200
"""Keys that are asked for at a time. A guess: 50 KB, which are decoded in half a millisecond."""
SMALLER = 8
"""A page that is too large is asked for again with so many times fewer keys."""
LARGEST_SNAPSHOT = 1 << 26
"""Maximum bytes of keys and values under a prefix. A guess: hundreds of thousands of servers."""
ATTEMPT_INTERVAL = 0.8
"""Seconds between the beginnings of two attempts, so that a failed one is followed within a second."""
AFTER_LOSS = 0.1
"""Seconds after the end of a watch, so that an endpoint whose process just ends refuses rather than resets."""
QUESTION_INTERVAL = 2.0
"""Seconds between two questions whether the watch is alive. etcd 3.4 reports that by itself every ten minutes only."""
QUESTION_TIMEOUT = 3.0
"""Seconds for the answer."""


class PrefixObserver(Protocol):
    """Hears of a prefix. Its methods do not raise."""

    async def snapshot(self, entries: Mapping[bytes, KeyValue]) -> None:
        """Take all keys of the prefix, in their order. What was known before counts no more."""

    async def changed(self, events: Sequence[PrefixEvent]) -> None:
        """Take changes in their order."""

    def followed(self) -> None:
        """All is well: there was a snapshot, and the watch is alive. Called once for each watch."""

    def lost(self, errors: tuple[str, ...]) -> None:
        """No endpoint works: ``http://10.0.0.1:2379: connection refused``. Called again and again meanwhile."""


class PrefixFollower:
    """Follows all keys that begin with ``prefix``. Several followers may share a client.

    A snapshot is taken anew whenever the watch may have missed something: it ended, its revision was compacted, it is
    silent, or the store is not the one that it was (restored from a backup, or another cluster).
    """

    def __init__(self, client: EtcdClient, prefix: bytes, observer: PrefixObserver) -> None:
        self._client = client
        self._start, self._end = prefix, prefix_end(prefix)
        self._observer = observer
        self._lost = 0  # watches, since all was well

    async def run(self) -> NoReturn:
        """Follow for ever."""
        while True:
            next_attempt = trio.current_time() + ATTEMPT_INTERVAL
            await self._follow()
            await trio.sleep_until(next_attempt)

    async def _follow(self) -> None:
        """Follow until a snapshot has to be taken anew."""
        try:
            state, keys = await self._snapshot()
        except EtcdError as error:
            if not error.is_compacted:
                self._observer.lost(error.texts)
            return
        try:
            await _Watching(self._client, self._start, self._end, state, keys).run(self._observer, self._followed)
        except EtcdError as error:
            self._watch_failed(error)
            await trio.sleep(AFTER_LOSS)

    async def _snapshot(self) -> tuple[StoreState, set[bytes]]:
        """Pass on all keys. Return the state of the store that has them, and the keys."""
        entries: dict[bytes, KeyValue] = {}
        state: StoreState | None = None
        start, limit, size = self._start, PAGE_OF_KEYS, 0
        while True:
            revision = state.revision if state else 0
            try:
                page = await self._client.range(RangeRequest(start, self._end, revision, limit))
            except EtcdError as error:
                if not error.is_too_large or limit == 1:
                    raise
                limit = max(1, limit // SMALLER)
                continue
            state = state or page.state
            entries |= {entry.key: entry for entry in page.found}
            size += sum(len(entry.key) + len(entry.value) for entry in page.found)
            if size > LARGEST_SNAPSHOT:
                raise EtcdError({self._client.endpoint: f"holds more than {LARGEST_SNAPSHOT >> 20} MiB there"})
            if len(page.found) >= page.count:
                await self._observer.snapshot(entries)
                return state, set(entries)
            if not page.found or page.found[-1].key < start:  # else this would never end
                raise EtcdError({self._client.endpoint: "sends keys that were not asked for, or none"})
            start = page.found[-1].key + b"\0"

    def _followed(self) -> None:
        self._lost = 0
        self._observer.followed()

    def _watch_failed(self, error: EtcdError) -> None:
        """Report watches that fail again and again. Of a single one, the next snapshot tells more, or it succeeds."""
        self._lost += 1
        if error.is_of_the_request or self._lost > len(self._client.spec.endpoints):
            self._observer.lost(error.texts)


class _Watching:
    """A watch from after a snapshot, with questions whether it is alive, until it is of no use any more."""

    def __init__(self, client: EtcdClient, start: bytes, end: bytes, state: StoreState, keys: set[bytes]) -> None:
        self._client = client
        self._range = start, end
        self._watch = client.watch(start, end, state.revision + 1)
        self._cluster = state.cluster_id
        self._revision = state.revision
        self._keys = keys
        self._failure: EtcdError | None = None

    async def run(self, observer: PrefixObserver, followed: Callable[[], None]) -> None:
        """Watch until a snapshot has to be taken anew. Raises EtcdError if the endpoint is to blame; it is left."""

        async def questions() -> None:
            await self._ask_again_and_again(followed)

        async def changes() -> None:
            first = await self._first_answer()
            nursery.start_soon(self._guard, questions, nursery)
            await self._follow(first, observer)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._guard, self._watch.run, nursery)
            nursery.start_soon(self._guard, changes, nursery)
        if self._failure is not None:
            self._client.leave(self._watch.endpoint)
            raise self._failure

    async def _guard(self, work: Callable[[], Awaitable[None]], nursery: trio.Nursery) -> None:
        """Run a part. Its end is the end of all parts."""
        try:
            await work()
        except EtcdError as error:
            self._failure = self._failure or error
        nursery.cancel_scope.cancel()

    def _error(self, cause: str) -> EtcdError:
        return EtcdError({self._watch.endpoint: cause})

    async def _first_answer(self) -> WatchAnswer:
        with trio.move_on_after(ENDPOINT_TIMEOUT):
            return await self._watch.next()
        raise self._error(f"no answer in {ENDPOINT_TIMEOUT:g} s")

    async def _follow(self, answer: WatchAnswer, observer: PrefixObserver) -> None:
        while not answer.canceled:
            if answer.events:
                for event in answer.events:
                    (self._keys.discard if event.deleted else self._keys.add)(event.entry.key)
                self._revision = max(self._revision, answer.events[-1].entry.mod_revision)
                await observer.changed(answer.events)
                await trio.lowlevel.checkpoint()  # hundreds may have come at once: traffic is served between two
            answer = await self._watch.next()
        if not answer.compact_revision:
            raise self._error(answer.reason or "has canceled the watch")

    async def _ask_again_and_again(self, followed: Callable[[], None]) -> None:
        """Ask on another connection what the watch should have told. Returns if the store is not the one it was."""
        missed: int | None = None  # the revision that the watch was behind at
        told = False
        while True:
            before = self._revision
            request = RangeRequest(*self._range, limit=1, min_mod_revision=before + 1, keys_only=True)
            answer = await self._client.range(request, within=QUESTION_TIMEOUT, endpoint=self._watch.endpoint)
            if answer.state.cluster_id != self._cluster or answer.state.revision < before:
                return
            behind = bool(answer.found) or answer.count != len(self._keys)
            if behind and missed == before:
                raise self._error("the watch is silent")
            missed = before if behind else None
            if not told:
                told = True
                followed()
            await trio.sleep(QUESTION_INTERVAL)
