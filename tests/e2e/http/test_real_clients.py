"""Real clients: curl, wrk, ab, chromium and a WebSocket library."""

from __future__ import annotations

import hashlib
import re
import subprocess
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from playwright.sync_api import sync_playwright
from websockets.sync.client import connect as websocket
from websockets.sync.server import serve as serve_websockets

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, config
from tests.support.http_origin import content, http_backends, http_origin
from tests.support.servers import Named, serving
from tests.support.tls_peers import client_context, write_authority, write_certificate

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")
LISTENER = 'mode = "http"'
DEBUG = '[log]\nlevel = "debug"\nformat = "json"'
NAME = "a.example.org"


async def output(*command, stdin=b"", check=True):
    """Run a program that must succeed, and return what it prints."""
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, stdin=stdin, capture_stdout=True, stderr=subprocess.DEVNULL, check=check)
    return done.stdout


async def curl(port, *options, path="/name"):
    return await output(program("curl"), "-sS", *options, f"http://127.0.0.1:{port}{path}")


async def test_curl_uploads_and_downloads(tmp_path):
    data = content(2_000_000)
    (tmp_path / "upload").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest().encode()
    async with http_origin() as a, balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
        for version in ("--http1.0", "--http1.1"):
            assert await curl(lb.port, version) == b"a"
            for framing in ("length", "chunked", "close"):
                assert await curl(lb.port, version, path=f"/bytes?n=2000000&framing={framing}") == data
            assert await curl(lb.port, version, "-T", tmp_path / "upload", path="/digest") == digest
        # curl waits for 100 Continue, and sends the body in chunks if it does not know the length
        for options in (("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")):
            sent = await curl(lb.port, "-v", *options, "--data-binary", f"@{tmp_path}/upload", path="/digest")
            assert sent == digest
        sent = await output(program("curl"), "-sS", "-T", "-", f"http://127.0.0.1:{lb.port}/digest", stdin=data)
        assert sent == digest
        head = await curl(lb.port, "-I", path="/bytes?n=1000")
        assert b"HTTP/1.1 200" in head
        assert b"content-length: 1000" in head.lower()
        records = [await lb.event("http.request", count=count) for count in range(1, 13)]
    assert {record["reason"] for record in records} == {"ok"}
    assert {record["version"] for record in records} == {"1.0", "1.1"}


async def test_curl_understands_what_is_compressed_for_it(tmp_path):
    text = b"the same words again and again\n" * 3000

    async def server(stream):
        await stream.receive_some()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
        await stream.send_all(head + text)

    route = '[[listeners.web.routes]]\npool = "web"\ncompress = true'
    async with (
        serving(server, name="a") as a,
        balancer(tmp_path, config(a, listener=f"{LISTENER}\n{route}", health=None)) as lb,
    ):
        assert await curl(lb.port, "--compressed") == text
        for coding in ("gzip", "br", "zstd"):
            plain = await curl(lb.port, "--compressed", "-H", f"Accept-Encoding: {coding}", "-D", tmp_path / "head")
            assert f"content-encoding: {coding}" in (tmp_path / "head").read_text().lower()
            assert plain == text or coding == "zstd", "Debian's curl does not know zstd"
        assert await curl(lb.port) == text
        sizes = [(await lb.event("http.request", count=count))["bytes_out"] for count in (1, 5)]
    assert sizes[0] < len(text) / 10
    assert sizes[1] == len(text)


async def test_curl_gets_several_files_over_one_connection(tmp_path):
    async with http_origin() as a, balancer(tmp_path, config(a, listener=LISTENER, health=None, top=DEBUG)) as lb:
        urls = [f"http://127.0.0.1:{lb.port}/bytes?n={size}&seed={size}" for size in (1, 70_000, 3, 300_000)]
        received = await output(program("curl"), "-sS", *urls)
        assert received == b"".join(content(size, size) for size in (1, 70_000, 3, 300_000))
        await lb.only_record()
    assert a.served.connections == 1


@one_process_or_two
@pytest.mark.parametrize("path", ["/name", "/bytes?n=100000", "/bytes?n=20000&framing=chunked"])
async def test_wrk_sees_no_error(tmp_path, path):
    async with (
        http_backends("a", "b") as servers,
        balancer(tmp_path, config(*servers, listener=LISTENER, health=None)) as lb,
    ):
        url = f"http://127.0.0.1:{lb.port}{path}"
        report = (await output(program("wrk"), "-t1", "-c40", "-d1s", url)).decode()
    assert int(re.search(r"(\d+) requests in", report)[1]) > 20
    assert "Socket errors" not in report
    assert "Non-2xx" not in report


@one_process_or_two
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "a connection each"])
async def test_ab_sees_no_error(tmp_path, kept):
    """It speaks HTTP/1.0."""
    async with http_backends("a") as (a,), balancer(tmp_path, config(a, listener=LISTENER, health=None)) as lb:
        options = ["-k"] if kept else []
        url = f"http://127.0.0.1:{lb.port}/bytes?n=3000"
        report = (await output(program("ab"), "-q", "-n", "400", "-c", "20", *options, url)).decode()
    counts = dict(re.findall(r"^([A-Z][\w -]+): +(\d+)", report, re.MULTILINE))
    assert (counts["Complete requests"], counts["Failed requests"]) == ("400", "0")
    assert "Non-2xx responses" not in counts
    assert counts.get("Keep-Alive requests", "0") == ("400" if kept else "0")


@asynccontextmanager
async def websocket_server():
    """A server that sends back what it gets; yields its address."""

    def echo(connection):
        for message in connection:
            connection.send(message)

    with serve_websockets(echo, "127.0.0.1", 0, max_size=None) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, server.serve_forever)
            yield Named("sockets", "{}:{}".format(*server.socket.getsockname()))
            server.shutdown()


MESSAGES = ["hello", "", "äöü" * 1000, b"\0\1\2", content(70_000), content(3_000_000)]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_websocket_carries_messages_both_ways(tmp_path, secure):
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "a", NAME) if secure else ""

    def talk(port):
        options = {"ssl": client_context(), "server_hostname": NAME} if secure else {}
        url = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/chat"
        with websocket(url, max_size=None, **options) as connection:
            for message in MESSAGES:
                connection.send(message)
                assert connection.recv(timeout=PATIENCE) == message
            for message in MESSAGES:
                connection.send(message)
            assert [connection.recv(timeout=PATIENCE) for _ in MESSAGES] == MESSAGES
            assert connection.ping().wait(PATIENCE)

    async with (
        websocket_server() as server,
        balancer(tmp_path, config(server, listener=f"{LISTENER}\n{tls}", health=None)) as lb,
    ):
        await trio.to_thread.run_sync(talk, lb.port)
        record = await lb.event("http.request")
    assert (record["status"], record["reason"], record["server"]) == (101, "ok", "sockets")
    assert record["bytes_in"] > 2 * 3_000_000
    assert record["bytes_out"] > 2 * 3_000_000


CHROMIUM_ARGS = ["--no-sandbox", f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
ASSETS = 12
PAGE = """<!doctype html><link rel="stylesheet" href="/style.css"><title>page</title><p id="said">nothing</p>
<script src="/script.js"></script>""" + "".join(f'<img src="/image-{number}.svg">' for number in range(ASSETS))
SCRIPT = """
const socket = new WebSocket(location.origin.replace("http", "ws") + "/chat");
socket.onopen = () => socket.send("hello");
socket.onmessage = event => { document.getElementById("said").textContent = event.data; };
"""
IMAGE = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!--{}--></svg>'


def write_site(directory):
    directory.mkdir()
    (directory / "index.html").write_text(PAGE)
    (directory / "style.css").write_text("p { color: rgb(1, 2, 3) }" + " " * 50_000)
    (directory / "script.js").write_text(SCRIPT)
    for number in range(ASSETS):
        (directory / f"image-{number}.svg").write_text(IMAGE.format("x" * 10_000 * number))


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
async def test_a_browser_loads_a_page_with_what_belongs_to_it_and_opens_a_websocket(tmp_path, secure):
    """A third of the files comes from the balancer, the others from a server."""
    chromium = program("chromium")
    write_site(tmp_path / "site")
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "a", NAME) if secure else ""
    write_authority(tmp_path)

    async def server(stream):
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = await stream.receive_some()
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            name = head.split(b" ")[1].decode().strip("/") or "index.html"
            path = tmp_path / "site" / name
            body = path.read_bytes() if path.exists() else b""
            kind = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
            line = "200 OK" if path.exists() else "404 Not Found"
            fields = f"Content-Type: {kind.get(name.rpartition('.')[2], 'text/plain')}\r\nContent-Length: {len(body)}"
            await stream.send_all(f"HTTP/1.1 {line}\r\n{fields}\r\n\r\n".encode() + body)

    def visit(port):
        complaints = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGS)
            page = browser.new_page(ignore_https_errors=True)
            page.set_default_timeout(PATIENCE * 1000)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("requestfailed", lambda request: complaints.append(request.url))
            for _ in range(2):
                page.goto(f"{'https' if secure else 'http'}://{NAME}:{port}/")
                page.wait_for_function("document.getElementById('said').textContent == 'hello'")
                loaded = page.evaluate("[...document.images].every(image => image.naturalWidth == 9)")
                color = page.evaluate("getComputedStyle(document.querySelector('p')).color")
                assert (loaded, color) == (True, "rgb(1, 2, 3)")
            browser.close()
        assert not complaints

    async with serving(server, name="a") as a, websocket_server() as sockets:
        routes = (
            '[[listeners.web.routes]]\npath = "=/chat"\npool = "sockets"\n'
            f'[[listeners.web.routes]]\npath = "=/style.css"\nfiles = "{tmp_path}/site"\n'
            '[[listeners.web.routes]]\npool = "web"\ncompress = true\n'
        )
        pools = f'[pools.sockets]\nhealth = false\nservers = ["{sockets.address}"]\n'
        text = config(a, listener=f"{LISTENER}\n{routes}{tls}", health=None, top=pools)
        async with balancer(tmp_path, text) as lb:
            await trio.to_thread.run_sync(partial(visit, lb.port))
            assert await lb.stop() == 0
    records = [record for record in lb.of("http.request") if record["path"] != "/favicon.ico"]
    assert {record["reason"] for record in records} <= {"ok", "client_left"}
    assert {record["status"] for record in records} <= {101, 200, 304}
    assert len({record["client"] for record in records}) <= len(records) / 2, "it keeps its connections"
