"""A file that is read again when it has changed, and only then."""

from __future__ import annotations

import os
import threading

import pytest
import trio

from lb.forward import watched_file
from lb.forward.watched_file import WatchedFile
from lb.net.threads import Threads


class Reader:
    def __init__(self, path):
        self.path = path
        self.reads = 0
        self.threads = set()
        self.file = WatchedFile(path, self.read, Threads(2))

    def read(self, path):
        self.reads += 1
        self.threads.add(threading.current_thread())
        return path.read_text() if path.exists() else ""


@pytest.fixture
def reader(tmp_path):
    return Reader(tmp_path / "file")


async def test_it_is_read_in_a_thread_once_for_all_who_ask(reader):
    reader.path.write_text("one")
    contents = []

    async def ask():
        contents.append(await reader.file.contents())

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert contents == ["one"] * 20
    assert reader.reads == 1
    assert threading.current_thread() not in reader.threads


async def test_within_a_second_it_is_not_looked_at(autojump_clock, reader):
    reader.path.write_text("one")
    assert await reader.file.contents() == "one"
    reader.path.write_text("other")
    await trio.sleep(0.999)
    assert await reader.file.contents() == "one"
    await trio.sleep(0.002)
    assert await reader.file.contents() == "other"


async def test_a_change_is_seen_and_a_file_that_has_not_changed_is_not_read(reader, monkeypatch):
    monkeypatch.setattr(watched_file, "LOOK_AGAIN", 0.0)
    assert await reader.file.contents() == ""
    reader.path.write_text("one")
    assert [await reader.file.contents() for _ in range(3)] == ["one"] * 3
    assert reader.reads == 2
    replacement = reader.path.with_suffix(".new")
    replacement.write_text("two")
    status = reader.path.stat()
    os.utime(replacement, ns=(status.st_atime_ns, status.st_mtime_ns))  # the same size and time: another file
    replacement.rename(reader.path)
    assert await reader.file.contents() == "two"
    reader.path.unlink()
    assert await reader.file.contents() == ""


async def test_an_error_is_for_those_who_ask_and_the_next_ones_try_again(reader):
    reader.path.mkdir()
    with pytest.raises(IsADirectoryError):
        await reader.file.contents()
    reader.path.rmdir()
    reader.path.write_text("one")
    assert await reader.file.contents() == "one"
