"""The streams of a process, beside what each of them does: which of them are known, and which numbers they get."""

from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from lb.media.live_apps import FORGOTTEN_AFTER, LiveApps
from lb.media.rtmp.server_session import PublishRequested
from lb.media.rtmp.tracks import RtmpFrame, TrackConfig
from lb.model import LiveSpec, MediaSpec, PublishKey, Secret
from lb.model.rtmp_address import rtmp_template
from lb.net.gathering import GATHERING
from tests.support.live_publisher import NOW
from tests.support.media_source import encoded
from tests.support.relay_servers import PEER

LIVE = LiveSpec("live", publish=(PublishKey("show", Secret("k")),))


@asynccontextmanager
async def running(emit=lambda _event: None):
    failures = []
    apps = LiveApps(emit, lambda _used: None, failures.append, lambda: NOW + trio.current_time())
    apps.configure(MediaSpec(live=(LIVE,)))
    async with trio.open_nursery() as nursery:
        await nursery.start(apps.run)
        yield apps
        nursery.cancel_scope.cancel()
    assert failures == []


async def test_a_publisher_gets_what_is_configured_when_its_hook_has_answered(monkeypatch):
    hooked = attrs.evolve(LIVE, on_publish=Secret("http://127.0.0.1:1/"))
    async with running() as apps:
        apps.configure(MediaSpec(live=(hooked,)))

        async def allow(_url, _call):
            apps.configure(MediaSpec(live=(attrs.evolve(hooked, window=9),)))
            return True

        monkeypatch.setattr(apps._hooks, "allow", allow)
        await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope())
        assert apps._streams["live", "show"].stream.settings.window == 9


async def test_a_publisher_that_changes_its_configuration_all_the_time_is_sent_away(autojump_clock):
    async with running() as apps:
        scope = trio.CancelScope()
        publication = await apps.publish(PublishRequested("live", "show", "k"), PEER, scope)
        record = encoded("avc1", 4).config.record
        for number in range(60):
            publication.config(TrackConfig("video", "avc1", record + bytes((number,))))
            await trio.sleep(1.5)
        assert not scope.cancel_called
        for number in range(30):
            publication.config(TrackConfig("video", "avc1", record + bytes((number,))))
        assert scope.cancel_called


async def test_a_publisher_that_is_sent_away_in_its_first_segment_is_not_told_of_as_published_afterwards():
    """Its frames so far become a segment when it is sent away, which is told of before."""
    film, events = encoded("avc1", 4), []
    async with running(events.append) as apps:
        apps.configure(MediaSpec(live=(attrs.evolve(LIVE, max_gop=2.0),)))
        scope = trio.CancelScope()
        publication = await apps.publish(PublishRequested("live", "show", "k"), PEER, scope)
        publication.config(TrackConfig("video", "avc1", film.config.record))
        for number, sample in enumerate(film.samples):
            time = number * 40
            publication.frame(RtmpFrame("video", time, time, number == 0, sample.data))
        assert scope.cancel_called
        (track,) = apps._streams["live", "show"].stream.tracks.values()
        assert len(track.segments) == 1
    assert [(event.name, event.reason) for event in events] == [("stream.unpublished", "no_keyframe")]


async def test_who_waits_for_a_fetched_stream_hears_of_its_segments_though_its_app_fetched_nothing_before():
    async with running() as apps:
        await published(apps, 1)
        apps.configure(MediaSpec(live=(attrs.evolve(LIVE, pull=rtmp_template("rtmp://127.0.0.1:1/live/{name}")),)))
        publication = apps.begin_pull("live", "show", PEER, trio.CancelScope())
        news = apps._waits._news
        send_film(publication, 1)
        assert news.is_set()


@pytest.mark.parametrize("moments", [0, 2, 15])
async def test_a_publisher_whose_end_is_late_is_not_in_the_way_of_the_next(autojump_clock, moments):
    """A busy balancer may relay the next one's first bytes before the last ones of the one before, and its end."""
    async with running() as apps, trio.open_nursery() as nursery:
        publication = await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope())
        send_film(publication, 1)

        @nursery.start_soon
        async def leave():
            await trio.sleep((moments + 0.5) * GATHERING)
            send_frame(publication, 4_000)
            await trio.sleep(GATHERING)
            publication.ended("reset")

        after = await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope())
        assert apps._streams["live", "show"].publication is after


@pytest.mark.parametrize("sends", [True, False])
async def test_a_publisher_that_stays_keeps_its_stream(autojump_clock, sends):
    async with running() as apps, trio.open_nursery() as nursery:
        publication = await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope())
        send_film(publication, 1)

        @nursery.start_soon
        async def go_on():
            for number in range(100):
                await trio.sleep(0.04)
                if sends:
                    send_frame(publication, 4_000 + 40 * number)

        began = trio.current_time()
        assert await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope()) == "busy"
        assert trio.current_time() - began < (0.7 if sends else 2.5)


async def published(apps, times):
    """Publish four seconds of film so many times, all at once. Return the numbers of segments that there are then."""
    publication = await apps.publish(PublishRequested("live", "show", "k"), PEER, trio.CancelScope())
    send_film(publication, times)
    publication.ended("left")
    (track,) = apps._streams["live", "show"].stream.tracks.values()
    return [segment.number for segment in track.segments]


def send_film(publication, times):
    film = encoded("avc1", 4)
    publication.config(TrackConfig("video", "avc1", film.config.record))
    for begin in range(0, 4_000 * times, 4_000):
        for sample in film.samples:
            dts, pts = (begin + time * 1_000 // film.timescale for time in (sample.dts, sample.pts))
            publication.frame(RtmpFrame("video", dts, pts, sample.key, sample.data))


def send_frame(publication, time):
    publication.frame(RtmpFrame("video", time, time, False, encoded("avc1", 4).samples[1].data))


async def test_numbers_of_a_publisher_faster_than_time_are_not_used_again(autojump_clock):
    """Caches keep segments for good. A publisher without ``-re`` sends an hour of film in a minute."""
    async with running() as apps:
        before = await published(apps, 300)
        await trio.sleep(LIVE.linger + FORGOTTEN_AFTER + 10)
        assert not apps._streams
        assert min(await published(apps, 2)) > max(before)
        await trio.sleep(1_000 * LIVE.segment)
        await published(apps, 2)
        await trio.sleep(LIVE.linger + FORGOTTEN_AFTER + 10)
        assert len(tuple(apps._timelines._before)) <= 1
