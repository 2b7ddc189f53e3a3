"""Bodies arrive as they were sent, in both directions, and one that is cut short never looks complete."""

from __future__ import annotations

import hashlib
import os
import socket
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.balancer import PATIENCE, balancer, config, connect
from tests.support.effort import DEEP
from tests.support.http_origin import content, http_backends, http_origin
from tests.support.http_sessions import HttpSession, Incomplete, fetch, http_session
from tests.support.operating import ADMIN, operated
from tests.support.servers import refusing, serving

KIB, MIB = 1 << 10, 1 << 20
EDGES = [0, 1, 4 * KIB, 16 * KIB, 64 * KIB, 128 * KIB]
SIZES = sorted({max(0, edge + more) for edge in EDGES for more in (-1, 0, 1)} | {MIB, 8 * MIB})
"""Around the sizes of reads, of writes that are joined, of what is kept for a retry, and of the shared buffer."""
LISTENER = 'mode = "http"'
TRY_NEXT = 'strategy = "first"\npassive = { failures = 0 }'
UNHURRIED = settings(
    max_examples=40 if DEEP else 6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@asynccontextmanager
async def proxied(tmp_path, *servers, pool="", listener=""):
    text = config(*servers, listener=f"{LISTENER}\n{listener}", pool=pool, health=None, top=ADMIN)
    async with operated(tmp_path, text) as (lb, operator):
        yield lb, operator


async def all_leases_are_back(operator):
    """Wait until no server has a request."""
    await operator.until(operator.servers, lambda servers: not any(each["active"] for each in servers.values()))


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_responses_of_all_sizes_arrive_whole_over_one_connection(tmp_path, framing):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        async with http_session(lb.port) as client:
            for size in SIZES:
                answer = await client.ask(f"/bytes?n={size}&framing={framing}&seed={size}")
                assert (answer.status, answer.body == content(size, size)) == (200, True), size
                assert not answer.closes
        assert a.served.connections == (len(SIZES) if framing == "close" else 1)
        await all_leases_are_back(operator)
        records = [await lb.event("http.request", count=count) for count in range(1, len(SIZES) + 1)]
    if framing == "length":  # others are counted with the framing of their chunks
        assert [record["bytes_out"] for record in records] == SIZES


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_uploads_of_all_sizes_come_back_whole_over_one_connection(tmp_path, chunked):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        async with http_session(lb.port) as client:
            for size in SIZES:
                body = content(size, size)
                answer = await client.ask("/echo", "POST", body, chunked=chunked)
                assert (answer.status, answer.body == body) == (200, True), size
                assert not answer.closes
        assert a.served.connections == 1
        await all_leases_are_back(operator)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
async def test_for_a_client_of_http_1_0_the_end_of_a_body_is_clear(tmp_path, framing):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, _):
        for size in (0, 1, 16 * KIB + 1, MIB):
            async with await connect(lb.port) as stream:
                await stream.send_all(
                    b"GET /bytes?n=%d&framing=%b HTTP/1.0\r\nHost: a\r\n\r\n" % (size, framing.encode())
                )
                head, _, body = b"".join([piece async for piece in stream]).partition(b"\r\n\r\n")
                assert body == content(size), size
                assert b"chunked" not in head


@UNHURRIED
@given(
    sizes=st.lists(st.sampled_from(SIZES[:-1]) | st.integers(0, 300_000), min_size=1, max_size=4),
    chunked=st.booleans(),
    piece=st.sampled_from([997, 4096, 65536]),
)
def test_an_upload_that_goes_to_a_second_server_arrives_whole(tmp_path_factory, sizes, chunked, piece):
    """The first server resets each request, some of them after it has read a part."""

    async def reset_later(stream):
        await stream.receive_some(5000)

    async def run():
        async with serving(reset_later, name="a") as a, http_origin("b") as b:
            pool = f'{TRY_NEXT}\n[pools.web.http]\nretry_buffer = "1MiB"'
            async with proxied(tmp_path_factory.mktemp("lb"), a, b, pool=pool) as (lb, operator):
                async with http_session(lb.port, piece=piece) as client:
                    for size in sizes:
                        body = content(size, size)
                        answer = await client.ask("/echo", "PUT", body, chunked=chunked)
                        assert (answer.status, answer.body == body) == (200, True), size
                await all_leases_are_back(operator)
                records = [await lb.event("http.request", count=count) for count in range(1, len(sizes) + 1)]
        assert {record["server"] for record in records} == {"b"}
        assert all([attempt["server"] for attempt in record["attempts"]] == ["a"] for record in records)

    trio.run(run)


async def test_an_upload_that_is_not_kept_is_not_sent_twice(tmp_path):
    async def reset(stream):
        await stream.receive_some(5000)

    async with (
        serving(reset, name="a") as a,
        http_origin("b") as b,
        proxied(tmp_path, a, b, pool=f'{TRY_NEXT}\n[pools.web.http]\nretry_buffer = "64KiB"') as (
            lb,
            operator,
        ),
    ):
        for method, size in (("POST", 10), ("PUT", 64 * KIB + 1)):
            answer = await fetch(lb.port, "/echo", method, content(size))
            assert answer.status == 502
        await all_leases_are_back(operator)
        assert b.requests == []


async def test_a_body_that_was_kept_also_survives_connects_that_fail(tmp_path):
    async with refusing("a") as a, http_origin("b") as b, proxied(tmp_path, a, b, pool=TRY_NEXT) as (lb, operator):
        for size in (1, 200_000, 3 * MIB):
            answer = await fetch(lb.port, "/digest", "POST", content(size))
            assert answer.text == hashlib.sha256(content(size)).hexdigest()
        await all_leases_are_back(operator)


async def test_many_at_once_get_their_own(tmp_path):
    async with http_origin("a") as a, http_origin("b") as b, proxied(tmp_path, a, b) as (lb, operator):

        async def session(number):
            async with http_session(lb.port, piece=5000 + 997 * number) as client:
                for turn in range(4):
                    seed = 100 * number + turn
                    size = (seed * 104_729) % MIB
                    answer = await client.ask(f"/bytes?n={size}&framing={('length', 'chunked')[turn % 2]}&seed={seed}")
                    assert answer.body == content(size, seed)
                    answer = await client.ask("/echo", "POST", content(size, seed), chunked=turn % 2 == 0)
                    assert answer.body == content(size, seed)

        async with trio.open_nursery() as nursery:
            for number in range(12):
                nursery.start_soon(session, number)
        await all_leases_are_back(operator)


async def until_it_rests(count):
    """Wait until a counter that has left 0 stands still for a while; return it."""
    with trio.fail_after(PATIENCE):
        while not count():  # noqa: ASYNC110 - a counter has no event
            await trio.sleep(0.01)
        before = -1
        while before != (before := count()):  # noqa: ASYNC110 - nothing tells that nothing moves
            await trio.sleep(0.3)
    return before


def small_buffers(stream):
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        stream.socket.setsockopt(socket.SOL_SOCKET, option, 16 * KIB)


async def resident(lb):
    """Return the resident memory of the balancer in bytes."""
    pages = (await trio.Path(f"/proc/{lb.process.pid}/statm").read_text()).split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_client_that_does_not_read_stops_the_server(tmp_path, framing):
    size = 48 * MIB
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        await fetch(lb.port)
        before = await resident(lb)
        async with await connect(lb.port) as stream:
            small_buffers(stream)
            client = HttpSession(stream)
            await client.send(f"/bytes?n={size}&framing={framing}")
            sent = await until_it_rests(lambda: a.sent)
            assert 0 < sent < size / 2
            assert await resident(lb) - before < 4 * MIB
            assert (await client.answer()).body == content(size)
        await all_leases_are_back(operator)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_a_server_that_does_not_read_stops_the_client(tmp_path, chunked):
    size, go_on = 48 * MIB, trio.Event()
    sent = 0

    async def slow(stream):
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        await go_on.wait()
        while content(KIB, 2)[-10:] not in head[-KIB:]:
            head = head[-KIB:] + await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    body = content(size - KIB, 1) + content(KIB, 2)
    async with serving(slow) as server, proxied(tmp_path, server) as (lb, operator):
        before = await resident(lb)
        async with await connect(lb.port) as stream:
            small_buffers(stream)

            async def send():
                nonlocal sent
                framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
                await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % framing)
                for start in range(0, size, 32 * KIB):
                    piece = body[start : start + 32 * KIB]
                    await stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                    sent += len(piece)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send)
                assert 0 < await until_it_rests(lambda: sent) < size / 2
                assert await resident(lb) - before < 4 * MIB
                go_on.set()
            if chunked:
                await stream.send_all(b"0\r\n\r\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        await all_leases_are_back(operator)


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_an_answer_before_the_end_of_the_upload_arrives(tmp_path, chunked):
    """The server answers and closes without reading on."""
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        for size in (1, 100_000, 20 * MIB):
            answer = await fetch(lb.port, "/early", "POST", content(size), chunked=chunked)
            assert (answer.status, answer.body) == (403, b"early"), size
        await all_leases_are_back(operator)
        await a.served.until(lambda served: served.open == 0)


@pytest.mark.parametrize("request_line", [b"POST /digest", b"GET /bytes?n=40000000", b"GET /hang"])
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "reset"])
async def test_a_client_that_leaves_in_the_middle_gives_everything_back(tmp_path, request_line, reset):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        stream = await connect(lb.port)
        length = b"Content-Length: 50000\r\n\r\n" + bytes(20_000) if request_line.startswith(b"POST") else b"\r\n"
        await stream.send_all(request_line + b" HTTP/1.1\r\nHost: a\r\n" + length)
        await a.has(1)
        if reset:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        record = await lb.event("http.request")
        assert record["reason"] == "client_left"
        await all_leases_are_back(operator)
        await a.served.until(lambda served: served.open == 0)


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [10, 100_000, 2 * MIB])
async def test_a_response_that_is_cut_short_never_looks_complete(tmp_path, how, framing, size):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, operator):
        with pytest.raises(Incomplete):
            await fetch(lb.port, f"/cut?n={size}&framing={framing}&how={how}")
        record = await lb.event("http.request")
        assert record["reason"] == "server_reset"
        await all_leases_are_back(operator)


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_for_a_client_of_http_1_0_a_cut_is_a_reset(tmp_path, framing):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, _), await connect(lb.port) as stream:
        await stream.send_all(b"GET /cut?n=100000&how=fin&framing=%b HTTP/1.0\r\nHost: a\r\n\r\n" % framing.encode())
        with pytest.raises(trio.BrokenResourceError):
            async for _ in stream:
                pass


async def test_a_body_until_the_end_of_the_connection_that_is_reset_is_no_body(tmp_path):
    async with http_origin() as a, proxied(tmp_path, a) as (lb, _):
        with pytest.raises(Incomplete):
            await fetch(lb.port, "/cut?n=300000&framing=close&how=reset")


async def test_a_server_that_is_killed_in_the_middle_is_never_a_whole_response(tmp_path):
    size = 30 * MIB
    async with http_backends("a") as (a,), balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
        for framing in ("length", "chunked"):
            async with await connect(lb.port) as stream:
                small_buffers(stream)
                client = HttpSession(stream)
                await client.send(f"/bytes?n={size}&framing={framing}")
                await stream.socket.recv(100, socket.MSG_PEEK)
                await a.kill()
                with pytest.raises(Incomplete):
                    await client.answer()
            await a.start()
