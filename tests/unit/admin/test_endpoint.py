"""The admin endpoint's server: deadlines, limits, faults; on a virtual clock, with real sockets."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

import lb.admin.gate
from lb.admin.connection import BODY_TIMEOUT, HEAD_TIMEOUT, IDLE_TIMEOUT, MAX_BODY, WRITE_TIMEOUT
from lb.admin.endpoint import Endpoint
from lb.admin.feed import Feed
from lb.admin.gate import KEPT, MAX_ADMIN_CONNECTIONS
from lb.admin.messages import AdminResponse, HttpError
from lb.events import AdminBadRequest, Fault
from lb.model import AdminSpec
from lb.model.address import Address
from lb.model.plugin import Secret
from lb.net.descriptors import Descriptors

TOKEN = "s3cret"
GET = b"GET /%s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s3cret\r\n\r\n"
STRANGE = b"GET /test HTTP/1.1\r\nHost: a\r\n\r\n"


async def _no_samples(balancer):
    """Sample no history."""


class Serving:
    """An endpoint with a token; ``/test`` is answered by ``handler``."""

    def __init__(self, limit=1000):
        self.events = []
        self.descriptors = Descriptors(limit)
        self.handler = None
        self.streams = []
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        admin = AdminSpec(Address.parse("127.0.0.1:0"), Secret(TOKEN))
        balancer = SimpleNamespace(
            config=SimpleNamespace(admin=admin, listeners={}), data_plane=SimpleNamespace(descriptors=self.descriptors)
        )
        self.endpoint = Endpoint(
            [listening],
            SimpleNamespace(balancer=balancer, feed=Feed(), sink=self.events.append, file=None),
            SimpleNamespace(run=_no_samples),
        )
        self.endpoint._routes.add("/test", GET=self._test, POST=self._test)

    async def _test(self, request):
        return AdminResponse(b"fine") if self.handler is None else await self.handler(request)

    async def connect(self, data=b""):
        """Open a connection and send some bytes."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        await stream.send_all(data)
        return stream

    def close(self):
        self.endpoint.close()
        for stream in self.streams:
            stream.socket.close()

    async def ask(self, data):
        """Return what comes for these bytes until the end, and the seconds until then."""
        began = trio.current_time()
        async with await self.connect(data) as stream:
            return await everything(stream), trio.current_time() - began


async def everything(stream):
    return b"".join([piece async for piece in stream])


@asynccontextmanager
async def served(**options):
    async with trio.open_nursery() as nursery:
        serving = Serving(**options)
        nursery.start_soon(serving.endpoint.run)
        try:
            yield serving
        finally:
            serving.close()
            nursery.cancel_scope.cancel()


@pytest.fixture
async def serving():
    async with served() as serving:
        yield serving


async def answered(stream):
    """Read one response without its body."""
    return (await stream.receive_some()).partition(b"\r\n")[0]


# Deadlines


@pytest.mark.parametrize("head", [b"GET /test HTTP/1.1\r\nHo", GET % b"test" + b"GET /test HT"], ids=["first", "later"])
async def test_half_a_head_has_a_deadline(serving, autojump_clock, head):
    answer, seconds = await serving.ask(head)
    assert answer.rpartition(b"HTTP/1.1 ")[2].startswith(b"408 ")
    assert seconds == pytest.approx(HEAD_TIMEOUT, abs=0.5)
    assert [type(event) for event in serving.events] == [AdminBadRequest]


async def test_bytes_that_trickle_in_do_not_move_the_deadline(serving, autojump_clock):
    began = trio.current_time()
    async with await serving.connect(b"GET /test HTTP/1.1\r\n") as stream:
        with suppress(trio.BrokenResourceError):
            while trio.current_time() < began + 2 * HEAD_TIMEOUT:
                await stream.send_all(b"X")
                await trio.sleep(1)
    assert trio.current_time() - began == pytest.approx(HEAD_TIMEOUT, abs=3)


async def test_who_says_nothing_is_closed_without_a_word(serving, autojump_clock):
    assert await serving.ask(b"") == (b"", pytest.approx(HEAD_TIMEOUT, abs=0.5))
    assert serving.events == []


async def test_half_a_body_has_a_deadline(serving, autojump_clock):
    answer, seconds = await serving.ask((GET % b"test").replace(b"Host", b"Content-Length: 9\r\nHost") + b"half")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert seconds == pytest.approx(BODY_TIMEOUT, abs=0.5)


async def test_an_idle_connection_has_a_deadline(serving, autojump_clock):
    answer, seconds = await serving.ask(GET % b"test")
    assert answer.endswith(b"fine")
    assert seconds == pytest.approx(IDLE_TIMEOUT, abs=0.5)


async def test_who_does_not_read_is_cut_off(serving, autojump_clock):
    async def large(_request):
        return AdminResponse(bytes(50_000_000))

    serving.handler = large
    async with await serving.connect(GET % b"test") as stream:
        await trio.sleep(WRITE_TIMEOUT + 2)
        with pytest.raises(trio.BrokenResourceError):
            await everything(stream)
    assert serving.events == []


async def test_who_does_not_read_a_stream_is_cut_off(serving, autojump_clock):
    ended = trio.Event()

    async def stream(_request):
        async def pieces():
            try:
                while True:
                    yield bytes(100_000)
            finally:
                ended.set()

        return AdminResponse(pieces())

    serving.handler = stream
    async with await serving.connect(GET % b"test"):
        await trio.sleep(WRITE_TIMEOUT + 2)
    assert ended.is_set()
    assert serving.events == []


# Sizes


@pytest.mark.parametrize("framing", [b"Content-Length: 9999999", b"Transfer-Encoding: chunked"])
async def test_a_body_is_bounded(serving, framing):
    head = (GET % b"test").replace(b"GET", b"POST").replace(b"Host", framing + b"\r\nHost")
    answer, _ = await serving.ask(head + b"%x\r\n" % (2 * MAX_BODY) + bytes(2 * MAX_BODY))
    assert answer.startswith(b"HTTP/1.1 413 ")


# Places


async def test_a_silent_client_makes_room_for_one_that_comes_later(serving):
    silent = [await serving.connect() for _ in range(3 * MAX_ADMIN_CONNECTIONS)]
    with trio.fail_after(5):
        assert await silent[0].receive_some() == b""
    stream = await serving.connect(GET % b"test")
    assert await answered(stream) == b"HTTP/1.1 200 "
    assert serving.descriptors.used <= MAX_ADMIN_CONNECTIONS - KEPT + 1


async def test_idle_connections_with_rights_make_room_and_working_ones_stay(serving, autojump_clock):
    idle = [await serving.connect(GET % b"test") for _ in range(2)]
    for stream in idle:
        assert await answered(stream) == b"HTTP/1.1 200 "
    go_on = trio.Event()

    async def slow(_request):
        await go_on.wait()
        return AdminResponse(b"late")

    serving.handler = slow
    working = [await serving.connect(GET % b"test") for _ in range(MAX_ADMIN_CONNECTIONS)]
    await trio.sleep(5)
    for stream in idle:
        assert await everything(stream) in (b"", b"fine"), "the rest of the response, and the end"
    assert serving.descriptors.used == MAX_ADMIN_CONNECTIONS
    waiting = await serving.connect(STRANGE)
    with trio.move_on_after(5) as scope:
        await waiting.receive_some()
    assert scope.cancelled_caught, "no place is left"
    go_on.set()
    for stream in working:
        assert await answered(stream) == b"HTTP/1.1 200 "
        await stream.aclose()
    assert (await everything(waiting)).startswith(b"HTTP/1.1 401 ")


async def test_every_descriptor_is_given_back(serving, autojump_clock):
    streams = [
        await serving.connect(data)
        for data in (
            b"",
            b"GET",
            STRANGE,
            GET % b"test",
            GET % b"healthz",
            b"\x16\x03",
            STRANGE + b"more",
            GET % b"test" + b"?",
        )
    ]
    await trio.sleep(1)
    assert serving.descriptors.used > 0
    for stream in streams:
        await stream.aclose()
    await trio.sleep(5)
    assert serving.descriptors.used == 0


async def test_with_descriptors_short_a_few_connections_are_still_served(autojump_clock):
    async with served(limit=0) as serving:
        for _ in range(2 * KEPT):
            assert await answered(await serving.connect(GET % b"test")) == b"HTTP/1.1 200 "
        assert serving.descriptors.used == KEPT


# Faults


async def test_a_bug_in_a_handler_is_a_fault_and_its_connection_goes_on(serving):
    async def broken(_request):
        raise ZeroDivisionError

    serving.handler = broken
    async with await serving.connect(GET % b"test") as stream:
        assert await answered(stream) == b"HTTP/1.1 500 "
        serving.handler = None
        await stream.send_all(GET % b"test")
        assert await answered(stream) == b"HTTP/1.1 200 "
    assert [type(event) for event in serving.events] == [Fault]


async def test_a_bug_in_the_gate_ends_one_connection_only(serving, monkeypatch):
    def broken(_request):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(serving.endpoint._gate, "_at_once", broken)
        assert (await serving.ask(STRANGE))[0] == b""
    assert (await serving.ask(STRANGE))[0].startswith(b"HTTP/1.1 401 ")
    assert [type(event) for event in serving.events] == [Fault]


async def test_a_bug_in_a_round_does_not_end_the_endpoint(serving, monkeypatch, autojump_clock):
    def broken():
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(serving.endpoint._gate, "_has_room", broken)
        stream = await serving.connect(STRANGE)
        await trio.sleep(0.1)
    assert await answered(stream) == b"HTTP/1.1 401 "
    assert {type(event) for event in serving.events} == {Fault}


async def test_a_refusal_of_a_handler_is_an_answer(serving):
    async def refusing(_request):
        raise HttpError(418, "no")

    serving.handler = refusing
    async with await serving.connect(GET % b"test") as stream:
        assert await answered(stream) == b"HTTP/1.1 418 "


# Requests without rights


async def test_a_later_request_needs_the_token_too(serving):
    answer, _ = await serving.ask(GET % b"test" + STRANGE + GET % b"test")
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 401 " in answer


async def test_health_is_answered_without_a_token_and_by_get_alone(serving):
    assert (await serving.ask(STRANGE.replace(b"test", b"healthz")))[0].endswith(b"\r\n\r\nok\n")
    assert (await serving.ask(STRANGE.replace(b"GET /test", b"HEAD /healthz")))[0].endswith(b"\r\n\r\n")
    assert (await serving.ask(STRANGE.replace(b"GET /test", b"POST /healthz")))[0].startswith(b"HTTP/1.1 405 ")


async def test_the_gate_rests_nine_times_as_long_as_it_works(serving, monkeypatch, autojump_clock):
    """And says so once clients have had to wait for a second; those who probe its health are answered all the same."""
    gate = serving.endpoint._gate
    cpu = 0.0

    def at_once(request, answer=gate._at_once):
        nonlocal cpu
        cpu += 0.01
        return answer(request)

    monkeypatch.setattr(gate, "_at_once", at_once)
    monkeypatch.setattr(lb.admin.gate.time, "thread_time", lambda: cpu)
    began = trio.current_time()
    statuses = []
    async with trio.open_nursery() as nursery:

        async def stranger():
            for _ in range(10):
                answer, _ = await serving.ask(STRANGE)
                statuses.append(answer[9:12])
            assert (await serving.ask(STRANGE.replace(b"test", b"healthz")))[0].startswith(b"HTTP/1.1 200 ")

        for _ in range(20):
            nursery.start_soon(stranger)
    assert cpu / (trio.current_time() - began) < 0.1
    assert statuses[0] == b"401"
    assert statuses[-1] == b"429"


async def test_a_client_that_sends_on_and_on_keeps_nobody_out(serving, monkeypatch):
    """Else 56 that trickle would take all turns."""
    monkeypatch.setattr(lb.admin.gate, "TURN", 0.0)
    monkeypatch.setattr(lb.admin.gate, "BURST", 0.0)
    tricklers = [await serving.connect(b"GET /") for _ in range(MAX_ADMIN_CONNECTIONS - KEPT)]
    async with trio.open_nursery() as nursery:

        async def trickle(stream):
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b"x")  # waits for nothing, so it lets others run

        for stream in tricklers:
            nursery.start_soon(trickle, stream)
        with trio.fail_after(10):
            assert await answered(await serving.connect(GET % b"test")) == b"HTTP/1.1 200 "
        nursery.cancel_scope.cancel()


# Any bytes


FRAGMENTS = st.sampled_from(
    [
        b"GET /test HTTP/1.1\r\n",
        b"POST /test HTTP/1.1\r\n",
        b"HEAD /test HTTP/1.0\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"Host: a\r\n",
        b"Authorization: Bearer s3cret\r\n",
        b"Authorization: Basic x\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\n",
        b"Host: a\r\nAuthorization: Bearer s3cret\r\n\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"0\r\n\r\n",
        b"abc",
        b"\x16\x03\x01",
    ]
)


@given(st.lists(st.lists(FRAGMENTS | st.binary(max_size=5), max_size=6).map(b"".join), max_size=4))
def test_any_bytes_in_any_pieces_end_their_connection_only(pieces):
    async def send():
        async with served() as serving:
            async with await serving.connect() as stream:
                with suppress(trio.BrokenResourceError):
                    for piece in pieces:
                        await stream.send_all(piece)
                        await trio.sleep(0.1)
                    await stream.send_eof()
                    await everything(stream)
            answer, _ = await serving.ask(STRANGE)
            assert answer.startswith(b"HTTP/1.1 401 ")
            await trio.sleep(2 * HEAD_TIMEOUT)
            assert serving.descriptors.used == 0
            assert not [event for event in serving.events if isinstance(event, Fault)]

    trio.run(send, clock=trio.testing.MockClock(autojump_threshold=0))
