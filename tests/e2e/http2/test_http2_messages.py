"""What of a message passes between clients of HTTP/2 and servers of HTTP/1.1, and in which form."""

from __future__ import annotations

import hashlib
import json

import pytest
import trio

from tests.support.balancer import balancer, config
from tests.support.http2_client import H2C, visited, visiting
from tests.support.http_client import scripted
from tests.support.http_origin import content, http_origin
from tests.support.servers import serving
from tests.support.tls_peers import write_certificate

pytestmark = pytest.mark.slow

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_a_client_without_tls_may_speak_either_version(tmp_path):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=H2C, health=None)) as lb:
        async with visiting(lb.port) as visitor:
            answer = await visitor.ask("/name")
            assert (answer.status, bytes(answer.body)) == (200, b"a")
            assert answer[b"via"] == b"1.1 trio-lb"
        record = await lb.event("http.request")
        assert (record["version"], record["status"], record["reason"]) == ("2", 200, "ok")


async def test_tls_offers_it_by_alpn(tmp_path):
    listener = f'mode = "http"\n[listeners.web.tls]\n{write_certificate(tmp_path, "a", "a.example.org")}'
    async with http_origin() as a, balancer(tmp_path, config(a, listener=listener, health=None)) as lb:
        async with visiting(lb.port, tls=True) as visitor:
            answer = await visitor.ask("/request", scheme="https")
            heads = dict(json.loads(bytes(answer.body))["headers"])
        assert heads["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("count", [0, 5, 300_000, 3_000_000])
async def test_bodies_of_servers_pass_whole(tmp_path, framing, count):
    async with http_origin() as a, visited(tmp_path, a) as (_lb, visitor):
        answer = await visitor.ask(f"/bytes?n={count}&framing={framing}")
        assert bytes(answer.body) == content(count)
        assert (b"content-length" in answer) == (framing == "length")
        assert b"transfer-encoding" not in answer
        assert b"connection" not in answer


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("count", [1, 70_000, 3_000_000])
async def test_bodies_of_clients_pass_whole(tmp_path, has_length, count):
    fields = [("content-length", str(count))] if has_length else []
    async with http_origin() as a, visited(tmp_path, a) as (_lb, visitor):
        answer = await visitor.ask("/digest", *fields, method="POST", body=content(count))
        assert bytes(answer.body).decode() == hashlib.sha256(content(count)).hexdigest()


async def test_a_server_gets_one_cookie_field_and_what_it_is_told_of_the_client(tmp_path):
    async with scripted(EMPTY) as server, visited(tmp_path, server) as (_lb, visitor):
        await visitor.ask("/", ("cookie", "a=b"), ("x-mine", "1"), ("cookie", "c=d"), ("te", "trailers"))
    (request,) = server.requests
    assert request[b"cookie"] == b"a=b; c=d"
    assert request[b"host"] == b"lb.example"
    assert request[b"x-forwarded-for"] == b"127.0.0.1"
    assert request[b"x-mine"] == b"1"
    assert request[b"via"] == b"1.1 trio-lb"
    assert b"te" not in request


async def test_trailers_pass_in_both_directions(tmp_path):
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\nx-b: c\r\n\r\n"
    async with scripted(response) as server, visited(tmp_path, server) as (_lb, visitor):
        stream_id = await visitor.send("/", method="POST", ends=False)
        await visitor.send_body(stream_id, b"body", trailers=[("x-end", "1")])
        answer = await visitor.answer(stream_id)
    assert bytes(answer.body) == b"hello"
    assert answer.trailers == [(b"x-sum", b"7"), (b"x-b", b"c")]
    (request,) = server.requests
    assert (request.body, request.trailers) == (b"body", [(b"x-end", b"1")])


async def test_a_trailer_that_must_stand_in_the_head_is_refused(tmp_path):
    async with scripted(EMPTY) as server, visited(tmp_path, server) as (_lb, visitor):
        stream_id = await visitor.send("/", method="POST", ends=False)
        await visitor.send_body(stream_id, b"body", trailers=[("content-type", "text/plain")])
        assert (await visitor.answer(stream_id)).status == 400


async def test_interim_responses_pass(tmp_path):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    async with scripted(hints + EMPTY) as server, visited(tmp_path, server) as (_lb, visitor):
        answer = await visitor.ask("/")
    assert [dict(fields)[b"link"] for fields in answer.interim] == [b"</style.css>"]
    assert answer.status == 200


async def test_a_client_that_expects_100_continue_gets_it(tmp_path):
    async with scripted(EMPTY) as server, visited(tmp_path, server) as (_lb, visitor):
        stream_id = await visitor.send("/", ("expect", "100-continue"), method="POST", ends=False)
        await visitor.until(lambda: visitor.answers[stream_id].interim)
        await visitor.send_body(stream_id, b"body")
        assert (await visitor.answer(stream_id)).status == 200
    assert server.requests[0].body == b"body"


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_responses_without_a_body_end_with_their_head(tmp_path, status):
    response = b"HTTP/1.1 %d X\r\nETag: 1\r\n%s\r\n" % (status, b"" if status == 204 else b"Content-Length: 7\r\n")
    async with scripted(response) as server, visited(tmp_path, server) as (_lb, visitor):
        answer = await visitor.ask("/", method="HEAD" if status == 200 else "GET")
    assert (answer.status, bytes(answer.body), answer.ended) == (status, b"", True)
    assert answer[b"content-length"] == (b"7" if status == 200 else None)


async def test_a_response_that_is_cut_short_is_a_reset_stream_and_others_go_on(tmp_path):
    async with http_origin() as a, visited(tmp_path, a) as (lb, visitor):
        for framing in ("length", "chunked"):
            answer = await visitor.ask(f"/cut?n=100000&framing={framing}&how=fin")
            assert (answer.status, answer.ended) == (200, False)
            assert answer.reset == 2  # INTERNAL_ERROR
        assert (await visitor.ask("/name")).status == 200
        for _ in range(2):
            record = await lb.event("http.request", reason="server_reset")
        assert record["status"] == 200


async def test_a_server_that_answers_before_it_has_all_does_not_stop_the_others(tmp_path):
    async with http_origin() as a, visited(tmp_path, a) as (_lb, visitor):
        answer = await visitor.ask("/early", method="POST", body=content(3_000_000))
        assert answer.status == 403
        assert (await visitor.ask("/name")).status == 200


async def test_errors_of_our_own(tmp_path):
    listener = f'{H2C}\nmax_body = "10KiB"'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        assert (await visitor.ask("/a/../../b")).status == 400
        assert (
            await visitor.ask("/", method="CONNECT", pseudo=[(":method", "CONNECT"), (":authority", "a:1")])
        ).status == 405
        answer = await visitor.ask("/digest", ("content-length", "20000"), method="POST", body=b"x" * 20000)
        assert answer.status == 413
        assert (await visitor.ask("/digest", method="POST", body=b"x" * 20000)).status == 413
        assert (await visitor.ask("/", *((f"x-{number}", "y" * 330) for number in range(95)))).status == 431
        assert (await visitor.ask("/name")).status == 200


async def test_a_client_that_resets_a_stream_has_left(tmp_path):
    async with http_origin() as a, visited(tmp_path, a) as (lb, visitor):
        stream_id = await visitor.send("/wait")
        await a.has(1)
        visitor.h2.reset_stream(stream_id, 8)
        await visitor.flush()
        record = await lb.event("http.request")
        assert (record["status"], record["reason"]) == (None, "client_left")
        assert (await visitor.ask("/name")).status == 200


async def test_streams_do_not_wait_for_each_other(tmp_path):
    async with http_origin() as a, visited(tmp_path, a) as (_lb, visitor):
        slow = [await visitor.send("/wait") for _ in range(30)]
        assert (await visitor.ask("/name")).status == 200
        a.go_on.set()
        for stream_id in slow:
            assert (await visitor.answer(stream_id)).status == 200


async def test_a_slow_reader_of_one_stream_stalls_nobody_else(tmp_path):
    async with http_origin() as a, visited(tmp_path, a, reads=False, window=100_000) as (_lb, visitor):
        slow = await visitor.send("/bytes?n=14000000")
        await visitor.until(lambda: len(visitor.answers[slow].body) == 100_000)
        for number in range(20):
            answer = await visitor.ask(f"/bytes?n=90000&seed={number}")
            assert bytes(answer.body) == content(90_000, number)
        assert len(visitor.answers[slow].body) == 100_000
        assert a.sent < 14_000_000, "what nobody reads stays at the server"
        visitor.h2.increment_flow_control_window(14_000_000, slow)
        await visitor.flush()
        assert bytes((await visitor.answer(slow)).body) == content(14_000_000)


async def test_a_slow_server_of_one_stream_stalls_nobody_else(tmp_path):
    go_on = trio.Event()

    async def handler(stream):
        head = await stream.receive_some()
        if b"/slow" in head:
            await go_on.wait()
        async for data in stream:
            if data.endswith(b"0\r\n\r\n"):
                break
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with (
        serving(handler, name="s") as server,
        visited(tmp_path, server) as (_lb, visitor),
        trio.open_nursery() as nursery,
    ):
        held = await visitor.send("/slow", method="POST", ends=False)
        nursery.start_soon(visitor.send_body, held, b"x" * 8_000_000)
        for _ in range(3):
            assert (await visitor.ask("/quick", method="POST", body=b"y" * 1_000_000)).status == 200
        assert not visitor.is_over(held)
        go_on.set()
        assert (await visitor.answer(held)).status == 200
