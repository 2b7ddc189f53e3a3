"""Fragments that libav writes, read back by libav and by ffprobe: all that went in comes out, at its time."""

from __future__ import annotations

import io
import itertools
import json
import subprocess

import av
import pytest

from lb.media.fragment import Fragmenter, open_track, track_format
from lb.media.frames import CODECS, VIDEO, CodecConfig, MediaError, MediaSample
from tests.support.media_source import HEIGHT, RATE, WIDTH, encoded, movie
from tests.support.peers import needs_program

EPOCH = 1_764_000_000
"""Seconds since 1970: live streams have such times."""


def live_samples(codec):
    """Return samples whose first is decoded at EPOCH, and the track that writes them."""
    track = encoded(codec)
    shift = EPOCH * track.timescale - track.samples[0].dts
    samples = [each._replace(dts=each.dts + shift, pts=each.pts + shift) for each in track.samples]
    return samples, open_track(track.config, samples[0].data)


def fragments(writer, samples, size=20):
    """Return fragments of ``size`` samples each."""
    starts = range(0, len(samples), size)
    return [writer.fragment(samples[start : start + size], number) for number, start in enumerate(starts, 1)]


def read_back(data, timescale):
    """Return what a player decodes and when: decoding and showing time in ticks, key frame or not, data."""
    with av.open(io.BytesIO(data)) as container:
        ticks = container.streams[0].time_base * timescale
        assert ticks == 1
        return [(each.dts, each.pts, each.is_keyframe, bytes(each)) for each in container.demux() if each.size]


def written(samples):
    return [(each.dts, each.pts, each.key, each.data) for each in samples]


def box(data, *path):
    """Return the body of the box that this path leads to."""
    for kind in path:
        start = 0
        while data[start + 4 : start + 8] != kind:
            start += int.from_bytes(data[start : start + 4])
        data = data[start + 8 : start + int.from_bytes(data[start : start + 4])]
    return data


def decode_time(fragment):
    """Return version and time of a fragment's tfdt."""
    tfdt = box(fragment, b"moof", b"traf", b"tfdt")
    return tfdt[0], int.from_bytes(tfdt[4:])


@pytest.mark.parametrize("codec", CODECS)
def test_every_sample_of_a_live_track_comes_out_at_its_time(codec):
    samples, writer = live_samples(codec)
    data = writer.init() + b"".join(fragments(writer, samples))
    assert read_back(data, writer.format.timescale) == written(samples)


@pytest.mark.parametrize("codec", CODECS)
def test_any_fragment_can_be_the_first_that_a_player_gets(codec):
    samples, writer = live_samples(codec)
    last = fragments(writer, samples, 25)[-1]
    tail = samples[(len(samples) - 1) // 25 * 25 :]
    assert read_back(writer.init() + last, writer.format.timescale) == written(tail)


@pytest.mark.parametrize("codec", CODECS)
def test_a_fragment_says_when_its_decoding_begins(codec):
    samples, writer = live_samples(codec)
    found = [decode_time(each) for each in fragments(writer, samples)]
    assert found == [(1, each.dts) for each in samples[::20]]


@pytest.mark.parametrize("codec", CODECS)
def test_fragments_are_counted(codec):
    samples, writer = live_samples(codec)
    headers = [box(each, b"moof", b"mfhd") for each in fragments(writer, samples)]
    assert [int.from_bytes(each[4:]) for each in headers] == list(range(1, len(headers) + 1))


def file_writer(codec):
    """Return samples of a file, whose decoding begins before 0, and the track that writes them."""
    track = encoded(codec)
    container = av.open(io.BytesIO(movie(codec)))
    stream = container.streams[0]
    return track.samples, Fragmenter(stream, track_format(stream, track.config), delay=-track.samples[0].dts)


@pytest.mark.parametrize("codec", CODECS)
def test_samples_of_a_file_are_shown_at_its_times_though_decoding_begins_before_zero(codec):
    samples, writer = file_writer(codec)
    parts = fragments(writer, samples)
    assert decode_time(parts[0]) == (1, 0)
    assert [pts for _, pts, _, _ in read_back(writer.init() + b"".join(parts), writer.format.timescale)] == [
        each.pts for each in samples
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_the_edit_list_takes_reordering_and_priming_off(codec):
    samples, writer = file_writer(codec)
    edits = box(writer.init(), b"moov", b"trak", b"edts", b"elst")
    assert int.from_bytes(edits[4:8]) == 1
    assert int.from_bytes(edits[12:16]) == -samples[0].dts


@pytest.mark.parametrize("codec", CODECS)
def test_picture_size_and_rate_come_from_the_first_frame(codec):
    _, writer = live_samples(codec)
    found = writer.format
    if CODECS[codec] == VIDEO:
        assert (found.timescale, found.width, found.height, found.channels) == (90_000, WIDTH, HEIGHT, 0)
    else:
        assert (found.timescale, found.width, found.height, found.channels) == (RATE, 0, 0, 1)


def test_apple_plays_hevc_by_its_tag():
    _, writer = live_samples("hvc1")
    assert b"hvc1" in writer.init()
    assert b"hev1" not in writer.init()


@needs_program("ffprobe")
@pytest.mark.parametrize("codec", ["avc1", "mp4a"])
def test_ffprobe_reads_the_same(codec, tmp_path):
    samples, writer = live_samples(codec)
    file = tmp_path / "track.mp4"
    file.write_bytes(writer.init() + b"".join(fragments(writer, samples)))
    command = ["ffprobe", "-v", "warning", "-show_packets", "-of", "json", file]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    found = [(each["dts"], each["pts"], each["flags"][0]) for each in json.loads(done.stdout)["packets"]]
    assert found == [(each.dts, each.pts, "K" if each.key else "_") for each in samples]


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec != "mp3"])  # which has no configuration
def test_garbage_is_refused_with_the_reason(codec):
    garbage = bytes(itertools.islice(itertools.cycle(b"\x00\x01\xff"), 200))
    with pytest.raises(MediaError, match=codec):
        open_track(CodecConfig(codec, garbage), garbage).init()


def test_samples_that_go_back_in_time_are_refused():
    samples, writer = live_samples("avc1")
    with pytest.raises(MediaError, match="the muxer refuses avc1"):
        writer.fragment([samples[1], samples[0]], 1)


def test_a_single_sample_is_a_fragment():
    samples, writer = live_samples("mp4a")
    alone = MediaSample(samples[5].dts, samples[5].pts, 1024, key=True, data=samples[5].data)
    assert read_back(writer.init() + writer.fragment([alone], 1), RATE) == written([alone])
