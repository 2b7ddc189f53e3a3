"""Names of codecs, and of configurations in addresses."""

from __future__ import annotations

import pytest

from lb.media.frames import AUDIO, VIDEO, CodecConfig, MediaError, codec_string, stream_cfg

AVC = CodecConfig("avc1", bytes.fromhex("0164001fffe1"))
AAC = CodecConfig("mp4a", b"\x11\x88V\xe5\x00")


@pytest.mark.parametrize(
    ("codec", "record", "name"),
    [
        ("avc1", "0164001fffe1", "avc1.64001f"),
        ("avc1", "0142c01effe1", "avc1.42c01e"),
        ("hvc1", "01016000000090000000000 05df000fc".replace(" ", ""), "hvc1.1.6.L93.90"),
        ("hvc1", "0122200000009000000000009600", "hvc1.2.4.H150.90"),
        ("hvc1", "0141600000000000000000005d00", "hvc1.A1.6.L93"),
        ("av01", "81050c000a0b", "av01.0.05M.08"),
        ("av01", "812d80", "av01.1.13H.08"),
        ("av01", "810840", "av01.0.08M.10"),
        ("av01", "814860", "av01.2.08M.12"),
        ("mp4a", "1190", "mp4a.40.2"),
        ("mp4a", "2b118800", "mp4a.40.5"),
        ("mp4a", "f8e0", "mp4a.40.39"),
        ("opus", "", "opus"),
        ("mp3", "", "mp4a.40.34"),
    ],
)
def test_a_codec_is_named_as_players_know_it(codec, record, name):
    assert codec_string(CodecConfig(codec, bytes.fromhex(record))) == name


@pytest.mark.parametrize("codec", ["avc1", "hvc1", "av01", "mp4a"])
def test_a_configuration_that_is_cut_off_is_refused(codec):
    with pytest.raises(MediaError, match=f"the configuration of {codec} is cut off"):
        codec_string(CodecConfig(codec, b""))


def test_an_unknown_codec_is_refused():
    with pytest.raises(ValueError, match="vp6"):
        CodecConfig("vp6", b"")


def test_a_codec_belongs_to_a_track():
    assert (AVC.track, AAC.track) == (VIDEO, AUDIO)


def test_an_address_names_the_configuration_of_both_tracks():
    assert stream_cfg([AVC, AAC]) == stream_cfg([AAC, AVC]) == "a6e51efb"


def test_another_configuration_of_either_track_has_another_address():
    others = [[AVC], [AAC], [AVC, AAC], [CodecConfig("avc1", AVC.record + b"\0"), AAC], [AVC, CodecConfig("mp3")]]
    assert len({stream_cfg(configs) for configs in others}) == len(others)
