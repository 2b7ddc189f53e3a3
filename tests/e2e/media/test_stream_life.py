"""A stream from its begin to its end: what its lists name can be had, within the memory that it may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import attrs
import pytest
import trio

from tests.e2e.media.test_process_life import numbers
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import balancer
from tests.support.effort import DEEP
from tests.support.processes import media_process
from tests.support.publishing import (
    Film,
    film_frames,
    live_config,
    publish_command,
    publishing,
    publishing_by,
    stream_url,
)
from tests.support.tls_peers import write_certificate
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow


async def test_each_segment_of_every_list_exists_and_keeps_its_bytes(tmp_path):
    bodies = {}
    async with balancer(tmp_path, live_config('window = 4\nkeep = 6\nlinger = "1s"')) as lb, viewer(lb) as show:

        async def look(name):
            """Look at a list, and return whether it has ended."""
            response = await show.get(f"{name}.m3u8")
            if response.status_code != 200:
                return False
            found = await show.playlist(f"{name}.m3u8")
            for each in found.segments:
                body = await show.body(each.uri)
                assert bodies.setdefault((name, each.uri), body) == body
                init = await show.body(each.init_section.uri)
                assert bodies.setdefault((name, each.init_section.uri), init) == init
            return found.is_endlist

        async def watch(name):
            while not await look(name):  # noqa: ASYNC110 - lists tell what is new in no other way
                await trio.sleep(0.15)

        async with trio.open_nursery() as nursery:
            for name in ("v0", "a0"):
                nursery.start_soon(watch, name)
            async with publishing(lb) as publisher:
                await publisher.follow(4)
            async with publishing(lb) as again:
                await again.follow(2)
                await again.leave()
        segments = [body for (name, uri), body in bodies.items() if name == "v0" and uri.endswith("m4s")]
        (init,) = {body for (name, uri), body in bodies.items() if name == "v0" and uri.endswith("mp4")}
        sent = [frame.data for each in (publisher, again) for frame in each.of("video")]
        got = [data for _, _, data in packets(init + b"".join(segments))]
        assert got == sent[: len(got)] or len(got) >= len(sent) - 12  # the cut publisher's last frames may be lost


async def test_after_linger_lists_have_ended(tmp_path):
    async with balancer(tmp_path, live_config('linger = "1s"')) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(3)
            await show.until(lambda found: len(found.segments) >= 4)
            assert (await show.manifest()).attributes["type"] == "dynamic"
            await publisher.leave()
        await show.until(lambda found: found.is_endlist)
        await show.until(lambda found: found.is_endlist, "a0.m3u8")
        manifest = await show.manifest()
        while manifest.attributes["type"] != "static":  # that of before may be cached for a second
            await trio.sleep(0.1)
            manifest = await show.manifest()
        assert "mediaPresentationDuration" in manifest.attributes
        async with publishing(lb) as publisher:
            await publisher.send(3)
            await show.until(lambda found: not found.is_endlist)


def heavier(film):
    """Return the film with 50 kB more in each picture."""
    filler = b"\x0c" + b"\xff" * 50_000
    more = len(filler).to_bytes(4) + filler
    frames = [attrs.evolve(each, data=each.data + more) if each.track == "video" else each for each in film.frames]
    return Film(film.configs, tuple(frames), film.length)


async def test_above_the_memory_limit_the_oldest_segments_go_first(tmp_path):
    wide = "window = 100\nkeep = 100"
    async with balancer(tmp_path, live_config(wide, media='memory = "16MiB"')) as lb:
        film = heavier(film_frames())
        async with (
            publishing(lb, "old", film=film) as old,
            publishing(lb, film=film) as new,
            viewer(lb, "old") as old_show,
            viewer(lb) as new_show,
        ):
            await old.send(10.1)  # 500 kB each: 10 MB
            first = await old_show.until(lambda found: len(found.segments) >= 20)
            await new.send(10.1)
            found = await new_show.until(lambda found: len(found.segments) >= 20)
            left = await old_show.until(lambda found: len(found.segments) < 20)
            assert numbers(left) == [*range(numbers(left)[0], numbers(left)[-1] + 1)]
            assert numbers(left)[-1] >= numbers(first)[-1]
            assert 10 <= len(left.segments) <= 14
            for each in (*left.segments, *found.segments):
                await (old_show if each in left.segments else new_show).body(each.uri)
            assert (await old_show.get(first.segments[0].uri)).status_code in (200, 404)  # the cache may have it


async def test_a_media_process_that_stands_still_for_a_while_loses_nothing(tmp_path):
    async with balancer(tmp_path, live_config("window = 60\nkeep = 60")) as lb, viewer(lb) as show:
        pid = await media_process(lb)
        async with publishing(lb) as publisher:
            await publisher.follow(1)
            os.kill(pid, signal.SIGSTOP)
            await publisher.follow(3)
            os.kill(pid, signal.SIGCONT)
            await publisher.follow(1)
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        got = packets(await show.film())
        assert [data for _, _, data in got] == [frame.data for frame in publisher.of("video")]
        assert not lb.of("stream.jumped", "media.process_restarted")


def resident(pid):
    """Return the bytes of memory that a process alone uses."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty"))) << 10


async def test_a_long_stream_neither_drifts_nor_grows(tmp_path):
    minutes = 60 if DEEP else 3
    async with balancer(tmp_path, live_config('segment = "2s"')) as lb, viewer(lb) as show:
        pid = await media_process(lb)
        async with publishing(lb) as publisher:
            await publisher.send(30)
            first = (await show.until(lambda found: len(found.segments) == 6)).segments[0]
            before = resident(pid)
            for _ in range(minutes):
                await publisher.send(60)
                del publisher.sent[:]
            await publisher.send(2.1)
            told = await lb.event("stream.published")

            def is_current(found):
                return numbers(found)[-1] - told["run"] >= minutes * 30 + 14

            found, sound = await show.until(is_current), await show.until(is_current, "a0.m3u8")
            grown = resident(pid) - before
        newest = found.segments[-1]
        count = numbers(found)[-1] - int(first.uri.rpartition("/")[2].partition(".")[0])
        since = (newest.program_date_time - first.program_date_time).total_seconds()
        assert since == pytest.approx(2 * count, abs=0.002)
        apart = {each.uri.rpartition("/")[2]: each.program_date_time for each in sound.segments}
        for each in found.segments:
            other = apart.get(each.uri.rpartition("/")[2])
            if other is not None:
                assert abs((each.program_date_time - other).total_seconds()) <= 0.065
        assert grown < 4 << 20, f"{grown >> 10} KiB more after {minutes} minutes"


async def test_ffmpeg_publishes_over_tls(tmp_path):
    tls = "[listeners.rtmp.tls]\n" + write_certificate(tmp_path, "site", "localhost")
    async with balancer(tmp_path, live_config(listener=tls)) as lb, viewer(lb) as show:
        url = stream_url(lb).replace("rtmp://127.0.0.1", "rtmps://localhost")
        async with publishing_by(publish_command(program("ffmpeg"), url)):
            await show.until(lambda found: len(found.segments) >= 2)
