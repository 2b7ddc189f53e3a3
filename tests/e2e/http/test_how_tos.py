"""The how-tos of mode ``http`` do what they say: their configurations, with servers of the test in place of theirs."""

from __future__ import annotations

import re
from collections import Counter

import httpx
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, connect, with_workers
from tests.support.http_peers import http_server
from tests.support.paths import ROOT
from tests.support.servers import read_head, serving

FENCE = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVER = re.compile(r"10\.0\.0\.(\d):8000")


def shown(page, number, *addresses):
    """Return a configuration of a how-to. Its servers 10.0.0.1, … are at these addresses."""
    text = FENCE.findall((ROOT / "docs" / "how-to" / f"{page}.md").read_text())[number]
    text = SERVER.sub(lambda match: str(addresses[int(match[1]) - 1]), text)
    return with_workers(text.replace("[listeners.www", "[listeners.web").replace('":8080"', '"127.0.0.1:0"'))


def client(lb, **headers):
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{lb.port}", timeout=PATIENCE, headers=headers)


async def names(lb, requests):
    """Return how many requests each server had, by the log."""
    records = [await lb.event("http.request", count=number + 1) for number in range(requests)]
    return Counter(record["server"] for record in records)


async def echo(stream):
    """Switch to WebSocket and send back what comes."""
    head = await read_head(stream)
    if head is None:  # a health check
        return
    assert b"Upgrade: websocket" in head
    await stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    async for data in stream:
        await stream.send_all(data)


async def test_websocket(tmp_path):
    async with http_server() as a, http_server() as b, serving(echo) as c, serving(echo) as d:
        text = shown("websocket", 0, a.address, b.address, c.address, d.address)
        async with balancer(tmp_path, text) as lb:
            async with client(lb) as web:
                assert (await web.get("/")).status_code == 200
            stream = await connect(lb.port)
            with trio.fail_after(PATIENCE):
                async with stream:
                    await stream.send_all(
                        b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly"
                    )
                    received = await received_until(stream, b"\r\n\r\nearly")
                    assert received.startswith(b"HTTP/1.1 101 ")
                    await stream.send_all(b"\x81\x02hi")
                    assert await received_until(stream, b"hi") == b"\x81\x02hi"
            record = await lb.event("http.request", status=101)
            assert record["server"] in (c.address, d.address)
            assert (record["path"], record["bytes_in"], record["bytes_out"]) == ("/chat", 9, 9)


async def received_until(stream, end):
    received = b""
    while not received.endswith(end):
        received += await stream.receive_some()
    return received


async def test_sticky_sessions_by_a_cookie(tmp_path):
    async with http_server() as a, http_server() as b, http_server() as c:
        text = shown("sticky-sessions", 0, a.address, b.address, c.address)
        async with balancer(tmp_path, text) as lb:
            async with client(lb) as web:
                first = await web.get("/")
                assert re.fullmatch(r"lb=[^;]+; Path=/; HttpOnly; SameSite=Lax", first.headers["set-cookie"])
                for _ in range(5):
                    assert "set-cookie" not in (await web.get("/")).headers
            assert len(await names(lb, 6)) == 1


async def test_sticky_sessions_by_a_hash(tmp_path):
    async with http_server() as a, http_server() as b, http_server() as c:
        text = shown("sticky-sessions", 1, a.address, b.address, c.address)
        async with balancer(tmp_path, text) as lb:
            for session in range(8):
                async with client(lb, Cookie=f"other=1; session={session}") as web:
                    for _ in range(2):
                        assert (await web.get("/")).status_code == 200
            records = [await lb.event("http.request", count=number + 1) for number in range(16)]
            assert [each["server"] for each in records[::2]] == [each["server"] for each in records[1::2]]
            assert len({each["server"] for each in records}) > 1


async def test_a_canary_gets_its_share_and_is_ejected_for_its_errors(tmp_path):
    broken = {b"/": b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"}
    async with http_server() as one, http_server() as two, http_server(broken) as canary:
        text = shown("canary", 0, one.address, two.address, canary.address)
        async with balancer(tmp_path, text.replace('"127.0.0.1:9900"', '"127.0.0.1:0"')) as lb, client(lb) as web:
            for _ in range(42):
                assert (await web.get("/fine")).status_code == 200
            assert await names(lb, 42) == {"stable-1": 20, "stable-2": 20, "canary": 2}
            statuses = []
            with trio.fail_after(PATIENCE):
                while not lb.of("backend.ejected", server="canary"):
                    statuses.append((await web.get("/")).status_code)
            assert Counter(statuses)[500] == 3


async def test_a_canary_by_name_gets_the_host_of_the_site(tmp_path):
    async with http_server() as one, http_server() as two, http_server() as canary:
        text = shown("canary", 1, one.address, two.address, canary.address)
        async with balancer(tmp_path, text) as lb, client(lb, Host="next.example.com") as web:
            assert (await web.get("/")).status_code == 200
            [(request, _)] = canary.requests
            assert (b"host", b"www.example.com") in request.headers


@pytest.mark.parametrize("path", ["/.well-known/acme-challenge/token", "/other?a=b"])
async def test_certbots_proofs_are_served_and_the_rest_is_redirected(tmp_path, path):
    proofs = tmp_path / "acme" / ".well-known" / "acme-challenge"
    proofs.mkdir(parents=True)
    (proofs / "token").write_text("proof")
    plain = (
        shown("certbot", 0, *["127.0.0.1:9"] * 2)
        .partition("[listeners.web]")[0]
        .replace("listeners.plain", "listeners.web")
    )
    plain = plain.replace('":80"', '"127.0.0.1:0"').replace("/var/www/acme", str(tmp_path / "acme"))
    async with balancer(tmp_path, plain) as lb, client(lb, Host="www.example.com") as web:
        response = await web.get(path)
        if path.startswith("/other"):
            assert (response.status_code, response.headers["location"]) == (308, "https://www.example.com/other?a=b")
        else:
            assert (response.status_code, response.text) == (200, "proof")
