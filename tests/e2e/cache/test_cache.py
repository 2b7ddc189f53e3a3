"""What the cache stores, how long, and what clients get from it."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, connect
from tests.support.caching import Gate, ask, cache_config, response, results
from tests.support.http_client import client, scripted

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("tier")]

FRESH = response()
SHORT = b"Cache-Control: max-age=1\r\n"
GONE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("size", [0, 2, 20_000, 64 * 1024, 64 * 1024 + 1, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_fresh_response_is_served_without_the_server(tmp_path, size, chunked):
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    async with scripted(response(body, chunked=chunked and size > 0)) as server:
        async with balancer(tmp_path, cache_config(server)) as lb:
            answers = [await ask(lb, b"/a") for _ in range(4)]
            await lb.event("http.request", count=4)
        assert len(server.requests) == 1
    assert results(answers) == ["MISS", "HIT", "HIT", "HIT"]
    assert all((answer.status, answer.body) == (200, body) for answer in answers)
    assert answers[1][b"age"] in (b"0", b"1")
    assert sorted(record["cache"] for record in lb.of("http.request")) == ["HIT", "HIT", "HIT", "MISS"]


async def test_what_has_a_key_of_its_own_is_stored_on_its_own(tmp_path):
    async with scripted(response(b"one"), response(b"two")) as server, balancer(tmp_path, cache_config(server)) as lb:
        answers = [await ask(lb, target) for target in (b"/1", b"/2", b"/1", b"/2")]
    assert [answer.body for answer in answers] == [b"one", b"two", b"one", b"two"]
    assert results(answers) == ["MISS", "MISS", "HIT", "HIT"]


@pytest.mark.parametrize(
    "fields",
    [
        b"Cache-Control: no-store\r\n",
        b"Cache-Control: private\r\n",
        b"Cache-Control: max-age=60\r\nSet-Cookie: a=b\r\n",
        b"Cache-Control: max-age=60\r\nVary: *\r\n",
        b"X-Accel-Expires: 0\r\nCache-Control: max-age=60\r\n",
    ],
)
async def test_what_must_not_be_stored_passes(tmp_path, fields):
    async with scripted(response(fields=fields)) as server:
        async with balancer(tmp_path, cache_config(server)) as lb:
            answers = [await ask(lb) for _ in range(3)]
        assert len(server.requests) == 3
    assert results(answers) == ["MISS"] * 3
    assert [answer.body for answer in answers] == [b"ok"] * 3


async def test_head_ranges_and_conditions_are_answered_from_a_stored_response(tmp_path):
    stored = response(b"0123456789", b'Cache-Control: max-age=60\r\nETag: "e"\r\nContent-Type: text/plain\r\n')
    async with scripted(stored) as server:
        async with balancer(tmp_path, cache_config(server)) as lb:
            await ask(lb)
            head = await ask(lb, method=b"HEAD")
            part = await ask(lb, fields=b"Range: bytes=2-4\r\n")
            parts = await ask(lb, fields=b"Range: bytes=0-0,9-9\r\n")
            beyond = await ask(lb, fields=b"Range: bytes=10-\r\n")
            same = await ask(lb, fields=b'If-None-Match: "e"\r\n')
            other = await ask(lb, fields=b'If-None-Match: "f"\r\n')
        assert len(server.requests) == 1
    assert (head.status, head.body, head[b"content-length"]) == (200, b"", b"10")
    assert (part.status, part.body, part[b"content-range"]) == (206, b"234", b"bytes 2-4/10")
    assert parts.status == 206
    assert b"\r\n\r\n0\r\n--" in parts.body
    assert b"\r\n\r\n9\r\n--" in parts.body
    assert (beyond.status, beyond[b"content-range"]) == (416, b"bytes */10")
    assert (same.status, same.body, same[b"etag"]) == (304, b"", b'"e"')
    assert (other.status, other.body) == (200, b"0123456789")


async def test_each_variant_that_vary_names_is_stored(tmp_path):
    def coded(name):
        return response(name, b"Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\n")

    async with scripted(coded(b"gzip"), coded(b"br")) as server, balancer(tmp_path, cache_config(server)) as lb:
        asked = [b"Accept-Encoding: gzip\r\n", b"Accept-Encoding: br\r\n"] * 2
        answers = [await ask(lb, fields=fields) for fields in asked]
    assert [answer.body for answer in answers] == [b"gzip", b"br"] * 2
    assert results(answers) == ["MISS", "MISS", "HIT", "HIT"]


async def test_a_stale_response_is_confirmed_by_the_server(tmp_path):
    first = response(b"body", SHORT + b'ETag: "e"\r\n')
    same = b'HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: "e"\r\nX-New: 1\r\n\r\n'
    async with scripted(first, same) as server:
        async with balancer(tmp_path, cache_config(server, route="use_stale = []\nbackground_update = false")) as lb:
            answers = [await ask(lb)]
            await trio.sleep(1.1)
            answers += [await ask(lb) for _ in range(2)]
        assert server.requests[1][b"if-none-match"] == b'"e"'
    assert results(answers) == ["MISS", "REVALIDATED", "HIT"]
    assert [answer.body for answer in answers] == [b"body"] * 3
    assert answers[2][b"x-new"] == b"1"


async def test_an_expired_response_is_replaced(tmp_path):
    async with (
        scripted(response(b"old", SHORT), response(b"new")) as server,
        balancer(tmp_path, cache_config(server, route="use_stale = []")) as lb,
    ):
        answers = [await ask(lb)]
        await trio.sleep(1.1)
        answers += [await ask(lb) for _ in range(2)]
    assert results(answers) == ["MISS", "EXPIRED", "HIT"]
    assert [answer.body for answer in answers] == [b"old", b"new", b"new"]


@pytest.mark.parametrize("ending", ["closes", "500", "garbage"])
async def test_a_stale_response_is_served_while_the_server_fails(tmp_path, ending):
    async def closes(stream, request):
        return False

    failure = {"closes": closes, "500": GONE, "garbage": b"garbage\r\n\r\n"}[ending]
    route = 'use_stale = ["error", "timeout", "http_500"]\nbackground_update = false'
    async with (
        scripted(response(b"old", SHORT), failure) as server,
        balancer(tmp_path, cache_config(server, route=route)) as lb,
    ):
        answers = [await ask(lb)]
        await trio.sleep(1.1)
        answers += [await ask(lb) for _ in range(2)]
    assert results(answers) == ["MISS", "STALE", "STALE"]
    assert [answer.body for answer in answers] == [b"old"] * 3


async def until_new(lb):
    """Ask until the update is stored."""
    with trio.fail_after(PATIENCE):
        while (await ask(lb)).body != b"new":  # noqa: ASYNC110 - the balancer says nothing of it
            await trio.sleep(0.01)


async def test_others_get_the_stale_response_while_one_is_updated_beside(tmp_path):
    update = Gate(response(b"new"))
    async with scripted(response(b"old", SHORT), update) as server:
        async with balancer(tmp_path, cache_config(server)) as lb:
            answers = [await ask(lb)]
            await trio.sleep(1.1)
            answers += [await ask(lb) for _ in range(3)]
            update.let(0)
            await until_new(lb)
        assert len(server.requests) == 2
    assert results(answers) == ["MISS", "STALE", "UPDATING", "UPDATING"]


async def test_all_who_ask_at_the_same_time_read_along_with_one_fetch(tmp_path):
    body = bytes(range(256)) * 2000
    head, rest = response(body)[:100_000], response(body)[100_000:]
    fetch = Gate(head, rest)
    answers = []

    async def visit(lb, began):
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            began.set()
            answers.append(await visitor.answer())

    async with scripted(fetch) as server, balancer(tmp_path, cache_config(server)) as lb:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                began = trio.Event()
                nursery.start_soon(visit, lb, began)
                await began.wait()
            await fetch.asked.wait()
            fetch.let(0)
            early = await begin_reading(lb)
            fetch.let(1)
        assert await early.answer_rest(body)
        assert len(server.requests) == 1
    assert [answer.body == body for answer in answers] == [True] * 20


async def begin_reading(lb):
    """Connect while the fetch is under way, and read until some of the body has come."""
    stream = await connect(lb.port)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
    received = b""
    with trio.fail_after(PATIENCE):
        while len(received) < 50_000:
            received += await stream.receive_some()

    class Reader:
        async def answer_rest(self, body):
            whole = received
            async with stream:
                async for data in stream:
                    whole += data
            return whole.partition(b"\r\n\r\n")[2] == body

    return Reader()


async def test_a_fetch_goes_on_when_its_client_leaves(tmp_path):
    body = bytes(100_000)
    fetch = Gate(response(body)[:50_000], response(body)[50_000:])
    async with scripted(fetch, GONE) as server, balancer(tmp_path, cache_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await fetch.asked.wait()
            fetch.let(0)
        await lb.event("http.request", reason="client_left")
        fetch.let(1)
        answer = await ask(lb)
        assert (answer.status, answer.body == body) == (200, True)
        assert len(server.requests) == 1


async def test_a_fetch_that_is_cut_short_looks_complete_to_nobody_and_is_not_stored(tmp_path):
    body = bytes(range(256)) * 1000

    async def cut(stream, request):
        await stream.send_all(response(body)[:-1000])
        return False

    async with scripted(cut, response(b"whole")) as server, balancer(tmp_path, cache_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            with pytest.raises(Exception):  # noqa: B017, PT011 - reset or cut
                await visitor.answer()
        answer = await ask(lb)
        assert answer.body == b"whole"
        assert (await lb.event("cache.fill_failed"))["reason"] == "server_reset"


async def test_requests_for_what_cannot_be_stored_do_not_wait_for_each_other(tmp_path):
    private = b"Cache-Control: private\r\n"
    slow = Gate(response(b"slow", private))
    async with (
        scripted(response(b"quick", private), slow, response(b"other", private)) as server,
        balancer(tmp_path, cache_config(server)) as lb,
    ):
        assert (await ask(lb)).body == b"quick"
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await slow.asked.wait()
            assert (await ask(lb)).body == b"other"
            slow.let(0)
            assert (await visitor.answer()).body == b"slow"


async def test_an_unsafe_request_invalidates_what_is_stored(tmp_path):
    async with (
        scripted(response(b"old"), response(b"done", b""), response(b"new")) as server,
        balancer(tmp_path, cache_config(server)) as lb,
    ):
        answers = [await ask(lb), await ask(lb)]
        await ask(lb, method=b"POST", fields=b"Content-Length: 0\r\n")
        answers.append(await ask(lb))
    assert [answer.body for answer in answers] == [b"old", b"old", b"new"]


async def test_purge_removes_one_object_or_a_prefix_for_those_who_may(tmp_path):
    async with (
        scripted(FRESH) as server,
        balancer(tmp_path, cache_config(server, route='purge = ["127.0.0.0/8"]')) as lb,
    ):
        for target in (b"/a/1", b"/a/2", b"/b"):
            await ask(lb, target)
        assert (await ask(lb, b"/b", method=b"PURGE")).status == 200
        assert (await ask(lb, b"/b", method=b"PURGE")).status == 404
        assert results([await ask(lb, b"/b"), await ask(lb, b"/a/1")]) == ["MISS", "HIT"]
        assert (await ask(lb, b"/a/*", method=b"PURGE")).status == 200
        assert results([await ask(lb, b"/a/1"), await ask(lb, b"/a/2"), await ask(lb, b"/b")]) == [
            "MISS",
            "MISS",
            "HIT",
        ]


async def test_bypass_asks_the_server_and_stores(tmp_path):
    async with (
        scripted(response(b"1"), response(b"2"), response(b"3")) as server,
        balancer(tmp_path, cache_config(server, route='bypass = ["cookie:fresh"]')) as lb,
    ):
        answers = [await ask(lb), await ask(lb, fields=b"Cookie: fresh=1\r\n"), await ask(lb)]
    assert results(answers) == ["MISS", "BYPASS", "HIT"]
    assert [answer.body for answer in answers] == [b"1", b"2", b"2"]


async def test_old_clients_get_a_body_of_unknown_length_until_the_end(tmp_path):
    body = bytes(200_000)
    async with scripted(response(body, chunked=True)) as server, balancer(tmp_path, cache_config(server)) as lb:
        answers = [await ask(lb, version=b"1.0"), await ask(lb, version=b"1.0")]
    assert [answer.body == body for answer in answers] == [True, True]


FILM = bytes(range(256)) * 4096 * 3
"""3 MiB."""


def film_server(film=FILM, tag=b'"a"', total=None):
    """Return a function that serves ranges of a film."""

    async def serve(stream, request):
        asked = request[b"range"]
        fields = b"Cache-Control: max-age=60\r\nETag: %s\r\n" % tag
        if asked is None:
            await stream.send_all(response(film, fields))
            return
        first, last = map(int, asked.removeprefix(b"bytes=").split(b"-"))
        piece = film[first : last + 1]
        fields += b"Content-Range: bytes %d-%d/%d\r\n" % (first, first + len(piece) - 1, len(film))
        await stream.send_all(response(piece, fields, status=b"206 Partial Content"))

    return serve


@pytest.mark.parametrize(
    ("first", "last", "slices"),
    [(0, 0, 1), (100, 200, 1), (1_000_000, 1_100_000, 2), (1 << 20, (1 << 21) - 1, 1), (0, 3 * (1 << 20) - 1, 3)],
)
async def test_a_range_fetches_only_the_slices_that_it_touches(tmp_path, first, last, slices):
    async with scripted(film_server()) as server, balancer(tmp_path, cache_config(server)) as lb:
        asked = b"Range: bytes=%d-%d\r\n" % (first, last)
        answers = [await ask(lb, b"/film", asked) for _ in range(2)]
        assert len(server.requests) == slices
        assert all(request[b"range"] is not None for request in server.requests)
    assert results(answers) == ["MISS", "HIT"]
    for answer in answers:
        assert (answer.status, answer.body == FILM[first : last + 1]) == (206, True)
        assert answer[b"content-range"] == b"bytes %d-%d/%d" % (first, last, len(FILM))


async def test_an_open_range_at_the_end_of_a_film_fetches_its_last_slice(tmp_path):
    async with scripted(film_server()) as server, balancer(tmp_path, cache_config(server)) as lb:
        answer = await ask(lb, b"/film", b"Range: bytes=%d-\r\n" % (len(FILM) - 10))
        assert answer.body == FILM[-10:]
        assert [request[b"range"] for request in server.requests] == [b"bytes=2097152-3145727"]


async def test_slices_of_two_states_are_never_mixed(tmp_path):
    async def changed(stream, request):
        await film_server(bytes(len(FILM)), b'"b"')(stream, request)

    async with scripted(film_server(), changed) as server, balancer(tmp_path, cache_config(server)) as lb:
        async with client(lb) as visitor:
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\nRange: bytes=0-2000000\r\n\r\n")
            with pytest.raises(Exception):  # noqa: B017, PT011 - reset or cut
                await visitor.answer()
        again = await ask(lb, fields=b"Range: bytes=0-2000000\r\n")
        assert again.body == bytes(2_000_001)


async def test_a_server_without_ranges_is_asked_for_the_whole_once(tmp_path):
    async with scripted(response(FILM)) as server, balancer(tmp_path, cache_config(server)) as lb:
        answers = [await ask(lb, fields=b"Range: bytes=10-19\r\n") for _ in range(2)]
        assert len(server.requests) == 1
    assert [answer.body for answer in answers] == [FILM[10:20]] * 2


async def test_a_response_that_comes_at_once_goes_to_its_client_at_once(tmp_path):
    """In one piece: two would wait for each other's acknowledgement, up to 40 ms each time."""
    async with scripted(FRESH) as server, balancer(tmp_path, cache_config(server)) as lb, client(lb) as visitor:
        for number in range(20):
            await visitor.send(b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % number)
            received = await visitor.stream.receive_some()
            assert received.endswith(b"\r\n\r\nok")
