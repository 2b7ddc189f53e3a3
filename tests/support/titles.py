"""Films for tests of video on demand, as files of several forms, and what libav finds in them."""

from __future__ import annotations

import functools
import io
import json
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path

import av

from tests.support.balancer import PATIENCE
from tests.support.media_source import FPS, OPTIONS, RATE, added

FORMS = {
    "plain": {},
    "moov first": {"movflags": "faststart"},
    "no edit list": {"use_editlist": "0"},
    "negative offsets": {"movflags": "negative_cts_offsets"},
    "fragments": {"movflags": "frag_keyframe+delay_moov"},
    "empty moov": {"movflags": "frag_keyframe+empty_moov"},
    "fragments after samples": {"movflags": "frag_keyframe"},
    "indexed fragments": {"movflags": "dash+delay_moov"},
    "CMAF": {"movflags": "cmaf+delay_moov"},
}
"""Names of forms of MP4 -> the muxer's options."""


@functools.cache
def film(*codecs, seconds=6, gop=25, bitrate=100_000, form="plain"):
    """Return an MP4 file with tracks of these codecs, with a key frame every ``gop`` frames, FPS frames a second."""
    if form != "plain":  # to encode is dear, to write in another form is not
        return remuxed(film(*codecs, seconds=seconds, gop=gop, bitrate=bitrate), form)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        packets = []
        for codec in codecs:
            packets += added(container, codec, seconds, bit_rate=bitrate, **_key_frames(codec, gop))
        for packet in sorted(packets, key=lambda each: each.dts * each.time_base):
            container.mux(packet)
    return file.getvalue()


def remuxed(data, form="plain", kinds=("video", "audio")):
    """Return a film in another form of MP4, or with one of its tracks only."""
    with tempfile.NamedTemporaryFile() as file, av.open(io.BytesIO(data)) as container:  # faststart reads by the name
        with av.open(file.name, "w", format="mp4", options=FORMS[form]) as output:
            streams = [each for each in container.streams if each.type in kinds]
            copies = {each.index: output.add_stream_from_template(each, opaque=True) for each in streams}
            for packet in container.demux(streams):
                if packet.size:
                    packet.stream = copies[packet.stream.index]
                    output.mux(packet)
        return Path(file.name).read_bytes()


def _key_frames(codec, gop):
    """Return the settings of an encoder that has a key frame every ``gop`` frames."""
    if codec not in OPTIONS:
        return {}
    return {"options": {name: value.replace("keyint=25", f"keyint={gop}") for name, value in OPTIONS[codec].items()}}


def packets(file, kind):
    """Return what libav finds in a track: times of decoding and showing in seconds, key frame or not, and the bytes."""
    with av.open(io.BytesIO(file) if isinstance(file, bytes) else str(file)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        return [
            (each.dts * each.time_base, each.pts * each.time_base, each.is_keyframe, bytes(each))
            for each in container.demux(stream)
            if each.dts is not None
        ]


def demuxed(ffprobe, source):
    """Return what ffmpeg gets of the first stream of each kind: for each packet the time in seconds, and a hash."""
    command = [ffprobe, "-v", "error", "-show_packets", "-show_data_hash", "MD5", "-of", "json", source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stderr == ""
    found = {}
    for packet in json.loads(done.stdout)["packets"]:
        found.setdefault(packet["codec_type"], []).append((Fraction(packet["pts_time"]), packet["data_hash"]))
    return found


FRAME = {"video": Fraction(1, FPS), "audio": Fraction(1152, RATE)}
"""The longest frame of a kind, in seconds."""


def places(data, kind):
    """Yield begin and end of each box of a kind at the top of a file."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == kind:
            yield at, at + size
        at += size


def rebuilt(data, kind, body):
    """Return a file whose first box of this kind below moov, trak, edts has another body. moov is at the end."""
    at = data.index(kind) - 4
    old = int.from_bytes(data[at : at + 4])
    change = len(body) + 8 - old
    result = bytearray(data[:at] + (len(body) + 8).to_bytes(4) + kind + body + data[at + old :])
    for parent in (b"moov", b"trak", b"edts"):
        start = result.index(parent) - 4
        size = int.from_bytes(result[start : start + 4]) + change
        result[start : start + 4] = size.to_bytes(4)
    return bytes(result)
