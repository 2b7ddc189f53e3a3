"""Requests that come in pieces, and several at once, are the same requests."""

from __future__ import annotations

import hashlib
import random

import pytest
import trio

from tests.support.balancer import config
from tests.support.effort import DEEP
from tests.support.http_client import client
from tests.support.http_origin import content, http_origin
from tests.support.operating import ADMIN, operated

pytestmark = pytest.mark.slow
ROUNDS = 1000 if DEEP else 60
SIZES = [0, 1, 100, 4095, 4096, 4097, 20_000, 140_000]
FIELDS = [b"Accept: */*", b"Cookie: a=b; c=" + b"d" * 300, b"X-Long: " + b"x" * 5000, b"User-Agent: test"]
ROUTES = '[[listeners.web.routes]]\npath = "=/own"\nrespond = "of the balancer"\n[[listeners.web.routes]]\npool = "web"'


def get(rng):
    size = rng.choice(SIZES)
    framing = rng.choice(["length", "chunked"])
    return b"GET", f"/bytes?n={size}&framing={framing}&seed={size}".encode(), [], b"", content(size, size)


def head(rng):
    return b"HEAD", b"/bytes?n=20000", [], b"", b""


def own(rng):
    return b"GET", b"/own", [], b"", b"of the balancer"


def post(rng):
    size = rng.choice(SIZES)
    body = content(size, size)
    digest = hashlib.sha256(body).hexdigest().encode()
    if rng.random() < 0.5:
        return b"POST", b"/digest", [b"Content-Length: %d" % size], body, digest
    at = rng.randrange(size + 1)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:at], body[at:]) if each)
    return b"POST", b"/digest", [b"Transfer-Encoding: chunked"], chunks + b"0\r\n\r\n", digest


def conversation(rng):
    """Return the bytes of some requests, and method and body of their answers."""
    wire, answers = b"", []
    for _ in range(rng.randint(1, 8)):
        method, target, framing, body, answer = rng.choice([get, get, head, own, post])(rng)
        fields = [b"Host: a", *rng.sample(FIELDS, rng.randrange(4)), *framing]
        empty_line = b"\r\n" * (rng.random() < 0.1)
        wire += empty_line + b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (method, target, b"\r\n".join(fields), body)
        answers.append((method, answer))
    return wire, answers


def pieces(wire, rng):
    """Return the bytes in pieces: at any places, or around the ends of heads."""
    ends = [at for at in range(len(wire)) if wire.startswith(b"\r\n\r\n", at)]
    places = [rng.randrange(len(wire)) for _ in range(rng.randrange(5))]
    places += [rng.choice(ends) + rng.randint(-2, 6) for _ in range(rng.randrange(5))]
    at = sorted(place for place in set(places) if 0 < place < len(wire))
    return [wire[start:end] for start, end in zip([0, *at], [*at, len(wire)], strict=True)]


@pytest.mark.usefixtures("worker_count")
async def test_each_request_has_its_response_however_they_come(tmp_path):
    async with http_origin("a") as a:
        text = config(a, listener=f'mode = "http"\n{ROUTES}', health=None, top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator):
            for seed in range(ROUNDS):
                rng = random.Random(seed)
                wire, answers = conversation(rng)
                async with client(lb) as peer, trio.open_nursery() as nursery:
                    nursery.start_soon(peer.send, *pieces(wire, rng))
                    for number, (method, body) in enumerate(answers):
                        answer = await peer.answer(method)
                        assert (answer.status, answer.body == body) == (200, True), f"seed {seed}, answer {number}"
            await operator.until(operator.servers, lambda servers: servers["a"]["active"] == 0)
