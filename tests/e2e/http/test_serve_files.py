"""``files`` through the real command: whole bodies and parts, plain and TLS, and files that change on the way."""

from __future__ import annotations

import gzip
import os
import random
import socket
import ssl

import httpx
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, with_workers
from tests.support.splicing import MIB
from tests.support.tls_peers import write_authority, write_certificate

FILM = random.Random(7).randbytes(24 * MIB + 321)
GET_FILM = b"GET /film.mp4 HTTP/1.1\r\nHost: a\r\n\r\n"
SMALL_BUFFER = 64 * 1024


@pytest.fixture
def www(tmp_path):
    www = tmp_path / "www"
    (www / "docs").mkdir(parents=True)
    (www / "index.html").write_bytes(b"<p>page")
    (www / "docs" / "index.html").write_bytes(b"docs")
    (www / "film.mp4").write_bytes(FILM)
    (www / "app.js").write_bytes(b"script")
    (www / "app.js.gz").write_bytes(gzip.compress(b"script"))
    return www


def config(route='files = "www"', tls=""):
    return with_workers(f"""
[listeners.web]
mode = "http"
bind = "127.0.0.1:0"
{tls}
[[listeners.web.routes]]
name = "site"
{route}
""")


def client(lb, **options):
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{lb.port}", timeout=PATIENCE, **options)


@pytest.mark.usefixtures("worker_count")
async def test_a_site(tmp_path, www):
    async with balancer(tmp_path, config()) as lb, client(lb) as web:
        page = await web.get("/")
        assert (page.status_code, page.text, page.headers["content-type"]) == (
            200,
            "<p>page",
            "text/html; charset=utf-8",
        )
        again = await web.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "content-length" not in again.headers
        moved = await web.get("/docs")
        assert (moved.status_code, moved.headers["location"]) == (301, "/docs/")
        assert (await web.get("/docs/")).text == "docs"
        packed = await web.get("/app.js", headers={"Accept-Encoding": "gzip"})
        assert (packed.text, packed.headers["content-encoding"], packed.headers["vary"]) == (
            "script",
            "gzip",
            "Accept-Encoding",
        )
        film = await web.get("/film.mp4")
        assert film.content == FILM
        head = await web.head("/film.mp4")
        assert (head.headers["content-length"], head.content) == (str(len(FILM)), b"")
        part = await web.get("/film.mp4", headers={"Range": "bytes=3000000-9999999"})
        assert (part.status_code, part.content) == (206, FILM[3_000_000:10_000_000])
        several = await web.get("/film.mp4", headers={"Range": "bytes=0-99999,-100000"})
        assert FILM[:100_000] in several.content
        assert FILM[-100_000:] in several.content
        assert int(several.headers["content-length"]) == len(several.content)
        assert (await web.get("/film.mp4", headers={"Range": "bytes=99999999-"})).status_code == 416
        assert (await web.get("/../etc/passwd")).status_code in (400, 404)
        assert (await web.post("/film.mp4", content=b"x" * 1000)).status_code == 405
        event = await lb.event("http.request", path="/film.mp4", status=200, method="GET")
        assert (event["route"], event["bytes_out"], event["reason"]) == ("site", len(FILM), "ok")
        event = await lb.event("http.request", status=206, bytes_out=7_000_000)
        assert event["reason"] == "ok"


async def test_a_change_shows(tmp_path, www):
    async with balancer(tmp_path, config()) as lb, client(lb) as web:
        assert (await web.get("/")).text == "<p>page"
        (www / "next.html").write_bytes(b"<p>new page")
        (www / "next.html").rename(www / "index.html")
        with trio.fail_after(PATIENCE):
            while (await web.get("/")).text != "<p>new page":
                pass
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "index.html").write_bytes(b"other")
        await lb.reload(config('files = "other"'))
        assert (await web.get("/")).text == "other"


async def test_over_tls(tmp_path, www):
    context = ssl.create_default_context(cafile=tmp_path / write_authority(tmp_path))
    tls = f"[listeners.web.tls]\n{write_certificate(tmp_path, 'front', 'localhost')}"
    async with (
        balancer(tmp_path, config(tls=tls)) as lb,
        httpx.AsyncClient(base_url=f"https://localhost:{lb.port}", timeout=PATIENCE, verify=context) as web,
    ):
        assert (await web.get("/film.mp4")).content == FILM
        assert (await web.get("/")).text == "<p>page"
        assert (await web.get("/film.mp4", headers={"Range": "bytes=5-2000005"})).content == FILM[5:2_000_006]


async def test_a_route_that_compresses_and_changes_fields(tmp_path, www):
    words = b" ".join(b"%d" % number for number in range(300_000))
    (www / "words.txt").write_bytes(words)
    (www / "short.txt").write_bytes(b"word " * 250)
    route = 'files = "www"\ncompress = true\nresponse_headers = { set = { Cache-Control = "max-age=60" } }'
    async with balancer(tmp_path, config(route)) as lb, client(lb) as web:
        for coding in ("gzip", "br", "zstd"):
            got = await web.get("/words.txt", headers={"Accept-Encoding": coding})
            assert (got.content, got.headers["content-encoding"]) == (words, coding)
            assert got.headers["etag"].startswith("W/")
            assert "content-length" not in got.headers
            assert "accept-ranges" not in got.headers
            assert got.headers["cache-control"] == "max-age=60"
        again = await web.get("/words.txt", headers={"Accept-Encoding": "br", "If-None-Match": got.headers["etag"]})
        assert (again.status_code, again.headers["etag"]) == (304, got.headers["etag"])
        assert (await web.get("/short.txt", headers={"Accept-Encoding": "gzip"})).text == "word " * 250
        plain = await web.get("/words.txt", headers={"Accept-Encoding": "identity"})
        assert (plain.content, plain.headers["vary"]) == (words, "Accept-Encoding")
        part = await web.get("/words.txt", headers={"Accept-Encoding": "gzip", "Range": "bytes=1000-1999999"})
        assert (part.status_code, part.content) == (206, words[1000:2_000_000])
        assert "content-encoding" not in part.headers
        head = await web.head("/words.txt", headers={"Accept-Encoding": "gzip"})
        assert (head.headers["content-encoding"], head.content) == ("gzip", b"")
        assert (await web.get("/film.mp4", headers={"Accept-Encoding": "gzip"})).content == FILM
        packed = await web.get("/app.js", headers={"Accept-Encoding": "gzip, br"})
        assert (packed.text, packed.headers["content-encoding"]) == ("script", "gzip")


class SlowClient:
    """A client that has taken only the begin of a response."""

    def __init__(self, port):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", port))
        sock.sendall(GET_FILM)
        self.received = sock.recv(1000)
        self.sock = sock

    def take_rest(self):
        """Return all bytes of the body, and whether they ended with a reset."""
        pieces = [self.received]
        try:
            while piece := self.sock.recv(1 << 20):
                pieces.append(piece)
        except ConnectionResetError:
            return b"".join(pieces).partition(b"\r\n\r\n")[2], True
        return b"".join(pieces).partition(b"\r\n\r\n")[2], False


def truncate(path):
    os.truncate(path, 10 * MIB)


def write_anew(path):
    path.write_bytes(FILM[::-1])


@pytest.mark.parametrize("change", [truncate, write_anew])
async def test_a_file_that_changes_on_the_way_is_a_reset(tmp_path, www, change):
    async with balancer(tmp_path, config()) as lb:
        slow = await trio.to_thread.run_sync(SlowClient, lb.port)
        change(www / "film.mp4")
        body, was_reset = await trio.to_thread.run_sync(slow.take_rest)
        slow.sock.close()
        assert was_reset
        assert len(body) < len(FILM)
        event = await lb.event("http.request")
        assert (event["status"], event["reason"]) == (200, "bad_response")


async def test_a_file_that_is_replaced_on_the_way_arrives_as_it_was(tmp_path, www):
    async with balancer(tmp_path, config()) as lb:
        slow = await trio.to_thread.run_sync(SlowClient, lb.port)
        (www / "next").write_bytes(b"other")
        (www / "next").rename(www / "film.mp4")
        slow.sock.sendall(b"GET /docs/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        body, was_reset = await trio.to_thread.run_sync(slow.take_rest)
        slow.sock.close()
        assert not was_reset
        assert body.startswith(FILM)
        assert body.endswith(b"docs")


async def test_a_client_that_leaves_is_said(tmp_path, www):
    async with balancer(tmp_path, config()) as lb:
        slow = await trio.to_thread.run_sync(SlowClient, lb.port)
        slow.sock.close()
        event = await lb.event("http.request")
        assert event["reason"] == "client_left"
        assert 0 < event["bytes_out"] < len(FILM)
