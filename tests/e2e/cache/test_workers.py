"""One cache of several workers: each key has a worker that asks the servers, whichever has the client."""

from __future__ import annotations

import os
import signal

import pytest
import trio

from tests.support.balancer import balancer
from tests.support.caching import Gate, ask, cache_config, response
from tests.support.http_client import client, scripted

pytestmark = pytest.mark.slow

TWO = "[process]\nworkers = 2"
VISITORS = 24


async def test_all_clients_of_all_workers_share_one_fetch_and_read_along(tmp_path):
    body = bytes(range(256)) * 2000
    fetch = Gate(response(body)[:100_000], response(body)[100_000:])
    early, whole = [], []

    async def visit(lb):
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            received = await visitor.stream.receive_some()
            early.append(received)
            if len(early) == VISITORS:
                fetch.let(1)
            while len(received) < len(body):
                received += await visitor.stream.receive_some()
            whole.append(received.partition(b"\r\n\r\n")[2])

    async with scripted(fetch) as server, balancer(tmp_path, cache_config(server, top=TWO)) as lb:
        fetch.let(0)
        async with trio.open_nursery() as nursery:
            for _ in range(VISITORS):
                nursery.start_soon(visit, lb)
        assert len(server.requests) == 1
        await lb.event("http.request", count=VISITORS)
        assert len(lb.of("http.request")) == VISITORS
    assert len(whole) == VISITORS
    assert all(body.startswith(each[: len(body)]) or each == body for each in whole)


@pytest.mark.parametrize("size", [10, 200_000])
@pytest.mark.parametrize("zone", ["", 'path = "cache"'])
async def test_what_one_worker_has_the_others_do_not_fetch(tmp_path, size, zone):
    async with scripted(response(bytes(size))) as server:
        async with balancer(tmp_path, cache_config(server, top=TWO, zone=zone)) as lb:
            answers = [await ask(lb, b"/%d" % (number % 4)) for number in range(32)]
        targets = [request.target for request in server.requests]
    assert len(targets) == len(set(targets)) == 4
    assert all(answer.body == bytes(size) for answer in answers)
    assert sum(answer[b"x-cache-status"] == b"HIT" for answer in answers) == 28


async def test_servers_are_told_of_the_client_and_not_of_a_worker(tmp_path):
    async with scripted(response(fields=b"Cache-Control: no-store\r\n")) as server:
        async with balancer(tmp_path, cache_config(server, top=TWO)) as lb:
            for number in range(16):
                await ask(lb, b"/%d" % number)
        told = {(request[b"x-forwarded-for"], request[b"x-forwarded-proto"]) for request in server.requests}
        ids = {request[b"x-request-id"] for request in server.requests}
    assert told == {(b"127.0.0.1", b"http")}
    assert len(ids) == 16


async def test_when_a_worker_is_killed_the_others_ask_the_servers_themselves(tmp_path):
    async with scripted(response()) as server, balancer(tmp_path, cache_config(server, top=TWO)) as lb:
        for number in range(8):
            await ask(lb, b"/%d" % number)
        os.kill(lb.of("worker.started")[0]["pid"], signal.SIGKILL)
        await lb.event("worker.died")
        answers = [await ask(lb, b"/%d" % number) for number in range(16)]
        await lb.event("worker.started", count=3)
        answers += [await ask(lb, b"/%d" % number) for number in range(16)]
    assert [answer.status for answer in answers] == [200] * 32


async def test_no_server_can_say_what_a_worker_says(tmp_path):
    """Its response would be kept as if the cache had let it."""
    lie = response(fields=b"Cache-Control: private, max-age=60\r\nX-Trio-Lb-Cache: HIT\r\n")
    async with scripted(lie) as server:
        async with balancer(tmp_path, cache_config(server, top=TWO)) as lb:
            answers = [await ask(lb) for _ in range(8)]
        assert len(server.requests) == 8
    assert all(answer[b"x-trio-lb-cache"] is None for answer in answers)


async def test_a_listener_that_was_removed_comes_back(tmp_path):
    async with scripted(response()) as server:
        text = cache_config(server, top=TWO)
        other = text.replace("listeners.web", "listeners.other").replace("bind = ", 'keep_alive = "1m"\nbind = ')
        async with balancer(tmp_path, text) as lb:
            await ask(lb)
            assert (await lb.reload(other))["event"] == "config.applied"
            assert (await lb.reload(text))["event"] == "config.applied"
            answers = [await ask(lb, b"/%d" % (number % 4)) for number in range(16)]
    assert sum(answer[b"x-cache-status"] == b"HIT" for answer in answers) >= 11
