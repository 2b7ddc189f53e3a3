"""``forward_auth``: what the server that decides is asked, and what becomes of the request."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from lb.events import ForwardAuthFailed
from lb.http import subrequests
from lb.http.forward_auth import ForwardAuth, _question
from lb.http.subrequests import KEPT_FOR, LONGEST_BODY, MOST_CONNECTIONS, SILENT_FOR, SubrequestsByUrl
from lb.http1.grammar import VALUE_BYTES
from lb.net.deadlines import Deadlines
from lb.net.resolver import name_service
from tests.support.auth_server import AuthServer, auth_server, response
from tests.support.balancer import PATIENCE
from tests.support.exchanges import FakeExchange, request_head
from tests.support.tls_peers import client_context, server_context

YES = response(204)
NO = response(403, b"Content-Type: text/plain", body=b"no")


@pytest.fixture
def deadlines(nursery):
    deadlines = Deadlines(fault=lambda where, exception: pytest.fail(f"{where}: {exception!r}"))
    nursery.start_soon(deadlines.run)
    return deadlines


@pytest.fixture
def events():
    """What was emitted."""
    return []


@pytest.fixture
def by_url(deadlines, events):
    return SubrequestsByUrl(SimpleNamespace(deadlines=deadlines, sink=events.append))


@pytest.fixture
def ask(nursery, by_url):
    """Return a function that sends a request on its way, and returns what became of it."""

    used = set()

    def begin(url, head=None, copied=(), **more):
        requests = by_url.of(url)
        used.add(requests)
        exchange = FakeExchange(head, nursery=nursery, **more)
        assert not ForwardAuth(requests, copied).begin(exchange)
        return exchange

    async def ask(*args, **more):
        with trio.fail_after(PATIENCE):
            exchange = begin(*args, **more)
            await exchange.outcome()
        return exchange

    ask.begin = begin
    yield ask
    for requests in used:
        requests._drop_idle()


# The question


async def test_the_question_has_the_fields_of_the_request_and_says_what_it_is_about(ask):
    head = request_head(
        b"User-Agent: browser",
        b"Authorization: Bearer abc",
        b"Cookie: a=1",
        b"Accept: */*",
        b"Cookie: b=2",
        b"Connection: keep-alive, X-Hop",
        b"X-Hop: one",
        b"Content-Length: 5",
        b"Expect: 100-continue",
        b"Upgrade: websocket",
        b'If-None-Match: "x"',
        b"Range: bytes=0-1",
        b"X-Forwarded-For: 203.0.113.9",
        b"X-Forwarded-Uri: /public",
        b"X_Forwarded_Method: GET",
        target=b"/admin/%41?x=1",
        method=b"POST",
    )
    async with auth_server(YES) as server:
        assert (await ask(server.url, head, scheme=b"https")).passes == 1
    assert server.requests[0][0] == b"GET /check?from=lb HTTP/1.1"
    assert server.fields() == {
        b"host": [b"127.0.0.1:%d" % server.port],
        b"user-agent": [b"browser"],
        b"authorization": [b"Bearer abc"],
        b"accept": [b"*/*"],
        b"cookie": [b"a=1; b=2"],
        b"x-forwarded-for": [b"192.0.2.1"],
        b"x-forwarded-proto": [b"https"],
        b"x-forwarded-host": [b"www.example.com"],
        b"x-forwarded-method": [b"POST"],
        b"x-forwarded-uri": [b"/admin/%41?x=1"],
        b"x-request-id": [b"one"],
    }


@given(st.lists(st.sampled_from(list(VALUE_BYTES)).map(lambda byte: bytes([byte])), max_size=12).map(b"".join))
def test_whatever_value_a_client_sends_can_be_asked(value):
    import h11

    fields = _question(FakeExchange(request_head(b"X-Any: " + value, b"Cookie: " + value)))
    h11.Request(method=b"GET", target=b"/", headers=[(b"Host", b"auth"), *fields])


# The answer


async def test_a_good_answer_lets_the_request_pass_with_its_fields(ask):
    answer = response(200, b"Remote-User: ann", b"Remote-Groups: a", b"remote-groups: b", b"X-Other: x", body=b"hello")
    head = request_head(b"Remote-User: root", b"Remote_User: root", b"REMOTE-EMAIL: root@", b"X-Other: mine")
    async with auth_server(answer) as server:
        exchange = await ask(server.url, head, copied=("Remote-User", "Remote-Groups", "Remote-Email"))
    assert exchange.passes == 1
    assert exchange.set_fields == {
        b"remote-user": None,
        b"remote_user": None,
        b"remote-email": None,
        b"Remote-User": b"ann",
        b"Remote-Groups": b"a, b",
        b"Remote-Email": None,
    }


@pytest.mark.parametrize("status", [301, 304, 401, 403, 404, 429, 500, 503])
async def test_any_other_answer_is_the_answer(ask, status):
    answer = response(
        status,
        b"Set-Cookie: a=1",
        b"Location: https://login.example.com/?next=/",
        b"WWW-Authenticate: Bearer",
        b"Connection: x-hop",
        b"X-Hop: 1",
        b"Keep-Alive: timeout=5",
        b"Date: Sat, 28 Nov 2026 00:00:00 GMT",
        body=b"" if status == 304 else b"body",
    )
    async with auth_server(answer) as server:
        exchange = await ask(server.url, copied=("Remote-User",))
    assert (exchange.answer.status, exchange.answer.reason) == (status, "auth")
    assert exchange.answer.body == (b"" if status == 304 else b"body")
    assert exchange.answer.fields == {
        b"set-cookie": b"a=1",
        b"location": b"https://login.example.com/?next=/",
        b"www-authenticate": b"Bearer",
    }
    assert (exchange.passes, exchange.set_fields) == (0, {})


async def test_a_chunked_answer_and_one_that_ends_with_the_connection_are_read(ask):
    chunked = b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x\r\nc\r\n0\r\n\r\n"
    async with auth_server(chunked) as server:
        assert (await ask(server.url)).answer.body == b"abc"
    async with auth_server(b"HTTP/1.0 403 No\r\n\r\nabc" + AuthServer.CLOSE) as server:
        assert (await ask(server.url)).answer.body == b"abc"


async def test_interim_responses_before_the_answer_are_ignored(ask):
    async with auth_server(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + NO) as server:
        assert (await ask(server.url)).answer.status == 403


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc" + AuthServer.CLOSE,
        b"HTTP/1.1 403 No\r\nX: " + b"x" * 60_000 + b"\r\n\r\n",
        response(403, body=b"x" * (LONGEST_BODY + 1)),
    ],
    ids=["nothing", "nonsense", "an upgrade", "cut short", "a long head", "a long body"],
)
async def test_an_answer_that_is_none_is_502(ask, answer):
    async with auth_server(answer) as server:
        exchange = await ask(server.url)
        assert (exchange.answer.status, exchange.answer.reason) == (502, "auth")
        with trio.fail_after(PATIENCE):
            while server.open:
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_the_longest_body_passes(ask):
    async with auth_server(response(403, body=b"x" * LONGEST_BODY)) as server:
        assert len((await ask(server.url)).answer.body) == LONGEST_BODY


async def test_a_server_that_is_not_there_is_502_and_is_reported_once_a_minute(ask, events, monkeypatch):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/check"
        for _ in range(3):
            exchange = await ask(f"{url}?key=secret")
            assert (exchange.answer.status, exchange.answer.reason) == (502, "auth")
        assert events == [ForwardAuthFailed(url, "connection refused", 1)]
        now = trio.current_time()
        monkeypatch.setattr(trio, "current_time", lambda: now + SILENT_FOR + 1)
        await ask(f"{url}?key=secret")
    assert events[1:] == [ForwardAuthFailed(url, "connection refused", 3)]


async def test_a_server_that_does_not_answer_is_504_and_its_idle_connections_are_closed(ask, monkeypatch):
    async with auth_server(YES) as server:
        assert (await ask(server.url)).passes
        monkeypatch.setattr(subrequests, "SUBREQUEST_TIMEOUT", 0.05)
        server.answer = None
        exchange = await ask(server.url)
        assert (exchange.answer.status, exchange.answer.reason) == (504, "auth")
        with trio.fail_after(PATIENCE):
            while server.open:
                await trio.testing.wait_all_tasks_blocked(0.001)


async def test_no_bytes_of_an_answer_arrive_at_the_client_of_another(ask, by_url):
    """A request that is cancelled within its answer leaves no connection that the next one would use."""
    async with auth_server(None) as server:
        exchange = ask.begin(server.url)
        with trio.fail_after(PATIENCE):
            while not server.requests:
                await trio.testing.wait_all_tasks_blocked(0.001)
        exchange.leave()
        server.answer = YES
        assert (await ask(server.url)).passes == 1
        assert server.connections == 2


# Connections


async def test_connections_are_kept_and_shared_by_all_routes_of_the_same_url(ask):
    async with auth_server(YES) as server:
        for _ in range(5):
            assert (await ask(server.url)).passes == 1
        assert server.connections == 1


async def test_a_kept_connection_that_was_closed_is_replaced(ask):
    async with auth_server(YES) as server:
        assert (await ask(server.url)).passes == 1
        server.answer = lambda lines: b"" if server.connections == 1 else YES
        assert (await ask(server.url)).passes == 1
        assert server.connections == 2


async def test_unasked_bytes_after_an_answer_are_no_answer_to_the_next_request(ask):
    async with auth_server(NO + YES) as server:
        assert (await ask(server.url)).answer.status == 403
        server.answer = NO
        assert (await ask(server.url)).answer.status == 403


async def test_an_idle_connection_is_closed_in_the_end(ask, by_url, deadlines):
    async with auth_server(YES) as server:
        await ask(server.url)
        requests = by_url.of(server.url)
        (connection,) = requests._idle
        queue = deadlines.queue("kept", KEPT_FOR)
        assert queue.pop_due(trio.current_time() + KEPT_FOR + 1) is connection
        connection.expired(queue)
        assert not requests._idle
        with trio.fail_after(PATIENCE):
            while server.open:
                await trio.testing.wait_all_tasks_blocked(0.001)
        assert (await ask(server.url)).passes == 1


async def test_connections_are_bounded_and_who_waits_for_one_gets_it(ask, monkeypatch):
    go = trio.Event()
    async with auth_server(YES) as server:
        serve = server._answer_all

        async def wait(stream):
            await go.wait()
            await serve(stream)

        server._answer_all = wait
        asked = [ask.begin(server.url) for _ in range(3 * MOST_CONNECTIONS)]
        with trio.fail_after(PATIENCE):
            while server.connections < MOST_CONNECTIONS:
                await trio.testing.wait_all_tasks_blocked(0.001)
            go.set()
            assert {await each.outcome() for each in asked} == {"passed"}
        assert server.connections == MOST_CONNECTIONS


async def test_with_too_many_that_wait_more_are_refused_at_once(ask, monkeypatch):
    monkeypatch.setattr(subrequests, "MAX_QUEUED", 5)
    async with auth_server(None) as server:
        asked = [ask.begin(server.url) for _ in range(MOST_CONNECTIONS + 7)]
        with trio.fail_after(PATIENCE):
            while sum(each.ended for each in asked) < 2:
                await trio.testing.wait_all_tasks_blocked()
        assert [each.answer.status for each in asked if each.answer] == [502, 502]
        for each in asked:
            each.leave()


async def test_a_second_address_is_tried(ask, monkeypatch):
    async with auth_server(YES) as server:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))

            async def look_up(address, family):
                return tuple((socket.AF_INET, each) for each in (closed.getsockname(), ("127.0.0.1", server.port)))

            name_service.set(look_up)
            assert (await ask("http://auth.example/")).passes == 1
        assert server.fields()[b"host"] == [b"auth.example"]


async def test_a_name_that_nobody_knows_is_502_and_is_looked_up_once_a_second(ask, monkeypatch):
    asked = []

    async def look_up(address, family):
        asked.append(address.host)
        raise OSError("no such name")

    name_service.set(look_up)
    for _ in range(3):
        assert (await ask("http://auth.example/")).answer.status == 502
    assert asked == ["auth.example"]


async def test_https_verifies_the_server(ask, monkeypatch):
    subrequests._tls_context.cache_clear()
    monkeypatch.setattr(subrequests, "verifying_context", lambda verify: client_context())
    try:
        async with auth_server(YES, tls=server_context("127.0.0.1")) as server:
            url = server.url.replace("http:", "https:")
            assert (await ask(url)).passes == 1
            assert (await ask(url)).passes == 1
            assert server.connections == 1
        async with auth_server(YES, tls=server_context("other.example")) as server:
            assert (await ask(server.url.replace("http:", "https:"))).answer.status == 502
    finally:
        subrequests._tls_context.cache_clear()
