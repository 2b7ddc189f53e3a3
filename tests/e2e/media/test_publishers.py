"""Publishers of every kind: odd clocks, rare key frames, one track, many at once, keys and limits."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack

import pytest
import trio

from lb.media.rtmp.client_session import StreamDenied
from tests.support.balancer import balancer
from tests.support.publishing import live_config, publishing, stream_url
from tests.support.rtmp_client import asking
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow
WIDE = "window = 200\nkeep = 200"


async def refused(lb, reason, **url):
    """Try to publish. Return what the publisher is told."""
    count = len(lb.of("stream.refused"))
    async with asking(stream_url(lb, **url), "publish") as client:
        await client.until(lambda client: client.events)
        (event,) = client.events
        assert isinstance(event, StreamDenied), event
    told = await lb.event("stream.refused", count=count + 1)
    assert told["reason"] == reason
    return told


@pytest.mark.parametrize("seconds", [3600, -9])
async def test_a_clock_that_jumps_leaves_no_trace_in_what_players_get(tmp_path, seconds):
    async with balancer(tmp_path, live_config(WIDE)) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            publisher.shift = 10_000
            await publisher.send(3.27)
            publisher.shift += seconds * 1_000
            await publisher.send(3)
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        jumped = await lb.event("stream.jumped", stream="live/show")
        assert jumped["seconds"] == pytest.approx(seconds, abs=0.2)
        assert len(lb.of("stream.jumped")) == 1
        for track, name, step in (("video", "v0", 0.05), ("audio", "a0", 0.064)):
            got = packets(await show.film(name))
            assert [data for _, _, data in got] == [frame.data for frame in publisher.of(track)]
            times = sorted(at for at, _, _ in got)
            steps = [later - sooner for sooner, later in itertools.pairwise(times)]
            assert steps == pytest.approx([step] * len(steps), abs=0.07)
        found = await show.playlist()
        assert [each.discontinuity for each in found.segments] == [False] * len(found.segments)


async def test_segments_are_as_long_as_key_frames_are_apart(tmp_path):
    async with balancer(tmp_path, live_config(WIDE)) as lb, viewer(lb) as show, publishing(lb) as publisher:
        for _ in range(2):
            await publisher.send(0.1)
            await publisher.send(14.9, keys=False)
        await publisher.send(0.6)
        found = await show.until(lambda found: len(found.segments) >= 2)
        assert [each.duration for each in found.segments[:2]] == pytest.approx([15.0, 15.0], abs=0.05)
        assert found.target_duration == 15
        sound = await show.playlist("a0.m3u8")
        assert [each.duration for each in sound.segments[:2]] == pytest.approx([15.0, 15.0], abs=0.13)


async def test_a_publisher_without_key_frames_is_sent_away(tmp_path):
    async with balancer(tmp_path, live_config('max_gop = "3s"')) as lb:
        async with publishing(lb) as publisher:
            await publisher.send(1)
            await publisher.send(3, keys=False)
            ended = await lb.event("stream.unpublished")
            assert ended["reason"] == "no_keyframe"
            await publisher.client.ended()
        async with publishing(lb, "never") as publisher:
            await publisher.send(4, keys=False)
            assert (await lb.event("stream.unpublished", stream="live/never"))["reason"] == "no_keyframe"


@pytest.mark.parametrize(("track", "name"), [("video", "v0"), ("audio", "a0")])
async def test_one_track_alone(tmp_path, track, name):
    async with balancer(tmp_path, live_config(WIDE)) as lb, viewer(lb) as show:
        async with publishing(lb, tracks=(track,)) as publisher:
            await publisher.send(5)
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        for film in (await show.film(name), await show.dash_film(name)):
            assert [data for _, _, data in packets(film)] == [frame.data for frame in publisher.sent]
        found = await show.playlist(f"{name}.m3u8")
        assert [each.duration for each in found.segments[:-1]] == pytest.approx([0.5] * 9, abs=0.07)
        master = await show.playlist("master.m3u8")
        assert [each.uri for each in master.playlists] == [f"{name}.m3u8"]
        assert not master.media


@pytest.mark.parametrize("workers", [1, 2])
async def test_thirty_publishers_at_once(tmp_path, workers):
    names = [f"show{number}" for number in range(30)]
    async with balancer(tmp_path, live_config(top=f"[process]\nworkers = {workers}")) as lb:

        async def publish(name):
            async with publishing(lb, name) as publisher, viewer(lb, name) as show:
                await publisher.send(2.2)
                found = await show.until(lambda found: len(found.segments) >= 4)
                for each in found.segments:
                    await show.body(each.uri)

        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(publish, name)
        assert {event["stream"] for event in lb.of("stream.published")} == {f"live/{name}" for name in names}


async def test_who_has_no_key_is_refused(tmp_path):
    keys = 'publish = [{ name = "show", key = "one" }, { name = "*", key = "any" }]'
    async with balancer(tmp_path, live_config(keys)) as lb:
        assert (await refused(lb, "key", key="wrong"))["stream"] == "live/show"
        await refused(lb, "key", key="any")  # a key for the very name goes before
        await refused(lb, "key", key="")
        await refused(lb, "key", name="other", key="one")
        await refused(lb, "key", app="nothing", key="any")
        async with publishing(lb, key="one") as one, publishing(lb, "other", key="any") as other:
            await one.send(2)
            await other.send(2)
            await lb.event("stream.published", stream="live/other")
        assert not any(key in str(lb.events) for key in ("wrong", '"one"', "'any'"))


async def test_a_publisher_that_comes_back_at_once_is_let_in(tmp_path):
    async with balancer(tmp_path, live_config()) as lb:
        for _ in range(5):
            async with publishing(lb) as publisher:
                await publisher.send(0.3)
        assert (await lb.event("stream.unpublished", count=5))["reason"] == "reset"
        assert lb.of("stream.refused") == []


async def test_a_second_publisher_is_refused_or_replaces_the_first(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show:
        async with publishing(lb) as first:
            await first.send(2.2)
            await refused(lb, "busy")
            before = await show.until(lambda found: len(found.segments) >= 3)
            await lb.reload(live_config('second_publisher = "replace"'))
            async with publishing(lb) as second:
                await first.client.ended()
                await lb.event("stream.unpublished", reason="replaced")
                await second.send(2.2)
                after = await show.until(lambda found: found.segments[-1].uri > before.segments[-1].uri)
        uris = [each.uri for each in after.segments]
        assert uris == sorted(set(uris))
        reasons = [event["reason"] for event in lb.of("stream.unpublished")]
        assert reasons[0] == "replaced"


@pytest.mark.parametrize("rule", ['deny = ["127.0.0.0/8"]', 'allow = ["10.0.0.0/8"]', "max_per_source = 1"])
async def test_the_rules_of_the_listener_hold_for_publishers(tmp_path, rule):
    async with balancer(tmp_path, live_config(listener=rule)) as lb, AsyncExitStack() as connections:
        if "source" in rule:
            await connections.enter_async_context(publishing(lb, "first"))
        async with asking(stream_url(lb), "publish") as client:
            await client.ended()
            assert not client.events
        assert (await lb.event("connection.denied", "connection.closed"))["reason"] == "denied"
