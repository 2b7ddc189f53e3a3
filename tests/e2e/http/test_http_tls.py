"""Requests through TLS: from clients, to servers, and both."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, config
from tests.support.http_origin import content, http_origin
from tests.support.http_sessions import HttpSession, Incomplete, fetch, http_session
from tests.support.operating import ADMIN, operated
from tests.support.tls_peers import (
    Truncated,
    connect_tls,
    server_context,
    tls_server,
    write_authority,
    write_certificate,
)

pytestmark = pytest.mark.usefixtures("worker_count")
LISTENER = 'mode = "http"'
NAME, INNER = "a.example.org", "inner.example.org"
BROWSER = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cookie", "session=0123456789abcdef; theme=dark"),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Dest", "document"),
    ("Priority", "u=0, i"),
]
LARGE = 50_000_000


@pytest.fixture
def tls(tmp_path):
    """The lines of a listener with TLS and a certificate for NAME."""
    return f"{LISTENER}\n[listeners.web.tls]\n" + write_certificate(tmp_path, "a", NAME)


@pytest.fixture
def verified(tmp_path):
    """The lines of a pool whose servers have to prove that they are INNER."""
    return f'[pools.web.tls]\nca = "{write_authority(tmp_path)}"\nserver_name = "{INNER}"\n'


@asynccontextmanager
async def tls_client(port, **options):
    end = await connect_tls(port, NAME)
    try:
        yield HttpSession(end, **options)
    finally:
        await end.aclose()


def through_tls(context, *, orderly=True):
    """Make an origin a server of TLS. It ends with close_notify, if ``orderly``."""

    def make(serve):
        async def handler(end):
            await serve(end)
            if orderly:
                with suppress(trio.BrokenResourceError):
                    await end.finish()

        return tls_server(handler, context)

    return make


async def test_a_browsers_requests_pass_over_one_connection(tmp_path, tls):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=tls, health=None)) as lb:
        async with tls_client(lb.port) as client:
            for path in ("/request?page", "/bytes?n=70000", "/bytes?n=3&framing=chunked", "/request?page") * 5:
                answer = await client.ask(path, headers=[("Host", NAME), *BROWSER])
                assert (answer.status, answer.closes) == (200, False)
            seen = [tuple(field) for field in answer.json["headers"]]
        for name, value in [*BROWSER, ("Host", NAME), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", NAME)]:
            assert (name.lower(), value) in seen
        assert a.served.connections == 1
        records = [await lb.event("http.request", count=count) for count in range(1, 21)]
    assert {record["reason"] for record in records} == {"ok"}


async def test_an_upload_that_ends_without_close_notify_is_not_complete(tmp_path, tls):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=tls, health=None)) as lb:
        end = await connect_tls(lb.port, NAME)
        await end.send_all(b"POST /digest HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await a.has(1)
        await end.stream.send_eof()
        record = await lb.event("http.request")
        assert (record["status"], record["reason"]) == (None, "client_left")
        await a.served.until(lambda served: served.open == 0)
        await end.aclose()


async def test_the_end_of_a_connection_is_said_with_close_notify(tmp_path, tls):
    async with (
        http_origin() as a,
        balancer(tmp_path, config(a, listener=tls, health=None)) as lb,
        tls_client(lb.port) as client,
    ):
        assert (await client.ask("/name", headers=[("Connection", "close")])).closes
        with trio.fail_after(PATIENCE):
            assert await client.stream.receive_some() == b""


@pytest.mark.parametrize("how", ["fin", "reset"])
@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_response_that_is_cut_short_never_looks_complete(tmp_path, tls, framing, how):
    async with (
        http_origin() as a,
        balancer(tmp_path, config(a, listener=tls, health=None)) as lb,
        tls_client(lb.port) as client,
    ):
        with pytest.raises(Incomplete):
            await client.ask(f"/cut?n=300000&framing={framing}&how={how}")
        with pytest.raises((Truncated, trio.BrokenResourceError)):
            await client.stream.receive_some()


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_body_until_the_end_counts_only_with_close_notify(tmp_path, verified, orderly):
    through = through_tls(server_context(INNER), orderly=orderly)
    async with (
        http_origin(through=through) as a,
        balancer(tmp_path, config(a, listener=LISTENER, pool=verified, health=None)) as lb,
    ):
        for size in (0, 10, 300_000):
            ask = partial(fetch, lb.port, f"/bytes?n={size}&framing=close")
            if orderly:
                assert (await ask()).body == content(size)
            else:
                with pytest.raises(Incomplete):
                    await ask()
        reasons = [(await lb.event("http.request", count=count))["reason"] for count in (1, 2, 3)]
    assert set(reasons) == {"ok" if orderly else "server_reset"}


async def test_servers_are_verified_and_get_the_name(tmp_path, verified):
    names = []
    right, wrong = server_context(INNER), server_context("other.example.org")
    right.sni_callback = lambda _socket, name, _context: names.append(name)
    async with http_origin("a", through=through_tls(wrong)) as a, http_origin("b", through=through_tls(right)) as b:
        pool = 'strategy = "first"\npassive = { failures = 0 }\n'
        async with balancer(tmp_path, config(a, b, listener=LISTENER, pool=pool + verified, health=None)) as lb:
            async with http_session(lb.port) as client:
                for _ in range(3):
                    assert (await client.ask("/name")).text == "b"
                assert (await client.ask("/echo", "POST", content(300_000))).body == content(300_000)
            records = [await lb.event("http.request", count=count) for count in (1, 2, 3, 4)]
    assert [attempt["server"] for attempt in records[0]["attempts"]] == ["a"]
    assert "certificate" in records[0]["attempts"][0]["error"]
    assert names == [INNER] * b.served.connections
    assert a.requests == []


async def test_no_request_reaches_a_server_that_is_not_who_it_should_be(tmp_path, verified):
    async with (
        http_origin("a", through=through_tls(server_context("other.example.org"))) as a,
        balancer(tmp_path, config(a, listener=LISTENER, pool=verified, health=None)) as lb,
    ):
        answer = await fetch(lb.port, "/digest", "POST", b"secret")
        assert (answer.status, a.requests) == (502, [])


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_large_bodies_pass_both_ways_through_tls_on_both_sides(tmp_path, tls, verified, chunked):
    body = content(LARGE)
    async with http_origin(through=through_tls(server_context(INNER))) as a:
        text = config(a, listener=tls, pool=verified, health=None, top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator):
            async with tls_client(lb.port) as client:
                answer = await client.ask("/echo", "POST", body, chunked=chunked)
                assert answer.body == body
                assert (await client.ask("/name")).text == "a"
            assert a.served.connections == 1
            await operator.until(operator.servers, lambda servers: servers["a"]["active"] == 0)
