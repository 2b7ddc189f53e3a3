"""Films through the real command: what is in the files comes out by HLS and DASH, frame by frame."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import quote

import pytest
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import balancer
from tests.support.films import films_config, packets_of, title, write_films
from tests.support.titles import demuxed

pytestmark = pytest.mark.slow


def best(found, kind):
    """Return the name of the best track of this kind, of a manifest."""
    names = [name for name in next(iter(found.periods.values())) if name[0] == kind[0]]
    return max(names, default=None)


def comparable(packets):
    """Leave out how long each is: files say that of the last one in different ways."""
    return [(time, key, data) for time, _, key, data in packets]


async def test_every_packet_of_a_film_comes_out_at_its_time_by_hls_and_dash(tmp_path):
    sources = write_films(tmp_path)
    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        for path, source in sources.items():
            async with title(lb, quote(path)) as shown:
                found = await shown.manifest()
                tracks = {kind: best(found, kind) for kind in ("video", "audio")}
                assert len([name for name in tracks.values() if name]) == (1 if "alone" in path else 2), path
                for kind, name in tracks.items():
                    if name:
                        wanted = comparable(packets_of(source, kind))
                        by_hls, by_dash = await shown.film(name), await shown.dash_film(name)
                        assert by_hls == by_dash, path
                        got = comparable(packets_of(by_hls, kind))
                        assert [each[1:] for each in got] == [each[1:] for each in wanted], (path, kind)
                        assert max(abs(one[0] - two[0]) for one, two in zip(got, wanted, strict=True)) < 1e-4, path


async def test_playlists_tell_the_length_of_each_segment_within_a_frame(tmp_path):
    sources = write_films(tmp_path)
    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        for path in sources:
            async with title(lb, quote(path)) as shown:
                (tracks,) = (await shown.manifest()).periods.values()
                for name, listed in tracks.items():
                    kind = "video" if name[0] == "v" else "audio"
                    by_hls = (await shown.playlist(f"{name}.m3u8")).segments
                    init = await shown.body(by_hls[0].init_section.uri)
                    found = [packets_of(init + await shown.body(each.uri), kind) for each in by_hls]
                    begins = [min(packet[0] for packet in packets) for packets in found]
                    end = max(packet[0] + packet[1] for packet in found[-1])
                    frame = max(packet[1] for packet in found[0])
                    for each, also, (begin, until) in zip(
                        by_hls, listed.segments, pairwise([*begins, end]), strict=True
                    ):
                        assert abs(each.duration - (until - begin)) <= frame + 1e-4, (path, name, each)
                        assert each.duration == pytest.approx(also.duration, abs=1e-4)
                        assert each.uri == also.uri


@pytest.mark.parametrize("listing", ["master.m3u8", "manifest.mpd"])
async def test_ffmpeg_plays_all_of_each_film(tmp_path, listing):
    """What plays DASH in it ends with the track that ends first, and so may leave out the other's last packets."""
    sources = write_films(tmp_path)
    async with balancer(tmp_path, films_config(tmp_path)) as lb:
        for path in ("plain.mp4", "fragments.mp4", "hevc-opus.mp4", "av1-aac.mp4", "audio alone.mp4"):
            url = f"http://127.0.0.1:{lb.ports['web']}/films/{quote(path)}/{listing}"
            original = demuxed(program("ffprobe"), tmp_path / path)
            played = await trio.to_thread.run_sync(demuxed, program("ffprobe"), url)
            assert played.keys() == original.keys()
            assert path in sources
            for kind, packets in original.items():
                ends_early = 3 if listing == "manifest.mpd" else 0
                assert len(packets) - ends_early <= len(played[kind]) <= len(packets), (path, kind)
                assert played[kind] == packets[: len(played[kind])], (path, kind)
