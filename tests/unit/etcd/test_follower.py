"""Following a prefix of an etcd that misbehaves, with a clock that jumps."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from lb.etcd.errors import EtcdError
from lb.etcd.follower import PAGE_OF_KEYS, PrefixFollower
from lb.etcd.messages import KeyValue, PrefixEvent, RangeAnswer, StoreState, WatchAnswer
from lb.model import EtcdSpec

ONE, TWO = "http://10.0.0.1:2379", "http://10.0.0.2:2379"
PREFIX = b"/x/"


@attrs.define
class Store:
    """An etcd, with what its endpoints do."""

    spec: EtcdSpec = attrs.field(factory=lambda: EtcdSpec((ONE, TWO), "/x/"))
    cluster: int = 1
    revision: int = 10
    entries: dict = attrs.field(factory=dict)
    fails: dict = attrs.field(factory=dict)
    """Endpoint -> the exception of its answers, or None for no answer."""
    endpoint: str = ONE
    ranges: list = attrs.field(factory=list)
    watches: list = attrs.field(factory=list)

    def put(self, name, value=b"1", *, silently=False):
        self.revision += 1
        self.entries[PREFIX + name] = KeyValue(PREFIX + name, value, mod_revision=self.revision)
        if not silently:
            self.tell(PrefixEvent(self.entries[PREFIX + name]))

    def delete(self, name, *, silently=False):
        self.revision += 1
        del self.entries[PREFIX + name]
        if not silently:
            self.tell(PrefixEvent(KeyValue(PREFIX + name, b"", mod_revision=self.revision), deleted=True))

    def tell(self, *events, **fields):
        for watch in self.watches:
            watch.send.send_nowait(WatchAnswer(self.state, events, **fields))

    @property
    def state(self):
        return StoreState(self.cluster, self.revision)

    def leave(self, endpoint):
        if endpoint == self.endpoint:
            self.endpoint = TWO if endpoint == ONE else ONE

    async def range(self, request, *, within=5.0, endpoint=""):
        self.ranges.append((trio.current_time(), request, endpoint))
        causes = {}
        for asked in [endpoint] if endpoint else [self.endpoint, TWO if self.endpoint == ONE else ONE]:
            await trio.sleep(0.001)
            if asked not in self.fails:
                return self._answer(request)
            causes[asked] = self.fails[asked] or f"no answer in {within:g} s"
            if self.fails[asked] is None:
                await trio.sleep(within)
            if not endpoint:
                self.leave(asked)
        raise EtcdError(causes)

    def _answer(self, request):
        keys = [key for key in sorted(self.entries) if request.key <= key < request.range_end]
        found = [self.entries[key] for key in keys if self.entries[key].mod_revision >= request.min_mod_revision]
        return RangeAnswer(self.state, tuple(found[: request.limit or None]), len(keys))

    def watch(self, key, range_end, start_revision):
        return Watch(self, start_revision)


class Watch:
    def __init__(self, store, start_revision):
        self.endpoint = store.endpoint
        self.store = store
        self.start_revision = start_revision
        self.send, self.receive = trio.open_memory_channel(100)
        self.broken = trio.Event()
        store.watches.append(self)

    async def run(self):
        if self.endpoint not in self.store.fails:
            self.send.send_nowait(WatchAnswer(self.store.state, created=True))
            await self.broken.wait()
        self.store.watches.remove(self)
        raise EtcdError({self.endpoint: "connection closed"})

    async def next(self):
        """Return what is there already without a pause, as the real one does."""
        try:
            return self.receive.receive_nowait()
        except trio.WouldBlock:
            return await self.receive.receive()


class Seen:
    def __init__(self):
        self.values = {}
        self.log = []

    async def snapshot(self, entries):
        assert list(entries) == sorted(entries)
        self.values = {key.removeprefix(PREFIX): entry.value for key, entry in entries.items()}
        self.log.append("snapshot")

    async def changed(self, events):
        for event in events:
            self.values.pop(event.entry.key.removeprefix(PREFIX), None)
            if not event.deleted:
                self.values[event.entry.key.removeprefix(PREFIX)] = event.entry.value

    def followed(self):
        self.log.append("followed")

    def lost(self, errors):
        self.log.append(errors)


@asynccontextmanager
async def following(store):
    seen = Seen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PrefixFollower(store, PREFIX, seen).run)
        await trio.sleep(1)
        yield seen
        nursery.cancel_scope.cancel()


async def test_changes_are_followed(autojump_clock):
    store = Store()
    store.put(b"a")
    async with following(store) as seen:
        assert store.watches[0].start_revision == 12
        store.put(b"b")
        store.delete(b"a")
        await trio.sleep(100)
        assert seen.values == {b"b": b"1"}
        assert seen.log == ["snapshot", "followed"]


async def test_traffic_is_served_between_changes_that_come_at_once(autojump_clock, nursery):
    store = Store()
    turns = 0

    async def traffic():
        nonlocal turns
        for turns in range(1000):  # noqa: B007 - counted
            await trio.lowlevel.checkpoint()

    async with following(store) as seen:
        for number in range(100):
            store.put(b"%04d" % number)
        nursery.start_soon(traffic)
        while len(seen.values) < 100:
            await trio.lowlevel.checkpoint()
        assert turns > 50


async def test_changes_elsewhere_are_no_reason_to_ask_for_all_again(autojump_clock):
    store = Store()
    async with following(store) as seen:
        store.revision += 1_000
        await trio.sleep(100)
        assert seen.log == ["snapshot", "followed"]


@pytest.mark.parametrize(
    "change", [lambda store: store.put(b"c", silently=True), lambda store: store.delete(b"a", silently=True)]
)
async def test_a_silent_watch_is_noticed_by_what_it_did_not_tell(autojump_clock, change):
    store = Store()
    store.put(b"a")
    async with following(store) as seen:
        change(store)
        await trio.sleep(5)
        assert {PREFIX + name for name in seen.values} == store.entries.keys()
        assert store.endpoint == TWO
        assert seen.log == ["snapshot", "followed"] * 2, "it was no failure"


async def test_a_watch_that_is_late_but_alive_is_kept(autojump_clock):
    store = Store()
    async with following(store) as seen:
        for number in range(20):
            store.put(b"%d" % number, silently=True)
            event = PrefixEvent(store.entries[PREFIX + b"%d" % number])
            await trio.sleep(1.9)
            store.tell(event)
        await trio.sleep(5)
        assert seen.log == ["snapshot", "followed"]


async def test_a_silent_endpoint_is_left_within_ten_seconds(autojump_clock):
    store = Store()
    async with following(store) as seen:
        store.fails = {ONE: None}
        await trio.sleep(9)
        assert seen.log == ["snapshot", "followed"] * 2
        assert store.endpoint == TWO
        assert [watch.endpoint for watch in store.watches] == [ONE, TWO]


async def test_two_that_fail_are_asked_at_least_every_second_and_told_with_their_causes(autojump_clock):
    store = Store(fails={ONE: "connection refused", TWO: "certificate verify failed"})
    async with following(store) as seen:
        await trio.sleep(20)
        times = [at for at, _, _ in store.ranges]
        assert max(after - before for before, after in itertools.pairwise(times)) <= 1
        assert set(seen.log) == {(f"{ONE}: connection refused", f"{TWO}: certificate verify failed")}
        store.fails = {}
        await trio.sleep(1)
        assert seen.log[-2:] == ["snapshot", "followed"]


@pytest.mark.parametrize("change", [{"cluster": 2}, {"revision": 3}])
async def test_a_store_that_is_another_one_is_read_anew_at_the_same_endpoint(autojump_clock, change):
    store = Store()
    store.put(b"a")
    async with following(store) as seen:
        store.entries = {}
        for name, value in change.items():
            setattr(store, name, value)
        await trio.sleep(3)
        assert not seen.values
        assert store.endpoint == ONE
        assert seen.log == ["snapshot", "followed"] * 2


async def test_a_compacted_watch_is_no_failure(autojump_clock):
    store = Store()
    async with following(store) as seen:
        store.put(b"a", silently=True)
        store.tell(canceled=True, compact_revision=12)
        await trio.sleep(1)
        assert seen.values == {b"a": b"1"}
        assert seen.log == ["snapshot", "followed"] * 2
        assert store.endpoint == ONE


class RefusedWatch(Watch):
    async def run(self):
        self.send.send_nowait(WatchAnswer(self.store.state, created=True, canceled=True, reason="permission denied"))
        await trio.sleep_forever()


class RefusingStore(Store):
    def watch(self, key, range_end, start_revision):
        return RefusedWatch(self, start_revision)


async def test_watches_that_are_refused_again_and_again_are_told(autojump_clock):
    async with following(RefusingStore()) as seen:
        await trio.sleep(5)
        assert "followed" not in seen.log
        assert {entry for entry in seen.log if entry != "snapshot"} == {
            (f"{endpoint}: permission denied",) for endpoint in (ONE, TWO)
        }


class CompactedStore(Store):
    """Its first snapshot is compacted before it is read to its end."""

    def _answer(self, request):
        if request.revision and len(self.ranges) == 2:
            raise EtcdError({ONE: "mvcc: required revision has been compacted"}, 11)
        return super()._answer(request)


async def test_a_snapshot_that_is_compacted_while_it_is_read_is_read_anew(autojump_clock):
    store = CompactedStore()
    for number in range(PAGE_OF_KEYS + 1):
        store.put(b"%04d" % number)
    async with following(store) as seen:
        assert len(seen.values) == PAGE_OF_KEYS + 1
        assert seen.log == ["snapshot", "followed"]


class FatStore(Store):
    """Its values are so long that only so many of them make an answer."""

    most = 3

    def _answer(self, request):
        if request.limit > self.most and not request.keys_only:
            raise EtcdError({self.endpoint: "sends more than 16 MiB at a time"}, is_too_large=True)
        return super()._answer(request)


async def test_a_page_of_long_values_is_made_smaller(autojump_clock):
    store = FatStore()
    for number in range(20):
        store.put(b"%04d" % number)
    async with following(store) as seen:
        assert len(seen.values) == 20
        assert seen.log == ["snapshot", "followed"]


class MoreWithoutEnd(Store):
    """It says that there are more keys than it sends."""

    keys = (b"/x/a",)

    def _answer(self, request):
        return RangeAnswer(self.state, tuple(KeyValue(key, b"1") for key in self.keys), 1000)


@pytest.mark.parametrize("keys", [(b"/x/a",), (b"/a",), ()])
async def test_keys_without_end_are_no_snapshot(autojump_clock, keys):
    store = MoreWithoutEnd()
    store.keys = keys
    async with following(store) as seen:
        assert {*seen.log} == {(f"{ONE}: sends keys that were not asked for, or none",)}
        assert len(store.ranges) < 10
