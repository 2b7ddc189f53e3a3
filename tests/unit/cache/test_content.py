"""Contents: bytes that are read while they come."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from lb.cache import content as content_module
from lb.cache.content import WINDOW, Content


class Reader:
    """Reads all that is there each time that it is told, at most ``most`` bytes at a time."""

    def __init__(self, content, position=0, most=1 << 30):
        self.content = content
        self.position = position
        self.most = most
        self.told = 0
        self.received = b""
        content.enter(self)

    def content_came(self):
        self.told += 1

    def read(self):
        content = self.content
        data = content.read(self.position, min(self.most, content.size - self.position))
        self.received += data
        self.position += len(data)
        content.moved()
        if not (content.complete or content.failed):
            content.wait(self)


pieces = st.lists(st.binary(min_size=1, max_size=20), max_size=20)


@given(pieces, st.lists(st.tuples(st.integers(0, 19), st.integers(1, 30)), max_size=5))
def test_readers_that_come_at_any_time_get_all_bytes_at_their_own_speed(data, readers):
    content = Content(None)
    reading = []
    for number, piece in enumerate(data):
        reading += [Reader(content, most=most) for begins, most in readers if begins == number]
        content.keep(piece)
        for reader in reading:
            reader.read()
    content.end()
    whole = b"".join(data)
    assert content.length == content.size == len(whole)
    for reader in reading:
        while reader.position < content.size:
            reader.read()
        assert reader.received == whole


def test_a_reader_is_told_once_of_what_it_waits_for():
    content = Content(None)
    reader = Reader(content)
    content.wait(reader)
    content.keep(b"a")
    content.keep(b"b")
    assert reader.told == 1
    content.wait(reader)
    content.fail()
    assert reader.told == 2


@given(pieces, st.integers(0, 20))
def test_what_passes_is_forgotten_once_the_slowest_reader_has_it(data, lag):
    content = Content(None)
    quick, slow = Reader(content), Reader(content)
    content.pass_on()
    whole = b"".join(data)
    for piece in data:
        content.keep(piece)
        quick.read()
        if content.size - slow.position > lag:
            slow.read()
        assert len(content.data) == content.size - slow.position
    slow.read()
    assert quick.received == slow.received == whole
    assert not content.data


def test_the_writer_waits_while_the_window_is_full_and_hears_when_it_is_not(monkeypatch):
    monkeypatch.setattr(content_module, "WINDOW", 10)
    content = Content(None)
    reader = Reader(content, most=4)
    wanted = []
    content.more_wanted = lambda: wanted.append(content.size)
    content.pass_on()
    content.keep(b"0123456789")
    assert content.is_full
    reader.read()
    assert not content.is_full
    assert wanted == [10]
    reader.read()
    assert wanted == [10]


@given(pieces, st.integers(0, 100))
def test_what_passes_to_a_reader_that_is_further_on_has_the_right_bytes(data, position):
    content = Content(None)
    content.keep(b"first")
    reader = Reader(content, position)
    content.pass_on()
    for piece in (b"", *data):
        content.keep(piece)
        if content.size > position:
            reader.read()
    assert reader.received == (b"first" + b"".join(data))[position:]


def test_a_reader_that_is_further_on_does_not_fill_the_window():
    content = Content(None)
    Reader(content, 10 * WINDOW)
    content.pass_on()
    for _ in range(8):
        content.keep(bytes(WINDOW // 4))
    assert not content.is_full


def test_a_content_without_readers_holds_no_more_than_its_window():
    content = Content(None)
    content.pass_on()
    content.keep(bytes(WINDOW))
    content.moved()
    assert not content.data


class File:
    body_at = 0
    released = 0

    def release(self):
        self.released += 1


def test_the_file_is_released_once_with_the_last_reader_after_the_cache_needs_it_no_more():
    file = File()
    content = Content.in_whole_file(file, 5)
    first, second = Reader(content), Reader(content)
    content.drop()
    content.leave(first)
    assert not file.released
    content.leave(second)
    content.leave(second)
    content.drop()
    assert file.released == 1


def test_who_left_last_is_told_of():
    content = Content(None)
    left = []
    content.unread = lambda: left.append(True)
    first, second = Reader(content), Reader(content)
    content.leave(first)
    assert not left
    content.leave(second)
    assert left == [True]


def test_a_body_whose_file_is_released_is_not_an_empty_one():
    content = Content(None)
    content.file = File()
    content.keep(b"body")
    assert content.is_in_memory
    content.in_file(4)
    content.end()
    content.drop()
    assert content.file is None
    assert not content.is_in_memory
