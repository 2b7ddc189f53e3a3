"""Files kept open: what is found, for how long, and within which bounds."""

from __future__ import annotations

import errno
import os

import pytest
import trio

from lb.http import file_flow, open_files
from lb.http.file_flow import PartsFlow
from lb.http.open_files import MAX_KEPT, OPEN_FOR, SMALL_FILE, FoundFile
from lb.net.used_file import WARM_FOR
from tests.support.balancer import PATIENCE
from tests.support.file_serving import body_bytes, receive_all, serving
from tests.support.splicing import open_descriptors

LARGE = b"large" * SMALL_FILE


async def find(directory, path):
    """Return what is at a path, as the callback gets it: found or an error. What is not kept is read at once."""
    got = []
    done = trio.Event()

    def found(result):
        if isinstance(result, FoundFile):
            got.append({coding: body_bytes(each.body()) for coding, each in result.representations.items()})
        else:
            got.append(errno.errorcode[result.errno])
        done.set()

    directory.open(path, found)
    with trio.fail_after(PATIENCE):
        await done.wait()
    return got[0]


async def test_a_file_is_kept_for_a_second(tmp_path):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        assert directory.find(b"f") is None
        assert await find(directory, b"f") == {b"": LARGE}
        (tmp_path / "f").write_bytes(b"new")
        kept = directory.find(b"f")
        assert kept is not None
        assert bench.directories.queue.next_deadline - bench.loop.clock() == pytest.approx(OPEN_FOR, abs=0.9)
        kept.expired(bench.directories.queue)
        assert directory.find(b"f") is None
        assert await find(directory, b"f") == {b"": b"new"}


@pytest.mark.slow
async def test_it_is_given_up_by_itself(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        before = open_descriptors()
        assert await find(directory, b"f") == {b"": LARGE}
        assert bench.descriptors.used == 1
        give = bench.descriptors.give
        given_up = trio.Event()
        monkeypatch.setattr(bench.descriptors, "give", lambda count: given_up.set() or give(count))
        with trio.fail_after(PATIENCE):
            await given_up.wait()
        assert (bench.descriptors.used, bench.directories.kept) == (0, 0)
        assert directory.find(b"f") is None
        assert open_descriptors() == before


async def test_a_small_file_has_no_descriptor(tmp_path):
    (tmp_path / "f").write_bytes(b"s" * SMALL_FILE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        before = open_descriptors()
        assert await find(directory, b"f") == {b"": b"s" * SMALL_FILE}
        assert open_descriptors() == before
        assert bench.descriptors.used == 0


async def test_a_file_in_use_stays_open_after_it_is_forgotten(tmp_path):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        await find(directory, b"f")
        kept = directory.find(b"f")
        part = kept.representations[b""].part(5, 5)
        directory.forget(kept)
        (tmp_path / "f").unlink()
        assert os.pread(part.fd, part.length, part.offset) == b"large"
        assert bench.descriptors.used == 1
        calls = bench.calls
        part.release()
        assert bench.descriptors.used == 0
        assert bench.calls == calls + 1, "a thread frees the blocks of a deleted file"


async def test_who_asks_meanwhile_waits_for_the_same_call(tmp_path):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        results = []
        async with trio.open_nursery() as nursery:

            async def ask():
                results.append(await find(directory, b"f"))

            for _ in range(50):
                nursery.start_soon(ask)
        assert results == [{b"": LARGE}] * 50
        assert bench.calls == 1


async def test_only_so_many_wait_for_a_disk_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(open_files, "MAX_WAITING", 3)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        bench.loop.spawn = lambda _: None
        for name in (b"a", b"a", b"b"):
            directory.open(name, pytest.fail)
        refused = []
        directory.open(b"c", refused.append)
        assert refused[0].errno == errno.EBUSY


async def test_kept_files_are_a_part_of_the_descriptors(tmp_path):
    for number in range(6):
        (tmp_path / str(number)).write_bytes(LARGE)
    async with serving(descriptors=32) as bench:
        directory = bench.directories.of(str(tmp_path))
        for number in range(6):
            assert await find(directory, b"%d" % number) == {b"": LARGE}
        assert bench.directories.kept == bench.descriptors.used == 4
        assert [number for number in range(6) if directory.find(b"%d" % number)] == [2, 3, 4, 5]


async def test_without_room_files_are_served_and_closed(tmp_path):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving(descriptors=7) as bench:
        directory = bench.directories.of(str(tmp_path))
        before = open_descriptors()
        assert await find(directory, b"f") == {b"": LARGE}
        assert directory.find(b"f") is None
        assert (bench.directories.kept, bench.descriptors.used) == (0, 0)
        assert open_descriptors() == before


async def test_directories_share_what_may_be_kept(tmp_path):
    async with serving() as bench:
        assert bench.directories.has_room(MAX_KEPT)
        assert not bench.directories.has_room(MAX_KEPT + 1)
        assert bench.directories.of(str(tmp_path)) is bench.directories.of(str(tmp_path))


async def test_encoded_files_beside_a_file_are_found(tmp_path):
    (tmp_path / "f.js").write_bytes(b"script")
    (tmp_path / "f.js.gz").write_bytes(b"gz..")
    (tmp_path / "f.js.br").write_bytes(b"br.")
    (tmp_path / "f.js.zst").mkdir()
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        assert list((await find(directory, b"f.js")).items()) == [(b"", b"script"), (b"br", b"br."), (b"gzip", b"gz..")]
        shown = directory.find(b"f.js").representations
        tags = {each.validators.etag for each in shown.values()}
        assert len(tags) == 3
        assert dict(shown[b"gzip"].fields)[b"Content-Type"] == b"text/javascript; charset=utf-8"


async def test_what_is_no_file(tmp_path):
    (tmp_path / "d" / "index.html").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.gz")
    (tmp_path / "denied").touch(mode=0o000)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        before = open_descriptors()
        assert await find(directory, b"d") == {}
        assert await find(directory, b"d/") == "ENOENT"
        assert await find(directory, b"") == "ENOENT"
        assert await find(directory, b"nothing") == "ENOENT"
        assert await find(directory, b"pipe") == "ENOENT"
        assert await find(bench.directories.of(str(tmp_path / "gone")), b"f") == "ENOENT"
        assert open_descriptors() == before


async def test_a_directory_that_a_link_is_moved_to_is_seen(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    (tmp_path / "www").symlink_to("one")
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path / "www"))
        assert await find(directory, b"f") == {b"": b"one"}
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "www")
        directory.forget(directory.find(b"f"))
        assert await find(directory, b"f") == {b"": b"two"}


async def test_a_small_file_that_is_written_meanwhile_is_read_again(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"old" * 100)
    preadv, changes = os.preadv, [b"new" * 100, b"newer"]

    def changed(fd, buffers, *args):
        count = preadv(fd, buffers, *args)
        if changes:
            path.write_bytes(changes.pop(0))
            os.utime(path, ns=(0, len(changes)))
        return count

    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        directory.device = None
        monkeypatch.setattr(open_files.os, "preadv", changed)
        monkeypatch.setattr(open_files, "can_tell", lambda _: False)
        assert await find(directory, b"f") == {b"": b"newer"}
        directory.forget(directory.find(b"f"))
        changes += [b"%d" % number for number in range(9)]
        assert await find(directory, b"f") == "EBUSY"


async def test_a_bug_is_an_error_for_who_waits(tmp_path, monkeypatch):
    async with serving() as bench:
        monkeypatch.setattr(open_files, "_find", lambda *_, wait: 1 // 0)
        assert await find(bench.directories.of(str(tmp_path)), b"f") == "EIO"
        assert isinstance(bench.faults.pop(), ZeroDivisionError)


async def test_what_the_kernel_has_in_memory_takes_no_thread(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        for name in (b"a", b"b", b"nothing"):  # now the kernel knows also what is not there
            await find(directory, name)
        directory.forget(directory.find(b"a"))
        calls = bench.calls
        assert await find(directory, b"a") == {b"": LARGE}
        assert await find(directory, b"nothing") == "ENOENT"
        assert bench.calls == calls


async def test_a_file_system_that_cannot_tell_takes_a_thread_each_time(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(LARGE)
    monkeypatch.setattr(open_files, "can_tell", lambda _: False)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        for calls in (1, 2, 3):
            assert await find(directory, b"f") == {b"": LARGE}
            assert bench.calls == calls
            directory.forget(directory.find(b"f"))


async def test_what_is_not_in_memory_takes_a_thread(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(LARGE)
    (tmp_path / "small").write_bytes(b"small")
    preadv = os.preadv

    def cold(fd, buffers, offset, flags=0):
        if flags & os.RWF_NOWAIT:
            raise BlockingIOError
        return preadv(fd, buffers, offset, flags)

    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        await find(directory, b"f")
        monkeypatch.setattr(open_files.os, "preadv", cold)
        assert await find(directory, b"small") == {b"": b"small"}
        assert bench.calls == 2


async def test_a_file_that_has_grown_is_intact_and_one_written_anew_is_not(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        await find(directory, b"f")
        file = directory.find(b"f").representations[b""].file
        assert file.is_intact()
        with path.open("ab") as appended:
            appended.write(b"more")
        assert file.is_intact()
        os.truncate(path, len(LARGE))
        os.utime(path, ns=(0, file.modified_ns))
        assert file.is_intact()
        os.utime(path, ns=(0, file.modified_ns + 1))
        assert not file.is_intact()
        os.truncate(path, 1)
        assert not file.is_intact()


async def test_cold_bytes_are_warmed(tmp_path):
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.write(LARGE * 10)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        with trio.fail_after(PATIENCE):
            done = trio.Event()
            directory.open(b"f", lambda _: done.set())
            await done.wait()
            part = directory.find(b"f").representations[b""].part(0, len(LARGE) * 10)
            warmed = trio.Event()
            errors = []
            part.file.warm(0, part.length, lambda error: (errors.append(error), warmed.set()))
            await warmed.wait()
        assert errors == [None]
        assert os.preadv(part.fd, [bytearray(1)], part.length - 1, os.RWF_NOWAIT) == 1
        part.release()


async def warm(file, offset, length):
    warmed = trio.Event()
    errors = []
    file.warm(offset, length, lambda error: (errors.append(error), warmed.set()))
    with trio.fail_after(PATIENCE):
        await warmed.wait()
    assert errors == [None]


async def test_where_the_file_system_cannot_tell_warmed_bytes_count_for_a_second(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        await find(directory, b"f")
        file = directory.find(b"f").representations[b""].file
        assert not file.is_warmed(0, 10)
        await warm(file, 100, 100)
        assert file.is_warmed(100, 100)
        assert not file.is_warmed(99, 10)
        assert not file.is_warmed(190, 11)
        await warm(file, 200, 100)
        assert file.is_warmed(100, 200)
        await warm(file, 1000, 10)
        assert not file.is_warmed(100, 200)
        assert file.is_warmed(1000, 10)
        now = bench.loop.clock()
        monkeypatch.setattr(bench.loop, "clock", lambda: now + WARM_FOR)
        assert not file.is_warmed(1000, 10)


async def test_a_hot_file_takes_no_thread_where_the_file_system_cannot_tell(tmp_path, monkeypatch):
    def cannot_tell(*_):
        raise OSError(errno.EOPNOTSUPP, "")

    (tmp_path / "f").write_bytes(LARGE)
    async with serving() as bench:
        directory = bench.directories.of(str(tmp_path))
        await find(directory, b"f")
        monkeypatch.setattr(file_flow.os, "preadv", cannot_tell)
        kept = directory.find(b"f").representations[b""]
        for calls in (2, 2, 2):
            with bench.stream() as (stream, client):
                stream.turn.budget = len(LARGE)
                stream.flow = PartsFlow(stream, kept.body(), stream)
                stream.flow.pump()
                await stream.until_over()
                stream.close_socket()
                assert await receive_all(client) == (LARGE, False)
            assert bench.calls == calls
