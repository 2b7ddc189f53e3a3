"""What waits for a player: bounded, and whole again from a key frame on."""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from lb.media.player import PLAYER_QUEUE, Player
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from tests.support.relay_servers import AUDIO_CONFIG, VIDEO_CONFIG, audio, video

LARGE = bytes(1 << 20)
METADATA = StreamMetadata({"width": 1.0})


class Session:
    """Notes what is sent."""

    def __init__(self):
        self.sent = []
        self.send_metadata = self.send_config = self.send_frame = self.sent.append

    def outgoing(self):
        return b"x"


@pytest.fixture
def player():
    return Player(Session())


async def got(player):
    """Return what the player has got once it has read all."""
    stream, _ = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(player.run, stream)
        await wait_all_tasks_blocked()
        player.end("over")
    return player._session.sent


async def test_a_player_begins_at_a_key_frame_after_what_comes_before(player):
    for item in (METADATA, VIDEO_CONFIG, AUDIO_CONFIG, audio(0), video(10), video(20, key=True), audio(25), video(60)):
        player.send(item)
    sent = [METADATA, VIDEO_CONFIG, AUDIO_CONFIG, video(20, key=True), audio(25), video(60)]
    assert await got(player) == sent


async def test_a_player_who_takes_nothing_goes_on_at_the_next_key_frame(player):
    player.send(VIDEO_CONFIG)
    frames = [video(40 * number, key=number % 10 == 0, data=LARGE) for number in range(30)]
    for frame in frames:
        player.send(frame)
    before = list(player._items)
    assert before == [VIDEO_CONFIG, *frames[:4]]
    other = TrackConfig("video", "avc1", VIDEO_CONFIG.record + b"1")
    player.send(other)
    player.send(METADATA)
    player.send(attrs.evolve(other, record=b"newest"))
    assert list(player._items) == before
    stream, _ = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(player.run, stream)
        await wait_all_tasks_blocked()
        player.send(video(2_000))
        player.send(audio(2_000))
        player.send(video(2_040, key=True))
        player.send(audio(2_041))
        await wait_all_tasks_blocked()
        player.end("over")
    rest = [attrs.evolve(other, record=b"newest"), METADATA, video(2_040, key=True), audio(2_041)]
    assert player._session.sent == [*before, *rest]


async def test_sound_alone_goes_on_at_the_next_frame(player):
    player.without_video()
    player.send(AUDIO_CONFIG)
    for number in range(10):
        player.send(audio(number, LARGE))
    assert len(player._items) == 5
    assert len(await got(player)) == 5
    player.send(audio(99))
    assert player._items[-1] == audio(99)


async def test_video_may_come_after_sound(player):
    player.without_video()
    for item in (audio(0), VIDEO_CONFIG, video(10, key=True), video(20)):
        player.send(item)
    assert await got(player) == [audio(0), VIDEO_CONFIG, video(10, key=True), video(20)]


async def test_the_end_comes_after_what_is_queued(player):
    stream, _ = memory_stream_pair()
    player.send(VIDEO_CONFIG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(player.run, stream)
        await wait_all_tasks_blocked()
        player.send(video(0, key=True))
        player.end("over")
    assert player._session.sent == [VIDEO_CONFIG, video(0, key=True)]


ITEMS = st.one_of(
    st.builds(video, st.just(0), key=st.booleans(), data=st.sampled_from([b"1", LARGE])),
    st.builds(audio, st.just(0), st.sampled_from([b"1", LARGE])),
    st.builds(TrackConfig, st.just("video"), st.just("avc1"), st.sampled_from([b"1", bytes(60_000)])),
    st.just(METADATA),
)


@given(st.lists(ITEMS, max_size=60), st.booleans())
def test_memory_is_bounded_whatever_comes(items, sound):
    player = Player(Session())
    if sound:
        player.without_video()
    for item in items:
        for _ in range(20):
            player.send(item)
    bytes_ = sum(len(item.data) for item in player._items if isinstance(item, RtmpFrame))
    assert bytes_ <= PLAYER_QUEUE + len(LARGE)
    assert len(player._items) <= PLAYER_QUEUE // 300 + 1
    assert len(player._held) <= 2
    assert sum(item is METADATA for item in player._items) <= (PLAYER_QUEUE >> 20) + 1


def test_silence_cannot_fill_memory(player):
    player.without_video()
    for number in range(100_000):
        player.send(audio(number, b""))
    assert len(player._items) <= PLAYER_QUEUE // 300 + 1
