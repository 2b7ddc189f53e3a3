"""Both splicers: the relay with TLS on one or both sides: bytes, ends, and truncation."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import socket

import pytest
import trio
import trio.testing

from lb.tls.handshake import TlsHandshake
from lb.tls.layer import Tls
from tests.support.balancer import PATIENCE
from tests.support.effort import DEEP
from tests.support.splicing import MIB, Joined, Owner, listening_socket, running_splicer
from tests.support.tls_peers import VERSIONS, TlsEnd, client_context, server_context

pytestmark = pytest.mark.usefixtures("splicer_kind")
NAME = "a.example.org"
BULK = (64 if DEEP else 16) * MIB


class PlainEnd:
    """A plain connection with the interface of a TlsEnd."""

    def __init__(self, stream):
        self.stream = stream
        self.send_all = stream.send_all
        self.receive_some = stream.receive_some
        self.finish = stream.send_eof

    socket = TlsEnd.socket
    receive_all = TlsEnd.receive_all
    receive_exactly = TlsEnd.receive_exactly
    reset = TlsEnd.reset


def cut_off(end):
    """Send a FIN without close_notify."""
    end.stream.socket.shutdown(socket.SHUT_WR)


@pytest.fixture(params=["client", "server", "both"])
def secured(request):
    """The sides that use TLS."""
    return {"client", "server"} if request.param == "both" else {request.param}


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def version(request):
    return request.param


async def join(bench, secured, *, version=None, idle=math.inf, half_close=math.inf, buffer=None, early=b"", later=b""):
    """Join two outer ends with a relay.

    The client sends ``early`` together with the end of its handshake, and both send ``later`` before the relay starts.
    """
    with listening_socket(buffer=buffer) as front, listening_socket(buffer=buffer) as back:
        outer_client = socket.create_connection(front.getsockname())
        inner_client, _ = front.accept()
        inner_client.setblocking(False)
        owner = Owner()
        bench.splicer.connect((back.family, back.getsockname()), owner)
        outer_server, _ = back.accept()
        await owner.until(lambda owner: owner.server)
    client, server = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in (outer_client, outer_server))
    client_tls = server_tls = None
    async with trio.open_nursery() as nursery:
        if "client" in secured:
            client = TlsEnd(client, client_context(version=version), server_name=NAME)
            client_tls = Tls(server_context(NAME), server_side=True)
            nursery.start_soon(Shaking(inner_client, client_tls, starts=False).run, bench)
            nursery.start_soon(shake_and_say, client, early)
        if "server" in secured:
            server = TlsEnd(server, server_context(NAME, version=version), server_side=True)
            server_tls = Tls(client_context(), server_side=False, server_name=NAME)
            nursery.start_soon(Shaking(owner.server, server_tls, starts=True).run, bench)
            nursery.start_soon(server.shake_hands)
    if later:
        await client.send_all(later)
        await server.send_all(later)
        await trio.testing.wait_all_tasks_blocked(0.01)
    owner.relay = bench.splicer.relay(
        inner_client,
        owner.server,
        owner,
        idle=bench.deadlines.queue("idle", idle),
        half_close=bench.deadlines.queue("half_close", half_close),
        first_byte=None,
        client_tls=client_tls,
        server_tls=server_tls,
    )
    ends = (end if isinstance(end, TlsEnd) else PlainEnd(end) for end in (client, server))
    joined = Joined(*ends, owner)
    bench.joined.append(joined)
    return joined


class Shaking(TlsHandshake):
    """A handshake on a splicer, and its end."""

    async def run(self, bench):
        self.over = trio.Event()
        bench.splicer.handshake(self._sock, self)
        with trio.fail_after(PATIENCE):
            await self.over.wait()

    def proceed(self):
        complete = super().proceed()
        if complete:
            self.over.set()
        return complete

    def failed(self):
        self.over.set()


async def shake_and_say(end, early):
    await end.shake_hands()
    if early:
        await end.send_all(early)


async def ended(joined):
    await joined.owner.until(lambda owner: owner.ended)
    return joined.owner.ended


async def until_reset(end):
    """Return the bytes before the reset."""
    received = b""
    with trio.fail_after(PATIENCE):
        try:
            while data := await end.receive_some():
                received += data
        except trio.BrokenResourceError as error:
            if error.__cause__.errno == errno.ECONNRESET:
                return received
            raise
    raise AssertionError("the stream ended in order and looks complete")


async def test_both_say_something_and_finish(secured, version):
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version)
        await joined.client.send_all(b"question")
        assert await joined.server.receive_exactly(8) == b"question"
        await joined.server.send_all(b"the answer")
        assert await joined.client.receive_exactly(10) == b"the answer"
        await joined.client.finish()
        assert await joined.server.receive_all() == b""
        await joined.server.finish()
        assert await joined.client.receive_all() == b""
        assert await ended(joined) == ("client", "eof")
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (8, 10)


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_half_close_travels_and_the_other_direction_goes_on(secured, version, first):
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version)
        one, other = (joined.client, joined.server) if first == "client" else (joined.server, joined.client)
        await one.send_all(b"all I have to say")
        await one.finish()
        assert await other.receive_all() == b"all I have to say"
        payload = os.urandom(3 * MIB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other.send_all, payload)
            assert await one.receive_exactly(len(payload)) == payload
        await other.finish()
        assert await one.receive_all() == b""
        assert await ended(joined) == (first, "eof")


@pytest.mark.slow
async def test_bulk_goes_both_ways_at_once_unchanged(secured, version):
    async def send(end, payload):
        for start in range(0, len(payload), MIB):
            await end.send_all(payload[start : start + MIB])
        await end.finish()

    async def receive(end, digest):
        while piece := await end.receive_some():
            digest.update(piece)

    payloads = [os.urandom(BULK) for _ in range(2)]
    digests = [hashlib.sha256() for _ in range(2)]
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, joined.client, payloads[0])
            nursery.start_soon(receive, joined.server, digests[0])
            nursery.start_soon(send, joined.server, payloads[1])
            nursery.start_soon(receive, joined.client, digests[1])
        assert (await ended(joined))[1] == "eof"
        assert (joined.relay.bytes_in, joined.relay.bytes_out) == (BULK, BULK)
    assert [each.digest() for each in digests] == [hashlib.sha256(each).digest() for each in payloads]


async def test_what_came_with_the_handshake_is_passed_on():
    async with running_splicer() as bench:
        joined = await join(bench, {"client"}, early=b"early")
        assert await joined.server.receive_exactly(5) == b"early"


async def test_what_comes_between_the_handshake_and_the_relay_is_passed_on(secured, version):
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version, later=b"later")
        assert await joined.server.receive_exactly(5) == b"later"
        assert await joined.client.receive_exactly(5) == b"later"


@pytest.mark.parametrize("gone", ["client", "server"])
async def test_a_truncated_stream_does_not_look_complete(version, gone):
    async with running_splicer() as bench:
        joined = await join(bench, {gone}, version=version)
        one, other = (joined.client, joined.server) if gone == "client" else (joined.server, joined.client)
        await one.send_all(b"half of i")
        assert await other.receive_exactly(9) == b"half of i"
        cut_off(one)
        assert await until_reset(other) == b""
        assert await ended(joined) == (gone, "reset")


async def test_an_answer_cut_off_after_the_client_has_finished_does_not_look_complete():
    async with running_splicer() as bench:
        joined = await join(bench, {"client", "server"})
        await joined.client.finish()
        assert await joined.server.receive_all() == b""
        await joined.server.send_all(b"half an an")
        assert await joined.client.receive_exactly(10) == b"half an an"
        cut_off(joined.server)
        assert await until_reset(joined.client) == b""
        assert await ended(joined) == ("server", "reset")


async def test_a_client_that_just_closes_when_the_server_has_finished_is_no_failure():
    async with running_splicer() as bench:
        joined = await join(bench, {"client"})
        await joined.server.send_all(b"bye")
        await joined.server.finish()
        assert await joined.client.receive_all() == b"bye"
        cut_off(joined.client)
        assert await until_reset(joined.server) == b""
        assert await ended(joined) == ("server", "eof")


async def test_a_server_that_just_closes_when_the_client_has_finished_is_no_failure():
    """Like nginx with a kept-alive connection."""
    async with running_splicer() as bench:
        joined = await join(bench, {"client", "server"})
        await joined.server.send_all(b"the answer")
        assert await joined.client.receive_exactly(10) == b"the answer"
        await joined.client.finish()
        assert await joined.server.receive_all() == b""
        cut_off(joined.server)
        assert await until_reset(joined.client) == b""
        assert await ended(joined) == ("client", "eof")


@pytest.mark.parametrize("gone", ["client", "server"])
async def test_a_reset_travels_as_a_reset(secured, gone):
    async with running_splicer() as bench:
        joined = await join(bench, secured)
        one, other = (joined.client, joined.server) if gone == "client" else (joined.server, joined.client)
        await one.send_all(b"x")
        assert await other.receive_exactly(1) == b"x"
        one.reset()
        assert await until_reset(other) == b""
        assert await ended(joined) == (gone, "reset")


async def test_nonsense_instead_of_a_record_is_a_reset(version):
    async with running_splicer() as bench:
        joined = await join(bench, {"client"}, version=version)
        await joined.client.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await until_reset(joined.server) == b""
        assert await ended(joined) == ("client", "reset")


async def test_a_slow_reader_slows_its_writer(secured):
    async with running_splicer() as bench:
        joined = await join(bench, secured, buffer=64 * 1024)
        payload = os.urandom(32 * MIB)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(joined.server.send_all, payload)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert joined.relay.holds_bytes
            assert joined.relay.bytes_out < 8 * MIB
            assert await joined.client.receive_exactly(len(payload)) == payload


@pytest.mark.parametrize(("queue", "reason"), [("idle", "idle_timeout"), ("half_close", "half_close_timeout")])
async def test_a_timeout_with_nothing_in_flight_is_an_orderly_end(secured, version, queue, reason):
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version, **{queue: 0.05})
        if queue == "half_close":
            await joined.client.finish()
        assert await ended(joined) == ("lb", reason)
        assert await joined.client.receive_all() == b""
        assert await joined.server.receive_all() == b""


async def test_a_timeout_with_bytes_held_is_a_reset(secured):
    async with running_splicer() as bench:
        joined = await join(bench, secured, idle=0.2, buffer=64 * 1024)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_in_vain, joined.server)
            assert await ended(joined) == ("lb", "idle_timeout")
        await until_reset(joined.client)


async def send_in_vain(end):
    with pytest.raises(trio.BrokenResourceError):
        await end.send_all(bytes(32 * MIB))


async def test_a_close_of_the_balancers_own_is_a_reset(secured):
    async with running_splicer() as bench:
        joined = await join(bench, secured)
        joined.relay.close(reset=True)
        await until_reset(joined.client)
        await until_reset(joined.server)
        assert joined.owner.ended is None
        bench.forget(joined)


async def test_both_finish_at_the_same_time(secured, version):
    async with running_splicer() as bench:
        joined = await join(bench, secured, version=version)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(joined.client.finish)
            nursery.start_soon(joined.server.finish)
        assert await joined.client.receive_all() == b""
        assert await joined.server.receive_all() == b""
        assert (await ended(joined))[1] == "eof"


async def test_a_farewell_that_waits_for_a_slow_reader_arrives():
    """The client has finished. The server sends much data and finishes. The client reads late."""
    async with running_splicer() as bench:
        joined = await join(bench, {"client"}, buffer=16 * 1024)
        await joined.client.finish()
        await joined.server.receive_all()
        payload = os.urandom(4 * MIB)
        async with trio.open_nursery() as nursery:

            async def say():
                await joined.server.send_all(payload)
                await joined.server.finish()

            nursery.start_soon(say)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert await joined.client.receive_all() == payload
        assert await ended(joined) == ("client", "eof")


@pytest.mark.parametrize("splicer_kind", ["epoll"], indirect=True)
async def test_streams_of_the_smallest_records_share_the_time_of_a_turn(splicer_kind):
    """Whoever sends many records at once waits for its turn. A small message of another stream does not."""
    async with running_splicer(dedicated=True) as bench:
        streams = [await join(bench, {"client"}) for _ in range(12)]
        honest = await join(bench, set())
        await trio.testing.wait_all_tasks_blocked(0.01)
        for each in streams:
            for _ in range(700):
                each.client.object.write(b"x")
            each.client.socket._sock.send(each.client._outgoing.read())
        honest.client.socket._sock.send(b"hello")
        loop, turns = bench.splicer._loop, []
        while any(each.relay.bytes_in < 700 for each in streams):
            before = [each.relay.bytes_in for each in streams]
            loop._take_turn()
            turns.append([each.relay.bytes_in for each in streams].count(700) - before.count(700))
            assert honest.relay.bytes_in == 5
        assert max(turns) <= 2
