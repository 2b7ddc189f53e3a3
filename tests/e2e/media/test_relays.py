"""Streams that are pushed to other servers and pulled from them, and hooks that say who may publish."""

from __future__ import annotations

import json
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import httpx
import pytest
import trio

from lb.media.pulls import MOST_STARTING
from lb.media.rtmp.client_session import StreamDenied
from lb.media.rtmp.handshake import NOISE_BYTES
from lb.media.rtmp.server_session import PlayRequested, RtmpServerSession
from tests.e2e.media.test_rtmp_clients import nginx_rtmp
from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer
from tests.support.processes import children
from tests.support.publishing import FilmPublisher, film_frames, live_config, publishing, stream_url
from tests.support.rtmp_client import asking, rtmp_client
from tests.support.rtmp_server import output, rtmp_server
from tests.support.servers import free_port, serving
from tests.support.tls_peers import write_authority, write_certificate
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow


@asynccontextmanager
async def balancers(tmp_path, *texts, **options):
    """Run several balancers."""
    async with AsyncExitStack() as stack:
        found = []
        for number, text in enumerate(texts):
            home = tmp_path / str(number)
            home.mkdir()
            found.append(await stack.enter_async_context(balancer(home, text, **options)))
        yield found


def edge_config(origin, **options):
    """Return the configuration of an edge: nobody publishes there."""
    return live_config(f'publish = []\npull = "{origin}"', **options)


def origin_url(port):
    return f"rtmp://127.0.0.1:{port}/{{app}}/{{name}}"


async def until_live(seen):
    """Wait until a stream is listed with some segments."""
    return await seen.until(lambda playlist: len(playlist.segments) >= 3)


def pictures(data):
    return [data for _, _, data in packets(data)]


def assert_part_of(film, publisher):
    """Each picture of what a viewer has got is one of the publisher's, in order, none left out."""
    sent = [frame.data for frame in publisher.of("video")]
    got = pictures(film)
    first = sent.index(got[0])
    assert got == sent[first : first + len(got)]


async def test_a_stream_goes_through_nginx_to_an_edge_unchanged(tmp_path):
    """nginx-rtmp is the target of a push and the origin of a pull."""
    async with nginx_rtmp(tmp_path) as url:
        port = int(url.split(":")[2].split("/")[0])
        texts = live_config(f'push = ["{origin_url(port)}?key=verysecret"]'), edge_config(origin_url(port))
        async with balancers(tmp_path, *texts) as (source, edge), publishing(source) as publisher:
            async with trio.open_nursery() as nursery, viewer(edge) as seen:
                nursery.start_soon(publisher.follow)
                pushed = await source.event("stream.pushed")
                assert (pushed["stream"], pushed["target"]) == ("live/show", f"rtmp://127.0.0.1:{port}/live")
                await until_live(seen)
                assert_part_of(await seen.film(), publisher)
                nursery.cancel_scope.cancel()
            assert "verysecret" not in json.dumps(source.events)


async def test_an_edge_pulls_once_and_lets_go(tmp_path):
    async with balancer(tmp_path, live_config()) as origin, publishing(origin) as publisher:
        port = origin.ports["rtmp"]
        (tmp_path / "edge").mkdir()
        text = edge_config(origin_url(port), top="[process]\nworkers = 2\n").replace(
            "[media.live.live]", '[media.live.live]\nlinger = "1s"'
        )
        async with balancer(tmp_path / "edge", text) as edge, trio.open_nursery() as nursery:
            nursery.start_soon(publisher.follow)
            responses = []

            async def ask(path):
                async with viewer(edge) as seen:
                    responses.append(await seen.get(path))

            async with trio.open_nursery() as many:
                for _ in range(10):
                    many.start_soon(ask, "master.m3u8")
                    many.start_soon(ask, "manifest.mpd")
            assert {response.status_code for response in responses} == {200}
            published = await edge.event("stream.published")
            assert published["client"] == f"127.0.0.1:{port}"
            assert len(edge.of("stream.published")) == 1
            async with viewer(edge) as seen:
                await until_live(seen)
                assert_part_of(await seen.film(), publisher)
            left = await edge.event("stream.unpublished")
            assert left["reason"] == "unwatched"
            nursery.cancel_scope.cancel()
        await origin.event("connection.closed")
        played = [event for event in origin.of("connection.closed") if event["bytes_out"] > 5_000]
        assert len(played) == 1


async def status_of(lb, path):
    """Ask for a path once. Return the response."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        return await client.get(f"http://127.0.0.1:{lb.ports['web']}{path}")


async def test_numbers_go_on_at_an_edge_when_the_stream_of_the_origin_ends_and_comes_back(tmp_path):
    async with rtmp_server() as origin:
        text = edge_config(origin_url(origin.port), top="[log]\nlevel = 'debug'\n")
        async with balancer(tmp_path, text) as edge, viewer(edge) as seen:
            numbers = []
            for turn in range(2):
                async with rtmp_client(origin.url("show"), "publish") as client, trio.open_nursery() as nursery:
                    publisher = FilmPublisher(client, film_frames(), ("video", "audio"))
                    await publisher.configure()
                    nursery.start_soon(publisher.follow)
                    while len(edge.of("stream.published")) <= turn:
                        await seen.get("master.m3u8")
                    await until_live(seen)
                    found = await seen.until(lambda found, turn=turn: len(listed(found)) >= 3 + turn)
                    numbers.append(listed(found))
                    nursery.cancel_scope.cancel()
                await edge.event("stream.unpublished", count=turn + 1)
            runs = [event["run"] for event in edge.of("stream.published")]
            assert runs[1] > max(numbers[0])
            assert all(sorted(set(each)) == each for each in numbers)


def listed(playlist):
    """Return the numbers of the segments in a playlist."""
    return [int(each.uri.rpartition("/")[2].removesuffix(".m4s")) for each in playlist.segments]


async def test_strangers_who_make_up_names_open_few_connections_and_learn_soon(tmp_path):
    """The first origin says no, the second says nothing, as nginx-rtmp does."""
    now = most = 0

    async def silent(stream):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await serve_players(stream)
        now -= 1

    async with serving(silent) as served:
        text = edge_config(origin_url(int(served.address.rpartition(":")[2])))
        async with balancer(tmp_path, text) as edge:
            statuses = []
            async with httpx.AsyncClient(timeout=PATIENCE, limits=httpx.Limits(max_connections=100)) as client:

                async def ask(number):
                    response = await client.get(f"http://127.0.0.1:{edge.ports['web']}/live/x{number}/master.m3u8")
                    statuses.append(response.status_code)

                async with trio.open_nursery() as nursery:
                    for number in range(100):
                        nursery.start_soon(ask, number)
            assert set(statuses) == {404, 503}
            assert 0 < most <= MOST_STARTING
            assert edge.of("stream.pull_failed") == []
            again = await status_of(edge, "/live/a%3Fkey=x/master.m3u8")
            assert again.status_code == 404


async def serve_players(stream):
    """Let all play, and play nothing."""
    session = RtmpServerSession(os.urandom(NOISE_BYTES), trio.current_time())
    with suppress(trio.BrokenResourceError):
        async for data in stream:
            for event in session.receive(data, trio.current_time()):
                if isinstance(event, PlayRequested):
                    session.accept(trio.current_time())
            await stream.send_all(session.outgoing())


async def test_an_origin_that_is_dead_is_503_and_comes_back(tmp_path):
    port = free_port()
    async with balancer(tmp_path, edge_config(origin_url(port))) as edge:
        response = await status_of(edge, "/live/show/master.m3u8")
        assert (response.status_code, response.headers["cache-control"]) == (503, "no-store")
        failed = await edge.event("stream.pull_failed")
        assert (failed["stream"], failed["error"]) == ("live/show", "connection refused")
        async with serving(serve_players, address=("127.0.0.1", port)):
            with trio.fail_after(PATIENCE):
                while response.status_code != 404:  # the origin is there, and has no such stream
                    response = await status_of(edge, "/live/show/master.m3u8")
                    await trio.sleep(0.1)


async def test_a_publisher_takes_the_place_of_what_is_pulled_and_a_ladder_is_pulled_by_its_members(tmp_path):
    async with balancer(tmp_path, live_config()) as origin, publishing(origin, "high") as high:
        (tmp_path / "edge").mkdir()
        text = live_config(f'pull = "{origin_url(origin.ports["rtmp"])}"\nladder = {{ show = ["high", "low"] }}')
        async with (
            publishing(origin, "low") as low,
            balancer(tmp_path / "edge", text) as edge,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(high.follow)
            nursery.start_soon(low.follow)
            master = (await status_of(edge, "/live/show/master.m3u8")).text
            assert "../high/v0.m3u8" in master
            assert "../low/v0.m3u8" in master
            async with publishing(edge, "high") as publisher:
                assert (await edge.event("stream.unpublished"))["reason"] == "replaced"
                await publisher.send(2)
                await publisher.leave()
                await edge.event("stream.unpublished", reason="left")
            assert (await status_of(edge, "/live/high/master.m3u8")).status_code == 200
            await edge.event("stream.published", stream="live/high", client=f"127.0.0.1:{origin.ports['rtmp']}")
            nursery.cancel_scope.cancel()


async def test_players_of_rtmp_get_what_an_edge_pulls(tmp_path):
    async with balancer(tmp_path, live_config()) as origin, publishing(origin) as publisher:
        (tmp_path / "edge").mkdir()
        async with balancer(tmp_path / "edge", edge_config(origin_url(origin.ports["rtmp"]))) as edge:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(publisher.follow)
                command = [program("ffprobe"), "-v", "error", "-show_entries", "stream=codec_name", "-of", "json"]
                shown = json.loads(await output(*command, "-probesize", "20000", stream_url(edge, key="")))
                nursery.cancel_scope.cancel()
            assert {each["codec_name"] for each in shown["streams"]} == {"h264", "aac"}
            async with asking(stream_url(edge, "nobody", key=""), "play") as player:
                await player.until(lambda player: player.events)
                assert isinstance(player.events[0], StreamDenied)


async def test_targets_come_and_go_and_fail_and_the_publisher_stays(tmp_path):
    """One is dead, one is stopped, one works; the last two change places with a fourth at a reload."""
    dead = free_port()
    async with nginx_rtmp(tmp_path) as url, rtmp_server() as first, rtmp_server() as second:
        stopped = int(url.split(":")[2].split("/")[0])

        def text(*targets):
            return live_config(f"push = {json.dumps([f'{origin_url(port)}?key=verysecret' for port in targets])}")

        async with balancer(tmp_path, text(dead, stopped, first.port)) as lb, publishing(lb) as publisher:
            async with trio.open_nursery() as nursery, viewer(lb) as seen:
                nursery.start_soon(publisher.follow)
                await lb.event("stream.push_failed", target=f"rtmp://127.0.0.1:{dead}/live", error="connection refused")
                await lb.event("stream.pushed", target=f"rtmp://127.0.0.1:{stopped}/live")
                await lb.event("stream.pushed", target=f"rtmp://127.0.0.1:{first.port}/live")
                stop_nginx(tmp_path)
                await until_live(seen)
                await first.streams["live/show"].has_frames(40)
                assert (await lb.reload(text(dead, second.port)))["event"] == "config.applied"
                await first.streams["live/show"].ended.wait()
                await second.streams["live/show"].has_frames(40)
                nursery.cancel_scope.cancel()
            pushed = second.streams["live/show"]
            assert (pushed.key, set(pushed.configs)) == ("verysecret", {"video", "audio"})
            frames = [frame.data for frame in pushed.of("video")]
            sent = [frame.data for frame in publisher.of("video")]
            assert pushed.of("video")[0].key
            assert any(sent[at : at + len(frames)] == frames for at in range(len(sent)))
            await publisher.leave()
            await pushed.ended.wait()
            assert (await lb.event("stream.unpublished"))["reason"] == "left"
            assert len(lb.of("stream.push_failed", target=f"rtmp://127.0.0.1:{dead}/live")) == 1
        assert "verysecret" not in json.dumps(lb.events)


def stop_nginx(home):
    """Send SIGSTOP to all processes of an nginx."""
    pid = int((home / "pid").read_text())
    for each in (pid, *children(pid)):
        os.kill(each, signal.SIGSTOP)


async def test_streams_are_pushed_over_tls_to_who_has_a_trusted_certificate(tmp_path):
    home = tmp_path / "target"
    home.mkdir()
    files = write_certificate(home, "server", "localhost")
    tls = f"[listeners.rtmp.tls]\n{files}"
    async with balancer(home, live_config(listener=tls)) as target:
        port = target.ports["rtmp"]
        push = f'push = ["rtmps://localhost:{port}/live/{{name}}?key=secret", "rtmps://127.0.0.1:{port}/live/x?key=secret"]'
        (tmp_path / "source").mkdir()
        env = {"SSL_CERT_FILE": str(tmp_path / write_authority(tmp_path))}
        async with (
            balancer(tmp_path / "source", live_config(push), env=env) as source,
            publishing(source) as publisher,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(publisher.follow)
            await target.event("stream.published", stream="live/show")
            failed = await source.event("stream.push_failed")
            assert failed["error"].startswith("certificate verify failed: IP address mismatch")
            nursery.cancel_scope.cancel()


async def read_call(stream):
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < length_of(data):
        data += await stream.receive_some()
    return data.split(b" ", 2)[1].decode(), json.loads(data.partition(b"\r\n\r\n")[2])


def length_of(data):
    return int(data.lower().partition(b"content-length:")[2].split()[0])


async def test_a_hook_decides_and_one_that_hangs_delays_no_other(tmp_path):
    calls = []
    slow_asked, ended = trio.Event(), trio.Event()

    async def hook(stream):
        path, told = await read_call(stream)
        calls.append((path, told["name"], told["key"]))
        if told["name"] == "slow":
            slow_asked.set()
            await trio.sleep_forever()
        if path == "/done":
            ended.set()
        status = "200 OK" if told["key"] == "verysecret" or path == "/done" else "403 Forbidden"
        await stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 1000000000\r\n\r\n".encode())

    async with serving(hook) as served:
        app = f'publish = []\non_publish = "http://{served.address}/ask"\non_publish_done = "http://{served.address}/done"'
        async with balancer(tmp_path, live_config(app)) as lb, asking(stream_url(lb, "slow"), "publish") as slow:
            await slow_asked.wait()
            async with publishing(lb, "show", key="verysecret") as publisher:
                async with asking(stream_url(lb, "other", key="wrong"), "publish") as wrong:
                    await wrong.until(lambda client: client.events)
                    assert isinstance(wrong.events[0], StreamDenied)
                assert lb.of("stream.refused", stream="live/slow") == []
                await publisher.send(2)
                await slow.until(lambda client: client.events)
                assert isinstance(slow.events[0], StreamDenied)
                await lb.event("stream.published", stream="live/show")
                await publisher.leave()
            await lb.event("stream.unpublished", stream="live/show")
            refused = [(event["stream"], event["reason"]) for event in lb.of("stream.refused")]
            assert refused == [("live/other", "hook"), ("live/slow", "hook")]
            assert (await lb.event("stream.hook_failed"))["error"] == "no answer in 3 s"
            await ended.wait()
            assert calls[-1] == ("/done", "show", "verysecret")
        assert "verysecret" not in json.dumps(lb.events)
