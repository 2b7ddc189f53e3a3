"""Real servers behind the balancer: nginx and Apache with files, gunicorn and node with applications."""

from __future__ import annotations

import gzip
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.balancer import config
from tests.support.http_origin import content
from tests.support.http_sessions import http_session
from tests.support.operating import ADMIN, operated
from tests.support.real_http_servers import FILES, apache, gunicorn, nginx, node
from tests.support.servers import Named

pytestmark = pytest.mark.slow
of_files = pytest.mark.parametrize("server", [nginx, apache])
applications = pytest.mark.parametrize("server", [gunicorn, node])
KEPT = 'lb_http_kept_connections{pool="web"}'
GZIP = [("Accept-Encoding", "gzip")]


@asynccontextmanager
async def proxied(tmp_path, server, **options):
    """Run a server and a balancer in front; yield a client, the balancer and its operator."""
    async with server(**options) as running:
        text = config(Named("a", f"127.0.0.1:{running.port}"), listener='mode = "http"', health=None, top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator), http_session(lb.port) as client:
            yield client, lb, operator


async def each_is_ok(lb, count):
    records = [await lb.event("http.request", count=number) for number in range(1, count + 1)]
    assert {record["reason"] for record in records} == {"ok"}
    assert not any(record["attempts"] for record in records)


@of_files
async def test_files_arrive_over_one_kept_connection(tmp_path, server):
    async with proxied(tmp_path, server) as (client, lb, operator):
        for _ in range(5):
            for name, data in FILES.items():
                answer = await client.ask(f"/{name}")
                assert (answer.status, answer.closes, answer.body == data) == (200, False, True)
        assert (await operator.until(operator.metrics, lambda metrics: metrics.get(KEPT)))[KEPT] == 1
        await each_is_ok(lb, 15)


@of_files
async def test_head_ranges_and_what_has_not_changed(tmp_path, server):
    film = FILES["film.bin"]
    async with proxied(tmp_path, server) as (client, lb, operator):
        head = await client.ask("/film.bin", "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(film)))
        etag, modified = head.headers["etag"], head.headers["last-modified"]
        for condition in (("If-None-Match", etag), ("If-Modified-Since", modified)):
            unchanged = await client.ask("/film.bin", headers=[condition])
            assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", etag)
        part = await client.ask("/film.bin", headers=[("Range", "bytes=1000000-1299999")])
        assert (part.status, part.body == film[1_000_000:1_300_000]) == (206, True)
        assert part.headers["content-range"] == f"bytes 1000000-1299999/{len(film)}"
        parts = await client.ask("/film.bin", headers=[("Range", "bytes=0-9,20-29")])
        assert (parts.status, film[:10] in parts.body, film[20:30] in parts.body) == (206, True, True)
        assert (await client.ask("/film.bin", headers=[("Range", "bytes=9999999-")])).status == 416
        assert (await client.ask("/nothing")).status == 404
        assert (await operator.until(operator.metrics, lambda metrics: metrics.get(KEPT)))[KEPT] == 1
        await each_is_ok(lb, 7)


@of_files
async def test_a_compressed_file_arrives(tmp_path, server):
    async with proxied(tmp_path, server) as (client, lb, _operator):
        for _ in range(3):
            answer = await client.ask("/large.txt", headers=GZIP)
            assert answer.headers["content-encoding"] == "gzip"
            assert gzip.decompress(answer.body) == FILES["large.txt"]
            head = await client.ask("/large.txt", "HEAD", headers=GZIP)
            assert (head.status, head.body) == (200, b"")
        await each_is_ok(lb, 6)


@of_files
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_uploads_are_stored_whole(tmp_path, server, chunked):
    async with proxied(tmp_path, server) as (client, lb, _operator):
        for size in (0, 1, 20_000, 3_000_000):
            body = content(size)
            stored = await client.ask(f"/up/{size}", "PUT", body, chunked=chunked)
            assert stored.status in (201, 204)
            assert (await client.ask(f"/up/{size}")).body == body
        await each_is_ok(lb, 8)


@of_files
async def test_a_server_that_ends_its_connections_costs_no_request(tmp_path, server):
    """After three requests it says ``Connection: close``; a client's connection stays open."""
    async with proxied(tmp_path, server, requests=3) as (client, lb, _operator):
        for _ in range(20):
            answer = await client.ask("/index.html")
            assert (answer.status, answer.closes) == (200, False)
        await each_is_ok(lb, 20)


@applications
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
async def test_applications_get_and_send_bodies_whole(tmp_path, server, chunked):
    async with proxied(tmp_path, server) as (client, lb, _operator):
        for size in (0, 1, 20_000, 3_000_000):
            answer = await client.ask("/echo", "POST", content(size), chunked=chunked)
            assert (answer.status, answer.body == content(size)) == (200, True)
        assert answer.headers["x-scheme"] == "http"
        await each_is_ok(lb, 4)


@applications
async def test_an_application_streams_in_chunks(tmp_path, server):
    async with proxied(tmp_path, server) as (client, lb, _operator):
        for count in (0, 1, 3000):
            answer = await client.ask(f"/stream?n={count}")
            assert answer.body == b"".join(b"%05d\n" % number for number in range(count))
        await each_is_ok(lb, 3)


@applications
async def test_an_application_is_told_to_expect_a_body_and_takes_it(tmp_path, server):
    async with proxied(tmp_path, server) as (client, _lb, _operator):
        for size in (10, 200_000):
            answer = await client.ask("/echo", "POST", content(size), headers=[("Expect", "100-continue")])
            assert (answer.status, answer.body == content(size)) == (200, True)


@pytest.mark.parametrize("server", [nginx, apache, node])
async def test_who_ends_idle_connections_all_the_time_costs_no_request(tmp_path, server):
    """Requests come about when the server's patience with idle connections ends."""
    patience = 0.05
    async with proxied(tmp_path, server, idle=patience) as (client, _lb, _operator):
        for step in range(30):
            assert (await client.ask("/echo" if server is node else "/")).status == 200
            await trio.sleep(patience + (step % 10 - 5) * 0.001)
