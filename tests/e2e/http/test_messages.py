"""What of a message passes, and in which form: bodies, trailers, interim responses, HEAD, HTTP/1.0, Expect."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.http_attacks import CHUNKED, HELLO, HOST, post, request
from tests.support.http_client import client, scripted
from tests.support.http_peers import lb_config
from tests.support.servers import serving

pytestmark = pytest.mark.slow

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET, HEAD = request(), request(b"HEAD / HTTP/1.1")


async def test_what_belongs_to_one_connection_stays_there(tmp_path):
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n"
        b"X-End: to end\r\nContent-Length: 2\r\n\r\nok"
    )
    asked = request(
        fields=HOST + b"Connection: X-Mine, keep-alive, TE\r\nX-Mine: 1\r\nTE: trailers\r\nKeep-Alive: timeout=5\r\n"
        b"Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic x\r\nUpgrade: foo\r\nX-End:  to end \r\n"
    )
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        found = await visitor.ask(asked)
        (seen,) = server.requests
    gone = {b"x-hop", b"x-mine", b"te", b"keep-alive", b"proxy-connection", b"upgrade", b"connection"}
    gone |= {b"proxy-authorization", b"proxy-authenticate"}
    assert not gone & {name for name, _ in [*seen.headers, *found.headers]}
    assert (seen[b"x-end"], found[b"x-end"]) == (b"to end", b"to end")
    assert (seen[b"host"], seen[b"via"], found[b"via"]) == (b"a.example", b"1.1 trio-lb", b"1.1 trio-lb")
    assert (seen[b"x-forwarded-for"], seen[b"x-forwarded-proto"], seen[b"x-forwarded-host"]) == (
        b"127.0.0.1",
        b"http",
        b"a.example",
    )
    assert seen[b"x-request-id"]


async def test_a_head_is_written_anew_and_never_copied(tmp_path):
    odd = b"get".upper() + b" /a//b?c=%zz HTTP/1.1\r\nhOsT:a.example\r\nX-Odd:\t a  b\t\r\nA!: \r\n\r\n"
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        assert (await visitor.ask(odd)).status == 200
        (seen,) = server.requests
    assert (seen.target, seen[b"x-odd"], seen[b"a!"]) == (b"/a//b?c=%zz", b"a  b", b"")


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        (post(b"Content-Length: 5\r\n", b"hello"), b"hello"),
        (post(CHUNKED, HELLO), b"hello"),
        (post(CHUNKED, b"5;a=b\r\nhello\r\n00\r\n\r\n"), b"hello"),
        (post(b"Content-Length: 0\r\n"), b""),
        (request(b"GET / HTTP/1.1", HOST + b"Content-Length: 5\r\n", b"hello"), b"hello"),
        (post(b"Connection: keep-alive\r\nContent-Length: 5\r\n", b"hello", b"1.0"), b"hello"),
    ],
)
async def test_the_body_of_a_request_passes_however_it_comes(tmp_path, asked, body):
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb:
        for step in (1, 7, len(asked)):
            pieces = [asked[at : at + step] for at in range(0, len(asked), step)]
            async with client(lb) as visitor:
                await visitor.send(*pieces)
                assert (await visitor.answer()).body == b"ok"
                assert (await visitor.ask(GET)).body == b"ok", "the next request"
    assert [seen.body for seen in server.requests] == [body, b""] * 3


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO, b"hello"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_the_body_of_a_response_passes_however_it_comes(tmp_path, answer, body, version):
    async def in_pieces(stream, _request):
        step = next(steps)
        for at in range(0, len(answer), step):
            await stream.send_all(answer[at : at + step])
            await trio.sleep(0.002 * (step < 10))
        return b"close" not in answer and b"HTTP/1.0" not in answer

    steps = iter([1, 7, 1000])
    async with scripted(in_pieces) as server, balancer(tmp_path, lb_config(server)) as lb:
        for _ in range(3):
            async with client(lb) as visitor:
                found = await visitor.ask(request(b"GET / HTTP/" + version))
                assert found.body == body
                if version == b"1.0":
                    assert b"transfer-encoding" not in found
                    assert await visitor.ended()


async def test_head_gets_the_head_alone_and_the_connection_goes_on(tmp_path):
    answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]
    async with (
        scripted(*answers, OK) as server,
        balancer(tmp_path, lb_config(server)) as lb,
        client(lb) as visitor,
    ):
        first, second = await visitor.ask(HEAD, "HEAD"), await visitor.ask(HEAD, "HEAD")
        assert (first[b"content-length"], first.body, second.body) == (b"5", b"", b"")
        assert (await visitor.ask(GET)).body == b"ok"
        assert server.connections == 1, "the server's connection goes on too"


async def test_trailers_pass_in_both_directions(tmp_path):
    answer = (
        b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 2\r\n\r\n"
    )
    asked = post(b"Trailer: X-Sum\r\n" + CHUNKED, b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        found = await visitor.ask(asked)
        (seen,) = server.requests
    assert (seen.trailers, seen[b"trailer"]) == ([(b"x-sum", b"1")], b"X-Sum")
    assert (found.trailers, found[b"trailer"]) == ([(b"x-sum", b"2")], b"X-Sum")


async def test_a_response_with_a_forbidden_trailer_does_not_look_complete(tmp_path):
    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await trio.sleep(0.02)
        await stream.send_all(b"0\r\nContent-Length: 5\r\n\r\n")

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(GET)
            with pytest.raises(Exception, match=r"closed|peer"):
                await visitor.answer()
        assert (await lb.event("http.request"))["reason"] == "bad_response"


async def test_interim_responses_pass_to_clients_that_know_them(tmp_path):
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb:
        async with client(lb) as visitor:
            found = await visitor.ask(GET)
            assert (found.interim, found.status, found.body) == ([103, 103], 200, b"ok")
            assert (await visitor.ask(GET)).interim == [103, 103]
        async with client(lb) as visitor:
            found = await visitor.ask(request(b"GET / HTTP/1.0"))
            assert (found.interim, found.status, found.body) == ([], 200, b"ok")


async def test_an_interim_response_comes_before_the_response(tmp_path):
    go = trio.Event()

    async def answer(stream, _request):
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await go.wait()
        await stream.send_all(OK)

    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        await visitor.send(GET)
        with trio.fail_after(PATIENCE):
            assert (await visitor.stream.receive_some()).startswith(b"HTTP/1.1 103 ")
        go.set()
        assert (await visitor.answer()).body == b"ok"


async def test_a_100_that_nobody_expects_does_not_pass(tmp_path):
    answer = b"HTTP/1.1 100 Continue\r\n\r\n" + OK
    async with scripted(answer) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        assert (await visitor.ask(GET)).interim == []


@pytest.mark.parametrize("retry_buffer", ["64KiB", "0"])
async def test_who_expects_100_gets_it_before_the_body_is_sent(tmp_path, retry_buffer):
    asked = b"PUT / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    pool = f'[pools.web.http]\nretry_buffer = "{retry_buffer}"'
    async with (
        scripted(OK) as server,
        balancer(tmp_path, lb_config(server, pool=pool)) as lb,
        client(lb) as visitor,
    ):
        await visitor.send(asked)
        with trio.fail_after(PATIENCE):
            assert (await visitor.stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        found = await visitor.ask(b"hello")
        assert (found.status, found.interim, server.requests[0].body) == (200, [], b"hello")
        assert (await visitor.ask(GET)).body == b"ok"


async def test_who_expects_100_and_is_refused_need_not_send_the_body(tmp_path):
    async def answer(stream):
        received = b""
        while b"\r\n\r\n" not in received:
            received += await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        await trio.sleep_forever()

    asked = post(b"Expect: 100-continue\r\nContent-Length: 5\r\n")
    pool = '[pools.web.http]\nretry_buffer = "0"'
    async with (
        serving(answer) as server,
        balancer(tmp_path, lb_config(server, pool=pool)) as lb,
        client(lb) as visitor,
    ):
        found = await visitor.ask(asked)
        assert (found.status, found.body, found[b"connection"]) == (401, b"no", b"close")
        assert await visitor.ended(), "what follows might be the body, or a request"


async def test_a_client_of_http_1_0_keeps_its_connection_if_it_asks_for_it(tmp_path):
    kept = request(b"GET / HTTP/1.0", b"Connection: keep-alive\r\n")
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for _ in range(2):
            assert (await visitor.ask(kept))[b"connection"] == b"keep-alive"
        found = await visitor.ask(request(b"GET / HTTP/1.0", b""))
        assert (found[b"connection"], found.body) == (b"close", b"ok")
        assert await visitor.ended()
        assert server.requests[0].method == b"GET"


async def test_connect_is_refused_and_what_follows_is_not_a_request(tmp_path):
    asked = b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n"
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        found = await visitor.ask(asked + GET)
        assert (found.status, found[b"connection"]) == (405, b"close")
        assert await visitor.ended()
        assert server.connections == 0


async def test_options_of_a_server_and_a_url_as_target(tmp_path):
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        for asked in (
            b"OPTIONS * HTTP/1.1",
            b"OPTIONS http://a.example HTTP/1.1",
            b"GET http://a.example/b?c HTTP/1.1",
        ):
            assert (await visitor.ask(request(asked))).status == 200
        assert [seen.target for seen in server.requests] == [b"*", b"*", b"/b?c"]
        assert {seen[b"host"] for seen in server.requests} == {b"a.example"}


@pytest.mark.parametrize("method", [b"PUT", b"POST"])
async def test_a_client_of_http_1_0_gets_no_100_whatever_it_expects(tmp_path, method):
    asked = request(method + b" / HTTP/1.0", HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n", b"ab")
    async with scripted(OK) as server, balancer(tmp_path, lb_config(server)) as lb, client(lb) as visitor:
        found = await visitor.ask(asked)
        assert (found.status, found.interim) == (200, [])
        (seen,) = server.requests
        assert (b"expect" in seen, seen.body) == (False, b"ab")
