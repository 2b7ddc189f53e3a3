"""A publisher's packets, through libav, as players get them by HLS and by DASH: each comes out, at its time."""

from __future__ import annotations

import io
import itertools
import json
import subprocess

import av
import m3u8
import pytest

from lb.media.fragment import open_track
from lb.media.frames import AUDIO, CODECS, VIDEO
from lb.media.open_segment import NoKeyFrameError
from tests.support.live_publisher import FRAME, NOW, get, live_stream
from tests.support.media_source import FPS, encoded
from tests.support.mpd import read
from tests.support.peers import needs_program
from tests.support.viewing import packets


def source(video, audio, seconds=7):
    """Return frames as RTMP brings them: track, decoding and showing time in whole milliseconds, key, data."""
    frames = []
    tracks = [encoded(codec, seconds) for codec in (video, audio) if codec]
    first = min(track.samples[0].dts / track.timescale for track in tracks)
    for track in tracks:
        for sample in track.samples:
            dts, pts = (int((time / track.timescale - first) * 1_000 + 1e-6) for time in (sample.dts, sample.pts))
            frames.append((track.config.track, dts, pts, sample.key, sample.data))
    return [track.config for track in tracks], sorted(frames, key=lambda frame: frame[1])


def publish(configs, frames, **settings):
    stream = live_stream(open_track=open_track, window=100, keep=100, **settings)
    stream.published(NOW)
    for config in configs:
        stream.configure(config, NOW)
    for track, dts, pts, key, data in frames:
        stream.frame(track, dts, pts, NOW + dts / 1_000, key=key, data=data)
    end = NOW + frames[-1][1] / 1_000
    stream.unpublished(end)
    return stream, end


def body(stream, path, now):
    response = get(stream, path, now)
    assert response.status == 200
    return b"".join(response.body)


def by_hls(stream, now, name):
    found = m3u8.M3U8(body(stream, f"{name}.m3u8", now).decode(), strict=True)
    addresses = [found.segments[0].init_section.uri, *(each.uri for each in found.segments)]
    return b"".join(body(stream, address, now) for address in addresses)


def by_dash(stream, now, name):
    (members,) = read(body(stream, "manifest.mpd", now).decode()).periods.values()
    addresses = [members[name].init, *(each.uri for each in members[name].segments)]
    return b"".join(body(stream, address, now) for address in addresses)


@pytest.mark.parametrize("read_by", [by_hls, by_dash])
@pytest.mark.parametrize("part", [0.0, 0.5])
@pytest.mark.parametrize(
    ("video", "audio"), [("avc1", "mp4a"), ("hvc1", "opus"), ("av01", "mp3"), ("avc1", None), (None, "mp4a")]
)
def test_every_packet_comes_out_and_both_tracks_are_shifted_alike(video, audio, part, read_by):
    configs, frames = source(video, audio)
    stream, now = publish(configs, frames, part=part)
    shifts = []
    for track, name in ((VIDEO, "v0"), (AUDIO, "a0")):
        sent = [(pts, key, data) for each, _, pts, key, data in frames if each == track]
        if not sent:
            continue
        got = packets(read_by(stream, now, name))
        assert [each[2] for each in got] == [each[2] for each in sent]
        assert [each[1] for each in got] == [each[1] for each in sent]
        shifts += [at - NOW - pts / 1_000 for (at, _, _), (pts, _, _) in zip(got, sent, strict=True)]
    assert max(shifts) - min(shifts) <= 0.0021  # two roundings to milliseconds
    assert min(map(abs, shifts)) <= 0.0021


@pytest.mark.parametrize("video", [codec for codec, track in CODECS.items() if track == VIDEO])
def test_lengths_in_lists_are_those_of_the_media_within_a_frame(video):
    stream, now = publish(*source(video, "mp4a"))
    for name, frame in (("v0", 1 / FPS), ("a0", FRAME)):
        found = m3u8.M3U8(body(stream, f"{name}.m3u8", now).decode(), strict=True)
        init = body(stream, found.segments[0].init_section.uri, now)
        times = [[at for at, _, _ in packets(init + body(stream, each.uri, now))] for each in found.segments]
        for segment, shown in zip(found.segments, times, strict=True):
            assert segment.duration == pytest.approx(max(shown) - min(shown) + frame, abs=frame)
            assert segment.program_date_time.timestamp() == pytest.approx(min(shown), abs=0.001)


def test_each_segment_of_video_begins_with_a_key_frame_and_can_be_decoded_alone():
    stream, now = publish(*source("avc1", "mp4a"))
    found = m3u8.M3U8(body(stream, "v0.m3u8", now).decode(), strict=True)
    init = body(stream, found.segments[0].init_section.uri, now)
    counts = []
    for segment in found.segments:
        with av.open(io.BytesIO(init + body(stream, segment.uri, now))) as container:
            counts.append(sum(1 for _ in container.decode(video=0)))
    assert counts == [50, 50, 50, 25]


def test_timestamps_of_a_publisher_that_jumps_leave_no_trace_in_what_players_get():
    configs, frames = source("avc1", "mp4a")
    jumped = [
        (track, dts + 3_600_000 * (dts >= 3_000), pts + 3_600_000 * (dts >= 3_000), key, data)
        for track, dts, pts, key, data in frames
    ]
    stream, _ = publish(configs, jumped)
    for name, frame in (("v0", 1 / FPS), ("a0", FRAME)):
        shown = sorted(at for at, _, _ in packets(by_hls(stream, NOW + 7, name)))
        assert all(0.5 * frame < two - one < 2 * frame for one, two in itertools.pairwise(shown))


def test_a_publisher_that_comes_back_goes_on_with_the_same_initialization():
    configs, frames = source("avc1", "mp4a", 3)
    stream, now = publish(configs, frames)
    stream.published(now + 5)
    for config in configs:
        stream.configure(config, now + 5)
    for track, dts, pts, key, data in frames:
        stream.frame(track, dts, pts, now + 5 + dts / 1_000, key=key, data=data)
    stream.unpublished(now + 8)
    got = packets(by_hls(stream, now + 8, "v0"))
    assert len(got) == 2 * 3 * FPS
    assert got[3 * FPS][0] - got[0][0] == pytest.approx(now + 5 - NOW, abs=0.01)


def test_a_stream_without_key_frames_is_not_opened():
    configs, frames = source("avc1", None, 3)
    with pytest.raises(NoKeyFrameError):
        publish(configs, [(track, dts, pts, False, data) for track, dts, pts, _, data in frames], max_gop=2.0)


def save(stream, now, directory):
    """Write what a web server would serve, of a stream that has ended."""
    lists = ["master.m3u8", "manifest.mpd", "v0.m3u8", "a0.m3u8"]
    files = {path: body(stream, path, now) for path in lists}
    for name in ("v0.m3u8", "a0.m3u8"):
        found = m3u8.M3U8(files[name].decode(), strict=True)
        for path in (found.segments[0].init_section.uri, *(each.uri for each in found.segments)):
            files[path] = body(stream, path, now)
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)


@needs_program("ffprobe")
@pytest.mark.parametrize("listing", ["master.m3u8", "manifest.mpd"])
def test_ffmpeg_reads_every_packet_with_both_tracks_shifted_alike(listing, tmp_path):
    configs, frames = source("avc1", "mp4a")
    stream, now = publish(configs, frames)
    save(stream, now + 60, tmp_path)
    command = ["ffprobe", "-v", "error", "-allowed_extensions", "ALL", "-show_packets", "-of", "json", listing]
    for track in (VIDEO, AUDIO):  # one after the other: FFmpeg 5's reader of DASH leaves one out at the end of two
        done = subprocess.run([*command, "-select_streams", track[0]], cwd=tmp_path, capture_output=True, check=True)
        assert done.stderr == b""
        got = [float(each["pts_time"]) for each in json.loads(done.stdout)["packets"]]
        sent = [NOW + pts / 1_000 for each, _, pts, _, _ in frames if each == track]
        assert got == [pytest.approx(at, abs=0.0021) for at in sent]
