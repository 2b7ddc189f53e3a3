"""A disk that fails: responses pass through, the log is told once, it is counted, and it recovers by itself."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from lb.cache import disk_state
from lb.cache.disk_files import DiskFiles
from lb.cache.object_file import ObjectLayout
from lb.cache.shared_cells import SHARED_NAME
from tests.support.cache_disk import HEAD, body_of, digest_of, disk_usage
from tests.support.cache_disk import disk_store as running

needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount file systems")
MIB = 1024 * 1024


@contextmanager
def small_disk(path, size):
    """A file system of its own."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=False)
    if mounted.returncode:
        pytest.skip("no mounts here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def remount(path, how):
    subprocess.run(["mount", "-o", f"remount,{how}", path], check=True)


# The disk


@needs_mounts
async def test_a_full_disk_makes_room_and_is_said_once(path, monkeypatch):
    monkeypatch.setattr(disk_state, "FULL_PAUSE", 0.01)
    with small_disk(path, MIB):
        async with running(path, max_size=100 * MIB) as store:
            stored = []
            for name in range(30):
                await store.until(lambda: store.disk.is_storing)
                stored.append(await store.write(name, b"x" * 100_000, 10_000))
            assert store.disk.errors["full"] >= 1
            assert not all(stored)
            assert sum(stored[15:]) > 3, "what was used least recently has made room"
            assert [event.error for event in store.named("cache.full")] == ["No space left on device"]
            assert not store.named("cache.disabled")
            await store.until(lambda: disk_usage(path) <= store.disk.size)
            found = [name for name in range(30) if await store.has(name)]
            assert set(found) <= {name for name in range(30) if stored[name]}
            assert len(found) == store.disk.objects


@needs_mounts
async def test_small_objects_make_room_on_a_full_disk_too(path, monkeypatch):
    monkeypatch.setattr(disk_state, "FULL_PAUSE", 0.01)
    with small_disk(path, MIB):
        async with running(path, max_size=100 * MIB) as store:
            for name in range(60):
                await store.store(name, b"x" * 30_000)
                await store.until(lambda: store.disk.is_storing)
            assert store.disk.errors["full"] >= 1
            assert len(store.named("cache.full")) == 1
            assert store.disk.evictions["size"] > 10
            assert any([await store.has(name) for name in range(50, 60)])
            await store.until(lambda: disk_usage(path) <= store.disk.size)


@needs_mounts
async def test_a_file_system_that_becomes_read_only_still_serves(path):
    with small_disk(path, 10 * MIB):
        async with running(path) as store:
            await store.store("a")
            remount(path, "ro")
            assert not await store.write("b", b"x")
            await store.until(lambda: store.named("cache.disabled"))
            assert not await store.store("c")
            assert await store.has("a")
            assert not await store.write("d", b"x")
            assert store.disk.errors["write"] == 1
            assert [event.error for event in store.named("cache.disabled")] == ["Read-only file system"]
            remount(path, "rw")
            await store.until(lambda: store.disk.is_storing)
            assert await store.write("b", b"x")
            assert store.disk.objects == 2


async def test_a_directory_that_is_removed_is_made_anew(path):
    async with running(path) as store:
        await store.store("a")
        writer = await store.create("b")
        shutil.rmtree(path)
        assert writer.reserve(1)
        os.write(writer.fd, b"x")
        assert not await store.call(writer.commit, 1)
        assert not await store.has("a")
        await store.until(lambda: len(store.named("cache.scanned")) == 2)
        assert len(store.named("cache.disabled")) == 1
        assert (store.disk.objects, store.disk.size >= disk_usage(path)) == (0, True)
        assert await store.store("a", b"new")
        assert await store.read("a") == (HEAD, b"new")


async def test_two_processes_meet_again_after_the_directory_was_removed(path):
    async with running(path) as one, running(path) as two:
        await one.store("a")
        for each in path.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        await one.until(lambda: len(one.named("cache.scanned") + two.named("cache.scanned")) == 2)
        await one.until(lambda: one.disk.is_storing and two.disk.is_storing)
        await one.store("b")
        await two.store("c")
        assert one.disk.objects == two.disk.objects == 2
        assert await two.has("b")


@pytest.mark.parametrize("name", ["tmp", SHARED_NAME])
async def test_a_part_of_the_directory_that_is_removed_is_made_anew(path, name):
    async with running(path) as store:
        await store.store("a")
        part = path / name
        shutil.rmtree(part) if part.is_dir() else part.unlink()
        assert not await store.write("b", b"x")
        await store.until(lambda: len(store.named("cache.scanned")) == 2)
        assert store.disk.objects == 1
        assert await store.store("b")
        assert await store.has("a")
        assert await store.has("b")


async def test_a_directory_of_objects_that_is_removed_is_made_anew(path):
    async with running(path) as store:
        await store.store("a")
        shutil.rmtree(store.path_of("a").parent)
        assert not await store.has("a")
        await store.store("a")
        assert await store.has("a")


async def test_a_directory_that_cannot_be_made_is_waited_for(path):
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file")
    async with running(path, wait=False) as store:
        await store.until(lambda: store.named("cache.disabled"))
        assert not await store.store("a")
        assert not store.disk.may_have(digest_of("a"))
        assert not await store.has("a")
        assert await store.create("a") is None
        assert not await store.remove("a")
        assert await store.disk.purge(lambda *_: True) == 0
        assert (store.disk.objects, store.disk.size) == (0, 0)
        path.unlink()
        await store.until(lambda: store.disk.is_storing)
        assert len(store.named("cache.disabled")) == 1
        assert await store.write("a", b"x")


async def test_a_failure_after_a_recovery_is_said_again(path):
    async with running(path) as store:
        for times in (1, 2):
            shutil.rmtree(path)
            await store.until(lambda times=times: len(store.named("cache.scanned")) == times + 1)
            assert len(store.named("cache.disabled")) == times


async def test_a_disk_that_does_not_answer_holds_up_nothing_but_itself(path, monkeypatch):
    async with running(path) as store:
        go_on = trio.Event()
        write = DiskFiles.write

        def hanging(*args):
            trio.from_thread.run(go_on.wait)
            return write(*args)

        monkeypatch.setattr(DiskFiles, "write", hanging)
        taken = 0
        while store.disk.store(digest_of(taken), HEAD, b"x" * 60_000):
            taken += 1
            await trio.lowlevel.checkpoint()
        assert 100 < taken < 1000
        go_on.set()
        await store.idle()
        assert store.disk.objects == taken


# Files


def truncated(file):
    os.truncate(file, file.stat().st_size - 1)


def emptied(file):
    os.truncate(file, 0)


def longer(file):
    with file.open("ab") as opened:
        opened.write(b"x")


def damaged(file):
    with file.open("r+b") as opened:
        opened.seek(20)
        opened.write(b"\xff\xff")


def of_another_object(file):
    shutil.copy(file.parent.parent / digest_of("other").hex()[:2] / digest_of("other").hex(), file)


@pytest.mark.parametrize("damage", [truncated, emptied, longer, damaged, of_another_object])
async def test_a_damaged_file_is_removed_and_never_served(path, damage):
    async with running(path) as store:
        await store.store("other")
        await store.store("a", b"x" * 5000)
        file = store.path_of("a")
        damage(file)
        assert not await store.has("a")
        await store.until(lambda: not file.exists())
        assert store.disk.errors["corrupt"] == 1
        assert [(event.path, event.files) for event in store.named("cache.corrupt")] == [(str(file), 1)]
        await store.store("a", b"new")
        assert await store.read("a") == (HEAD, b"new")
        assert await store.has("other")
        await store.idle()
        assert store.disk.objects == 2


def text(file):
    file.write_text("a letter")


def directory(file):
    file.mkdir()
    (file / "letter").write_text("a letter")


def link(file):
    (file.parent / "letter").write_text("a letter")
    file.symlink_to("letter")


def pipe(file):
    os.mkfifo(file)


def unix_socket(file):
    at = Path.cwd()
    os.chdir(file.parent)  # the path is too long for a socket
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(file.name)
    finally:
        os.chdir(at)


def is_there(file):
    return os.path.lexists(file)


@pytest.mark.parametrize("make", [text, directory, link, pipe, unix_socket])
async def test_what_is_none_of_ours_is_neither_served_nor_removed(path, make):
    async with running(path, inactive=3600) as store:
        await store.store("a", b"x" * 5000)
        file = store.path_of("a")
        await store.remove("a")
        make(file)
        for _ in range(2):
            assert not await store.has("a")
        assert await store.store("a")
        assert not await store.write("a", b"x")
        assert not await store.remove("a")
        assert await store.disk.purge(lambda *_: True) == 0
        assert store.disk.errors["corrupt"] >= 3
        assert len(store.named("cache.corrupt")) == 1
        assert is_there(file)
        assert store.disk.is_storing
        await store.store("b")
        assert await store.has("b")
    async with running(path):
        assert is_there(file)


async def test_other_names_are_left_alone(path):
    async with running(path) as store:
        await store.store("a")
        letters = [path / "letter", path / "ab" / "letter", store.path_of("a").parent / "letter"]
        letters[1].parent.mkdir(exist_ok=True)
        for letter in letters:
            letter.write_text("a letter")
        await store.remove("a")
    async with running(path) as store:
        assert store.disk.objects == 0
        assert await store.disk.purge(lambda *_: True) == 0
        assert all(letter.exists() for letter in letters)


async def test_unremovable_files_do_not_keep_the_disk_busy(path):
    """A zone full of what is none of its own removes nothing, and ends."""
    async with running(path, max_size=MIB) as store:
        for name in range(20):
            digest = digest_of(name)
            store.path_of(name).parent.mkdir(exist_ok=True)
            store.path_of(name).write_bytes(b"y" * 100_000)
            assert digest
    async with running(path, max_size=MIB) as store:
        assert not await store.write("a", b"x" * 10_000)
        assert await store.create("b", 10_000) is None
        await store.store("c")
        assert not await store.has("c")
        assert store.path_of(3).exists()


async def test_a_read_error_is_counted_and_the_object_kept(path, monkeypatch):
    def failing(*_args, **_kwargs):
        raise OSError(errno.EIO, os.strerror(errno.EIO), "file")

    async with running(path) as store:
        await store.store("a")
        with monkeypatch.context() as patched:
            patched.setattr(DiskFiles, "open", failing)
            assert not await store.has("a")
            assert not await store.has("a")
        assert store.disk.errors["read"] == 2
        assert len(store.named("cache.corrupt")) == 1
        assert await store.has("a")


async def test_damage_is_said_again_after_a_minute_with_its_number(path):
    now = [1000.0]
    async with running(path, clock=lambda: now[0]) as store:
        for number in range(5):
            await store.store(number)
            truncated(store.path_of(number))
            assert not await store.has(number)
            if number == 3:
                now[0] += 61
        assert [event.files for event in store.named("cache.corrupt")] == [1, 4]


async def test_a_write_error_of_the_caller_is_counted(path):
    async with running(path) as store:
        writer = await store.create("a", 1000)
        writer.abort(OSError(errno.EIO, "Input/output error"))
        assert store.disk.errors["write"] == 1
        await store.until(lambda: store.disk.is_storing)
        assert await store.write("a", body_of("a", 1000))


async def test_an_unfinished_file_of_a_killed_process_is_removed(path):
    layout = ObjectLayout.of(digest_of("a"), HEAD, b"")
    (path / "tmp").mkdir(parents=True)
    for column in range(3):
        (path / "tmp" / f"{column}-5").write_bytes(layout.before_body())
    async with running(path) as store:
        await store.until(lambda: not list((path / "tmp").iterdir()))
