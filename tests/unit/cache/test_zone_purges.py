"""What a zone forgets when it is purged: what is stored, and what is on its way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import trio
import trio.testing

from lb.cache.entry import CacheEntry, Mark, digest_of, packed_entry, packed_mark
from lb.cache.freshness import Freshness
from lb.cache.zone import CacheZone
from lb.model import CacheSpec
from lb.model.purge import Purge, Purged
from lb.net.descriptors import Descriptors
from tests.support.cached_requests import request

KEY = b"http\na.example\n/a"
URL = Purge("url", (b"http://a.example/a",))


class Filling:
    """A fill that notes what it is told."""

    def __init__(self, key):
        self.key, self.forgotten, self.purges = key, False, []

    def forget(self):
        self.forgotten = True

    def purge(self, matches):
        self.purges.append(matches)
        self.forgotten |= matches(self.key, ())


class Disk:
    """A disk that opens a file when it is told to."""

    objects = size = 0

    def __init__(self):
        self.evictions = {"size": 0, "inactive": 0, "purge": 2}
        self.errors = {"read": 0, "write": 0, "full": 1, "corrupt": 0}
        self.files, self.opening, self.removed, self.purged = {}, [], [], []

    def may_have(self, digest):
        return digest in self.files

    def touch(self, digest):
        """Nothing is removed here."""

    def open(self, digest, done):
        self.opening.append(lambda: done(self.files.get(digest)))

    def store(self, digest, head, body, key, tags=(), done=None):
        """What is stored is never written: ``done`` is not called."""
        self.files[digest] = SimpleNamespace(head=head, body=body, length=len(body), release=lambda: None)
        return True

    def remove(self, digest, done):
        self.removed.append(digest)
        done(self.files.pop(digest, None) is not None)
        return True

    async def purge(self, matches):
        self.purged.append(matches)
        return 7

    def opened(self):
        while self.opening:
            self.opening.pop(0)()


def zone_with(disk=None):
    zone = CacheZone(CacheSpec("zone"), 1 << 20, disk, clock=lambda: 1000.0, descriptors=Descriptors(100))
    zone.template("{scheme}{host}{uri}")
    return zone


def entry(key=KEY, variant=b"", tags=()):
    return CacheEntry(key, variant, 200, [], Freshness(900.0, 0.0, 600.0), b"body", tags)


@pytest.mark.parametrize("what", [Purge.of_keys([KEY]), URL, Purge("tag", (b"t",))], ids=lambda what: what.kind)
async def test_all_variants_go_and_nothing_else(what):
    zone = zone_with()
    gone = [entry(variant=variant, tags=(b"t",)) for variant in (b"", b"gzip", b"br")]
    stays = entry(KEY + b"b", tags=(b"tt",))
    for each in (*gone, stays):
        assert zone.store(each)
    assert (await zone.purge(what)).count == 3
    assert [each.removed for each in (*gone, stays)] == [True, True, True, False]
    assert [*zone.memory] == [stays]
    assert zone.figures().evictions["purge"] == 3
    assert await zone.purge(what) == Purged()


async def test_what_is_on_its_way_is_told():
    zone = zone_with()
    ours, other = Filling(KEY), Filling(b"other")
    zone.coming |= {ours, other}
    zone.purge_keys([KEY])
    assert (ours.forgotten, other.forgotten) == (True, False)
    await zone.purge(Purge("tag", (b"t",)))
    assert other.purges[-1](b"other", (b"t",))


async def test_a_purge_of_all_lets_the_traffic_go_on(autojump_clock):
    zone = zone_with()
    for number in range(500):
        zone.store(entry(b"http\na.example\n/%d" % number))
    purged = await zone.purge(Purge("prefix", (b"http://a.example/1",)))
    assert purged.count == 1 + 10 + 100
    assert len(zone.memory) == 500 - 111


async def test_a_file_that_is_being_opened_when_it_is_purged_is_not_served(nursery):
    disk = Disk()
    zone, found = zone_with(disk), []
    disk.store(digest_of(KEY), packed_entry(entry()), b"body", KEY)
    zone.open(digest_of(KEY), lambda each, *, is_mark: found.append((each, is_mark)))
    nursery.start_soon(zone.purge, Purge("prefix", (b"http://a.example/",)))
    await trio.testing.wait_all_tasks_blocked()
    disk.opened()
    assert found == [(None, False)]
    assert len(zone.memory) == 0


async def test_a_key_on_disk_is_removed(nursery):
    disk = Disk()
    zone, purged = zone_with(disk), []
    disk.store(digest_of(KEY), packed_entry(entry()), b"body", KEY)

    async def purge():
        purged.append(await zone.purge(Purge.of_keys([KEY])))

    nursery.start_soon(purge)
    await trio.testing.wait_all_tasks_blocked()
    disk.opened()
    await trio.testing.wait_all_tasks_blocked()
    assert disk.removed == [digest_of(KEY)]
    assert purged[0].count == 1
    assert len(zone.memory) == 0


async def test_variants_are_purged_by_a_mark_that_only_the_disk_knew(nursery):
    """The mark was removed, and the next response for the key made one under which the old variants were found."""
    disk = Disk()
    zone = zone_with(disk)
    disk.store(digest_of(KEY), packed_mark(KEY, Mark((b"accept",), 0.0)), b"", KEY)
    old = entry(variant=b"x")
    disk.store(old.digest, packed_entry(old), b"body", KEY)
    nursery.start_soon(zone.purge, Purge.of_keys([KEY]))
    await trio.testing.wait_all_tasks_blocked()
    disk.opened()
    await trio.testing.wait_all_tasks_blocked()
    assert disk.removed == []
    found = []
    zone.open(old.digest, lambda each, *, is_mark: found.append((each, is_mark)))
    disk.opened()
    assert found == [(None, False)]
    assert zone.identity(KEY, request("Accept: y")) != KEY


@pytest.mark.parametrize("what", [Purge.of_keys([KEY]), URL], ids=lambda what: what.kind)
async def test_what_the_memory_had_no_room_for_and_the_disk_has_not_written_yet_goes_too(nursery, what):
    disk = Disk()
    zone = zone_with(disk)
    stored = entry()
    zone.store(stored)
    zone.memory.limit = 0
    zone.memory.shrink()
    assert zone.find(KEY) is stored
    nursery.start_soon(zone.purge, what)
    await trio.testing.wait_all_tasks_blocked()
    assert zone.find(KEY) is None
    disk.opened()


async def test_files_that_match_are_counted(nursery):
    disk = Disk()
    zone = zone_with(disk)
    zone.store(entry())
    assert (await zone.purge(URL)) == Purged(frozenset((digest_of(KEY)[:8],)), 7)
    (matches,) = disk.purged
    assert matches(KEY, ())
    assert not matches(b"other", ())


def test_the_figures_of_a_zone_on_disk_are_those_of_the_disk():
    figures = zone_with(Disk()).figures()
    assert (figures.disk.objects, figures.disk.limit) == (0, 1 << 30)
    assert (figures.evictions["purge"], figures.errors["full"]) == (2, 1)


async def test_what_is_stored_is_told_and_read_from_disk_if_need_be(nursery):
    disk = Disk()
    zone, found = zone_with(disk), []
    disk.store(digest_of(KEY), packed_entry(entry()), b"body", KEY)

    async def look():
        found.extend(await zone.stored(KEY))

    nursery.start_soon(look)
    await trio.testing.wait_all_tasks_blocked()
    disk.opened()
    await trio.testing.wait_all_tasks_blocked()
    assert [(each.status, each.bytes, each.age, each.fresh_for) for each in found] == [(200, 4, 100.0, 500.0)]
    assert await zone.stored(b"other") == []
