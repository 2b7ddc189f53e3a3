"""Films as the files that they are: in whole, in ranges, over many connections, while they are replaced."""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, connect
from tests.support.films import FILM, films_config, stored_film, title

pytestmark = pytest.mark.slow
SLICE = 16_384
LARGE = 20_000_000
"""Bytes, more than buffers on the way hold."""
CACHES = {"no cache": {"cache": False}, "memory": {"route": ""}, "slices": {"slices": True}, "disk": {"disk": True}}


def configured(tmp_path, *, cache=True, slices=False, disk=False, route=""):
    config = films_config(tmp_path / "films", cache=cache, route=route)
    if slices or disk:
        config = config.replace('zone = "zone"\n', f'zone = "zone"\nslice = {SLICE}\n')
    if disk:
        config = config.replace("[caches.zone]\n", f'[caches.zone]\npath = "{tmp_path}/stored"\n')
    return config


@attrs.frozen
class Files:
    """Asks for a file."""

    shown: object

    async def get(self, method="GET", **fields):
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        return await self.shown.client.request(method, self.shown.base, headers=headers)


@pytest.fixture
def film(tmp_path):
    """The bytes of a film that is there: some hundred kilobytes."""
    (tmp_path / "films").mkdir()
    data = FILM.read_bytes() + random.Random(1).randbytes(300_000)  # players pay no heed to what follows
    (tmp_path / "films" / "film.mp4").write_bytes(data)
    return data


@pytest.mark.parametrize("cache", CACHES)
async def test_a_film_comes_in_whole_and_in_ranges(tmp_path, film, cache):
    size = len(film)
    async with balancer(tmp_path, configured(tmp_path, **CACHES[cache])) as lb, title(lb, "film.mp4") as shown:
        files = Files(shown)
        for _ in range(2):  # to the server, and what is stored
            for asked, begin, end in (
                ("0-9", 0, 10), ("5000-5000", 5000, 5001), (f"{size - 7}-", size - 7, size),
                ("-20000", size - 20_000, size), (f"100-{size + 99}", 100, size), ("0-", 0, size),
            ):  # fmt: skip
                part = await files.get(Range=f"bytes={asked}")
                assert (part.status_code, part.content) == (206, film[begin:end]), asked
                assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
            whole = await files.get()
            assert (whole.status_code, whole.content) == (200, film)
            assert whole.headers["cache-control"] == "max-age=3600"
            assert whole.headers["content-type"] == "video/mp4"
            assert whole.headers["accept-ranges"] == "bytes"
        head = await files.get("HEAD")
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


@pytest.mark.parametrize("cache", CACHES)
async def test_ranges_beyond_the_end_and_conditions(tmp_path, film, cache):
    size = len(film)
    async with balancer(tmp_path, configured(tmp_path, **CACHES[cache])) as lb, title(lb, "film.mp4") as shown:
        files = Files(shown)
        for _ in range(2):
            beyond = await files.get(Range=f"bytes={size}-")
            assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
            whole = await files.get()
            tag, date = whole.headers["etag"], whole.headers["last-modified"]
            assert not tag.startswith("W/")
            for same in (tag, date):
                assert (await files.get(Range="bytes=3-6", If_Range=same)).content == film[3:7]
            for other in ('"other"', f"W/{tag}", "Sat, 01 Jan 2000 00:00:00 GMT"):
                assert (await files.get(Range="bytes=3-6", If_Range=other)).content == film
            for unchanged in ({"If_None_Match": tag}, {"If_Modified_Since": date}):
                known = await files.get(**unchanged)
                assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
            assert (await files.get(If_None_Match='"other"')).content == film
            assert (await files.get(If_Match='"other"')).status_code == 412
            assert (await files.get(Range="lines=1-2")).status_code == 200


@pytest.mark.parametrize("cache", CACHES)
async def test_many_connections_put_a_film_together(tmp_path, film, cache):
    got = {}
    step = 34_567

    async def fetch(begin):
        async with title(lb, "film.mp4") as shown:
            got[begin] = (await Files(shown).get(Range=f"bytes={begin}-{begin + step - 1}")).content

    async with balancer(tmp_path, configured(tmp_path, **CACHES[cache])) as lb:
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                for begin in range(0, len(film), step):
                    nursery.start_soon(fetch, begin)
            assert b"".join(got[begin] for begin in sorted(got)) == film


@asynccontextmanager
async def begun(lb):
    """Ask for the film, without its end. The block gets the connection and the first bytes of the body."""
    async with await connect(lb.port) as stream:
        await stream.send_all(b"GET /films/film.mp4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        received = b""
        while not received.partition(b"\r\n\r\n")[2]:
            received += await stream.receive_some(1_000)
        yield stream, received.partition(b"\r\n\r\n")[2]


def replace(path):
    new = path.with_suffix(".new")
    new.write_bytes(bytes([1]) * LARGE)
    new.replace(path)


def change_in_place(path):
    with path.open("r+b") as file:
        file.seek(-1_000_000, os.SEEK_END)
        file.write(bytes([1]) * 1_000_000)


def make_shorter(path):
    os.truncate(path, LARGE // 2)


CHANGES = {"replaced": replace, "changed in place": change_in_place, "made shorter": make_shorter}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_bytes_of_two_states_of_a_file_are_never_mixed(tmp_path, film, change):
    """Most is still to be sent when the file changes. Of a file that is replaced, all is sent, of others no more."""
    path = tmp_path / "films" / "film.mp4"
    before = film + bytes(LARGE)
    path.write_bytes(before)
    async with balancer(tmp_path, configured(tmp_path, cache=False)) as lb:
        async with begun(lb) as (stream, begin):
            got = begin
            await trio.to_thread.run_sync(CHANGES[change], path)
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                async for piece in stream:
                    got += piece
            assert got == before if change == "replaced" else len(got) < len(before)
            assert before.startswith(got)
        async with title(lb, "film.mp4") as shown:
            assert (await Files(shown).get()).content == path.read_bytes()


async def test_a_slow_client_of_a_film_does_not_hold_up_the_others(tmp_path, film):
    (tmp_path / "films" / "film.mp4").write_bytes(stored_film("moov first") + bytes(LARGE))
    async with (
        balancer(tmp_path, configured(tmp_path, cache=False)) as lb,
        title(lb, "film.mp4") as other,
        begun(lb),
        begun(lb),
    ):
        with trio.fail_after(PATIENCE):
            assert len(await other.film("v0")) > 10_000
