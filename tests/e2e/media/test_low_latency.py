"""Low latency through the cache: who waits for the next part shares one request, and a list that is old is not kept."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import m3u8
import pytest
import trio

from tests.support.balancer import balancer, connect
from tests.support.http_client import HttpClient
from tests.support.publishing import live_config, publishing
from tests.support.viewing import viewer

pytestmark = pytest.mark.slow
LOW_LATENCY = 'part = "250ms"\nsegment = "1s"'
HELD = 3.0
"""Seconds that a request is held while there is a publisher: three targets."""
TRIES = 5
"""Of a measurement: on a busy machine, one takes longer."""


@asynccontextmanager
async def low_latency(tmp_path):
    """Run a balancer with a stream in parts. The block gets it, its publisher and a viewer."""
    async with (
        balancer(tmp_path, live_config(LOW_LATENCY)) as lb,
        publishing(lb) as publisher,
        viewer(lb) as show,
    ):
        await publisher.send(4.4)
        await show.until(lambda found: len(found.segments) >= 3)
        yield lb, publisher, show


_numbers = itertools.count()


async def next_part(show):
    """Return the query that waits for what comes next. It asks for a list that no cache has."""
    text = (await show.body(f"v0.m3u8?_HLS_msn=0&_HLS_part={next(_numbers)}")).decode()
    hint = re.search(r'#EXT-X-PRELOAD-HINT:TYPE=PART,URI="[^"]+?\.(\d+)\.m4s"', text)
    found = m3u8.M3U8(text, strict=True)
    complete = len([each for each in found.segments if each.uri])
    return f"_HLS_msn={found.media_sequence + complete}&_HLS_part={hint[1]}"


@asynccontextmanager
async def crowd(lb, count):
    """Open so many connections to the listener ``web``."""
    async with AsyncExitStack() as stack:
        yield [HttpClient(await stack.enter_async_context(await connect(lb.ports["web"]))) for _ in range(count)]


async def ask_all(clients, query, then=None):
    """Have all ask for a list, do ``then``, and return the answers."""
    for client in clients:
        await client.send(f"GET /live/show/v0.m3u8?{query} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    if then is not None:
        await then()
    return [await client.answer() for client in clients]


def results(answers):
    return Counter(answer[b"x-cache-status"] for answer in answers)


@pytest.mark.usefixtures("worker_count")
async def test_all_who_wait_for_a_part_share_one_request(tmp_path):
    async with low_latency(tmp_path) as (lb, publisher, show), crowd(lb, 300) as clients:
        for _ in range(3):
            query = await next_part(show)
            answers = await ask_all(clients, query, lambda: publisher.send(0.25))
            assert {answer.status for answer in answers} == {200}
            assert {answer[b"cache-control"] for answer in answers} == {b"max-age=12"}
            assert len({answer.body for answer in answers}) == 1
            assert results(answers) == {b"MISS": 1, b"HIT": 299}


@pytest.mark.usefixtures("worker_count")
async def test_what_was_held_in_vain_is_for_those_who_waited_alone(tmp_path):
    async with low_latency(tmp_path) as (lb, publisher, show), crowd(lb, 50) as clients:
        query = await next_part(show)
        for first in (b"MISS", b"REVALIDATED"):
            began = trio.current_time()
            answers = await ask_all(clients, query)
            assert trio.current_time() - began > HELD - 0.2
            assert {(answer.status, answer[b"cache-control"]) for answer in answers} == {(200, b"no-store")}
            assert results(answers) == {first: 1, b"HIT": 49}
        answers = await ask_all(clients, query, lambda: publisher.send(0.25))
        assert {(answer.status, answer[b"cache-control"]) for answer in answers} == {(200, b"max-age=12")}
        assert results(answers)[b"HIT"] == 49


async def test_while_the_publisher_is_away_a_request_is_held_for_one_target(tmp_path):
    async with low_latency(tmp_path) as (lb, publisher, show):
        await publisher.leave()
        await lb.event("stream.unpublished")
        found = await show.playlist("v0.m3u8?_HLS_msn=1")
        waiting = f"v0.m3u8?_HLS_msn={found.media_sequence + len(found.segments)}&_HLS_part=0"
        times = []
        while not times or (min(times) > 2.5 and len(times) < TRIES):
            began = trio.current_time()
            response = await show.get(waiting)
            times.append(trio.current_time() - began)
        assert 0.8 < min(times) < 2.5, times
        assert response.headers["cache-control"] == "no-store"
        assert response.text.count("#EXT-X-DISCONTINUITY\n") == 1
        async with publishing(lb) as again:
            await again.send(2)
            response = await show.get(waiting)
            assert response.headers["cache-control"] == "max-age=12"
            assert response.text.count("#EXT-X-DISCONTINUITY\n") == 1


@pytest.mark.usefixtures("worker_count")
async def test_of_a_query_only_what_asks_for_a_list_that_comes_is_in_the_key(tmp_path):
    async with low_latency(tmp_path) as (_, _, show):
        query = await next_part(show)
        newest = int(re.search(r"_HLS_msn=(\d+)", query)[1]) - 1
        one, other = f"v0.m3u8?_HLS_msn={newest}", f"v0.m3u8?_HLS_msn={newest - 1}"
        assert [(await show.get(path)).headers["x-cache-status"] for path in (one, other)] == ["MISS", "MISS"]
        for path in (f"{one}&x=1", f"v0.m3u8?token=a&_HLS_msn={newest}&_HLS_skip=YES", f"{other}&_="):
            assert (await show.get(path)).headers["x-cache-status"] == "HIT"
        segment = (await show.playlist()).segments[0].uri
        assert [(await show.get(f"{segment}?{each}")).status_code for each in "abc"] == [200] * 3
        assert (await show.get(f"{segment}?d")).headers["x-cache-status"] == "HIT"


async def test_what_cannot_be_asked_for_is_refused_and_not_kept(tmp_path):
    async with low_latency(tmp_path) as (_, publisher, show):
        query = await next_part(show)
        next_number = int(re.search(r"_HLS_msn=(\d+)", query)[1])
        too_far = f"_HLS_msn={next_number + 2}"
        for wrong in (too_far, f"{too_far}&_HLS_part=0", "_HLS_part=0", "_HLS_msn=x", "_HLS_msn=-1"):
            for _ in range(2):
                response = await show.get(f"v0.m3u8?{wrong}")
                assert (response.status_code, response.headers["cache-control"]) == (400, "no-store"), wrong
                assert response.headers["x-cache-status"] == "MISS"
                assert response.headers["access-control-allow-origin"] == "*"
        await publisher.send(3)
        await show.until(lambda found: found.segments, f"v0.m3u8?{too_far}")
