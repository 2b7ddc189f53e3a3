"""What mode http does on the way, for clients of HTTP/2 as for those of HTTP/1: they get the same."""

from __future__ import annotations

import gzip
import time

import pytest

from tests.support.balancer import balancer, config, connect
from tests.support.cache_origin import Answer, cache_origin
from tests.support.http2_client import H2C, visited, visiting
from tests.support.http_attacks import HOST, request
from tests.support.http_client import client, scripted
from tests.support.http_origin import content, http_origin
from tests.support.servers import Named

pytestmark = pytest.mark.slow

CACHED = f'{H2C}\nroutes = [{{ pool = "web", cache = {{ zone = "c", valid = {{ 200 = "1h" }} }} }}]'
ZONE = '[caches.c]\nmemory = "8MiB"'
PROXY_HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"


def without_age(fields):
    """Return fields of HTTP/1 or HTTP/2, with names in lower case, without those that differ by version or by time."""
    left_out = (b":status", b"age", b"cache-status", b"connection", b"date")
    return sorted((name.lower(), value) for name, value in fields if name.lower() not in left_out)


@pytest.mark.parametrize("size", [0, 5, 1000, 60_000, 300_000, 3_000_000])
@pytest.mark.parametrize("on_disk", [False, True])
async def test_hits_are_the_same_bytes_as_those_of_http_1(tmp_path, size, on_disk):
    zone = f'[caches.c]\npath = "{tmp_path}/cache"\nmemory = "{"0" if on_disk else "8MiB"}"'
    async with cache_origin() as origin:
        origin.answers["/a"] = Answer(content(size), (("X-Mine", "1"), ("Content-Type", "text/plain")))
        text = config(Named("s", origin.address), listener=CACHED, health=None, top=zone)
        async with balancer(tmp_path, text) as lb, visiting(lb.port) as visitor, client(lb) as other:
            first = await visitor.ask("/a", authority="a")
            assert bytes(first.body) == content(size)
            for _ in range(3):
                hit = await visitor.ask("/a", authority="a")
                assert b"hit" in hit[b"cache-status"]
                assert (hit.status, bytes(hit.body)) == (200, content(size))
                old = await other.ask(request(b"GET /a HTTP/1.1", b"Host: a\r\n"))
                assert old.body == content(size)
                assert without_age(hit.headers) == without_age(old.headers)
            records = [await lb.event("http.request", count=count) for count in range(1, 8)]
            assert [record["cache"] for record in records] == ["MISS"] + ["HIT"] * 6
            assert [record["version"] for record in records] == ["2"] + ["2", "1.1"] * 3


async def test_conditions_ranges_and_head_are_answered_from_the_cache(tmp_path):
    async with cache_origin() as origin:
        origin.answers["/a"] = Answer(content(5000), tag='"x"')
        text = config(Named("s", origin.address), listener=CACHED, health=None, top=ZONE)
        async with balancer(tmp_path, text) as lb, visiting(lb.port) as visitor:
            await visitor.ask("/a")
            assert (await visitor.ask("/a", ("if-none-match", '"x"'))).status == 304
            part = await visitor.ask("/a", ("range", "bytes=10-19"))
            assert (part.status, bytes(part.body)) == (206, content(5000)[10:20])
            head = await visitor.ask("/a", method="HEAD")
            assert (head.status, head[b"content-length"], bytes(head.body)) == (200, b"5000", b"")
        assert len(origin.requests) == 1


async def test_those_who_ask_at_the_same_time_read_along(tmp_path):
    async with cache_origin() as origin:
        origin.answers["/a"] = Answer(content(2_000_000), pause=500_000)
        text = config(Named("s", origin.address), listener=CACHED, health=None, top=ZONE)
        async with balancer(tmp_path, text) as lb, visiting(lb.port) as visitor:
            streams = [await visitor.send("/a") for _ in range(5)]
            await visitor.until(lambda: all(len(visitor.answers[each].body) >= 400_000 for each in streams))
            origin.go_on.set()
            for stream_id in streams:
                assert bytes((await visitor.answer(stream_id)).body) == content(2_000_000)
        assert len(origin.requests) == 1


@pytest.mark.parametrize("size", [2_000, 400_000])
async def test_compressed_bodies_have_no_other_framing(tmp_path, size):
    body = b"a line that comes again\n" * (size // 24)
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.txt").write_bytes(body)
    routes = '{ pool = "web", compress = true }, { path = "/f", files = "site", strip_prefix = "/f", compress = true }'
    listener = f"{H2C}\nroutes = [{routes}]"
    async with scripted(answer) as server, visited(tmp_path, server, listener=listener) as (_lb, visitor):
        for path in ("/", "/f/a.txt"):
            got = await visitor.ask(path, ("accept-encoding", "gzip"))
            assert (got[b"content-encoding"], got[b"content-length"]) == (b"gzip", None)
            assert gzip.decompress(bytes(got.body)) == body
            assert bytes((await visitor.ask(path)).body) == body


async def test_files_with_ranges(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "big").write_bytes(content(3_000_000))
    listener = f'{H2C}\nroutes = [{{ files = "site" }}]'
    async with http_origin() as a, visited(tmp_path, a, listener=listener) as (_lb, visitor):
        assert bytes((await visitor.ask("/big")).body) == content(3_000_000)
        part = await visitor.ask("/big", ("range", "bytes=-1000"))
        assert (part.status, bytes(part.body)) == (206, content(3_000_000)[-1000:])
        assert (await visitor.ask("/none")).status == 404


async def test_redirects_texts_rewrites_and_changed_fields(tmp_path):
    routes = (
        '{ path = "/r", redirect = "https://{host}{uri}" }, { path = "/t", respond = "a text", status = 203 }, '
        '{ pool = "web", strip_prefix = "/x", request_headers = { set = { X-Client = "{client_ip}" } }, '
        'response_headers = { set = { X-Served = "{server}" }, remove = ["Server"] } }'
    )
    async with (
        scripted(b"HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 0\r\n\r\n") as server,
        visited(tmp_path, server, listener=f"{H2C}\nroutes = [{routes}]") as (_lb, visitor),
    ):
        redirect = await visitor.ask("/r?a=b")
        assert (redirect.status, redirect[b"location"]) == (308, b"https://lb.example/r?a=b")
        text = await visitor.ask("/t")
        assert (text.status, bytes(text.body)) == (203, b"a text")
        answer = await visitor.ask("/x/y")
        assert (answer[b"x-served"], answer[b"server"]) == (b"s", None)
    (received,) = server.requests
    assert (received.target, received[b"x-client"]) == (b"/y", b"127.0.0.1")


async def test_limits_of_requests_and_of_bytes(tmp_path):
    routes = (
        '{ path = "/few", respond = "x", rate = "1/s", burst = 3 }, '
        '{ pool = "web", limit_rate = "200KiB", limit_rate_after = "50KiB" }'
    )
    async with http_origin() as a, visited(tmp_path, a, listener=f"{H2C}\nroutes = [{routes}]") as (_lb, visitor):
        statuses = [(await visitor.ask("/few")).status for _ in range(6)]
        assert statuses[0] == 200
        assert statuses[-1] == 429
        began = time.monotonic()
        answer = await visitor.ask("/bytes?n=150000")
        assert bytes(answer.body) == content(150_000)
        assert time.monotonic() - began > 0.3, "100,000 bytes at 200 KiB a second"


async def test_a_proxy_header_comes_before_the_preface(tmp_path):
    async with (
        scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as server,
        visited(tmp_path, server, listener=f"{H2C}\naccept_proxy = true", before=PROXY_HEADER) as (lb, visitor),
    ):
        assert (await visitor.ask("/")).status == 200
        assert (await lb.event("http.request"))["client"] == "192.0.2.7:4711"
    assert server.requests[0][b"x-forwarded-for"] == b"192.0.2.7"


async def test_sticky_cookies_and_trusted_proxies(tmp_path):
    listener = f'{H2C}\ntrusted_proxies = ["127.0.0.1"]'
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with (
        scripted(empty, name="a") as a,
        scripted(empty, name="b") as b,
        balancer(tmp_path, config(a, b, listener=listener, pool='sticky = { cookie = "lb" }', health=None)) as lb,
        visiting(lb.port) as visitor,
    ):
        first = await visitor.ask("/", ("x-forwarded-for", "192.0.2.9"))
        cookie = first[b"set-cookie"].partition(b";")[0]
        for _ in range(5):
            again = await visitor.ask("/", ("cookie", cookie), ("cookie", "x=y"), ("x-forwarded-for", "192.0.2.9"))
            assert b"set-cookie" not in again
        records = [await lb.event("http.request", count=count) for count in range(1, 7)]
    assert len({record["server"] for record in records}) == 1
    assert {record["client"] for record in records} == {"192.0.2.9:0"}


async def test_a_listener_that_does_not_offer_it_refuses_the_preface_as_ever(tmp_path):
    async with (
        http_origin() as a,
        balancer(tmp_path, config(a, listener='mode = "http"', health=None)) as lb,
        await connect(lb.port) as stream,
    ):
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 505 ")


async def test_the_preface_is_no_request_behind_another_one(tmp_path):
    async with (
        http_origin() as a,
        balancer(tmp_path, config(a, listener=H2C, health=None)) as lb,
        client(lb) as other,
    ):
        assert (await other.ask(request(b"GET /name HTTP/1.1", HOST))).body == b"a"
        answer = await other.ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert answer.status == 505
