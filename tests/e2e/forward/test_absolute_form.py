"""Requests with a whole URL: what servers get of them, what clients get back, and connections that are kept."""

from __future__ import annotations

import hashlib
import json

import h11
import pytest
import trio

from tests.support.balancer import balancer
from tests.support.caching import response
from tests.support.forwarding import (
    BASIC,
    STAFF,
    forward_config,
    get_head,
    named_balancer,
    proxy_client,
    write_staff,
)
from tests.support.http_client import Ended, scripted
from tests.support.http_origin import content, http_origin
from tests.support.servers import serving

OK = response(b"hello", b"Server: x\r\n")


def url(server, path="/"):
    return f"http://{server.address}{path}"


def names_of(received):
    return {name for name, _ in received.headers}


@pytest.mark.usefixtures("worker_count")
async def test_a_server_gets_a_request_for_itself(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            lines = (
                b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\nProxy-Foo: bar\r\n"
                b"Forwarded: for=10.0.0.7\r\nX-Forwarded-For: 10.0.0.7\r\nX-Forwarded-Proto: https\r\n"
                b"X-Real-IP: 10.0.0.7\r\n"
                b"Via: 1.0 fred\r\nCookie: a=b\r\nAccept: text/html\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
            )
            answer = await client.get(url(server, "/path?q=%41"), lines)
            assert (answer.status, answer.body, answer[b"server"]) == (200, b"hello", b"x")
        record = await lb.event("http.request")
    (received,) = server.requests
    assert (received.method, received.target) == (b"GET", b"/path?q=%41")
    assert received[b"host"] == server.address.encode()
    assert [value for name, value in received.headers if name == b"via"] == [b"1.0 fred", b"1.1 trio-lb"]
    assert (received[b"cookie"], received[b"accept"]) == (b"a=b", b"text/html")
    hidden = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"x-hop", b"x-request-id"}
    assert not names_of(received) & hidden
    assert not [name for name in names_of(received) if name.startswith(b"proxy-")]
    assert (record["status"], record["host"], record["path"]) == (200, server.address, "/path")
    assert (record["reason"], record["server"], record["route"]) == ("ok", server.address, "")


async def test_a_server_is_told_the_client_if_that_is_wanted(tmp_path):
    async with (
        scripted(OK) as server,
        balancer(tmp_path, forward_config("hide_client = false")) as lb,
        proxy_client(lb) as client,
    ):
        await client.get(url(server))
        await client.get(url(server), b"X-Forwarded-For: 10.0.0.7\r\n")
    alone, behind = server.requests
    assert alone[b"x-forwarded-for"] == b"127.0.0.1"
    chain = b", ".join(value for name, value in behind.headers if name == b"x-forwarded-for")
    assert chain == b"10.0.0.7, 127.0.0.1"
    assert alone[b"via"] == b"1.1 trio-lb"


async def test_the_host_field_does_not_count(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.get(url(server), b"Host: other.example\r\n")).status == 200
        await client.send(b"GET %s HTTP/1.0\r\n\r\n" % url(server).encode())
        assert (await client.answer()).status == 200
    assert [received[b"host"] for received in server.requests] == [server.address.encode()] * 2


@pytest.mark.parametrize("size", [0, 10, 300_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_bodies_pass_both_ways_as_they_are_framed(tmp_path, size, chunked):
    body = content(size)
    if chunked:
        lines, sent = (
            b"Transfer-Encoding: chunked\r\n",
            (b"%x\r\n%s\r\n" % (size, body) if size else b"") + b"0\r\n\r\n",
        )
    else:
        lines, sent = b"Content-Length: %d\r\n" % size, body
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.send, get_head(url(origin, "/echo"), lines, b"POST") + sent)
                answer = await client.answer("POST")
            assert (answer.status, answer.body) == (200, body)
            assert (b"transfer-encoding" in answer) is chunked
        assert origin.served.connections == 1


async def test_a_body_of_any_size_passes(tmp_path):
    body = content(20_000_000)
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                client.send, get_head(url(origin, "/digest"), b"Content-Length: %d\r\n" % len(body), b"PUT") + body
            )
            answer = await client.answer("PUT")
        assert answer.body.decode() == hashlib.sha256(body).hexdigest()
        assert (await client.get(url(origin, "/bytes?n=20000000"))).body == body


async def test_trailers_pass_both_ways(tmp_path):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 7\r\n\r\n"
    async with scripted(answer) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        body = b"3\r\nabc\r\n0\r\nX-Check: 9\r\n\r\n"
        got = await client.get(url(server), b"Transfer-Encoding: chunked\r\n", b"POST", body)
        assert (got.body, got.trailers) == (b"x", [(b"x-sum", b"7")])
    assert (server.requests[0].body, server.requests[0].trailers) == (b"abc", [(b"x-check", b"9")])


async def test_a_client_that_waits_for_100_gets_it(tmp_path):
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(get_head(url(origin, "/echo"), b"Content-Length: 5\r\nExpect: 100-continue\r\n", b"POST"))
        assert (await client.head()).startswith(b"HTTP/1.1 100 ")
        await client.send(b"hello")
        assert (await client.answer("POST")).body == b"hello"


async def test_a_web_socket_passes(tmp_path):
    async def switch(stream, request):
        assert (request[b"upgrade"], request[b"connection"]) == (b"websocket", b"upgrade")
        await stream.send_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly\n"
        )
        async for data in stream:
            await stream.send_all(data.upper())
        return False

    async with scripted(switch) as server, balancer(tmp_path, forward_config()) as lb:
        async with proxy_client(lb) as client:
            await client.send(get_head(url(server, "/chat"), b"Connection: Upgrade\r\nUpgrade: websocket\r\n"))
            assert (await client.head()).startswith(b"HTTP/1.1 101 ")
            assert await client.line() == b"early"
            assert await client.talk(b"hello") == b"HELLO"
            await client.stream.send_eof()
            assert await client.all() == b""
        record = await lb.event("http.request")
    assert (record["status"], record["reason"]) == (101, "ok")


async def test_connections_to_servers_are_kept_for_all_clients(tmp_path):
    async with http_origin("a") as a, http_origin("b") as b, balancer(tmp_path, forward_config()) as lb:
        for _ in range(3):
            async with proxy_client(lb) as client:
                assert (await client.get(url(a))).body == b"a"
                assert (await client.get(url(b))).body == b"b"
                assert (await client.get(url(a))).body == b"a"
        workers = len(lb.of("worker.started")) or 1
        assert 1 <= a.served.connections <= workers
        assert 1 <= b.served.connections <= workers


async def test_a_kept_connection_that_has_ended_costs_no_request(tmp_path):
    async def once(stream, request):
        await stream.send_all(OK)
        return False

    async with scripted(once) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        for _ in range(5):
            assert (await client.get(url(server))).status == 200
    assert len(server.requests) == 5


async def test_requests_sent_at_once_are_answered_in_order(tmp_path):
    async with (
        http_origin("a") as a,
        http_origin("b") as b,
        balancer(tmp_path, forward_config()) as lb,
        proxy_client(lb) as client,
    ):
        await client.send(b"".join(get_head(url(each)) for each in (a, b, a, b)))
        assert [(await client.answer()).body for _ in range(4)] == [b"a", b"b", b"a", b"b"]


async def test_head_and_statuses_without_a_body(tmp_path):
    empty = b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n"
    async with (
        scripted(response(b"hello"), empty, b"HTTP/1.1 204 No Content\r\n\r\n") as server,
        balancer(tmp_path, forward_config()) as lb,
        proxy_client(lb) as client,
    ):
        await client.send(get_head(url(server)))
        assert (await client.answer()).body == b"hello"
        assert (await client.get(url(server))).status == 304
        assert (await client.get(url(server))).status == 204


async def test_a_request_for_a_web_server_is_told_what_this_is(tmp_path):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        for _ in range(2):
            answer = await client.ask(b"GET /index.html HTTP/1.1\r\nHost: proxy.example\r\nAccept: text/plain\r\n\r\n")
            assert answer.status == 400
            assert b"This is a proxy" in answer.body
            assert answer[b"proxy-status"] == b"trio-lb; error=http_request_error"
            assert b"connection" not in answer
        record = await lb.event("http.request")
    assert (record["status"], record["reason"]) == (400, "bad_request")


async def test_a_request_for_a_web_server_is_told_so_before_a_login_is_asked_for(tmp_path):
    write_staff(tmp_path)
    async with balancer(tmp_path, forward_config('auth = "staff"', top=STAFF)) as lb, proxy_client(lb) as client:
        assert (await client.ask(b"GET / HTTP/1.1\r\nHost: proxy.example\r\n\r\n")).status == 400


async def test_a_login_is_asked_for_and_kept_from_the_server(tmp_path):
    write_staff(tmp_path)
    async with (
        scripted(OK) as server,
        balancer(tmp_path, forward_config('auth = "staff"', top=STAFF)) as lb,
        proxy_client(lb) as client,
    ):
        for lines in (
            b"",
            b"Proxy-Authorization: Basic YW5uOndyb25n\r\n",
            b"Authorization: Basic YW5uOnNlc2FtZQ==\r\n",
        ):
            asked = await client.get(url(server), lines)
            assert asked.status == 407
            assert asked[b"proxy-authenticate"] == b'Basic realm="Staff only", charset="UTF-8"'
            assert asked[b"proxy-status"] == b"trio-lb; error=http_request_denied"
        assert not server.requests
        answer = await client.get(url(server), BASIC + b"Authorization: Basic eDp5\r\n")
        assert answer.status == 200
    (received,) = server.requests
    assert b"proxy-authorization" not in received
    assert received[b"authorization"] == b"Basic eDp5"


async def test_options_for_the_proxy_itself(tmp_path):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        answer = await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: proxy.example\r\n\r\n", "OPTIONS")
        assert answer.status == 200
        assert b"CONNECT" in answer[b"allow"]


async def test_options_without_a_path_is_one_for_the_whole_server(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.get(f"http://{server.address}", method=b"OPTIONS")).status == 200
    assert server.requests[0].target == b"*"


async def test_trace_and_options_go_as_far_as_they_may(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        secret = b"Cookie: a=b\r\nAuthorization: Basic x\r\nX-Shown: yes\r\n"
        answer = await client.get(url(server, "/a"), b"Max-Forwards: 0\r\n" + secret + BASIC, b"TRACE")
        assert (answer.status, answer[b"content-type"]) == (200, b"message/http")
        assert answer.body.startswith(b"TRACE http://%s/a HTTP/1.1\r\n" % server.address.encode())
        assert b"X-Shown: yes" in answer.body
        assert not [word for word in (b"Cookie", b"uthorization") if word in answer.body]
        assert (await client.get(url(server), b"Max-Forwards: 0\r\n", b"OPTIONS"))[b"allow"]
        assert not server.requests
        for method in (b"TRACE", b"OPTIONS", b"GET"):
            assert (await client.get(url(server), b"Max-Forwards: 3\r\n" + secret, method)).status == 200
    trace, options, get = server.requests
    assert (trace[b"max-forwards"], options[b"max-forwards"], get[b"max-forwards"]) == (b"2", b"2", b"3")
    assert trace[b"via"] == b"1.1 trio-lb"


@pytest.mark.parametrize("target", ["ftp://a.example/x", "https://a.example/", "gopher://a.example/", "urn://x"])
async def test_other_schemes_are_not_spoken(tmp_path, target):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.get(target)).status == 501
        assert await client.ended()


@pytest.mark.parametrize(
    "target", ["http:///x", "http://user:pw@a.example/", "http://a.example:0/", "http://a b/", "x"]
)
async def test_what_is_no_url_is_refused(tmp_path, target):
    async with balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        assert (await client.get(target)).status == 400


async def test_a_server_that_does_not_answer_in_time(tmp_path):
    async with http_origin() as origin, balancer(tmp_path, forward_config('response_timeout = "300ms"')) as lb:
        async with proxy_client(lb) as client:
            answer = await client.get(url(origin, "/hang"))
            assert (answer.status, answer[b"proxy-status"]) == (504, b"trio-lb; error=http_response_timeout")
            assert (await client.get(url(origin))).body == b"a"
        assert (await lb.event("http.request"))["reason"] == "timeout"


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [(b"", "connection_terminated", "server_reset"), (b"SSH-2.0-x\r\n\r\n", "http_protocol_error", "bad_response")],
)
async def test_a_server_that_speaks_no_http(tmp_path, said, error, reason):
    async def handler(stream):
        await stream.receive_some()
        await stream.send_all(said)

    async with serving(handler) as server, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        answer = await client.get(url(server), method=b"POST", lines=b"Content-Length: 0\r\n")
        assert (answer.status, answer[b"proxy-status"].decode()) == (502, f"trio-lb; error={error}")
        assert (await lb.event("http.request"))["reason"] == reason


async def test_limits_of_heads_and_bodies(tmp_path):
    text = forward_config('max_header = "4KiB"\nmax_body = "1KiB"')
    async with http_origin() as origin, balancer(tmp_path, text) as lb:
        async with proxy_client(lb) as client:
            answer = await client.get(url(origin, "/echo"), b"Content-Length: 2000\r\n", b"POST", bytes(2000))
            assert (answer.status, answer[b"proxy-status"]) == (413, b"trio-lb; error=http_request_error")
        async with proxy_client(lb) as client:
            answer = await client.get(url(origin), b"X: %s\r\n" % (b"x" * 5000))
            assert (answer.status, answer[b"proxy-status"]) == (431, b"trio-lb; error=http_request_error")
        async with proxy_client(lb) as client:
            body = b"800\r\n%s\r\n0\r\n\r\n" % bytes(2048)
            answer = await client.get(url(origin, "/echo"), b"Transfer-Encoding: chunked\r\n", b"POST", body)
            assert answer.status == 413
        assert not origin.requests or origin.requests == ["/echo"]


async def test_a_slow_head_ends_in_time(tmp_path):
    async with balancer(tmp_path, forward_config('header_timeout = "300ms"')) as lb, proxy_client(lb) as client:
        await client.send(b"GET http://a.example/ HTTP/1.1\r\nHost: a")
        answer = await client.answer()
        assert (answer.status, answer[b"proxy-status"]) == (408, b"trio-lb; error=http_response_timeout")
        assert await client.ended()


async def test_an_answer_that_is_cut_does_not_look_complete(tmp_path):
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        await client.send(get_head(url(origin, "/cut?n=50000&framing=length&how=reset")))
        with pytest.raises((Ended, h11.RemoteProtocolError)):
            await client.answer()


async def test_the_request_as_json(tmp_path):
    """The whole head that a server gets of curl's request."""
    async with http_origin() as origin, balancer(tmp_path, forward_config()) as lb, proxy_client(lb) as client:
        answer = await client.get(
            url(origin, "/request"), b"User-Agent: curl/8\r\nAccept: */*\r\nProxy-Connection: Keep-Alive\r\n"
        )
    seen = json.loads(answer.body)
    assert {name.lower(): value for name, value in seen["headers"]} == {
        "host": origin.address,
        "user-agent": "curl/8",
        "accept": "*/*",
        "via": "1.1 trio-lb",
    }


@pytest.mark.slow
async def test_servers_that_are_forgotten_for_others_still_answer(tmp_path):
    """More servers than are remembered are asked while the first has a request on its way."""
    text = forward_config('response_timeout = "0"')  # a busy machine takes a minute for the others
    async with http_origin(address=("0.0.0.0", 0)) as origin, balancer(tmp_path, text) as lb:
        port = origin.address.rpartition(":")[2]
        async with proxy_client(lb) as first, proxy_client(lb) as client:
            await first.send(get_head(f"http://127.0.0.1:{port}/wait"))
            await origin.has(1)
            for number in range(1100):
                assert (await client.get(f"http://127.1.{number // 250}.{number % 250 + 1}:{port}/")).status == 200
            origin.go_on.set()
            assert (await first.answer()).body == b"a"
            assert (await first.get(f"http://127.0.0.1:{port}/")).body == b"a"
        await origin.served.until(lambda served: served.open <= 1000)


async def test_a_body_that_comes_during_the_look_up_is_not_lost(tmp_path):
    body = content(200_000)
    async with (
        http_origin() as origin,
        named_balancer(tmp_path, forward_config()) as (lb, names),
        proxy_client(lb) as client,
    ):
        names.has("web.example", "A", "127.0.0.1")
        held = names.holds("web.example", "A")
        url = f"http://web.example:{origin.address.rpartition(':')[2]}/echo"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, get_head(url, b"Content-Length: 200000\r\n", b"POST"), body)
            await names.has_been_asked(2)
            held.set()
            assert (await client.answer("POST")).body == body
