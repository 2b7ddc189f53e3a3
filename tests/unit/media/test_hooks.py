"""Hooks that answer in all ways, and in none."""

from __future__ import annotations

import json
import ssl
from contextlib import asynccontextmanager, suppress

import pytest
import trio
import trustme

from lb.events import StreamHookFailed
from lb.media import hooks
from lb.media.hooks import HookCall, Hooks
from lb.model import Secret
from tests.support.servers import free_port, serving

CALL = HookCall("live", "show", "192.0.2.7:5000", "verysecret")
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(hooks, "TIMEOUT", 30.0)


async def read_request(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += await stream.receive_some()
    return head, body


@asynccontextmanager
async def hook(*answer, hang=False):
    """Run a hook. ``answer`` are pieces of bytes. Yield its URL and the requests that come."""
    requests = []

    async def serve(stream):
        requests.append(await read_request(stream))
        with suppress(trio.BrokenResourceError):
            for piece in answer:
                await stream.send_all(piece)
            if hang:
                await trio.sleep_forever()

    async with serving(serve) as served:
        yield Secret(f"http://user:verysecret@{served.address}/hook?token=verysecret"), requests


async def asked(url, call=CALL):
    events = []
    allowed = await Hooks(events.append).allow(url, call)
    assert "verysecret" not in f"{events}{call}"
    return allowed, [event.error for event in events]


def answer(status, *fields):
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "Content-Length: 0", "", ""]).encode()


async def test_a_hook_is_told_who_wants_to_publish_what():
    async with hook(answer("204 No Content")) as (url, requests):
        assert await asked(url) == (True, [])
    ((head, body),) = requests
    assert head.startswith(b"POST /hook?token=verysecret HTTP/1.1\r\n")
    assert b"Content-Type: application/json" in head
    assert json.loads(body) == {"app": "live", "name": "show", "client": "192.0.2.7:5000", "key": "verysecret"}


@pytest.mark.parametrize("status", ["400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found"])
async def test_a_hook_says_no(status):
    async with hook(answer(status)) as (url, _):
        assert await asked(url) == (False, [])


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([answer("302 Found", "Location: /other")], "status 302"),
        ([answer("307 Temporary Redirect", "Location: /other")], "status 307"),
        ([answer("500 Oh")], "status 500"),
        ([b"SSH-2.0-OpenSSH\r\n"], "no answer of HTTP"),
        ([b"\0" * 200_000], "no answer of HTTP"),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000], "no answer of HTTP"),
        ([], "no answer of HTTP"),
    ],
)
async def test_what_is_neither_yes_nor_no_is_no_and_told(pieces, error):
    async with hook(*pieces) as (url, requests):
        assert await asked(url) == (False, [error])
        assert len(requests) == 1


async def test_a_body_is_not_read():
    sent = 0

    async def serve(stream):
        nonlocal sent
        await read_request(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
        with suppress(trio.BrokenResourceError):
            while True:
                await stream.send_all(bytes(1 << 16))
                sent += 1 << 16

    async with serving(serve) as served:
        assert await asked(Secret(f"http://{served.address}/")) == (True, [])
    assert sent < 64 << 20


async def test_dead_hooks():
    assert await asked(Secret(f"http://127.0.0.1:{free_port()}/")) == (False, ["connection refused"])
    allowed, (error,) = await asked(Secret("http://name.invalid/"))
    assert not allowed
    assert error


async def test_a_hook_whose_certificate_nobody_knows():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream):
        secured = trio.SSLStream(stream, context, server_side=True)
        with suppress(trio.BrokenResourceError):
            await secured.do_handshake()

    async with serving(serve) as served:
        allowed, (error,) = await asked(Secret(f"https://{served.address}/"))
    assert not allowed
    assert error.startswith("certificate verify failed")


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 100 Continue\r\n\r\n"], [b"HTTP/1.1 2"]])
async def test_a_hook_that_hangs_is_no_after_a_time(monkeypatch, pieces):
    async with hook(*pieces, hang=True) as (url, _):
        await Hooks([].append)._http.load()  # which takes time
        monkeypatch.setattr(hooks, "TIMEOUT", 0.3)
        began = trio.current_time()
        assert await asked(url) == (False, ["no answer in 0.3 s"])
        assert trio.current_time() - began < 10


async def test_few_calls_at_a_time(monkeypatch):
    monkeypatch.setattr(hooks, "MOST_CALLS", 2)
    now = most = 0

    async def serve(stream):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await read_request(stream)
        now -= 1
        await stream.send_all(answer("200 OK"))

    async with serving(serve) as served, trio.open_nursery() as nursery:
        found = Hooks([].append)
        results = []

        async def ask():
            results.append(await found.allow(Secret(f"http://{served.address}/"), CALL))

        for _ in range(8):
            nursery.start_soon(ask)
    assert results == [True] * 8
    assert most <= 2


async def test_the_end_is_told_once():
    events = []
    async with hook(answer("200 OK")) as (url, requests):
        await Hooks(events.append).tell_end(url, CALL)
    assert json.loads(requests[0][1])["name"] == "show"
    assert events == []
    async with hook(answer("404 Not Found")) as (url, requests):
        await Hooks(events.append).tell_end(url, CALL)
    assert len(requests) == 1
    assert events == [StreamHookFailed("live/show", "on_publish_done", "status 404")]
