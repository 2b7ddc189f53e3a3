"""examples/video-cache: nginx and ours say the same X-Cache-Status to the same requests. An hour is a second here."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from functools import partial

import httpx
import pytest
import trio

from tests.e2e.traffic.test_real_peers import running
from tests.support.balancer import PATIENCE, balancer
from tests.support.cache_origin import Answer
from tests.support.cache_peers import EXPIRED, FILM, FRESH, PEERS, peer
from tests.support.paths import EXAMPLES
from tests.support.servers import free_port

pytestmark = pytest.mark.slow

LONG = ("Cache-Control", "max-age=3600")
ONE, TWO = b"the first version", b"the second version"


@pytest.fixture(params=PEERS)
def start(request, tmp_path):
    """What starts nginx, or ours. With ``tuned``, nginx is configured for what ours does by default."""
    return partial(peer, request.param, tmp_path / "home")


async def expired():
    """Let what has been stored expire."""
    await trio.sleep(EXPIRED)


async def test_the_first_is_a_miss_and_the_next_ones_are_hits(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert [await cache.get() for _ in range(3)] == [("MISS", ONE), ("HIT", ONE), ("HIT", ONE)]
        assert len(cache.origin.requests) == 1


async def test_heads_ranges_and_conditions_are_hits_of_what_is_stored(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (LONG,), tag='"one"', ranges=True)
        assert await cache.get() == ("MISS", ONE)
        assert await cache.get(Range="bytes=4-8") == ("HIT", b"first")
        responses = [
            await cache.ask(method="HEAD"),
            await cache.ask(Range="bytes=4-8"),
            await cache.ask(If_None_Match='"one"'),
        ]
        assert [response.status_code for response in responses] == [200, 206, 304]
        assert {response.headers["x-cache-status"] for response in responses} == {"HIT"}
        assert len(cache.origin.requests) == 1


async def test_what_is_expired_is_fetched_again(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await expired()
        cache.origin.answers[FILM] = Answer(TWO)
        assert [await cache.get() for _ in range(2)] == [("EXPIRED", TWO), ("HIT", TWO)]


async def test_what_is_expired_is_fetched_in_full_without_revalidation(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, tag='"one"')
        assert await cache.get() == ("MISS", ONE)
        await expired()
        assert [await cache.get() for _ in range(2)] == [("EXPIRED", ONE), ("HIT", ONE)]
        assert all("if-none-match" not in fields for fields in cache.origin.asked(FILM))


async def test_a_dead_origin_is_stood_in_for_by_what_is_stale(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await cache.origin.stop()
        await expired()
        assert [await cache.get() for _ in range(3)] == [("STALE", ONE)] * 3
        cache.origin.answers[FILM] = Answer(TWO)
        await cache.origin.start()
        assert await cache.until("EXPIRED") == TWO
        assert await cache.get() == ("HIT", TWO)


async def test_a_slow_origin_is_stood_in_for_by_what_is_stale(start):
    async with start(patience="1s") as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await expired()
        cache.origin.answers[FILM] = Answer(TWO, held=True)
        assert await cache.get() == ("STALE", ONE)


async def test_an_origin_with_another_error_is_not_stood_in_for(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await expired()
        cache.origin.answers[FILM] = Answer(b"broken", status=500)
        response = await cache.ask()
        assert (response.status_code, response.content) == (500, b"broken")


async def test_while_one_refreshes_the_others_get_what_is_stale(start):
    async with start() as cache, trio.open_nursery() as nursery:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await expired()
        cache.origin.answers[FILM] = Answer(TWO, held=True)
        refreshed = []

        async def refresh():
            refreshed.append(await cache.get())

        nursery.start_soon(refresh)
        await cache.origin.has(FILM, 2)
        assert [await cache.get() for _ in range(2)] == [("UPDATING", ONE)] * 2
        assert not refreshed
        cache.origin.go_on.set()
        assert await cache.until("HIT") == TWO
    assert refreshed == [("EXPIRED", TWO)]
    assert len(cache.origin.requests) == 2


async def test_what_is_stored_outlives_a_restart(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE * 100_000, (LONG,))
        assert await cache.get() == ("MISS", ONE * 100_000)
        assert (await cache.get())[0] == "HIT"
        await cache.stop()
        await cache.origin.stop()
        await cache.start()
        assert await cache.get() == ("HIT", ONE * 100_000)


@pytest.mark.parametrize(
    "field",
    [
        ("Cache-Control", "no-store"),
        ("Cache-Control", "private"),
        ("Cache-Control", "max-age=0"),
        ("X-Accel-Expires", "0"),
        ("Expires", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Set-Cookie", "a=b"),
        ("Vary", "*"),
    ],
    ids=": ".join,
)
async def test_what_the_origin_forbids_is_not_stored(start, field):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (field,))
        assert [await cache.get() for _ in range(2)] == [("MISS", ONE)] * 2


@pytest.mark.parametrize("field", [LONG, ("X-Accel-Expires", "3600")], ids=": ".join)
async def test_how_long_something_is_fresh_is_first_of_all_what_the_origin_says(start, field):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (field,))
        assert await cache.get() == ("MISS", ONE)
        await expired()
        assert await cache.get() == ("HIT", ONE)


async def test_x_accel_expires_counts_more_than_cache_control(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (("X-Accel-Expires", "3600"), ("Cache-Control", "no-store")))
        assert [await cache.get() for _ in range(2)] == [("MISS", ONE), ("HIT", ONE)]


async def test_variants_are_stored_apart(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (("Vary", "X-Quality"), LONG))
        asked = [(await cache.get(X_Quality=quality))[0] for quality in ("high", "low", "high", "low")]
        assert asked == ["MISS", "MISS", "HIT", "HIT"]


async def test_queries_are_stored_apart_and_other_paths_not_at_all(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (LONG,))
        asked = [(await cache.get(FILM + query))[0] for query in ("", "?a=1", "?a=2", "", "?a=1")]
        assert asked == ["MISS", "MISS", "MISS", "HIT", "HIT"]
        assert (await cache.ask("/other/film.mp4")).status_code == 404
        assert not cache.origin.asked("/other/film.mp4")


async def test_other_statuses_are_fetched_each_time(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, status=404)
        assert [(await cache.ask()).status_code for _ in range(2)] == [404, 404]
        assert len(cache.origin.requests) == 2


async def test_a_post_is_passed_on_and_has_no_status(start):
    async with start() as cache:
        cache.origin.answers[FILM] = Answer(ONE, (LONG,))
        response = await cache.ask(method="POST")
        assert (response.content, response.headers.get("x-cache-status")) == (ONE, None)
        assert await cache.get() == ("MISS", ONE)


# With what ours does by default, and nginx if it is told to


async def test_what_has_not_changed_is_revalidated(start):
    async with start(tuned=True) as cache:
        cache.origin.answers[FILM] = Answer(ONE, tag='"one"')
        assert await cache.get() == ("MISS", ONE)
        await cache.origin.stop()
        await expired()
        await cache.origin.start()
        assert await cache.until("HIT") == ONE
        assert cache.origin.asked(FILM)[-1]["if-none-match"] == '"one"'


async def test_nobody_waits_for_a_refresh_in_the_background(start):
    async with start(tuned=True) as cache:
        cache.origin.answers[FILM] = Answer(ONE)
        assert await cache.get() == ("MISS", ONE)
        await expired()
        cache.origin.answers[FILM] = Answer(TWO, held=True)
        assert await cache.get() == ("STALE", ONE)
        await cache.origin.has(FILM, 2)
        assert [await cache.get() for _ in range(2)] == [("UPDATING", ONE)] * 2
        cache.origin.go_on.set()
        assert await cache.until("HIT") == TWO
        assert len(cache.origin.requests) == 2


async def test_a_bypass_asks_the_origin_and_stores_what_it_says(start):
    async with start(tuned=True) as cache:
        cache.origin.answers[FILM] = Answer(ONE, (LONG,))
        assert [await cache.get() for _ in range(2)] == [("MISS", ONE), ("HIT", ONE)]
        cache.origin.answers[FILM] = Answer(TWO, (LONG,))
        assert await cache.get(Cookie="nocache=0") == ("HIT", ONE)
        assert await cache.get(Cookie="nocache=1") == ("BYPASS", TWO)
        assert await cache.get() == ("HIT", TWO)


# Where we differ


async def fetches_of_two_at_once(cache):
    cache.origin.answers[FILM] = Answer(ONE * 100_000, pause=1)
    async with cache.client.stream("GET", FILM), cache.client.stream("GET", FILM):
        cache.origin.go_on.set()
        return len(cache.origin.requests)


async def fetched_for_a_range(cache):
    cache.origin.answers[FILM] = Answer(ONE * 100_000, (LONG,), tag='"one"', ranges=True)
    response = await cache.ask(Range="bytes=4-8")
    assert (response.status_code, response.content) == (206, b"first")
    return cache.origin.asked(FILM)[0].get("range")


async def range_of_what_came_without_accept_ranges(cache):
    cache.origin.answers[FILM] = Answer(ONE, (LONG,), tag='"one"')
    await cache.get()
    response = await cache.ask(Range="bytes=4-8")
    return response.status_code


async def status_of_an_error(cache):
    return (await cache.ask("/videos/none")).headers.get("x-cache-status")


async def the_same_path_of_two_hosts(cache):
    cache.origin.answers[FILM] = Answer(ONE, (LONG,))
    return [(await cache.get(Host=host))[0] for host in ("a.example", "b.example")]


async def next_request_during_a_refresh(cache):
    cache.origin.answers[FILM] = Answer(ONE)
    await cache.get()
    await expired()
    cache.origin.answers[FILM] = Answer(TWO, held=True)
    async with httpx.AsyncClient(base_url=cache.client.base_url, headers=cache.client.headers) as kept:
        first = await kept.get(FILM)
        assert first.headers["x-cache-status"] == "STALE", first.headers
        with trio.move_on_after(0.5):
            return (await kept.get("/videos/none")).status_code
        return "waits"


DIFFERENT = {
    "a thousand misses are one fetch": (fetches_of_two_at_once, False, 2, 1),
    "of a range that is not stored, only its slices are fetched": (fetched_for_a_range, False, None, "bytes=0-1048575"),
    "what is stored has ranges, whatever the origin has": (range_of_what_came_without_accept_ranges, False, 200, 206),
    "the status is in all responses": (status_of_an_error, False, None, "MISS"),
    "each host has its own": (the_same_path_of_two_hosts, False, ["MISS", "HIT"], ["MISS", "MISS"]),
    "a refresh in the background does not hold its client": (next_request_during_a_refresh, True, "waits", 404),
}
"""What differs, whether that is with ``tuned``, and what is seen of nginx and of ours."""


@pytest.mark.parametrize("case", DIFFERENT)
async def test_where_we_differ_from_nginx(start, case):
    history, tuned, theirs, ours = DIFFERENT[case]
    async with start(tuned=tuned) as cache:
        assert await history(cache) == (theirs if cache.name == "nginx" else ours)


# The README


FENCE = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands(number):
    """Return the commands of a block of the README."""
    return FENCE.findall((EXAMPLES / "video-cache" / "README.md").read_text())[number]


async def run(script, cwd):
    await trio.run_process(["sh", "-ec", script], cwd=cwd)


async def test_the_steps_of_the_readme(tmp_path):
    """On ports of the test, with a film of 200 KB, and a second for the hour."""
    directory = shutil.copytree(EXAMPLES / "video-cache", tmp_path / "video-cache")
    port = free_port()
    make, serve = commands(0).splitlines()
    change = commands(1).splitlines()[0]
    await run(make.replace("20M", "200k"), directory)
    film = (directory / "demo" / "videos" / "film.mp4").read_bytes()
    for old, new in (
        ("127.0.0.1:8080", "127.0.0.1:0"),
        ("127.0.0.1:8000", f"127.0.0.1:{port}"),
        ("/tmp/video-cache", str(tmp_path / "cache")),
    ):
        change = change.replace(old, new)
    await run(change, directory)
    text = (directory / "demo" / "lb.toml").read_text().replace("[listeners.www", "[listeners.web")
    text = text.replace('"1h"', f'"{FRESH}s"').replace('"127.0.0.1:9900"', '"127.0.0.1:0"')
    server = shlex.split(serve.replace("python3", sys.executable).replace("8000", str(port)))
    async with (
        running(server, port, cwd=directory) as process,
        balancer(tmp_path, text) as lb,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{lb.port}", timeout=PATIENCE) as client,
    ):

        async def get():
            response = await client.get(FILM)
            assert response.content == film
            return response.headers["x-cache-status"]

        assert [await get() for _ in range(2)] == ["MISS", "HIT"]
        await expired()
        assert [await get() for _ in range(2)] == ["EXPIRED", "HIT"]
        process.kill()
        await expired()
        assert await get() == "STALE"
