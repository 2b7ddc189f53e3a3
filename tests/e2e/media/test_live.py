"""Live streams through the real command: what is published by RTMP comes out by HLS and DASH."""

from __future__ import annotations

import pytest

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import balancer
from tests.support.publishing import live_config, publish_command, publishing, publishing_by, stream_url
from tests.support.viewing import packets, viewer

pytestmark = pytest.mark.slow
WIDE = "window = 100\nkeep = 100"


@pytest.mark.parametrize("part", ["0", "250ms"])
async def test_every_packet_comes_out_by_hls_and_dash_and_both_tracks_are_shifted_alike(tmp_path, part):
    async with balancer(tmp_path, live_config(f'{WIDE}\npart = "{part}"')) as lb, viewer(lb) as show:
        async with publishing(lb) as publisher:
            await publisher.send(10)
            await publisher.leave()
            await lb.event("stream.unpublished", reason="left")
        shifts = []
        for track, name in (("video", "v0"), ("audio", "a0")):
            sent = publisher.of(track)
            for film in (await show.film(name), await show.dash_film(name)):
                got = packets(film)
                assert [(key, data) for _, key, data in got] == [(frame.key, frame.data) for frame in sent]
                shifts += [at - frame.pts / 1_000 for (at, _, _), frame in zip(got, sent, strict=True)]
    assert max(shifts) - min(shifts) <= 0.0021  # two roundings to milliseconds


async def test_ffmpeg_publishes_and_is_seen(tmp_path):
    async with balancer(tmp_path, live_config()) as lb, viewer(lb) as show:
        async with publishing_by(publish_command(program("ffmpeg"), stream_url(lb))):
            found = await show.until(lambda found: len(found.segments) >= 3)
        published = await lb.event("stream.published", stream="live/show")
        assert published["codecs"] == ["avc1.64000a", "mp4a.40.2"]
        assert found.segments[0].duration == pytest.approx(0.5, abs=0.05)
        assert (await lb.event("stream.unpublished"))["reason"] == "reset"
