"""Players of RTMP: real programs, and one that is slow."""

from __future__ import annotations

import itertools

import attrs
import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.operating import ADMIN, operated
from tests.support.publishing import Film, film_frames, live_config, publishing, stream_url
from tests.support.rtmp_client import asking, rtmp_client
from tests.support.rtmp_server import output, packets

pytestmark = pytest.mark.slow


def players(url, directory):
    source = f"rtmp2src location={url} ! queue ! flvdemux name=source"
    sink = f"flvmux streamable=true name=mux ! filesink location={directory}/gstreamer.flv"
    tracks = "source.video ! queue ! h264parse ! mux.video source.audio ! queue ! aacparse ! mux.audio"
    return {
        "ffmpeg": [program("ffmpeg"), "-nostdin", "-v", "error", "-i", url, "-c", "copy", directory / "ffmpeg.flv"],
        "rtmpdump": [program("rtmpdump"), "-q", "-v", "-r", url, "-o", directory / "rtmpdump.flv"],
        "gstreamer": [program("gst-launch-1.0"), "-q", *source.split(), *sink.split(), *tracks.split()],
    }


async def test_real_players_play_to_the_end(tmp_path):
    async with operated(tmp_path, live_config(top=ADMIN)) as (lb, operator), publishing(lb) as publisher:
        await publisher.send(1)
        await lb.event("stream.published")
        commands = players(stream_url(lb, key=""), tmp_path)

        async def all_play():
            streams = await operator.get("/api/v1/streams")
            return streams["live/show"]["players"] == len(commands)

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for command in commands.values():
                    nursery.start_soon(output, *command)
                while not await all_play():
                    await publisher.follow(0.2)
                await publisher.follow(3)
                await publisher.leave()
    sizes = {track: [len(frame.data) for frame in publisher.of(track)] for track in ("video", "audio")}
    for name in commands:
        found = await packets(program("ffprobe"), tmp_path / f"{name}.flv")
        for track, sent in sizes.items():
            got = [packet[2] for packet in found[track]]
            assert len(got) > 10, (name, track)
            assert got == sent[-len(got) :], (name, track)


async def test_who_may_not_play(tmp_path):
    async with balancer(tmp_path, live_config("play = false")) as lb, publishing(lb) as publisher:
        await publisher.send(2)
        for name in ("show", "other"):
            async with asking(stream_url(lb, name), "play") as player:
                await player.ended()
                assert "no such stream" in player.events[0].text


def heavy(frame):
    """Return the frame with much that a decoder skips: a unit of filler data."""
    filler = b"\x0c" + b"\xff" * 40_000
    return attrs.evolve(frame, data=frame.data + len(filler).to_bytes(4) + filler) if frame.track == "video" else frame


async def test_a_slow_player_misses_frames_up_to_a_key_frame_and_holds_up_nobody(tmp_path):
    film = film_frames()
    film = Film(film.configs, tuple(map(heavy, film.frames)), film.length)
    url = {"key": ""}
    async with balancer(tmp_path, live_config()) as lb, publishing(lb, film=film) as publisher:
        await publisher.send(0.1)
        async with rtmp_client(stream_url(lb, **url), "play") as slow:
            slow.may_read = trio.Event()
            async with rtmp_client(stream_url(lb, **url), "play") as quick:
                for _ in range(36):
                    await publisher.send(0.5)
                    await quick.until(lambda quick: quick.frames and quick.frames[-1].dts >= publisher.time - 200)
            slow.may_read.set()
            await publisher.send(2)
            last = publisher.of("video")[-1]
            await slow.until(lambda slow: any(frame.dts == last.dts for frame in slow.frames))
            frames = [frame for frame in slow.frames if frame.track == "video"]
            sent = publisher.of("video")
            places = [next(at for at, each in enumerate(sent) if each.dts == frame.dts) for frame in frames]
            gaps = [later for sooner, later in itertools.pairwise(places) if later != sooner + 1]
            assert gaps
            assert all(sent[at].key for at in gaps)
            assert not lb.of("stream.unpublished")
