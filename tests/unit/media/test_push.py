"""A stream on its way to other servers: they fail in all ways, and the stream does not care."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lb.events import StreamPushed, StreamPushFailed
from lb.media.player import PLAYER_QUEUE
from lb.media.push import Push
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata
from lb.model.rtmp_address import read_rtmp_address
from lb.model.stream_status import PushStatus
from tests.support.relay_servers import (
    AUDIO_CONFIG,
    VIDEO_CONFIG,
    FakeDialer,
    FakeServer,
    audio,
    video,
)

TARGET = read_rtmp_address("rtmp://target/live/show?key=verysecret")
SHOWN = "rtmp://target/live"
HEADERS = [StreamMetadata({"width": 640.0}), VIDEO_CONFIG, AUDIO_CONFIG]


class Stream:
    """A stream with a publisher. ``greeted``: how often a target has been connected."""

    name = "live/show"
    greeted = 0

    def greet(self, player):
        self.greeted += 1
        for header in HEADERS:
            player.send(header)


class Pushing:
    def __init__(self, nursery, server, **options):
        self.events = []
        self._changed = trio.Event()
        self.stream = Stream()
        self.dialer = FakeDialer(nursery, {} if server is None else {"target": server}, **options)
        self.push = Push(TARGET, self.stream, self.dialer, self.emit)

    def send(self, *items):
        for item in items:
            self.push.send(item)

    def emit(self, event):
        self.events.append(event)
        self._changed.set()
        self._changed = trio.Event()

    async def until_events(self, count):
        while len(self.events) < count:
            await self._changed.wait()


@asynccontextmanager
async def pushing(server, **options):
    with trio.fail_after(1_000):
        async with trio.open_nursery() as nursery:
            found = Pushing(nursery, server, **options)
            nursery.start_soon(found.push.run)
            yield found
            nursery.cancel_scope.cancel()
    assert "verysecret" not in f"{found.events}{found.push.status}"


async def test_a_target_gets_what_comes_before_frames_then_frames_from_a_key_frame_on(autojump_clock):
    server = FakeServer()
    async with pushing(server) as relay:
        await server.came.wait()
        await wait_all_tasks_blocked()
        assert relay.push.status == PushStatus(SHOWN, "live")
        relay.send(video(0), audio(10), video(40, key=True), audio(41), video(80))
        await wait_all_tasks_blocked()
        assert server.items == [*HEADERS, video(40, key=True), audio(41), video(80)]
        assert (server.asked[0].name, server.asked[0].key) == ("show", "verysecret")
        relay.push.stop()
        await wait_all_tasks_blocked()
        assert server.ends == ["left"]
        assert server.open == 0
    assert relay.events == [StreamPushed("live/show", SHOWN)]


async def test_a_dead_target_is_tried_again_ever_more_seldom_and_told_of_once(autojump_clock):
    async with pushing(None) as relay:
        await trio.sleep(200)
        pauses = [after - before for before, after in zip(relay.dialer.dialed, relay.dialer.dialed[1:], strict=False)]
        assert relay.events == [StreamPushFailed("live/show", SHOWN, "connection refused")]
        assert relay.push.status == PushStatus(SHOWN, "failed", "connection refused")
        for pause, most in zip(pauses, [0.5, 1, 2, 4, 8, 15, 15, 15], strict=False):
            assert most / 2 <= pause <= most
        server = relay.dialer.servers["target"] = FakeServer()
        await server.came.wait()
        await wait_all_tasks_blocked()
        relay.send(video(0, key=True))
        await wait_all_tasks_blocked()
        assert server.items == [*HEADERS, video(0, key=True)]
        assert relay.events[1:] == [StreamPushed("live/show", SHOWN)]


async def test_jitter_keeps_many_streams_from_meeting(autojump_clock):
    async with trio.open_nursery() as nursery:
        pushes = [Pushing(nursery, None) for _ in range(20)]
        for each in pushes:
            nursery.start_soon(each.push.run)
        await trio.sleep(20)
        nursery.cancel_scope.cancel()
    assert len({each.dialer.dialed[-1] for each in pushes}) == 20


async def test_a_target_that_breaks_off_gets_the_stream_again_with_all_that_comes_before(autojump_clock):
    server = FakeServer()
    async with pushing(server) as relay:
        await server.came.wait()
        await wait_all_tasks_blocked()
        relay.send(video(0, key=True))
        await wait_all_tasks_blocked()
        server.cut()
        server.came, server.items = trio.Event(), []
        await server.came.wait()
        await wait_all_tasks_blocked()
        relay.send(video(40), video(80, key=True))
        await wait_all_tasks_blocked()
        assert server.items == [*HEADERS, video(80, key=True)]
        assert relay.stream.greeted == 2
    assert [event.name for event in relay.events] == ["stream.pushed", "stream.push_failed", "stream.pushed"]


@pytest.mark.parametrize("text", ["no such key: verysecret", "show?key=verysecret is not here", "a\nb" + "x" * 1_000])
async def test_what_a_target_says_is_shown_short_and_without_the_key(autojump_clock, text):
    async with pushing(FakeServer(refusal=text)) as relay:
        await trio.sleep(0.1)
        error = relay.push.status.error
        assert len(error) < 110
        assert error.isprintable()
    assert relay.events == [StreamPushFailed("live/show", SHOWN, error)]


async def test_a_target_that_says_nothing_is_given_up(autojump_clock):
    server = FakeServer(silent=True)
    async with pushing(server) as relay:
        await trio.sleep(10.1)
        assert [event.error for event in relay.events] == ["the server has not answered within 10 s"]
        await trio.sleep(120)
        assert server.connections > 5
        assert server.open <= 1


async def test_a_target_that_stops_reading_costs_a_bounded_queue_and_is_given_up(autojump_clock):
    server = FakeServer()
    async with pushing(server, narrow=True) as relay:
        await server.came.wait()
        await wait_all_tasks_blocked()
        player = relay.push._player
        server.stop_reading()
        for number in range(20):
            relay.send(video(number, key=True, data=bytes(1 << 20)))
            await wait_all_tasks_blocked()
        assert sum(len(item.data) for item in player._items if isinstance(item, RtmpFrame)) <= PLAYER_QUEUE + (1 << 20)
        began = trio.current_time()
        await relay.until_events(2)
        assert 19 <= trio.current_time() - began <= 22
        assert relay.events[1:] == [StreamPushFailed("live/show", SHOWN, "the peer takes nothing")]
        assert relay.push._player is None


async def test_at_the_end_a_target_that_takes_nothing_is_waited_for_a_moment_only(autojump_clock):
    server = FakeServer()
    async with trio.open_nursery() as nursery:
        relay = Pushing(nursery, server, narrow=True)
        async with trio.open_nursery() as pushes:
            pushes.start_soon(relay.push.run)
            await server.came.wait()
            await wait_all_tasks_blocked()
            server.stop_reading()
            relay.send(video(0, key=True))
            await wait_all_tasks_blocked()
            began = trio.current_time()
            relay.push.stop()
        assert 4 <= trio.current_time() - began <= 7
        nursery.cancel_scope.cancel()


async def test_a_push_that_is_stopped_while_it_connects_ends_at_once(autojump_clock):
    server = FakeServer(silent=True)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        relay = Pushing(nursery, server)
        async with trio.open_nursery() as pushes:
            pushes.start_soon(relay.push.run)
            await wait_all_tasks_blocked()
            relay.push.stop()
        assert trio.current_time() - began < 0.1
        nursery.cancel_scope.cancel()
    assert relay.events == []


async def test_a_push_that_is_stopped_between_two_attempts_ends_at_once(autojump_clock):
    async with trio.open_nursery() as nursery:
        relay = Pushing(nursery, None)
        async with trio.open_nursery() as pushes:
            pushes.start_soon(relay.push.run)
            await trio.sleep(30)
            began = trio.current_time()
            relay.push.stop()
        assert trio.current_time() - began < 0.1
