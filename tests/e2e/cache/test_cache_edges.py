"""What must hold of a cache at its edges: without room, while something is purged, for slightly different requests."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer
from tests.support.caching import Gate, ask, cache_config, response, results
from tests.support.edge import until
from tests.support.http_client import client, scripted
from tests.support.operating import ADMIN, operated
from tests.support.sabotage import sabotage

pytestmark = pytest.mark.slow

BODY = bytes(range(256)) * 2000
"""500 KiB: two of them take the room of the cache below."""
NO_ROOM = 'memory = "1MiB"'
SHORT = b'Cache-Control: max-age=1\r\nETag: "e"\r\n'


@pytest.fixture
def on_disk(tmp_path):
    return f'path = "{tmp_path / "cache"}"'


class FullCache:
    """A cache whose room is taken by two bodies that are still coming."""

    def __init__(self):
        whole = response(BODY)
        self.takes_room = [Gate(whole[:-1], whole[-1:]) for _ in range(2)]

    async def take_room(self, lb, nursery):
        for number, gate in enumerate(self.takes_room):
            gate.let(0)
            await nursery.start(reads_along, lb, b"/takes-room-%d" % number)

    def end(self):
        for gate in self.takes_room:
            gate.let(1)


async def reads_along(lb, target, *, task_status):
    """Ask for BODY. Report ``started`` when all of it but the last byte has come."""
    async with client(lb) as visitor:
        await visitor.send(b"GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n" % target)
        received = b""
        while len(received.partition(b"\r\n\r\n")[2]) < len(BODY) - 1:
            received += await visitor.stream.receive_some()
        task_status.started()
        assert await visitor.stream.receive_some() == BODY[-1:]


@pytest.mark.parametrize(
    ("ranges", "status", "expected"),
    [
        (b"300001-300300", 206, BODY[300001:300301]),
        (b"300001-300300,0-9", 200, BODY),
        (b"0-9,300001-300300", 200, BODY),
    ],
    ids=["one", "backwards", "forwards"],
)
async def test_a_range_of_what_comes_and_finds_no_room_has_the_right_bytes(tmp_path, ranges, status, expected):
    full = FullCache()
    comes = Gate(response(BODY)[:1000], response(BODY)[1000:])
    async with scripted(*full.takes_room, comes) as server:
        config = cache_config(server, zone=NO_ROOM, route='slice = "0"')
        async with balancer(tmp_path, config) as lb, trio.open_nursery() as nursery, client(lb) as visitor:
            await full.take_room(lb, nursery)
            await visitor.send(b"GET /c HTTP/1.1\r\nHost: a.example\r\nRange: bytes=%s\r\n\r\n" % ranges)
            await comes.asked.wait()
            comes.let(0)
            comes.let(1)
            with trio.fail_after(PATIENCE):
                answer = await visitor.answer()
            full.end()
    assert (answer.status, answer.body == expected) == (status, True)


async def test_one_that_stops_reading_what_is_not_kept_does_not_stop_the_others(tmp_path):
    film = bytes(range(256)) * (64 << 10)
    whole = response(film, chunked=True)
    comes = Gate(whole[:1000], whole[1000:])
    async with scripted(comes) as server:
        config = cache_config(server, zone=NO_ROOM, top=ADMIN)
        async with operated(tmp_path, config) as (lb, operator), client(lb) as stopped, client(lb) as visitor:
            await stopped.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            await comes.asked.wait()
            await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            live = partial(operator.get, "/api/v1/connections")
            await operator.until(live, lambda found: sum(each["bytes_in"] > 0 for each in found["connections"]) == 2)
            comes.let(0)
            comes.let(1)
            answer = await visitor.answer()
    assert answer.body == film
    assert len(server.requests) == 1


async def test_what_nobody_reads_and_finds_no_room_is_not_fetched_to_its_end(tmp_path):
    full = FullCache()
    head, _, body = response(BODY).partition(b"\r\n\r\n")
    comes = Gate(head + b"\r\n\r\n", body[:-1])
    async with scripted(*full.takes_room, comes, response(b"again")) as server:
        config = cache_config(server, zone=NO_ROOM)
        async with balancer(tmp_path, config) as lb, trio.open_nursery() as nursery:
            await full.take_room(lb, nursery)
            async with client(lb) as visitor:
                await visitor.send(b"GET /c HTTP/1.1\r\nHost: a.example\r\n\r\n")
                await comes.asked.wait()
                comes.let(0)
                assert (await visitor.stream.receive_some()).startswith(b"HTTP/1.1 200 ")
            await lb.event("http.request", reason="client_left")
            comes.let(1)
            assert (await lb.event("cache.fill_failed"))["path"] == "/c"
            full.end()
            answers = [await ask(lb, b"/c") for _ in range(2)]
    assert results(answers) == ["MISS", "HIT"]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [5_000, 200_000])
async def test_what_is_longer_than_max_object_is_not_stored(tmp_path, size, chunked):
    async with (
        scripted(response(bytes(size), chunked=chunked)) as server,
        balancer(tmp_path, cache_config(server, route='max_object = "4KiB"')) as lb,
    ):
        answers = [await ask(lb) for _ in range(3)]
    assert results(answers) == ["MISS"] * 3
    assert all(answer.body == bytes(size) for answer in answers)


async def test_a_disk_that_is_slower_than_the_idle_timeout_ends_no_response(tmp_path, on_disk, monkeypatch):
    sabotage(monkeypatch, "disk")
    limit = 'idle_timeout = "1s"'
    async with scripted(response(BODY)) as server:
        config = cache_config(server, zone=on_disk, listener=limit)
        async with balancer(tmp_path, config) as lb:
            answer = await ask(lb)
            assert (answer.status, answer.body == BODY) == (200, True)


async def test_what_the_disk_removes_at_once_still_comes(tmp_path, on_disk, monkeypatch):
    """Others need its room, or its name, before the loop knows that it is stored."""
    sabotage(monkeypatch, "stored")
    async with scripted(response(BODY)) as server:
        config = cache_config(server, zone=on_disk, listener='idle_timeout = "5s"')
        async with balancer(tmp_path, config) as lb:
            assert (await ask(lb)).body == BODY
            await until((tmp_path / "cache.removed").exists)
            assert (await ask(lb)).body == BODY
            assert await lb.stop() == 0


@pytest.mark.parametrize("size", [100, 300_000])
async def test_a_fetch_that_has_ended_leaves_nothing_in_memory_but_the_response(tmp_path, on_disk, monkeypatch, size):
    sabotage(monkeypatch, "garbage")
    fills = tmp_path / "fills"
    monkeypatch.setenv("LB_FILLS", str(fills))
    async with scripted(*[response(bytes(size))] * 60) as server:
        config = cache_config(server, zone=on_disk)
        async with balancer(tmp_path, config) as lb:
            for number in range(60):
                assert (await ask(lb, b"/%d" % number)).body == bytes(size)
                if number >= 5 and int(fills.read_text()) <= 1:
                    break
                await trio.sleep(0.02 * (number >= 5))  # on a busy machine, the disk still has those before
    assert int(fills.read_text()) <= 1, "the last one may be about to end"


async def test_a_purged_variant_on_disk_is_not_found_by_the_very_next_request(tmp_path, on_disk):
    varied = b"Cache-Control: max-age=60\r\nVary: Accept-Language\r\n"
    async with (
        scripted(response(b"old", varied), response(b"new", varied)) as server,
        balancer(tmp_path, cache_config(server, zone=on_disk, route='purge = ["127.0.0.0/8"]')) as lb,
        client(lb) as visitor,
    ):
        assert (await ask(lb)).body == b"old"
        await trio.sleep(1)  # until both files are written
        await visitor.send(b"PURGE / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert (await visitor.answer()).status == 200
        assert (await visitor.answer()).body == b"new"


async def test_a_purged_response_with_slices_on_disk_is_not_found_by_the_very_next_request(tmp_path, on_disk):
    validated = b'Cache-Control: max-age=60\r\nETag: "e"\r\n'
    part = response(b"old", validated + b"Content-Range: bytes 0-2/3\r\n", status=b"206 Partial Content")
    async with (
        scripted(part, response(b"old", validated), response(b"new", validated)) as server,
        balancer(tmp_path, cache_config(server, zone=on_disk, route='purge = ["127.0.0.0/8"]')) as lb,
        client(lb) as visitor,
    ):
        assert (await ask(lb, fields=b"Range: bytes=0-1\r\n")).body == b"ol"
        assert (await ask(lb)).body == b"old"
        await trio.sleep(1)  # until the files are written
        await visitor.send(b"PURGE / HTTP/1.1\r\nHost: a.example\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert (await visitor.answer()).status == 200
        assert (await visitor.answer()).body == b"new"


async def test_the_variant_of_an_empty_field_is_for_no_other_request(tmp_path, on_disk):
    def for_user(name):
        return response(name, b"Cache-Control: max-age=60\r\nVary: X-User\r\n")

    async with (
        scripted(for_user(b"nobody"), for_user(b"ann"), for_user(b"none")) as server,
        balancer(tmp_path, cache_config(server, zone=on_disk)) as lb,
    ):
        asked = [b"X-User:\r\n", b"X-User: ann\r\n", b"", b"X-User:\r\n"]
        answers = []
        for fields in asked:
            answers.append(await ask(lb, fields=fields))
            await trio.sleep(0.5)  # until the file is written
    assert [answer.body for answer in answers] == [b"nobody", b"ann", b"none", b"nobody"]


async def test_a_response_that_varies_by_what_the_route_sets_is_shared_by_nobody_else(tmp_path):
    def in_language(name):
        return response(name, b"Cache-Control: max-age=60\r\nVary: X-Language\r\n")

    sets = 'request_headers = { set = { X-Language = "{query}" } }'
    async with scripted(in_language(b"de"), in_language(b"fr")) as server:
        config = cache_config(server, route='key = "{path}"').replace('name = "all"', f'name = "all"\n{sets}')
        async with balancer(tmp_path, config) as lb:
            answers = [await ask(lb, b"/?de"), await ask(lb, b"/?fr")]
        assert [request[b"x-language"] for request in server.requests] == [b"de", b"fr"]
    assert [answer.body for answer in answers] == [b"de", b"fr"]


@pytest.mark.parametrize("tier", ["memory", "disk"])
async def test_what_is_purged_while_the_server_confirms_it_still_comes_whole(tmp_path, on_disk, tier):
    body = bytes(range(256)) * 1000
    same = Gate(b"HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\n\r\n")
    route = 'purge = ["127.0.0.0/8"]\nbackground_update = false\nuse_stale = []'
    async with (
        scripted(response(body, SHORT), same) as server,
        balancer(tmp_path, cache_config(server, zone=on_disk if tier == "disk" else "", route=route)) as lb,
        client(lb) as visitor,
    ):
        await ask(lb)
        await trio.sleep(1.2)
        await visitor.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await same.asked.wait()
        assert (await ask(lb, method=b"PURGE")).status == 200
        same.let(0)
        with trio.fail_after(PATIENCE):
            answer = await visitor.answer()
    assert (answer.status, answer.body == body) == (200, True)


async def test_a_client_with_authorization_does_not_keep_others_from_the_cache(tmp_path):
    refused = response(b"no", b"", status=b"401 Unauthorized")
    async with scripted(refused, response(b"ok")) as server, balancer(tmp_path, cache_config(server)) as lb:
        assert (await ask(lb, fields=b"Authorization: Basic eDp4\r\n")).status == 401
        assert results([await ask(lb) for _ in range(2)]) == ["MISS", "HIT"]


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (b"Authorization: Basic eDp4\r\n", response(b"no", b"", status=b"401 Unauthorized")),
        (b"", response(b"broken", b"", status=b"500 Internal Server Error")),
    ],
    ids=["unauthorized", "server error"],
)
async def test_a_response_that_says_nothing_of_what_is_stored_does_not_remove_it(tmp_path, fields, answer):
    async def closes(stream, request):
        return False

    route = 'use_stale = ["error"]\nbackground_update = false'
    async with (
        scripted(response(b"old", SHORT), answer, closes) as server,
        balancer(tmp_path, cache_config(server, route=route)) as lb,
    ):
        await ask(lb)
        await trio.sleep(1.1)
        assert (await ask(lb, fields=fields)).status in (401, 500)
        stale = await ask(lb)
    assert (stale.body, stale[b"x-cache-status"]) == (b"old", b"STALE")


async def test_a_hit_in_memory_keeps_to_the_rate_of_its_route(tmp_path):
    async with scripted(response(bytes(60_000))) as server:
        config = cache_config(server).replace('name = "all"', 'name = "all"\nlimit_rate = "40KiB"')
        async with balancer(tmp_path, config) as lb:
            await ask(lb)
            began = trio.current_time()
            answer = await ask(lb)
            took = trio.current_time() - began
    assert answer[b"x-cache-status"] == b"HIT"
    assert took > 0.4


async def test_slices_that_nothing_tells_apart_are_not_joined(tmp_path):
    def state(byte):
        async def serve(stream, request):
            first, last = map(int, request[b"range"].removeprefix(b"bytes=").split(b"-"))
            last = min(last, 19_999)
            fields = b"Cache-Control: max-age=60\r\nContent-Range: bytes %d-%d/20000\r\n" % (first, last)
            await stream.send_all(response(byte * (last + 1 - first), fields, status=b"206 Partial Content"))

        return serve

    async with (
        scripted(state(b"a"), state(b"b")) as server,
        balancer(tmp_path, cache_config(server, route='slice = "4KiB"')) as lb,
    ):
        answer = await ask(lb, fields=b"Range: bytes=0-9999\r\n")
    assert len(set(answer.body)) == 1
    assert len(answer.body) == 10_000


async def test_a_long_object_on_disk_that_nobody_asks_for_is_removed_and_its_file_closed(tmp_path, on_disk):
    async with (
        scripted(response(BODY)) as server,
        operated(tmp_path, cache_config(server, zone=on_disk + '\ninactive = "1s"', top=ADMIN)) as (lb, operator),
    ):
        await ask(lb)
        caches = partial(operator.get, "/api/v1/caches")
        await operator.until(caches, lambda found: found["caches"]["zone"]["evictions"]["inactive"] == 1)
        assert results([await ask(lb)]) == ["MISS"]
