"""Random connections over both splicers, TCP and unix, compared with a model of the bytes that must arrive."""

from __future__ import annotations

import contextlib
import random
import socket

import attrs
import hypothesis
import hypothesis.strategies as st
import pytest
import trio
import trio.testing

from tests.support.balancer import PATIENCE
from tests.support.effort import DEEP
from tests.support.splicing import open_descriptors, reset, running_splicer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("splicer_kind")]

BLOCK = random.Random(0).randbytes(1_000_003)
"""Every stream repeats this pattern. Its length is prime, so that a lost or duplicated buffer is detected."""
LARGEST = 3_000_000
SIZES = st.one_of(
    st.sampled_from([1, 100, 16 * 1024, 64 * 1024, 128 * 1024, 128 * 1024 + 1, 200_000, 1_000_000, LARGEST]),
    st.integers(1, LARGEST),
)
SIDES = st.sampled_from(["client", "server"])
STEPS = st.one_of(
    st.tuples(st.just("send"), SIDES, SIZES),
    st.tuples(st.just("send"), SIDES, SIZES),
    st.tuples(st.just("read"), SIDES, SIZES),
    st.tuples(st.just("settle"), SIDES, st.just(0)),
    st.tuples(st.sampled_from(["finish", "reset", "close"]), SIDES, st.just(0)),
)


def stretch(start, count):
    """Return bytes of a stream, from ``start``."""
    offset = start % len(BLOCK)
    return (BLOCK[offset:] + BLOCK * (count // len(BLOCK) + 1))[:count]


@attrs.define(eq=False)
class End:
    """One end of the connection: what it has sent, received and done."""

    name: str
    sock: socket.socket
    sent: int = 0
    received: int = 0
    finished: bool = False
    """It has sent its FIN."""
    gone: str = ""
    """"reset" or "close", once its socket is closed."""
    saw: str = ""
    """"eof" or "reset", once it has seen the end of the incoming stream, by a read or a write."""

    @property
    def may_send(self):
        return not (self.finished or self.gone or self.saw == "reset")

    def take(self, data, peer):
        assert data == stretch(self.received, len(data)), f"differs from what the {peer.name} sent at {self.received}"
        self.received += len(data)
        assert self.received <= peer.sent, "bytes that were not sent"

    async def send(self, size, peer):
        """Send as much as the peer has room for."""
        data = memoryview(stretch(self.sent, size))
        settled = False
        while data and self.may_send:
            try:
                count = self.sock.send(data)
            except BlockingIOError:
                if settled:
                    return
                await trio.testing.wait_all_tasks_blocked()
                settled = True
            except OSError:
                self.saw = "reset"
            else:
                self.sent += count
                data = data[count:]
                settled = False

    async def read(self, size, peer):
        """Receive as much as is available."""
        settled = False
        while size > 0 and not (self.gone or self.saw):
            try:
                data = self.sock.recv(min(size, 1 << 18))
            except BlockingIOError:
                if settled:
                    return
                await trio.testing.wait_all_tasks_blocked()
                settled = True
            except OSError:
                self.saw = "reset"
            else:
                self.take(data, peer)
                self.saw = "" if data else "eof"
                size -= len(data)
                settled = False

    async def settle(self, size, peer):
        await trio.testing.wait_all_tasks_blocked()

    async def finish(self, size, peer):
        if self.may_send:
            self.finished = True
            with contextlib.suppress(OSError):  # the relay has just reset it
                self.sock.shutdown(socket.SHUT_WR)

    async def reset(self, size, peer):
        if not self.gone:
            self.gone = "reset"
            reset(self.sock)

    async def close(self, size, peer):
        if not self.gone:
            self.gone = "close"
            self.sock.close()

    async def read_to_the_end(self, peer):
        """Transfer all remaining bytes; then close, if not done yet."""
        while not (self.gone or self.saw):
            await self.read(LARGEST, peer)
            if not self.saw:
                await trio.lowlevel.wait_readable(self.sock)
        await self.finish(0, peer)


async def play(script, *, unix, buffer, last):
    """Run the script, end the connection, and compare the result with the model."""
    async with running_splicer() as bench:
        descriptors_before = open_descriptors()
        joined = await bench.join(unix=unix, buffer=buffer)
        relay = joined.relay
        ends = {name: End(name, getattr(joined, name).socket._sock) for name in ("client", "server")}
        client, server = ends.values()
        peers = {"client": server, "server": client}
        with trio.fail_after(PATIENCE):
            for step, name, size in script:
                await getattr(ends[name], step)(size, peers[name])
            if not any(end.finished or end.gone for end in ends.values()):
                await ends[last].finish(0, peers[last])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.read_to_the_end, server)
                nursery.start_soon(server.read_to_the_end, client)
            await joined.owner.until(lambda owner: owner.ended)
        check_end(client, server, joined.owner.ended, strict=not unix)
        check_end(server, client, joined.owner.ended, strict=not unix)
        assert server.received <= relay.bytes_in <= client.sent
        assert client.received <= relay.bytes_out <= server.sent
        if joined.owner.ended[1] == "eof":
            assert (relay.bytes_in, relay.bytes_out) == (client.sent, server.sent)
        bench.forget(joined)
        await check_nothing_leaks(bench, descriptors_before)


def check_end(end, peer, ended, *, strict):
    """Check what ``end`` has seen of ``peer``. A unix socket cannot send a reset: ``strict`` is off for it."""
    if not (end.gone or peer.gone):
        assert end.saw == "eof", "reset without a cause"
        assert end.received == peer.sent, "bytes lost"
        assert ended[1] == "eof"
    if strict and peer.gone == "reset" and not (end.gone or peer.finished):
        assert end.saw == "reset", "a reset must not look like an end"
        assert ended == (peer.name, "reset")
    if strict and not end.gone and end.saw == "eof":
        assert end.received == peer.sent, "truncated, but it looks complete"


async def check_nothing_leaks(bench, descriptors_before):
    await trio.testing.wait_all_tasks_blocked()
    assert open_descriptors() == descriptors_before + bench.descriptors.used, "counted and open descriptors differ"
    if hasattr(bench.splicer, "_loop"):
        assert bench.splicer._loop.turn.pipes.lent == 0
        assert len(bench.splicer._loop.handlers) == 1, "only the wakeup descriptor is left"
        assert not bench.splicer._loop._again
    else:
        assert bench.descriptors.used == 0
    for queue in bench.deadlines._queues.values():
        assert len(queue) == 0


@hypothesis.settings(
    max_examples=1000 if DEEP else 25, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    script=st.lists(STEPS, max_size=14),
    unix=st.booleans(),
    buffer=st.sampled_from([None, None, 4096, 65536]),
    last=SIDES,
)
@hypothesis.example(  # both ends are reset while neither reads
    script=[("send", "client", LARGEST), ("send", "server", LARGEST), ("reset", "client", 0), ("reset", "server", 0)],
    unix=False,
    buffer=4096,
    last="client",
)
@hypothesis.example(  # likewise, one after the other
    script=[
        ("send", "client", LARGEST),
        ("send", "server", LARGEST),
        ("reset", "client", 0),
        ("settle", "client", 0),
        ("reset", "server", 0),
    ],
    unix=False,
    buffer=4096,
    last="client",
)
@hypothesis.example(  # the request is complete, the answer not wanted
    script=[("send", "client", LARGEST), ("close", "client", 0), ("send", "server", LARGEST)],
    unix=False,
    buffer=None,
    last="client",
)
def test_what_arrives_is_what_was_sent_and_ends_as_it_ended(script, unix, buffer, last):
    trio.run(lambda: play(script, unix=unix, buffer=buffer, last=last))


@pytest.mark.parametrize("first", ["client", "server"])
def test_the_side_that_finished_first_is_named(first):
    async def main():
        async with running_splicer() as bench:
            joined = await bench.join()
            one, other = (joined.client, joined.server) if first == "client" else (joined.server, joined.client)
            await one.send_eof()
            assert await other.receive_some() == b""
            await other.send_eof()
            await joined.owner.until(lambda owner: owner.ended)
            assert joined.owner.ended == (first, "eof")

    trio.run(main)
