"""Bodies from files: whole, in order, with a slow client, a cold disk, and files that change on the way."""

from __future__ import annotations

import os
import random
from functools import partial

import pytest
import trio

from lb.http import file_flow
from lb.http.file_flow import PartsFlow
from tests.support.file_serving import OpenedFile, receive_all, serving
from tests.support.splicing import MIB, reset

DATA = random.Random(5).randbytes(3 * MIB + 1234)
SMALL_BUFFER = 64 * 1024


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def opened(path):
    return OpenedFile(path)


@pytest.fixture
def slow(path):
    return OpenedFile(path, slow=True)


def begin(stream, parts, budget=MIB):
    stream.turn.budget = budget
    stream.flow = PartsFlow(stream, parts, stream)
    stream.flow.pump()


class Xor:
    """In place of TLS: what is sent differs from what was written."""

    early, ended = b"", False

    def seal(self, data):
        return bytes(data).translate(bytes(byte ^ 0x55 for byte in range(256)))

    def closed(self):
        pass


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("buffer", [None, SMALL_BUFFER])
async def test_parts_arrive_in_order_and_are_released(opened, tls, buffer):
    parts = [b"head ", opened.part(10, 5), b" middle ", opened.part(0, len(DATA)), opened.part(7, 0), b" end"]
    wanted = b"head " + DATA[10:15] + b" middle " + DATA + b" end"
    async with serving() as bench:
        with bench.stream(buffer=buffer, tls=Xor() if tls else None) as (stream, client):
            async with trio.open_nursery() as nursery:
                received = []

                async def receive():
                    received.append(await receive_all(client))

                nursery.start_soon(receive)
                begin(stream, parts)
                await stream.until_over()
                stream.close_socket()
            data, was_reset = received[0]
            assert (Xor().seal(data) if tls else data) == wanted
            assert not was_reset
            assert stream.error is None
            assert stream.flow.written == len(wanted)
    assert opened.uses == 0


class Shouting:
    """A coding that works elsewhere on each third piece."""

    def __init__(self):
        self.paused = False
        self.pieces = 0
        self.waiting = None

    def feed(self, data):
        assert not self.paused
        self.pieces += 1
        if self.pieces % 3:
            return data.upper()
        self.paused, self.waiting = True, data.upper()
        return b""

    def finish(self):
        assert not self.paused
        return b"!"


async def test_parts_are_coded_on_the_way(path):
    text = b"some text\n" * 50_000
    path.write_bytes(text)
    opened = OpenedFile(path)
    coding = Shouting()
    async with serving() as bench:
        with bench.stream(buffer=SMALL_BUFFER) as (stream, client):
            received = []

            async def receive():
                received.append(await receive_all(client))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                stream.turn.budget = MIB
                parts = [b"head ", opened.part(0, len(text)), opened.part(5, 5)]
                stream.flow = PartsFlow(stream, parts, stream, coding)
                stream.flow.pump()
                while not stream.over.is_set():
                    if coding.waiting is not None:
                        coding.paused = False
                        done, coding.waiting = coding.waiting, None
                        stream.flow.coded(done)
                    await trio.lowlevel.checkpoint()
                stream.close_socket()
            assert received == [(b"HEAD " + text.upper() + b"TEXT\n!", False)]
    assert opened.uses == 0
    assert stream.flow.written == len(received[0][0])


async def test_what_is_not_in_memory_is_read_by_a_thread_first(slow, monkeypatch):
    def would_wait(*_):
        raise BlockingIOError

    monkeypatch.setattr(file_flow.os, "preadv", would_wait)
    async with serving() as bench:
        with bench.stream() as (stream, client):
            begin(stream, [slow.part(100, len(DATA) - 100)])
            received = []

            async def receive():
                received.append(await receive_all(client))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive)
                asked = []
                while not stream.over.is_set():
                    if slow.warming:
                        offset, length, done = slow.warming.pop()
                        assert offset == 100 + stream.flow.written, "nothing is sent before it is there"
                        asked.append((offset, length))
                        done(None)
                    await trio.lowlevel.checkpoint()
                stream.close_socket()
            assert received == [(DATA[100:], False)]
    assert asked[0] == (100, 2 * MIB)
    assert max(length for _, length in asked) == 2 * MIB


async def test_a_disk_that_fails_is_a_reset(slow, monkeypatch):
    monkeypatch.setattr(file_flow, "_is_resident", lambda *_: False)
    async with serving() as bench:
        with bench.stream() as (stream, client):
            begin(stream, [b"head", slow.part(0, len(DATA))])
            slow.warming.pop()[2](OSError(5, "I/O error"))
            await stream.until_over()
            assert isinstance(stream.error, EOFError)
            assert await receive_all(client) in [(b"head", True), (b"", True)]
    assert slow.uses == 0


async def test_an_end_while_the_disk_is_read_is_the_end(slow, monkeypatch):
    monkeypatch.setattr(file_flow, "_is_resident", lambda *_: False)
    async with serving() as bench:
        with bench.stream() as (stream, _):
            begin(stream, [slow.part(0, len(DATA))])
            stream.flow.cancel()
            stream.flow.cancel()
            assert slow.uses == 0, "released once"
            slow.warming.pop()[2](None)
            stream.flow.pump()
            assert not stream.over.is_set()
            assert stream.flow.written == 0


def cut_short(path):
    os.truncate(path, MIB)


def write_anew(path):
    path.write_bytes(DATA[::-1])


@pytest.mark.parametrize("change", [cut_short, partial(os.truncate, length=0)], ids=["shorter", "empty"])
async def test_a_file_cut_short_on_the_way_is_a_reset(path, opened, change):
    async with serving() as bench:
        with bench.stream(buffer=SMALL_BUFFER) as (stream, client):
            begin(stream, [opened.part(0, len(DATA))])
            assert 0 < stream.flow.written < MIB
            change(path)
            data, was_reset = await receive_all(client)
            assert isinstance(stream.error, EOFError)
    assert was_reset
    assert len(data) < len(DATA)
    assert opened.uses == 0


async def test_a_file_that_is_not_what_it_was_is_a_reset_before_the_last_byte(opened):
    async with serving() as bench:
        with bench.stream(buffer=SMALL_BUFFER) as (stream, client):
            begin(stream, [opened.part(0, len(DATA))])
            opened.intact = False
            data, was_reset = await receive_all(client)
            assert isinstance(stream.error, EOFError)
    assert was_reset
    assert len(data) < len(DATA)


async def test_a_client_that_leaves_ends_the_flow(opened):
    async with serving() as bench:
        with bench.stream(buffer=SMALL_BUFFER) as (stream, client):
            begin(stream, [opened.part(0, len(DATA))])
            reset(client)
            await stream.until_over()
            assert isinstance(stream.error, OSError)
    assert opened.uses == 0


async def test_bulk_waits_for_its_turn(opened):
    async with serving() as bench:
        with bench.stream() as (stream, _):
            begin(stream, [b"head", opened.part(0, len(DATA))], budget=0)
            assert stream.flow.written == len(b"head")
            assert stream.queued
            sent = []
            bench.loop.queue = sent.append
            stream.again()
            assert stream.flow.written <= len(b"head")
            stream.turn.budget = 1000
            stream.queued = False
            stream.flow.pump()
            assert 0 < stream.flow.written <= 4 + 2 * MIB
