"""Servers of HTTP/2: streams that share connections, what they refuse, and how connections end."""

from __future__ import annotations

import zlib
from contextlib import asynccontextmanager

import h2.errors
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.http2_origin import http2_origin
from tests.support.http_attacks import HOST, post, request
from tests.support.http_client import client
from tests.support.http_origin import content
from tests.support.http_peers import lb_config
from tests.support.servers import free_port, serving
from tests.support.tls_peers import authority, server_context

pytestmark = pytest.mark.slow

GET = request()
POOL = '[pools.web.http]\nprotocol = "h2"\n'


def get(path):
    return request(b"GET %s HTTP/1.1" % path.encode())


async def say_path(asked):
    await asked.answer(asked.path.encode(), ("content-length", str(len(asked.path))))


async def echo(asked):
    await asked.answer(await asked.body())


@asynccontextmanager
async def balanced(tmp_path, *origins, pool="", http="", tables=""):
    async with balancer(tmp_path, lb_config(*origins, pool=f"{pool}\n{POOL}{http}\n{tables}")) as lb:
        yield lb


async def at_once(lb, count, each):
    """Run ``each(visitor, number)`` for so many clients at the same time."""

    async def visit(number):
        async with client(lb) as visitor:
            await each(visitor, number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(visit, number)


async def test_requests_of_many_clients_share_a_connection(tmp_path):
    all_here, count = trio.Event(), 0

    async def answer(asked):
        nonlocal count
        count += 1
        if count == 40:
            all_here.set()
        await all_here.wait()
        await say_path(asked)

    async def each(visitor, number):
        assert (await visitor.ask(get(f"/{number}"))).body == b"/%d" % number

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        await at_once(lb, 40, each)
        assert origin.connections == 1
        await at_once(lb, 5, each)
        assert origin.connections == 1


@pytest.mark.parametrize(("configured", "allowed"), [(10, 100), (100, 10)])
async def test_a_connection_carries_so_many_and_no_more_than_the_server_allows(tmp_path, configured, allowed):
    here, all_here = 0, trio.Event()

    async def answer(asked):
        nonlocal here
        here += 1
        if here >= 30:
            all_here.set()
        await all_here.wait()
        await say_path(asked)

    async def each(visitor, number):
        assert (await visitor.ask(get(f"/{number}"))).body == b"/%d" % number

    async with (
        http2_origin(answer, max_streams=allowed) as origin,
        balanced(tmp_path, origin, http=f"max_streams = {configured}") as lb,
    ):
        async with client(lb) as first, trio.open_nursery() as nursery:
            nursery.start_soon(each, first, 0)  # from now on the server's settings are known
            await origin.has(1)
            nursery.start_soon(at_once, lb, 29, each)
        assert origin.connections == 3
        assert max(len(peer.asked) for peer in origin.peers) == 10


async def test_what_a_server_gets_and_what_a_client_gets(tmp_path):
    async def answer(asked):
        await asked.head(103, ("link", "</a.css>; rel=preload"))
        await asked.answer(b"body", ("x-a", "1"), ("x-a", "2"), status=201, trailers=[("x-sum", "3")])

    asked = b"GET /a/b?c=d HTTP/1.1"
    fields = HOST + b"X-Name: Value\r\nCookie: a=b\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        async with client(lb) as visitor:
            found = await visitor.ask(request(asked, fields))
        assert (found.status, found.body, found.interim) == (201, b"body", [103])
        assert found.trailers == [(b"x-sum", b"3")]
        assert [value for name, value in found.headers if name == b"x-a"] == [b"1", b"2"]
        assert found[b"via"] == b"1.1 trio-lb"
        record = await lb.event("http.request")
        assert (record["status"], record["bytes_out"], record["grpc_status"]) == (201, 24, None)
    (seen,) = origin.requests
    pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/a/b?c=d")]
    assert seen.headers[:4] == pseudo
    assert (seen["x-name"], seen["cookie"], seen["te"], seen["x-hop"]) == ("Value", "a=b", "trailers", None)
    assert (seen["via"], seen["x-forwarded-for"], seen["x-forwarded-host"]) == (
        "1.1 trio-lb",
        "127.0.0.1",
        "a.example",
    )
    assert (seen["x-request-id"], seen["connection"], seen["host"]) == (record["id"], None, None)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("size", [0, 5, 3_000_000])
async def test_bodies_pass_both_ways(tmp_path, framing, size):
    body = content(size)
    if framing == "length":
        sent = post(b"Content-Length: %d\r\n" % size, body)
    else:
        pieces = [
            b"%x\r\n%s\r\n" % (len(body[at : at + 50_000]), body[at : at + 50_000]) for at in range(0, size, 50_000)
        ]
        sent = post(b"Transfer-Encoding: chunked\r\n", b"".join(pieces) + b"0\r\nX-Sum: 1\r\n\r\n")
    async with http2_origin(echo) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(visitor.send, sent)
                assert (await visitor.answer("POST")).body == body
    assert origin.requests[0]["content-length"] == (str(size) if framing == "length" else None)
    assert origin.requests[0].trailers == ([("x-sum", "1")] if framing == "chunked" else [])
    assert origin.connections == 1


async def test_responses_without_a_body(tmp_path):
    async def answer(asked):
        status = int(asked.path[1:])
        await asked.head(status, *([("content-length", "7")] if status != 204 else []), end=status != 304)
        if status == 304:
            await asked.data(b"", end=True)

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        found = await visitor.ask(request(b"HEAD /200 HTTP/1.1"), "HEAD")
        assert (found.status, found[b"content-length"]) == (200, b"7")
        assert (await visitor.ask(get("/304"))).status == 304
        assert (await visitor.ask(get("/204"))).status == 204
    assert origin.connections == 1


async def test_a_slow_reader_stalls_no_other_stream_and_no_memory(tmp_path):
    large = content(4_000_000)

    async def answer(asked):
        await (asked.answer(large) if asked.path == "/large" else say_path(asked))

    async with (
        http2_origin(answer) as origin,
        balanced(tmp_path, origin) as lb,
        client(lb) as slow,
        client(lb) as quick,
    ):
        await slow.send(get("/large"))
        for number in range(50):
            assert (await quick.ask(get(f"/{number}"))).body == b"/%d" % number
        assert (await slow.answer()).body == large
    assert origin.connections == 1


async def test_a_server_that_does_not_read_stalls_its_stream_only(tmp_path):
    async def answer(asked):
        if asked.path == "/":
            await trio.sleep_forever()
        await say_path(asked)

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        origin.reads = False
        async with client(lb) as stuck, client(lb) as quick:
            with trio.move_on_after(0.3):
                await stuck.send(post(b"Content-Length: 3000000\r\n", bytes(3_000_000)))
            assert (await quick.ask(get("/quick"))).body == b"/quick"
            assert origin.received < 200_000


async def test_a_client_that_leaves_cancels_its_stream(tmp_path):
    async def answer(asked):
        if asked.path != "/":
            await say_path(asked)
            return
        await asked.head()
        await asked.until(lambda: asked.reset_with is not None)

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        async with client(lb) as visitor:
            await visitor.send(GET)
            await origin.has(1)
        await origin.requests[0].until(lambda: origin.requests[0].reset_with == h2.errors.ErrorCodes.CANCEL)
        assert (await lb.event("http.request"))["reason"] == "client_left"
        async with client(lb) as visitor:
            assert (await visitor.ask(get("/on"))).body == b"/on"
    assert origin.connections == 1


@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_refused_streams_are_sent_again_whatever_they_are(tmp_path, method):
    async def answer(asked):
        if len(origin.requests) <= 2:
            await asked.reset(h2.errors.ErrorCodes.REFUSED_STREAM)
        else:
            await asked.answer(await asked.body() or b"ok")

    asked = request(method + b" / HTTP/1.1", HOST + b"Content-Length: 5\r\n", b"hello")
    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        assert (await visitor.ask(asked, method.decode())).body == b"hello"
        assert (await lb.event("http.request"))["attempts"] == []


async def test_a_server_that_refuses_always_has_failed(tmp_path):
    async def refuse(asked):
        await asked.reset(h2.errors.ErrorCodes.REFUSED_STREAM)

    async with (
        http2_origin(refuse, "a") as first,
        http2_origin(say_path, "b") as other,
        balanced(tmp_path, first, other, pool='strategy = "first"') as lb,
        client(lb) as visitor,
    ):
        found = await visitor.ask(post(b"Content-Length: 1\r\n", b"x"), "POST")
        assert (found.status, found.body) == (200, b"/")
        record = await lb.event("http.request")
        assert [attempt["error"] for attempt in record["attempts"]] == ["refused"]
        assert (len(first.requests), len(other.requests)) == (4, 1)
    async with http2_origin(refuse) as alone, balanced(tmp_path, alone) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).status == 503


async def test_goaway_loses_no_request(tmp_path):
    async def answer(asked):
        if asked.id == 5:  # of those that come at once, some are left out
            await asked.peer.go_away(3)
        if asked.id < 5:
            await asked.answer(await asked.body())

    async def each(visitor, number):
        body = b"%d" % number
        found = await visitor.ask(post(b"Content-Length: %d\r\n" % len(body), body), "POST")
        assert (found.status, found.body) == (200, body)

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        await at_once(lb, 6, each)
        await at_once(lb, 6, each)
    assert origin.connections >= 4


async def test_a_reset_is_retried_as_mode_http_does(tmp_path):
    async def reset(asked):
        await asked.reset()

    async with (
        http2_origin(reset, "a") as first,
        http2_origin(say_path, "b") as other,
        balanced(tmp_path, first, other, pool='strategy = "first"') as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(get("/x"))).body == b"/x"
        record = await lb.event("http.request")
        assert [attempt["error"] for attempt in record["attempts"]] == ["stream reset (INTERNAL_ERROR)"]
        assert (await visitor.ask(post(b"Content-Length: 1\r\n", b"x"), "POST")).status == 502


async def test_a_response_that_is_cut_short_does_not_look_complete(tmp_path):
    async def answer(asked):
        await asked.head()
        await asked.data(b"some")
        await asked.reset()

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        await visitor.send(GET)
        with pytest.raises(Exception, match="peer closed"):
            await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "server_reset"


async def test_a_connection_that_breaks_takes_only_its_own_streams_and_idempotent_ones_go_on(tmp_path):
    async def answer(asked):
        if asked.peer is origin.peers[0] and asked.id == 5:
            await asked.peer.cut()
        elif asked.peer is not origin.peers[0] or asked.path == "/first":
            await say_path(asked)

    async def each(visitor, number):
        assert (await visitor.ask(get(f"/{number}"))).body == b"/%d" % number

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb:
        async with client(lb) as visitor:
            assert (await visitor.ask(get("/first"))).body == b"/first"
        await at_once(lb, 2, each)
    assert origin.connections == 2


async def test_a_response_that_does_not_come_in_time(tmp_path):
    async def answer(asked):
        if asked.path != "/hang":
            await say_path(asked)

    http = 'response_timeout = "300ms"'
    async with http2_origin(answer) as origin, balanced(tmp_path, origin, http=http) as lb, client(lb) as visitor:
        assert (await visitor.ask(get("/hang"))).status == 504
        await origin.requests[0].until(lambda: origin.requests[0].reset_with == h2.errors.ErrorCodes.CANCEL)
        assert (await visitor.ask(get("/x"))).body == b"/x"


async def test_a_server_that_breaks_the_protocol(tmp_path):
    async def answer(asked):
        await asked.peer.send_raw(b"\0\0\5\0\0\0\0\0\0junk!")  # DATA of the connection

    async with http2_origin(answer) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).status == 502
        assert (await lb.event("http.request"))["reason"] == "bad_response"


async def test_a_server_of_http1_has_a_bad_response(tmp_path):
    async def handler(stream):
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(handler) as origin, balanced(tmp_path, origin) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).status == 502
        assert (await lb.event("http.request"))["reason"] == "bad_response"


async def test_tls_agrees_by_alpn_and_a_server_without_is_no_server(tmp_path):
    context = server_context("localhost")
    context.set_alpn_protocols(["h2"])
    (tmp_path / "ca.pem").write_bytes(authority().cert_pem.bytes())
    tls = f"[pools.web.tls]\nca = '{tmp_path}/ca.pem'\nserver_name = 'localhost'\n"
    async with (
        http2_origin(say_path, ssl_context=server_context("localhost")) as without,
        http2_origin(say_path, ssl_context=context) as origin,
        balanced(tmp_path, without, origin, pool='strategy = "first"', tables=tls) as lb,
        client(lb) as visitor,
    ):
        assert (await visitor.ask(get("/x"))).body == b"/x"
        record = await lb.event("http.request")
        assert [attempt["error"] for attempt in record["attempts"]] == ["does not agree to h2 (ALPN)"]
    assert origin.requests[0][":scheme"] == "https"


async def test_a_connect_that_fails_has_failed_for_all_who_wait_for_it(tmp_path):
    class Nobody:
        address = f"127.0.0.1:{free_port()}"

    async def each(visitor, number):
        assert (await visitor.ask(get(f"/{number}"))).body == b"/%d" % number

    async with (
        http2_origin(say_path) as origin,
        balanced(tmp_path, Nobody, origin, pool='strategy = "first"', tables="[pools.web.passive]\nfailures = 0") as lb,
    ):
        await at_once(lb, 20, each)
        assert origin.connections == 1


async def test_reload_retires_connections_whose_server_has_changed_and_loses_nothing(tmp_path):
    go_on = trio.Event()

    async def answer(asked):
        if asked.path == "/wait":
            await go_on.wait()
        await say_path(asked)

    async with http2_origin(answer, "a") as old, http2_origin(say_path, "b") as new, balanced(tmp_path, old) as lb:
        async with client(lb) as waiting, client(lb) as visitor:
            await waiting.send(get("/wait"))
            assert (await visitor.ask(get("/x"))).body == b"/x"
            await lb.reload(lb_config(new, pool=POOL))
            assert (await visitor.ask(get("/y"))).body == b"/y"
            go_on.set()
            assert (await waiting.answer()).body == b"/wait"
        assert (len(old.requests), len(new.requests)) == (2, 1)
        with trio.fail_after(PATIENCE):
            await old.ended.wait()


TEXT = b"the same words again and again\n" * 3000


async def text_or_nothing(asked):
    body = b"" if asked.path == "/empty" else TEXT
    await asked.answer(body, ("content-type", "text/plain"), ("cache-control", "max-age=60"), ("etag", '"a"'))


async def test_compression_limits_sticky_and_caches_work_as_with_http1(tmp_path):
    routes = (
        '[[listeners.web.routes]]\npath = "/packed"\npool = "web"\ncompress = true\n'
        '[[listeners.web.routes]]\npath = "/slow"\npool = "web"\nlimit_rate = "1MiB"\n'
        '[[listeners.web.routes]]\npath = "/empty"\npool = "web"\ncompress = true\nlimit_rate = "1MiB"\n'
        '[[listeners.web.routes]]\npath = "/kept"\npool = "web"\ncache = { zone = "all", status_header = "X-Cache" }\n'
    )
    async with http2_origin(text_or_nothing) as origin:
        text = lb_config(origin, listener=routes, pool=f'sticky = {{ cookie = "lb" }}\n{POOL}', top="[caches.all]")
        async with balancer(tmp_path, text) as lb, client(lb) as visitor:
            packed = await visitor.ask(request(b"GET /packed HTTP/1.1", HOST + b"Accept-Encoding: gzip\r\n"))
            assert (packed[b"content-encoding"], zlib.decompress(packed.body, 31)) == (b"gzip", TEXT)
            assert packed[b"set-cookie"].startswith(b"lb=")
            assert (await visitor.ask(get("/slow"))).body == TEXT
            assert (await visitor.ask(get("/empty"))).body == b""
            for result in (b"MISS", b"HIT"):
                found = await visitor.ask(get("/kept"))
                assert (found[b"x-cache"], found.body) == (result, TEXT)
    assert origin.connections == 1


async def test_a_server_that_goes_down_gives_its_requests_to_another(tmp_path):
    async def hang(_asked):
        await trio.sleep_forever()

    tables = '[pools.web.health]\nprobe = "tcp"\ninterval = "100ms"\nfast_interval = "50ms"\nfall = 1'
    async with serving(name="a") as checked, http2_origin(hang, "a") as first, http2_origin(say_path, "b") as other:
        port = checked.address.rpartition(":")[2]
        listed = f'servers = [{{ address = "{first.address}", check_port = {port} }}, "{other.address}"]'
        text = (
            '[listeners.web]\nmode = "http"\nbind = "127.0.0.1:0"\npool = "web"\n'
            f'[pools.web]\n{listed}\nstrategy = "first"\non_down = "close"\n{POOL}\n{tables}'
        )
        async with balancer(tmp_path, text) as lb, client(lb) as visitor:
            await visitor.send(get("/x"))
            await first.has(1)
            checked.stop_listening()
            assert (await visitor.answer()).body == b"/x"
            record = await lb.event("http.request")
            assert [attempt["error"] for attempt in record["attempts"]] == ["server down"]
