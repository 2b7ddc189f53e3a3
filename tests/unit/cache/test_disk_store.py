"""A zone's disk: what is stored is found, up to its size, also by other processes and after a restart."""

from __future__ import annotations

import os
import stat
from functools import partial
from itertools import count

import pytest
import trio

from lb.cache import disk_changes, disk_store
from lb.cache.disk_store import SMALL_OBJECT
from lb.cache.object_file import charge
from lb.model import CacheSpec
from lb.net.threads import Threads
from tests.support.balancer import PATIENCE
from tests.support.cache_disk import HEAD, body_of, digest_of, disk_usage
from tests.support.cache_disk import disk_store as running

KIB = 1024
MIB = 1024 * KIB


# Objects


async def test_a_small_object_is_found_and_stays_after_a_restart(path):
    async with running(path) as store:
        assert not await store.has("a")
        assert not store.disk.may_have(digest_of("a"))
        assert await store.store("a", b"body", b"head")
        assert await store.read("a") == (b"head", b"body")
        assert store.disk.may_have(digest_of("a"))
        assert store.disk.objects == 1
        assert store.disk.size >= disk_usage(path)
    async with running(path) as store:
        assert store.disk.objects == 1
        assert store.disk.size >= disk_usage(path)
        assert await store.read("a") == (b"head", b"body")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, 5_000_000])
async def test_an_object_is_written_as_it_arrives(path, size, known):
    body = body_of("a", size)
    async with running(path) as store:
        before = store.disk.size
        assert await store.write("a", body, known=known)
        assert await store.read("a") == (HEAD, body)
        assert store.disk.objects == 1
        assert store.disk.size - before <= charge(size + 4096) + 4096
        assert store.disk.size >= disk_usage(path)


async def test_an_object_is_read_while_it_is_written(path):
    async with running(path) as store:
        writer = await store.create("a", 100)
        assert writer.file.length == 0
        assert writer.reserve(60)
        os.write(writer.fd, b"x" * 60)
        assert os.pread(writer.file.fd, writer.file.length, writer.file.body_at) == b"x" * 60
        assert not await store.has("a")
        writer.file.acquire()
        assert writer.reserve(40)
        os.write(writer.fd, b"y" * 40)
        assert await store.call(writer.commit, 100)
        assert os.pread(writer.file.fd, 100, writer.file.body_at) == b"x" * 60 + b"y" * 40
        assert writer.file.is_intact()
        writer.file.release()


async def test_an_object_that_ends_early_is_not_stored(path):
    async with running(path) as store:
        before = store.disk.size
        writer = await store.create("a", 100)
        writer.reserve(60)
        os.write(writer.fd, b"x" * 60)
        assert not await store.call(writer.commit, 100)
        assert not await store.has("a")
        assert (store.disk.size, store.disk.objects) == (before, 0)
        assert list((path / "tmp").iterdir()) == []


async def test_an_aborted_object_leaves_nothing(path):
    async with running(path) as store:
        before = store.disk.size
        writer = await store.create("a")
        writer.reserve(100)
        os.write(writer.fd, b"x" * 100)
        writer.abort()
        await store.until(lambda: not store.descriptors.used)
        assert store.disk.size == before
        assert list((path / "tmp").iterdir()) == []


async def test_what_a_thread_writes_is_there_before_the_object_is_stored_or_its_room_is_free(path):
    async with running(path) as store:
        empty = store.disk.size
        body = body_of("a", 300_000)
        for name, ends in (("a", "commit"), ("b", "abort")):
            writer = await store.create(name, len(body))
            assert writer.reserve(len(body))
            assert await store.call(writer.write_later, 100_000, body[100_000:]) is None
            written = []
            writer.write_later(0, body[:100_000], written.append)
            if ends == "abort":
                writer.abort()
                assert store.disk.size > empty + len(body)
            await store.until(lambda written=written: written == [None])
            if ends == "commit":
                assert await store.call(writer.commit, len(body))
                assert await store.read(name) == (HEAD, body)
                await store.remove(name)
                empty = store.disk.size
        await store.until(lambda: store.disk.size == empty)


async def test_a_replaced_object_is_charged_once(path):
    async with running(path) as store:
        await store.store("a", b"first")
        first = store.disk.size
        await store.store("a", b"again")
        assert (store.disk.size, store.disk.objects) == (first, 1)
        await store.write("a", b"x" * 100_000)
        assert store.disk.size == first - charge(600) + charge(100_600)
        assert store.disk.objects == 1
        assert (await store.read("a"))[1] == b"x" * 100_000


async def test_a_removed_object_is_not_found_from_that_moment(path):
    async with running(path) as store:
        await store.store("a")
        one = store.disk.size
        await store.store("b")
        store.disk.remove(digest_of("b"))
        assert not store.disk.may_have(digest_of("b"))
        assert not await store.has("b")
        await store.idle()
        assert not await store.has("b")
        assert await store.has("a")
        assert store.disk.objects == 1
        assert store.disk.size <= one + 4096
        assert not await store.remove("b")
        assert store.disk.evictions["purge"] == 1


async def test_an_object_that_is_about_to_be_written_is_there_for_who_removes_it(path):
    async with running(path) as store:
        await fill(store, range(3))  # the count at the start has ended
        digest = digest_of("late")
        assert not store.disk.may_have(digest)
        assert store.disk.store(digest, b"head", b"body", b"late", ())
        assert store.disk.may_have(digest)
        store.disk.remove(digest)
        await store.idle()
        assert not await store.has("late")
        assert not store.disk._changes.storing


async def test_a_removed_object_that_is_read_takes_room_until_its_reader_has_ended(path):
    async with running(path) as store:
        empty = store.disk.size
        await store.write("a", bytes(100_000))
        stored = store.disk.size
        file = await store.call(store.disk.open, digest_of("a"))
        store.disk.count_removed()
        assert store.disk.size == stored
        await store.remove("a")
        for _ in range(2):
            store.disk.count_removed()
            assert store.disk.size >= empty + 100_000
        file.release()
        store.disk.count_removed()
        assert store.disk.size < empty + 100_000


async def test_changes_are_done_in_their_order(path):
    async with running(path) as store:
        store.disk.store(digest_of("a"), HEAD, b"one")
        store.disk.remove(digest_of("a"))
        store.disk.store(digest_of("a"), HEAD, b"two")
        await store.idle()
        assert await store.read("a") == (HEAD, b"two")
        assert store.disk.objects == 1


async def test_a_head_is_replaced_and_the_body_stays(path):
    async with running(path) as store:
        await store.store("a", b"body", b"old head")
        assert await store.call(store.disk.update_head, digest_of("a"), b"old head", b"a new and longer head")
        assert not await store.call(store.disk.update_head, digest_of("a"), b"old head", b"of another response")
        assert await store.read("a") == (b"a new and longer head", b"body")
        assert not await store.call(store.disk.update_head, digest_of("a"), b"a new and longer head", b"h" * 10_000)
        assert await store.read("a") == (b"a new and longer head", b"body")
        assert not await store.call(store.disk.update_head, digest_of("b"), b"", b"head")


async def test_heads_are_replaced_while_they_are_read(path):
    async with running(path) as store:
        await store.store("a", b"body", b"0" * 3000)
        for number in range(100):
            heads = [b"%d" % (each % 10) * 3000 for each in (max(number - 1, 0), number)]
            store.disk.update_head(digest_of("a"), *heads)
            found = await store.read("a")
            assert found is not None
            assert len(set(found[0])) == 1
        await store.idle()
        assert (await store.read("a"))[0] == b"9" * 3000


async def test_what_matches_is_purged_on_the_disk_and_on_its_way_there(path):
    async with running(path) as store:
        for number in range(20):
            await store.store(number, key=b"http://site/%d" % number, tags=(b"odd",) if number % 2 else ())
        store.disk.store(digest_of("queued"), HEAD, b"", b"http://site/1")
        store.disk.store(digest_of("other"), HEAD, b"", b"http://other/1")
        assert await store.disk.purge(lambda key, _: key.startswith(b"http://site/1")) == 11
        await store.idle()
        assert not await store.has("queued")
        assert await store.has("other")
        assert await store.disk.purge(lambda _, tags: b"odd" in tags) == 4
        assert [number for number in range(20) if await store.has(number)] == [0, 2, 4, 6, 8]
        assert store.disk.objects == 6
        assert store.disk.evictions["purge"] == 15


async def test_labels_are_kept(path):
    async with running(path) as store:
        await store.store("a", key=b"key", tags=(b"one", b"two"))
        file = await store.call(store.disk.open, digest_of("a"))
        assert (file.key, file.tags) == (b"key", (b"one", b"two"))
        file.release()
        writer = await store.create("b", 0, key=b"key", tags=(b"three",))
        assert (writer.file.key, writer.file.tags, writer.file.head) == (b"key", (b"three",), HEAD)
        await store.call(writer.commit, 0)


async def test_files_belong_to_the_user_alone(path):
    async with running(path) as store:
        await store.store("a")
        for each in (path, *path.rglob("*")):
            assert not each.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), each


# Its size


async def fill(store, names, size=10_000):
    for name in names:
        await store.store(name, b"x" * size)


async def test_the_objects_used_least_recently_make_room(path):
    now = [1000.0]
    async with running(path, max_size=MIB, clock=lambda: now[0]) as store:
        names = range(60)
        for name in names:
            now[0] += 10
            await store.store(name, b"x" * 10_000)
        now[0] += 10
        store.disk.touch(digest_of(3))
        for name in range(100, 130):
            now[0] += 10
            await store.store(name, b"x" * 10_000)
        await store.until(lambda: disk_usage(path) <= store.disk.size <= MIB * 31 / 32)
        left = [name for name in names if await store.has(name)]
        assert 3 in left
        assert set(left) - {3} == set(range(60 - len(left) + 1, 60)), "the oldest ones went first"
        assert all([await store.has(name) for name in range(100, 130)])
        assert store.disk.evictions["size"] == 90 - store.disk.objects
        assert not await store.has(0)


async def test_its_size_is_never_exceeded_while_objects_arrive(path):
    async with running(path, max_size=2 * MIB) as store:
        stored = 0
        for name in range(40):
            writer = await store.create(name, None if name % 2 else 300_000)
            for _ in range(30):
                assert writer.reserve(10_000) or await store.call(writer.wait_for_room, 10_000)
                os.write(writer.fd, b"x" * 10_000)
                assert disk_usage(path) <= store.disk.size <= 2 * MIB
            stored += await store.call(writer.commit, 300_000)
        assert stored == 40
        assert 4 <= store.disk.objects <= 6
        assert await store.has(39)


async def test_of_objects_that_do_not_fit_together_some_are_stored(path):
    async with running(path, max_size=MIB) as store:
        results = []

        async def write(name):
            results.append(await store.write(name, b"x" * 400_000, 10_000))

        async with trio.open_nursery() as nursery:
            for name in range(5):
                nursery.start_soon(write, name)
        assert any(results), "who gets no room gives up what it had"
        await store.until(lambda: not store.descriptors.used)
        await store.until(lambda: disk_usage(path) <= store.disk.size <= MIB)
        assert await store.write("later", b"x" * 400_000)


async def test_what_is_larger_than_the_zone_removes_nothing(path):
    async with running(path, max_size=MIB) as store:
        await store.store("a")
        assert await store.create("b", 2 * MIB) is None
        assert not await store.write("c", b"x" * 2 * MIB, known=False)
        assert await store.has("a") or store.disk.evictions["size"] == 1


async def test_a_zone_without_any_room_stores_nothing(path):
    async with running(path, max_size=8 * KIB) as store:
        assert not await store.write("a", b"x")
        await store.store("b")
        assert not await store.has("b")


async def test_another_size_holds_at_once(path):
    async with running(path, max_size=2 * MIB) as store:
        await fill(store, range(100))
        store.disk.configure(CacheSpec("zone", str(path), max_size=MIB))
        await store.until(lambda: disk_usage(path) <= store.disk.size <= MIB)
        assert await store.create("b", 3 * MIB // 2) is None
        store.disk.configure(CacheSpec("zone", str(path), max_size=4 * MIB))
        assert await store.write("b", b"x" * 3 * MIB)


async def test_room_for_what_has_ended_meanwhile_is_given_back(path, monkeypatch):
    async with running(path) as store:
        before = store.disk.size
        waiting = []
        monkeypatch.setattr(store.disk._room, "wait", lambda *waits: waiting.append(waits))
        writer = await store.create("a")
        writer.wait_for_room(10_000_000, lambda _room: None)
        writer.abort()
        await store.until(lambda: not store.descriptors.used)
        (reservation, charged, done) = waiting[0]
        assert reservation.grow(charged, 1 << 30)
        done(True)
        assert store.disk.size == before


async def test_a_full_queue_takes_no_more(path, monkeypatch):
    monkeypatch.setattr(disk_changes, "MAX_STORES", 3)
    monkeypatch.setattr(disk_changes, "MAX_STORE_BYTES", 100)
    async with running(path) as store:
        assert [store.disk.store(digest_of(name), HEAD, b"") for name in range(4)] == [True, True, True, False]
        await store.idle()
        assert [store.disk.store(digest_of(name), HEAD, b"x" * 60) for name in range(2)] == [True, False]
        await store.idle()
        assert store.disk.objects == 3


async def test_what_is_not_small_is_not_queued(path):
    async with running(path) as store:
        assert not store.disk.store(digest_of("a"), HEAD, b"x" * (SMALL_OBJECT + 1))
        assert not store.disk.store(digest_of("a"), b"x" * 10_000_000, b"")
        assert await store.create("a", 1, head=b"x" * 10_000_000) is None


async def test_removals_have_a_bound(path, monkeypatch):
    monkeypatch.setattr(disk_changes, "MAX_CHANGES", 2)
    async with running(path) as store:
        assert [store.disk.remove(digest_of(name)) for name in range(3)] == [True, True, False]
        assert not store.disk.update_head(digest_of(4), b"", b"head")
        await store.idle()
        assert store.disk.remove(digest_of(3))


async def test_without_descriptors_nothing_is_opened(path):
    async with running(path, descriptors=1) as store:
        await store.store("a")
        store.descriptors.take(1)
        assert not await store.has("a")
        assert await store.create("b") is None
        store.descriptors.give(1)
        assert await store.has("a")
        assert await store.write("b", b"x")


# Times


async def test_what_nobody_uses_is_removed(path):
    now = [1000.0]
    async with running(path, inactive=100, clock=lambda: now[0]) as store:
        await fill(store, range(3))
        now[0] += 90
        store.disk.touch(digest_of(1))
        now[0] += 15

        def is_removed():
            now[0] += 0.1
            return store.disk.objects == 1

        await store.until(is_removed)
        assert store.disk.evictions["inactive"] == 2
        assert await store.has(1)

        def is_forgotten():
            now[0] += 0.1
            return not store.disk.may_have(digest_of(0))

        await store.until(is_forgotten)


async def test_files_from_before_a_boot_or_with_any_date_are_kept_in_their_order(path, memory):
    async with running(path, max_size=MIB) as store:
        await fill(store, range(40), 10_000)
        paths = [store.path_of(name) for name in range(40)]
    assert list(memory.iterdir()) == []
    for number, each in enumerate(paths):
        used = (0, 10**9, 5 * 10**9)[number % 3] + number  # 1970, 2001 and 2128
        os.utime(each, (used, used))
    async with running(path, max_size=MIB, inactive=0.5) as store:
        assert store.disk.objects == 40
        assert all([await store.has(name) for name in range(40)])
        await store.until(lambda: not store.disk.objects)


async def test_the_file_that_was_used_last_before_a_boot_is_removed_last(path, memory):
    async with running(path, max_size=MIB) as store:
        await fill(store, range(60), 10_000)
        paths = [store.path_of(name) for name in range(60)]
    assert list(memory.iterdir()) == []
    for number, each in enumerate(paths):
        used = each.stat().st_mtime - 10 * number
        os.utime(each, (used, used))
    now = count(10**6)
    async with running(path, max_size=MIB, clock=partial(next, now)) as store:
        await fill(store, range(100, 120))
        left = [name for name in range(60) if await store.has(name)]
        assert left == list(range(len(left)))


# Several processes


async def test_two_processes_see_one_directory(path):
    now = count(1000)
    async with (
        running(path, max_size=MIB, clock=partial(next, now)) as one,
        running(path, max_size=MIB, clock=partial(next, now)) as two,
    ):
        for name in range(0, 100, 2):
            await fill(one, [name])
            await fill(two, [name + 1])
        assert one.disk.objects == two.disk.objects
        await one.until(lambda: disk_usage(path) <= one.disk.size == two.disk.size <= MIB)
        assert await one.has(99)
        assert await two.has(98)
        assert one.named("cache.scanned") != two.named("cache.scanned") == []
        await two.remove(98)
        assert not await one.has(98)


async def test_one_that_leaves_takes_nothing_with_it(path):
    async with running(path) as one:
        async with running(path) as two:
            await two.store("a")
            writer = await two.create("b", 10_000_000)
            before = one.disk.size
            assert before > 10_000_000
            two.descriptors.give(1)
        os.close(writer.fd)
        await one.until(lambda: one.disk.size < 100_000)
        assert await one.has("a")
        assert list((path / "tmp").iterdir()) == []


async def test_objects_are_found_before_all_are_counted_and_stored_after(path, monkeypatch):
    async with running(path) as store:
        await fill(store, range(10))
    held = trio.Event()
    walk_all = disk_store.walk_all

    async def slow(*args, **kwargs):
        await held.wait()
        await walk_all(*args, **kwargs)

    monkeypatch.setattr(disk_store, "walk_all", slow)
    monkeypatch.setattr(disk_store, "COUNT_IN", 60.0)
    monkeypatch.setattr(disk_store, "EARLY", 60.0)
    async with running(path, wait=False) as store:
        await store.until(lambda: store.disk.may_have(digest_of("unknown")))
        assert await store.has(5)
        assert await store.store("new")
        assert await store.remove(3)
        assert await store.disk.purge(lambda *_: False) == 0
        held.set()
        await store.until(lambda: store.disk.is_storing and store.disk.objects == 10)
        assert store.disk.size >= disk_usage(path)
        assert not store.disk.may_have(digest_of("unknown"))
        assert await store.has("new")


async def test_what_is_removed_while_it_is_counted_is_counted_again(path, monkeypatch):
    async with running(path) as store:
        await fill(store, range(50))
    walk_all = disk_store.walk_all
    walks = []

    async def removing(calls, walk, **kwargs):
        await walk_all(calls, walk, **kwargs)
        walks.append(walk.objects)
        if len(walks) == 1:
            assert await store.disk.purge(lambda *_: True) == 50

    monkeypatch.setattr(disk_store, "walk_all", removing)
    async with running(path, wait=False) as store:
        await store.until(lambda: store.disk.is_storing)
        assert walks[:2] == [50, 0]
        assert store.disk.objects == 0


async def test_a_call_that_comes_too_late_leaves_no_descriptor(path, monkeypatch):
    """A disk that hangs: who waits is told, and what the call returns at last is closed."""
    async with running(path) as store:
        await store.store("a")
        attached = store.disk._state.attached
        attached.files.can_tell = False
        store.disk._reading._threads = Threads(8, 0.01)
        go_on = trio.Event()
        opened = []
        real = type(attached.files).open

        def hanging(files, digest, **kwargs):
            trio.from_thread.run(go_on.wait)
            opened.append(real(files, digest, **kwargs))
            return opened[0]

        monkeypatch.setattr(type(attached.files), "open", hanging)
        assert not await store.has("a")
        assert store.disk.errors["read"] == 1
        go_on.set()
        await store.until(lambda: opened and not is_open(opened[0][0]))


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_a_purge_ends_while_objects_are_stored_all_the_time(path):
    async with running(path) as store:

        async def storing(task_status):
            task_status.started()
            name = 0
            while True:
                name += store.disk.store(digest_of(name), HEAD, b"", b"key")
                await trio.sleep(0.0005)

        async with trio.open_nursery() as nursery:
            await nursery.start(storing)
            with trio.fail_after(PATIENCE):
                await store.disk.purge(lambda *_: True)
            nursery.cancel_scope.cancel()
        await store.idle()


async def test_a_look_up_at_the_start_waits_for_the_directory(path):
    async with running(path) as store:
        await store.store("a")
    async with running(path, wait=False) as store:
        assert store.disk._state.attached is None
        assert store.disk.may_have(digest_of("a"))
        assert await store.read("a") == (HEAD, b"body")


async def test_it_does_not_wait_long_for_a_directory_that_hangs(path, monkeypatch, autojump_clock):
    async def hang(_store):
        await trio.sleep_forever()

    monkeypatch.setattr(disk_store.DiskStore, "_join", hang)
    async with running(path, wait=False) as store:
        began = trio.current_time()
        assert await store.read("a") is None
        assert trio.current_time() - began == pytest.approx(disk_store.JOIN_WITHIN)
        assert not store.disk.may_have(digest_of("a"))
        assert await store.read("a") is None
        assert trio.current_time() - began == pytest.approx(disk_store.JOIN_WITHIN)
