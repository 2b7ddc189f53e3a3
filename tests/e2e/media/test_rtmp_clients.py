"""Real programs publish to a session and play from it: ffmpeg, GStreamer and rtmpdump."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

import tests.support.rtmp_server
from lb.media.rtmp.client_session import StreamFinished
from lb.media.rtmp.server_session import Connected, PublishRequested, StreamEnded
from tests.e2e.traffic.test_real_peers import program, running
from tests.support.balancer import PATIENCE
from tests.support.rtmp_client import rtmp_client
from tests.support.rtmp_server import output, packets, rtmp_server
from tests.support.servers import free_port

pytestmark = pytest.mark.slow
QUIET = ("-nostdin", "-v", "error")
SECONDS = 4
ENHANCED_PUBLISHER = Path(tests.support.rtmp_server.__file__).with_name("enhanced_publisher.py")
FILMS = Path(__file__).parent.parent.parent / "data" / "media"
"""A second each of grey pictures, 192 x 108, with silence: made by PyAV, small."""
NGINX_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")


def ffmpeg(*arguments):
    return [program("ffmpeg"), *QUIET, *arguments]


def publish(path, url):
    return ffmpeg("-i", path, "-c", "copy", "-f", "flv", url)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """An FLV file: H.264 with B-frames, a key frame each half second, and AAC."""
    path = tmp_path_factory.mktemp("film") / "film.flv"
    picture = f"testsrc2=size=320x180:rate=25:duration={SECONDS}"
    tone = f"sine=frequency=440:sample_rate=48000:duration={SECONDS}"
    codecs = ("-c:v", "libx264", "-preset", "veryfast", "-g", "12", "-bf", "2", "-c:a", "aac", "-shortest")
    subprocess.run(
        ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, *codecs, "-f", "flv", path), check=True
    )
    return path


@asynccontextmanager
async def published(server, *command, name="show"):
    """Run a publisher. The block gets its stream once the server has let it in."""
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(output, *command)
            await server.came.wait()
            yield server.streams[f"live/{name}"]


def sent(frames):
    return [(frame.dts, frame.pts, len(frame.data), frame.key) for frame in frames]


async def test_ffmpeg_publishes_each_packet(film):
    original = await packets(program("ffprobe"), film)
    async with rtmp_server() as server:
        url = server.url("show?key=secret")
        async with published(server, *publish(film, url)) as stream:
            await stream.ended.wait()
    assert sent(stream.of("video")) == original["video"]
    assert sent(stream.of("audio")) == original["audio"]
    assert len(stream.of("video")) == 25 * SECONDS
    assert stream.key == "secret"
    assert {track: config.codec for track, config in stream.configs.items()} == {"video": "avc1", "audio": "mp4a"}
    assert stream.metadata.values["width"] == 320
    assert server.events[0] == Connected("live", server.url("").rstrip("/"))
    assert server.events[1] == PublishRequested("live", "show", "secret")
    assert server.events[-1] == StreamEnded("left")


async def test_gstreamer_publishes_each_packet(film):
    original = await packets(program("ffprobe"), film)
    async with rtmp_server() as server:
        source = f"filesrc location={film} ! flvdemux name=source"
        sink = f"flvmux streamable=true name=mux ! rtmp2sink sync=false location={server.url('show?key=secret')}"
        video = "source.video ! queue ! h264parse ! mux.video"
        audio = "source.audio ! queue ! aacparse ! mux.audio"
        pipeline = f"{source} {sink} {video} {audio}".split()
        async with published(server, program("gst-launch-1.0"), "-q", *pipeline) as stream:
            await stream.ended.wait()
    for track in ("video", "audio"):
        assert [frame[2:] for frame in sent(stream.of(track))] == [packet[2:] for packet in original[track]]
    assert {track: config.codec for track, config in stream.configs.items()} == {"video": "avc1", "audio": "mp4a"}
    assert stream.key == "secret"
    assert server.events[-1] == StreamEnded("left")


async def test_rtmpdump_and_ffmpeg_play_each_packet(film, tmp_path):
    players = {
        "rtmpdump": lambda url, path: [program("rtmpdump"), "-q", "-v", "-r", url, "-o", path],
        "ffmpeg": lambda url, path: ffmpeg("-i", url, "-c", "copy", "-copyts", path),
    }
    original = await packets(program("ffprobe"), film)
    async with rtmp_server() as server, trio.open_nursery() as nursery:
        for name, command in players.items():
            nursery.start_soon(output, *command(server.url("show"), tmp_path / f"{name}.flv"))
        await server.streams["live/show"].has_players(len(players))
        await output(*publish(film, server.url("show")))
    for name in players:
        played = await packets(program("ffprobe"), tmp_path / f"{name}.flv")
        first = original["video"][0][0]
        assert played["video"] == original["video"], name
        assert played["audio"] == [packet for packet in original["audio"] if packet[0] >= first], name


@pytest.mark.parametrize("verb", ["publish", "play"])
async def test_ffmpeg_tells_its_user_why_it_is_refused(film, verb):
    async with rtmp_server() as server:
        server.refusal = "the key is wrong"
        url = server.url("show?key=other")
        command = publish(film, url)
        if verb == "play":
            command = ffmpeg("-i", url, "-f", "null", "-")
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(command, capture_stderr=True, check=False)
    assert done.returncode != 0
    assert b"the key is wrong" in done.stderr


@pytest.mark.parametrize(
    ("name", "codecs"), [("hevc-opus", ("hvc1", "opus")), ("av1-aac", ("av01", "mp4a")), ("avc-mp3", ("avc1", "mp3"))]
)
async def test_a_newer_ffmpeg_publishes_each_packet_of_other_codecs(name, codecs):
    require(lambda: importlib.util.find_spec("av"), "PyAV")
    with trio.fail_after(PATIENCE):
        async with rtmp_server() as server:
            command = [sys.executable, ENHANCED_PUBLISHER, FILMS / f"{name}.mp4", server.url("show")]
            printed = await output(*command)
            stream = server.streams["live/show"]
            await stream.ended.wait()
    assert (stream.configs["video"].codec, stream.configs["audio"].codec) == codecs
    packets = [line.split() for line in printed.decode().splitlines()]
    for track in ("video", "audio"):
        frames = [[track, str(len(frame.data)), str(int(frame.key))] for frame in stream.of(track)]
        assert frames == [packet for packet in packets if packet[0] == track]
    assert len(stream.of("video")) == 25


def require(present, name):
    """If something is missing, skip the test; in CI, fail."""
    if not present():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")


@asynccontextmanager
async def nginx_rtmp(home):
    """Run an nginx that relays streams. The block gets the URL of one."""
    port = free_port()
    (home / "nginx.conf").write_text(
        f"load_module {NGINX_MODULE}; daemon off; worker_processes 1; pid {home}/pid; error_log {home}/error.log;\n"
        "events { worker_connections 200; }\n"
        f"rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n"
    )
    command = [program("nginx"), "-p", home, "-c", home / "nginx.conf", "-e", home / "error.log"]
    require(NGINX_MODULE.exists, "nginx's RTMP module")
    async with running(command, port):
        yield f"rtmp://127.0.0.1:{port}/live/show"


@asynccontextmanager
async def own_server(_home):
    """Run the tests' own server. The block gets the URL of a stream."""
    async with rtmp_server() as server:
        yield server.url("show")


@pytest.mark.parametrize("relay", [nginx_rtmp, own_server])
async def test_a_client_plays_from_a_server_what_another_publishes_there(film, tmp_path, relay):
    async with rtmp_server() as server, published(server, *publish(film, server.url("show"))) as original:
        await original.ended.wait()
    async with (
        relay(tmp_path) as url,
        rtmp_client(url, "publish") as publisher,
        rtmp_client(url, "play") as player,
    ):
        for config in original.configs.values():
            publisher.session.send_config(config)
        for count, frame in enumerate(original.frames, 1):
            publisher.session.send_frame(frame)
            await publisher.flush()
            if count % 20 == 0:  # a relay may drop frames of a player that is slow
                await player.until(lambda player, count=count: len(player.frames) == count)
        await player.until(lambda player: len(player.frames) == len(original.frames))
        await publisher.leave()
        await player.until(lambda player: isinstance(player.events[-1], StreamFinished))
    assert player.frames == original.frames
    assert {config.track: config for config in player.configs} == original.configs
