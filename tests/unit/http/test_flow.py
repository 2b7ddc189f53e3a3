"""Bodies from one stream to another: whole, in their framing, however they come; and what goes wrong on the way."""

from __future__ import annotations

import random
import select
import socket
from contextlib import contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http.flow import Flow
from lb.http1.body import LengthBody, UntilCloseBody
from lb.http1.chunks import ChunkWalker
from lb.http1.grammar import MalformedError
from lb.net.descriptors import Descriptors
from lb.relay.epoll_loop import BUFFER, TurnState
from lb.relay.epoll_relay import BULK
from lb.relay.epoll_stream import EpollStream
from lb.relay.pipes import PipePool
from tests.support.http_origin import content
from tests.support.splicing import limit_buffers

MIB = 1 << 20
SIZES = [0, 1, 4096, 16_385, BUFFER - 1, BUFFER, BUFFER + 1, 300_000, 3 * MIB]


class Loop:
    """In place of an EpollLoop: the test takes the turns."""

    def __init__(self):
        self.turn = TurnState(PipePool(Descriptors(100)))
        self.clock = self.time = lambda: 0.0

    def queue(self, stream):
        stream.queued = False

    def gather(self, stream):
        pass

    def close(self, sock):
        sock.close()


class Stream(EpollStream):
    flow = None

    def on_readable(self):
        self.flow.pump()

    on_writable = on_readable

    def on_broken(self, error):
        raise error


class FlowUnderTest:
    """A flow between two connections of which the test has the outer ends. Implements FlowOwner."""

    def __init__(self, body, *, keep=None, buffer=None):
        loop = Loop()
        self.sender, source = socket.socketpair()
        self.receiver, sink = socket.socketpair()
        self.sockets = (self.sender, source, self.receiver, sink)
        for sock in self.sockets:
            limit_buffers(sock, buffer)
            sock.setblocking(False)
        self.source, self.sink = Stream(loop, source, None, 0), Stream(loop, sink, None, 0)
        self.source.flow = self.sink.flow = self.flow = Flow(self.source, self.sink, body, self)
        if keep is not None:
            self.flow.kept, self.flow.keep = bytearray(), keep
        self.received = bytearray()
        self.ended = False
        self.failure = None

    def flow_ended(self, flow):
        assert not self.ended
        self.ended = True

    def flow_failed(self, flow, stream, error):
        assert self.failure is None
        self.failure = (stream, error)

    def carry(self, pieces, *, end=False):
        """Send pieces, and read all that arrives until nothing moves any more. ``end``: the sender closes then."""
        left = [piece for piece in pieces if piece]
        while True:
            moved = len(self.received)
            if left:
                self._send(left)
            elif end:
                self.sender.close()
            self.source.turn.budget = MIB
            if not self.ended:
                self.source.edge(select.EPOLLIN | (select.EPOLLRDHUP if end and not left else 0))
            self._receive()
            self.sink.edge(select.EPOLLOUT)
            self._receive()
            if not left and moved == len(self.received):
                return

    def _send(self, left):
        try:
            sent = self.sender.send(left[0])
        except BlockingIOError:
            return
        left[0] = left[0][sent:]
        if not left[0]:
            del left[0]

    def _receive(self):
        try:
            while data := self.receiver.recv(MIB):
                self.received += data
        except BlockingIOError:
            return

    @property
    def behind(self):
        """What has come after the body."""
        try:
            return self.source.unread + self.source.sock.recv(MIB)
        except BlockingIOError:
            return self.source.unread


@contextmanager
def flowing(body, **options):
    under_test = FlowUnderTest(body, **options)
    try:
        yield under_test
    finally:
        for sock in under_test.sockets:
            sock.close()
        assert under_test.source.turn.pipes.lent == 0, "a pipe is not given back"


def in_chunks(data, sizes):
    """Return data in chunks of these sizes, the last of what is left."""
    chunks, at = [], 0
    for size in [*sizes, len(data)]:
        piece = data[at : at + size]
        at += len(piece)
        if piece:
            chunks.append(b"%x\r\n%b\r\n" % (len(piece), piece))
    return b"".join(chunks) + b"0\r\n\r\n"


def cut(data, rng):
    """Return data in some pieces."""
    at = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@given(
    size=st.sampled_from(SIZES) | st.integers(0, 400_000),
    chunks=st.none() | st.lists(st.integers(1, 200_000), max_size=5),
    behind=st.sampled_from([b"", b"x", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"]),
    buffer=st.sampled_from([None, 16_384]),
    seed=st.integers(0, 1 << 30),
)
def test_a_body_passes_whole_and_what_is_behind_it_stays(size, chunks, behind, buffer, seed):
    data = content(size)
    wire = data if chunks is None else in_chunks(data, chunks)
    body = LengthBody(size) if chunks is None else ChunkWalker(4096)
    with flowing(body, buffer=buffer) as flow:
        flow.carry(cut(wire + behind, random.Random(seed)))
        assert flow.ended
        assert bytes(flow.received) == wire
        assert flow.flow.moved == len(wire)
        assert flow.behind == behind


@pytest.mark.parametrize("size", [1, 4096, 16_385, BULK])
def test_a_short_read_says_that_nothing_is_behind_the_body(size):
    """So the connection can serve the next request, without a read that must fail."""
    with flowing(LengthBody(size)) as flow:
        flow.carry([content(size)])
        assert flow.ended
        assert not flow.source.has_input


@pytest.mark.parametrize("size", SIZES)
def test_a_body_until_the_end_ends_with_the_stream(size):
    with flowing(UntilCloseBody()) as flow:
        flow.carry([content(size)])
        assert not flow.ended
        flow.carry([], end=True)
        assert flow.ended
        assert bytes(flow.received) == content(size)


@pytest.mark.parametrize("size", [10, 16_385, BUFFER, 3 * MIB])
def test_a_body_that_is_cut_short_is_no_end(size):
    for body, wire in ((LengthBody(size), content(size)), (ChunkWalker(4096), in_chunks(content(size), []))):
        with flowing(body) as flow:
            flow.carry([wire[:-3]], end=True)
            stream, error = flow.failure
            assert (stream, type(error), flow.ended) == (flow.source, EOFError, False)
            assert wire.startswith(bytes(flow.received))


@given(keep=st.sampled_from([0, 100, 70_000, 10 * MIB]), size=st.sampled_from(SIZES), seed=st.integers(0, 1 << 30))
def test_a_copy_is_kept_of_small_bodies_only(keep, size, seed):
    with flowing(LengthBody(size), keep=keep) as flow:
        flow.carry(cut(content(size), random.Random(seed)))
        assert flow.ended
        assert bytes(flow.received) == content(size)
        assert flow.flow.kept == (content(size) if size <= keep else None)


def test_a_body_above_the_limit_is_too_large():
    with flowing(ChunkWalker(4096, max_size=100_000)) as flow:
        flow.carry([in_chunks(content(90_000), [])])
        assert flow.ended
    with flowing(ChunkWalker(4096, max_size=100_000)) as flow:
        flow.carry([in_chunks(content(200_000), [10_000] * 19)])
        stream, error = flow.failure
        assert (stream, error.status) == (flow.source, 413)


def test_malformed_chunks_do_not_pass():
    with flowing(ChunkWalker(4096)) as flow:
        flow.carry([b"3\r\nabc\r\n", b"zz\r\n"])
        stream, error = flow.failure
        assert (stream, type(error)) == (flow.source, MalformedError)
        assert b"zz" not in flow.received


def test_a_receiver_that_is_gone_is_the_one_that_failed():
    for size in (1000, 3 * MIB):
        with flowing(LengthBody(size)) as flow:
            flow.receiver.close()
            flow.sender.send(content(1000))
            flow.source.turn.budget = MIB
            flow.source.edge(select.EPOLLIN)
            stream, error = flow.failure
            assert stream is flow.sink
            assert isinstance(error, BrokenPipeError)


def test_no_more_is_read_than_the_receiver_takes():
    size = 3 * MIB
    with flowing(LengthBody(size), buffer=32_768) as flow:
        flow.source.turn.budget = 10 * MIB
        sent = 0
        for _ in range(200):
            with suppress(BlockingIOError):
                sent += flow.sender.send(content(size)[sent:])
            flow.source.edge(select.EPOLLIN)
        assert sent < size / 2
        assert len(flow.sink.unsent) <= BUFFER
        flow.carry([content(size)[sent:]])
        assert flow.ended
        assert bytes(flow.received) == content(size)


def test_a_turn_moves_no_more_than_its_budget():
    with flowing(LengthBody(3 * MIB)) as flow:
        flow.source.turn.budget = 0
        flow.sender.send(content(3 * MIB))
        flow.source.edge(select.EPOLLIN)
        assert flow.flow.moved == 0
        flow.carry([])
        assert flow.flow.moved > 0
