"""Connections that carry several requests: of clients, to servers, pipelined, and when one ends at the wrong time."""

from __future__ import annotations

import signal

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, read_all
from tests.support.http_attacks import HOST, post, request
from tests.support.http_client import client, receive_request, scripted, until_ended
from tests.support.http_peers import lb_config
from tests.support.servers import reset_at_close, serving

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = request()
CLOSE = request(fields=HOST + b"Connection: close\r\n")


def get(number):
    return request(b"GET /%d HTTP/1.1" % number)


async def say_target(stream, seen):
    body = seen.target
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


async def test_one_connection_to_the_server_serves_many_clients_one_after_the_other(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb:
        for _ in range(5):
            async with client(lb) as visitor:
                assert (await visitor.ask(GET)).body == b"ok"
                found = await visitor.ask(CLOSE)
                assert (found.body, found[b"connection"]) == (b"ok", b"close")
                assert await visitor.ended()
        assert (server.connections, len(server.requests)) == (1, 10)


async def test_requests_at_the_same_time_have_a_connection_each_and_of_those_only_so_many_are_kept(tmp_path):
    all_here, count = trio.Event(), 0

    async def answer(stream, _request):
        nonlocal count
        count += 1
        if count == 6:
            all_here.set()
        await all_here.wait()
        await stream.send_all(OK)

    pool = "[pools.web.http]\nkeep_alive = 2"
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server, pool=pool)) as lb:

        async def visit():
            async with client(lb) as visitor:
                assert (await visitor.ask(GET)).body == b"ok"

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(visit)
        await server.until(lambda server: server.open == 2)


@pytest.mark.parametrize("pieces", [1, 2, 60])
async def test_pipelined_requests_are_answered_in_their_order(tmp_path, pieces):
    count = 40
    asked = b"".join(get(number) for number in range(count))
    async with scripted(say_target) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        step = -(-len(asked) // pieces)
        await visitor.send(*(asked[at : at + step] for at in range(0, len(asked), step)))
        assert [(await visitor.answer()).body for _ in range(count)] == [b"/%d" % number for number in range(count)]


async def test_a_head_may_come_in_two_pieces_of_any_size(tmp_path):
    async with scripted(say_target) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for size in range(1, len(GET)):
            await visitor.send(GET[:size], GET[size:])
            assert (await visitor.answer()).body == b"/", size
        assert server.connections == 1


async def test_pipelined_requests_with_bodies_keep_them_apart(tmp_path):
    async def answer(stream, seen):
        body = seen.target + b":" + seen.body
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    asked = (
        request(b"POST /1 HTTP/1.1", HOST + b"Content-Length: 4\r\n", b"GET ")
        + request(b"POST /2 HTTP/1.1", HOST + b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n")
        + b"\r\n"
        + request(b"GET /3 HTTP/1.1")
        + request(b"POST /4 HTTP/1.1", HOST + b"Content-Length: 2\r\n", b"\r\n")
        + request(b"GET /5 HTTP/1.1", HOST + b"Connection: close\r\n")
    )
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        for step in (1, 11, len(asked)):
            async with client(lb) as visitor:
                await visitor.send(*(asked[at : at + step] for at in range(0, len(asked), step)))
                bodies = [(await visitor.answer()).body for _ in range(5)]
                assert bodies == [b"/1:GET ", b"/2:abc", b"/3:", b"/4:\r\n", b"/5:"]
                assert await visitor.ended()


async def test_a_client_that_has_sent_its_end_gets_all_answers_to_what_it_sent_before(tmp_path):
    async with scripted(say_target) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        await visitor.send(get(1) + get(2) + get(3))
        await visitor.stream.send_eof()
        assert [(await visitor.answer()).body for _ in range(3)] == [b"/1", b"/2", b"/3"]
        assert await visitor.ended()


async def test_what_follows_a_refused_request_is_not_served(tmp_path):
    async with scripted(say_target) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        await visitor.send(get(1) + request(b"GET /2 HTTP/1.1", b"") + get(3))
        assert (await visitor.answer()).body == b"/1"
        found = await visitor.answer()
        assert (found.status, found[b"connection"]) == (400, b"close")
        assert await visitor.ended()
        assert [seen.target for seen in server.requests] == [b"/1"]


async def test_a_server_that_closes_after_each_response_is_no_reason_to_fail(tmp_path):
    async def answer(stream, _request):
        await stream.send_all(OK)
        return False

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(50):
            assert (await visitor.ask(GET)).body == b"ok"
        assert not lb.of("http.request", status=502)


async def test_a_kept_connection_that_turns_out_closed_is_no_reason_to_fail_for_a_request_that_may_be_repeated(
    tmp_path,
):
    async def handler(stream):
        assert await receive_request(stream)
        await stream.send_all(OK)
        await receive_request(stream)  # the balancer has written it when it learns that nobody will answer
        reset_at_close(stream)

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(10):
            assert (await visitor.ask(GET)).body == b"ok"
        found = await visitor.ask(request(b"POST / HTTP/1.1", HOST + b"Content-Length: 2\r\n", b"hi"), "POST")
        assert found.status == 502, "the server may have done it"
        assert {event["reason"] for event in lb.of("http.request", method="POST")} <= {"server_reset"}


async def test_what_a_server_says_unasked_is_nobodys_response(tmp_path):
    poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"

    async def answer(stream, _request):
        await stream.send_all(OK + poison)

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        for _ in range(3):
            async with client(lb) as visitor:
                for _ in range(5):
                    assert (await visitor.ask(GET)).body == b"ok"
        assert server.connections > 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_a_body_where_there_is_none_is_nobodys_response(tmp_path, status):
    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 %s\r\nContent-Length: 6\r\n\r\npoison" % status)

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(5):
            found = await visitor.ask(GET)
            assert (found.status, found.body) == (int(status[:3]), b"")


async def test_what_a_server_says_unasked_later_closes_the_connection(tmp_path):
    async def answer(stream, _request):
        await stream.send_all(OK)
        await trio.sleep(0.05)
        await stream.send_all(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n")

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).body == b"ok"
        await server.until(lambda server: server.open == 0)
        assert (await visitor.ask(GET)).body == b"ok"


async def test_an_idle_connection_to_a_server_is_closed_in_time(tmp_path):
    pool = '[pools.web.http]\nkeep_alive_timeout = "300ms"'
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server, pool=pool)) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).body == b"ok"
        await server.until(lambda server: server.open == 0)
        assert (await visitor.ask(GET)).body == b"ok"
        assert server.connections == 2


async def test_none_is_kept_if_none_may_be(tmp_path):
    pool = "[pools.web.http]\nkeep_alive = 0"
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, listener='keep_alive = "0"', pool=pool)) as lb,
    ):
        for _ in range(3):
            async with client(lb) as visitor:
                assert (await visitor.ask(GET))[b"connection"] == b"close"
                assert await visitor.ended()
        await server.until(lambda server: server.connections == 3 and server.open == 0)


async def test_an_answer_that_comes_early_does_not_end_a_connection_if_the_rest_of_the_body_comes(tmp_path):
    async def handler(stream):
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        await trio.sleep_forever()

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(2):
            await visitor.send(post(b"Content-Length: 10\r\n", b"hello"))
            assert (await visitor.answer()).status == 403
            await visitor.send(b"GET /")  # the other five bytes of the body


async def test_a_drain_ends_connections_once_they_are_idle_and_lets_requests_finish(tmp_path):
    came, go = trio.Event(), trio.Event()

    async def answer(stream, seen):
        if seen.target == b"/slow":
            came.set()
            await go.wait()
        await stream.send_all(OK)

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as idle, client(lb) as busy:
            assert (await idle.ask(GET)).body == b"ok"
            await busy.send(request(b"GET /slow HTTP/1.1"))
            await came.wait()
            lb.signal(15)
            assert await idle.ended()
            go.set()
            found = await busy.answer()
            assert (found.body, found[b"connection"]) == (b"ok", b"close")
            assert await busy.ended()
        assert await lb.exit_code() == 0
    assert [event["reason"] for event in lb.of("http.request")] == ["ok", "ok"]


async def test_a_client_that_leaves_frees_its_server(tmp_path):
    came = trio.Event()

    async def answer(stream, _request):
        came.set()
        await until_ended(stream)

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(GET)
            await came.wait()
        record = await lb.event("http.request")
        assert (record["reason"], record["status"]) == ("client_left", None)
        with trio.fail_after(PATIENCE):
            await server.until(lambda server: server.open == 0)


async def test_a_drain_ends_connections_whose_response_began_before_it(tmp_path):
    goes_on = trio.Event()

    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await goes_on.wait()
        await stream.send_all(b"k")

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        await visitor.send(GET)
        received = b""
        while b"\r\n\r\n" not in received:
            received += await visitor.stream.receive_some()
        assert b"onnection" not in received
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        goes_on.set()
        began = trio.current_time()
        with trio.fail_after(PATIENCE):
            assert (received + await read_all(visitor.stream)).endswith(b"ok")
        assert trio.current_time() - began < 10


async def test_after_a_reload_with_send_proxy_no_connection_from_before_is_used(tmp_path):
    begun = []

    async def handler(stream):
        begun.append(await stream.receive_some())
        await stream.send_all(OK)
        while await stream.receive_some():
            await stream.send_all(OK)

    async with serving(handler) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).body == b"ok"
        await lb.reload(lb_config(server, pool='send_proxy = "v1"'))
        async with client(lb) as another:
            assert (await another.ask(GET)).body == b"ok"
        assert [data.split(b" ")[0] for data in begun] == [b"GET", b"PROXY"]
