"""Who asks right after a response has come gets it, also if it is on its way to the disk."""

from __future__ import annotations

import pytest
import trio

from tests.support.cache_origin import Answer
from tests.support.cache_peers import EXPIRED, peer

pytestmark = pytest.mark.slow

PATHS = [f"/videos/film-{number}.mp4" for number in range(10)]
SMALL, LARGE = 100, 300_000


@pytest.fixture(params=[("0", SMALL), ("0", LARGE), ("64MiB", SMALL), ("64MiB", LARGE)], ids="{0[0]}-{0[1]}".format)
async def start(request, tmp_path):
    """What starts our cache with so much memory, and how long the bodies are."""
    memory, length = request.param
    return lambda **options: peer("trio-lb", tmp_path / "home", memory=memory, **options), length


def answer_all(cache, body, **options):
    cache.origin.answers.update((path, Answer(body, **options)) for path in PATHS)


async def twice(cache):
    """Ask for each film twice, one right after the other; return the pairs that were seen."""
    return {((await cache.get(path)), (await cache.get(path))) for path in PATHS}


async def test_a_miss_is_followed_by_a_hit(start):
    run, length = start
    old = b"a" * length
    async with run() as cache:
        answer_all(cache, old)
        assert await twice(cache) == {(("MISS", old), ("HIT", old))}
        assert len(cache.origin.requests) == len(PATHS)


async def test_a_refresh_is_followed_by_a_hit_of_what_came(start):
    """And nobody gets the old one after somebody had the new one."""
    run, length = start
    old, new = b"a" * length, b"b" * length
    async with run() as cache:
        answer_all(cache, old)
        await twice(cache)
        await trio.sleep(EXPIRED)
        answer_all(cache, new)
        assert await twice(cache) == {(("EXPIRED", new), ("HIT", new))}


async def test_a_304_is_followed_by_a_hit(start):
    run, length = start
    old = b"a" * length
    async with run(tuned=True, use_stale="error") as cache:
        answer_all(cache, old, tag='"a"')
        await twice(cache)
        await trio.sleep(EXPIRED)
        assert await twice(cache) == {(("REVALIDATED", old), ("HIT", old))}
