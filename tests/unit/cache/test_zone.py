"""A zone whose disk answers when the test lets it."""

from __future__ import annotations

import gc
import os

import pytest

from lb.cache.content import Content
from lb.cache.entry import CacheEntry, Mark, digest_of, packed_entry, packed_mark
from lb.cache.freshness import Freshness
from lb.cache.memory_file import MemoryFile
from lb.cache.zone import CacheZone
from lb.model import CacheSpec
from lb.net.descriptors import Descriptors


class File:
    """What a file on disk holds."""

    def __init__(self, head, body=b""):
        self.head = head
        self.body = body
        self.length = len(body)
        self.released = False

    def release(self):
        self.released = True


class Disk:
    def __init__(self):
        self.opening = {}
        self.faults = []

    def fault(self, exception):
        self.faults.append(exception)

    def may_have(self, digest):
        return True

    def touch(self, digest):
        pass

    def store(self, *stored):
        return True

    def remove(self, digest):
        return True

    def open(self, digest, done):
        self.opening[digest] = done


class Looked:
    """Looks up a key on the disk, and keeps what is found."""

    def __init__(self, zone, key):
        self.found = []
        zone.open(digest_of(key), lambda entry, *, is_mark: self.found.append((entry, is_mark)))


def zone_with_disk():
    disk = Disk()
    return CacheZone(CacheSpec("zone"), 1 << 20, disk, clock=lambda: 100.0, descriptors=Descriptors(100)), disk


def entry(key, body, at=50.0, variant=b""):
    return CacheEntry(key, variant, 200, [], Freshness(at, 0.0, 600.0), body)


def test_what_is_stored_while_an_older_file_is_read_is_not_replaced_by_it():
    zone, disk = zone_with_disk()
    looked = Looked(zone, b"k")
    new = entry(b"k", b"new")
    zone.store(new)
    file = File(packed_entry(entry(b"k", b"old")), b"old")
    disk.opening[digest_of(b"k")](file)
    assert looked.found == [(new, False)]
    assert zone.find(b"k") is new
    assert file.released


def test_one_look_up_that_fails_does_not_leave_the_others_waiting():
    zone, disk = zone_with_disk()

    def fails(_entry, *, is_mark):
        raise LookupError

    zone.open(digest_of(b"k"), fails)
    other = Looked(zone, b"k")
    disk.opening[digest_of(b"k")](None)
    assert other.found == [(None, False)]
    assert [type(fault) for fault in disk.faults] == [LookupError]


def test_files_in_memory_are_counted_as_descriptors():
    descriptors = Descriptors(1)
    zone = CacheZone(CacheSpec("zone"), 1 << 20, descriptors=descriptors)
    writers = []
    for _ in range(2):
        zone.create_writer(entry(b"k", b""), 100_000, writers.append)
    file, none = writers
    assert none is None, "there was no descriptor left"
    file.acquire()
    file.release()
    assert not descriptors.used


def test_what_is_removed_while_its_file_is_read_is_not_found():
    zone, disk = zone_with_disk()
    looked = Looked(zone, b"k")
    zone.remove(b"k")
    disk.opening[digest_of(b"k")](File(packed_entry(entry(b"k", b"old")), b"old"))
    assert looked.found == [(None, False)]
    assert zone.find(b"k") is None


def test_what_must_not_be_stored_is_not_found_when_its_file_gets_its_name_all_the_same():
    zone, _ = zone_with_disk()
    gone = entry(b"k", b"gone")
    zone.leave_out(gone)
    assert not zone.may_open(b"k")
    zone.keep(entry(b"k", b"gone"))  # found a moment before
    zone.take_back(gone, is_written=True)
    assert zone.find(b"k") is None
    assert zone.may_open(b"k"), "the disk knows now that it is removed"


def test_an_older_mark_on_disk_does_not_bring_back_what_was_purged():
    zone, disk = zone_with_disk()
    zone.mark(b"k", (b"accept",), sliced=False)
    zone.purge_keys([b"k"])
    looked = Looked(zone, b"k")
    disk.opening[digest_of(b"k")](File(packed_mark(b"k", Mark((b"accept",), 0.0))))
    assert looked.found == [(None, True)]
    purged = entry(b"k", b"old", variant=b"html")
    variant = Looked(zone, purged.identity)
    disk.opening[purged.digest](File(packed_entry(purged), b"old"))
    assert variant.found == [(None, False)]


def test_a_zone_ends_with_its_last_user_and_closes_its_files():
    zone, _ = zone_with_disk()
    file = File(b"")
    long = entry(b"k", Content.in_whole_file(file, 100_000))
    zone.keep(long)
    in_memory = CacheZone(CacheSpec("zone"), 1 << 20, descriptors=Descriptors(100))
    memory_file = MemoryFile(in_memory.memory, Descriptors(100))
    memory_file.acquire()
    in_memory.store(entry(b"k", Content.in_whole_file(memory_file, 100_000)))
    gc.disable()
    try:
        del zone, in_memory
    finally:
        gc.enable()
    assert file.released
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(memory_file.fd)
