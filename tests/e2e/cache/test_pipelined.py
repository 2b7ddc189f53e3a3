"""Requests that a client sends without waiting: hits that are sent together, among whatever else the cache answers."""

from __future__ import annotations

import random

import pytest
import trio

from tests.support.balancer import balancer
from tests.support.caching import cache_config, response
from tests.support.http_attacks import HOST, request
from tests.support.http_client import client, scripted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tier")]

SIZES = {b"/small": 100, b"/joined": 16 * 1024, b"/large": 16 * 1024 + 1, b"/file": 100_000}
"""The bodies of what is stored, around the size up to which they are sent together."""


async def say_target(stream, received):
    """Answer with the target, as often as is needed; what is new each time is not stored."""
    fields = b"Cache-Control: max-age=60\r\n" if received.target in SIZES else b"Cache-Control: no-store\r\n"
    await stream.send_all(response(body_of(received.target), fields))


def body_of(target):
    return (target * 100_000)[: SIZES.get(target, len(target))]


def asked(choice, number):
    """Return a request, its method and the body of its answer."""
    kind = choice.random()
    if kind < 0.7:
        target, method = choice.choice([*SIZES]), choice.choice([b"GET"] * 5 + [b"HEAD"])
    else:
        target, method = b"/new/%d" % number, choice.choice([b"GET", b"POST"])
    body = b"GET /body HTTP/1.1\r\n\r\n" if method == b"POST" else b""
    fields = HOST + (b"Content-Length: %d\r\n" % len(body) if body else b"")
    expected = b"" if method == b"HEAD" else body_of(target)
    return request(b"%s %s HTTP/1.1" % (method, target), fields, body), method, expected


async def store_all(visitor):
    for target in SIZES:
        await visitor.ask(request(b"GET %s HTTP/1.1" % target))


@pytest.mark.parametrize("step", [37, 4096, 1_000_000])
@pytest.mark.parametrize("ending", ["stays", "closes", "malformed"])
async def test_each_request_gets_its_own_answer_in_its_turn(tmp_path, step, ending):
    choice = random.Random(step)
    requests = [asked(choice, number) for number in range(100)]
    data = b"".join(each[0] for each in requests)
    if ending == "closes":
        data += request(b"GET /small HTTP/1.1", HOST + b"Connection: close\r\n")
    elif ending == "malformed":
        data += b"GET /small HTTP/1.1\r\nHost : a\r\n\r\n"
    async with scripted(say_target) as server, balancer(tmp_path, cache_config(server)) as lb, client(lb) as visitor:
        await store_all(visitor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.send, *(data[at : at + step] for at in range(0, len(data), step)))
            for _, method, body in requests:
                assert (await visitor.answer(method)).body == body
        if ending != "stays":
            answer = await visitor.answer()
            assert (answer.status, answer[b"connection"]) == (200 if ending == "closes" else 400, b"close")
            assert await visitor.ended()


async def test_a_client_that_reads_late_gets_all_that_it_asked_for(tmp_path):
    async with scripted(say_target) as server, balancer(tmp_path, cache_config(server)) as lb, client(lb) as visitor:
        await store_all(visitor)
        await visitor.send(request(b"GET /joined HTTP/1.1") * 1500)  # 24 MB: more than the sockets hold
        await lb.event("http.request", count=20)
        for _ in range(1500):
            assert (await visitor.answer()).body == body_of(b"/joined")


async def test_a_hit_is_not_held_for_a_request_that_is_not_complete(tmp_path):
    async with scripted(say_target) as server, balancer(tmp_path, cache_config(server)) as lb, client(lb) as visitor:
        await store_all(visitor)
        await visitor.send(request(b"GET /small HTTP/1.1") * 3 + b"GET /small HTTP/1.1\r\n")
        for _ in range(3):
            assert (await visitor.answer()).body == body_of(b"/small")
        await visitor.send(HOST + b"\r\n")
        assert (await visitor.answer()).body == body_of(b"/small")
