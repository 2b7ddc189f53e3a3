"""Where the body of a fill goes: to a file, in a thread while the disk is slow, or past it."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from lb.cache.content import IN_MEMORY, Content
from lb.http.cache_sink import BEHIND_A_WRITE, CacheSink
from lb.http.content_part import ContentPart

PIECE = bytes(range(256)) * 1024


class Writer:
    """Writes to a file; what goes to a thread waits until the test lets it."""

    body_at = 3

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT)
        self.file = self
        self.is_slow = False
        self.later = []
        self.ends = []

    def took(self, seconds):
        assert 0 <= seconds < 60

    def acquire(self):
        pass

    def release(self):
        pass

    def reserve(self, count):
        return True

    def write_later(self, at, data, done):
        self.later.append((at, data, done))

    def let_through(self, error=None):
        ((at, data, done),) = self.later
        self.later = []
        if error is None:
            os.pwrite(self.fd, data, self.body_at + at)
        done(error)

    def commit(self, length, done):
        assert not self.later
        self.ends.append(length)
        done(True)

    def abort(self, error=None):
        self.ends.append(error)

    def written(self):
        return os.pread(self.fd, 1 << 30, self.body_at)


class Sinking:
    def __init__(self, tmp_path):
        self.writer = Writer(tmp_path / "file")
        self.content = Content(None)
        self.reader = ContentPart(self.content)
        loop = SimpleNamespace(turn=SimpleNamespace(now=0.0), refresh=lambda: None)
        carrier = SimpleNamespace(id=1, client=None, forwarded_lines=b"")
        self.sink = CacheSink(loop, carrier, self.content, lambda done: done(self.writer))
        self.finished = []

    def received(self):
        """Return what a reader gets that reads now, from the file and from memory."""
        content = self.content
        return self.writer.written()[: content.data_at] + content.read(content.data_at, content.size)


@pytest.fixture
def sinking(tmp_path):
    return Sinking(tmp_path)


def test_a_slow_disk_does_not_hold_the_loop_and_every_byte_comes_to_its_place(sinking):
    sink, writer = sinking.sink, sinking.writer
    whole = b""
    for slow in (False, True, True, False, True):
        writer.is_slow = slow
        whole += PIECE
        sink.write(PIECE)
        assert sinking.received() == whole
        assert bool(writer.later) is slow
        if slow:
            ahead = bytes(BEHIND_A_WRITE // 2)
            whole += ahead * 2
            sink.write(ahead)
            assert sink.writable
            sink.write(ahead)
            assert not sink.writable
            assert sinking.received() == whole
            writer.let_through()
        while writer.later:
            writer.let_through()
        assert sink.writable
        assert sinking.received() == writer.written() == whole
    sink.finish(sinking.finished.append)
    assert (writer.ends, sinking.finished) == ([len(whole)], [True])


def test_a_body_is_not_committed_before_its_last_bytes_are_written(sinking):
    sinking.writer.is_slow = True
    sinking.sink.write(PIECE)
    sinking.sink.finish(sinking.finished.append)
    assert sinking.finished == []
    sinking.writer.let_through()
    assert (sinking.finished, sinking.writer.written()) == ([True], PIECE)


def test_what_a_slow_disk_refuses_passes_to_its_readers(sinking):
    sinking.writer.is_slow = True
    sinking.sink.write(PIECE)
    error = OSError("no")
    sinking.writer.let_through(error)
    assert sinking.writer.ends == [error]
    assert sinking.content.passes
    assert sinking.received() == PIECE


def test_a_disk_that_takes_too_long_is_not_waited_for(sinking):
    sinking.writer.is_slow = True
    sinking.sink.write(PIECE)
    sinking.sink.stop_waiting()
    assert sinking.content.passes
    sinking.reader.move(len(PIECE))
    assert sinking.sink.writable
    sinking.sink.write(b"rest")
    sinking.writer.let_through()
    assert sinking.content.read(len(PIECE), 100) == b"rest"
    assert sinking.writer.ends == [None]


def test_nothing_happens_any_more_after_its_end(sinking):
    sinking.writer.is_slow = True
    sinking.sink.write(PIECE)
    sinking.sink.finish(sinking.finished.append)
    sinking.sink.cancel()
    sinking.writer.let_through()
    assert (sinking.writer.ends, sinking.finished) == ([None], [])


def test_an_error_keeps_no_view_of_the_bytes_that_are_still_needed(sinking, tmp_path):
    with (tmp_path / "file").open("rb") as read_only:
        os.dup2(read_only.fileno(), sinking.writer.fd)
        sinking.sink.write(bytes(IN_MEMORY))
        sinking.sink.write(PIECE)
    assert sinking.content.passes
    sinking.reader.move(len(PIECE))
    assert len(sinking.content.data) == IN_MEMORY
