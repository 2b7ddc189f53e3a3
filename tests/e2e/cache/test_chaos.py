"""A cache that is killed again and again under load, with a disk that is too small: no client takes a wrong byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import stat
from functools import cache

import pytest
import trio
import trio.lowlevel

from tests.support.balancer import balancer, connect
from tests.support.caching import cache_config
from tests.support.directories import all_within
from tests.support.http_client import receive_request
from tests.support.servers import serving

pytestmark = pytest.mark.slow

SIZES = [0, 100, 5_000, 70_000, 400_000]
OBJECTS = 40
CLIENTS = 8
SESSIONS = 150
"""Responses that clients take in each life of the balancer."""
LIVES = 4


@cache
def content(number):
    size = SIZES[number % len(SIZES)]
    return random.Random(number).randbytes(size)


async def origin(stream):
    """Serve the objects, whole or a range of them, some of them cut short."""
    chance = random.Random(id(stream))
    while (request := await receive_request(stream)) is not None:
        body = content(int(request.target.rpartition(b"/")[2]))
        status, fields, asked = b"200 OK", b"Cache-Control: max-age=1000\r\n", request[b"range"]
        if asked is not None and body:
            first, last = map(int, asked.removeprefix(b"bytes=").split(b"-"))
            last = min(last, len(body) - 1)
            fields += b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, len(body))
            status, body = b"206 Partial Content", body[first : last + 1]
        head = b'HTTP/1.1 %b\r\n%bETag: "e"\r\nContent-Length: %d\r\n\r\n' % (status, fields, len(body))
        if len(body) > 1000 and chance.random() < 0.1:
            await stream.send_all(head + body[: len(body) // 2])
            return
        await stream.send_all(head + body)


async def visit(port, chance):
    """Ask for an object, or a range of one. Return False if there was no whole response; a wrong one is an error."""
    number = chance.randrange(OBJECTS)
    expected, fields = content(number), b""
    if expected and chance.random() < 0.3:
        first = chance.randrange(len(expected))
        expected, fields = expected[first : first + 50_000], b"Range: bytes=%d-%d\r\n" % (first, first + 49_999)
    received = b""
    try:
        async with await connect(port) as stream:
            await stream.send_all(b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%b\r\n" % (number, fields))
            async for data in stream:
                received += data
    except (OSError, trio.BrokenResourceError):
        return False
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
        return False
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    if len(body) < length:
        return False
    assert hashlib.sha256(body).digest() == hashlib.sha256(expected).digest(), (number, fields, head)
    return True


async def client(port, chance, taken):
    while len(taken) < SESSIONS:
        if await visit(port, chance):
            taken.append(True)
        await trio.lowlevel.checkpoint()


def stored(path):
    """Return the bytes of all files. Some are removed meanwhile; one that gets its name has two for a moment."""
    files = (status for status in all_within(path).values() if stat.S_ISREG(status.st_mode))
    return sum({status.st_ino: status.st_size for status in files}.values())


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_wrong_byte_is_served_over_kills_evictions_and_cut_fetches(tmp_path, workers):
    path = tmp_path / "cache"
    zone = f'path = {json.dumps(str(path))}\nmax_size = "3MiB"\nmemory = "1MiB"'
    top = f"[process]\nworkers = {workers}"
    seed = random.Random(1)
    async with serving(origin) as server:
        text = cache_config(server, zone=zone, top=top, route='slice = "64KiB"')
        for _ in range(LIVES):
            async with balancer(tmp_path, text) as lb:
                taken = []
                async with trio.open_nursery() as nursery:
                    for _ in range(CLIENTS):
                        nursery.start_soon(client, lb.port, random.Random(seed.random()), taken)
                    while len(taken) < SESSIONS // 2:  # noqa: ASYNC110 - in the middle of them
                        await trio.sleep(0.01)
                    for event in lb.of("worker.started")[:1]:
                        os.kill(event["pid"], signal.SIGKILL)
                assert lb.of("http.request", cache="HIT")
                assert stored(path) <= 3 << 20
