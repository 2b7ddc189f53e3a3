"""``lb explain --stream``: who may publish a stream, and how it is served, by the configuration."""

from __future__ import annotations

import pytest

from lb.config.load import parse
from lb.console.stream_explanation import stream_lines
from lb.explain.stream import explain_stream

RTMP = '[listeners.rtmp]\nmode = "rtmp"\nbind = ":1935"\n'
WEB = (
    '[listeners.web]\nmode = "http"\nbind = "10.0.0.1:80"\n'
    '[[listeners.web.routes]]\npath = "/tv/"\nmedia = "live"\ncache = { zone = "video" }\n[caches.video]\n'
)
LIVE = "[media.live.live]\n"
KEYS = 'publish = [{ name = "show", key = "k" }, { name = "*", key = "l" }]\n'


def explained(text, stream="live/show"):
    config = parse(text, "lb.toml")
    return explain_stream(config, stream, {name: [*map(str, each.bind)] for name, each in config.listeners.items()})


def test_a_stream_is_told_from_its_publisher_to_its_viewers(tmp_path):
    record = f'[media]\ndirectory = "{tmp_path}"\n'
    answer = explained(RTMP + WEB + record + LIVE + KEYS + 'part = "500ms"\nrecord = "rec/{name}-{start}.mp4"\n')
    assert answer["served"]
    assert [*stream_lines(answer)][:-2] == [
        "live/show",
        "published to listener rtmp (:1935) at rtmp://HOST:1935/live/show?key=KEY",
        "  show: with the key of 'show'; a second publisher is refused",
        "served by listener web (10.0.0.1:80), route /tv/, from the cache video",
        "  HLS at http://10.0.0.1:80/tv/show/master.m3u8, DASH at http://10.0.0.1:80/tv/show/manifest.mpd",
        "RTMP players are served, too",
        "segments of 2s, in parts of 500ms; 6 are listed (12s), 12 kept",
        "ends 1m after its publisher has left",
        "expect a latency of 6 to 8 s; 1.5 to 2.5 s with low-latency HLS",
        f"recorded to {tmp_path}/rec/show-{{start}}.mp4",
    ]


def test_a_ladder_and_its_renditions_know_each_other():
    text = RTMP + WEB + LIVE + 'publish = [{ name = "high", key = "k" }]\nladder = { show = ["high", "low"] }\n'
    ladder, high = explained(text), explained(text, "live/high")
    assert (ladder["ladder"], ladder["rtmp_players"]) == (["high", "low"], False)
    assert ladder["publish"]["lets_in"] == [{"stream": "high", "key_of": "high"}]
    assert (high["rendition_of"], high["ladder"]) == ("show", [])
    assert "a ladder of high, low" in [*stream_lines(ladder)]
    assert "a rendition of the ladder show" in [*stream_lines(high)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (WEB + LIVE + KEYS, "no listener takes publishers"),
        (RTMP + WEB + LIVE, "  nobody may publish it"),
        (RTMP + LIVE + KEYS + "play = false\n", "no route serves it"),
    ],
)
def test_what_is_missing_is_told_and_the_stream_is_not_served(text, line):
    answer = explained(text)
    assert not answer["served"]
    assert line in [*stream_lines(answer)]


def test_how_far_viewers_may_go_back_is_told_in_place_of_the_window(tmp_path):
    answer = explained(RTMP + WEB + f'[media]\ndirectory = "{tmp_path}"\n' + LIVE + KEYS + 'dvr = "2h"\n')
    assert "segments of 2s; viewers may go back 2h" in [*stream_lines(answer)]


def test_hooks_and_relays_are_told_without_what_may_be_a_key():
    pulled = 'pull = "rtmp://origin/{app}/{name}?k=s3cret"\n'
    relays = pulled + 'on_publish = "http://127.0.0.1:9/"\npush = ["rtmps://cdn/in/s3cret"]\n'
    answer = explained(WEB + LIVE + relays)
    assert answer["served"]
    lines = [*stream_lines(answer)]
    assert "  on_publish is asked for each publisher" in lines
    assert "fetched from rtmp://origin/live while nobody publishes it and somebody watches it" in lines
    assert "pushed to rtmps://cdn/in" in lines
    assert "s3cret" not in str(answer)


@pytest.mark.parametrize(
    ("stream", "error", "message"),
    [
        ("liv/show", LookupError, "there is no application 'liv', did you mean 'live'?"),
        ("live", ValueError, "a stream is an application and a name, as in live/show, not 'live'"),
        ("live/a/b", ValueError, "must have up to 128"),
    ],
)
def test_what_is_no_stream_is_refused(stream, error, message):
    with pytest.raises(error) as caught:
        explained(RTMP + WEB + LIVE, stream)
    assert message in str(caught.value)


def test_the_present_is_told_by_a_running_balancer():
    answer = explained(RTMP + WEB + LIVE + KEYS) | {"timestamp": "2026-01-01T00:02:04+00:00"}
    now = {
        "live": True, "client": "10.0.0.9:5555", "since": "2026-01-01T00:00:00+00:00",
        "codecs": ["avc1.64001f", "mp4a.40.2"], "bitrate": 3_100_000,
        "viewers": 12, "players": 1, "segments": 6, "latest": 897970812, "ladder": [],
    }  # fmt: skip
    lines = [*stream_lines({**answer, "now": now})]
    assert (
        "now: live for 2m4s from 10.0.0.9:5555: avc1.64001f, mp4a.40.2, 3.1 Mbit/s, 12 viewers, 1 RTMP players, "
        "newest segment 897970812"
    ) in lines
    assert "now: without a publisher" in [*stream_lines({**answer, "now": {**now, "live": False}})]
    assert "now: nobody has published it lately" in [*stream_lines({**answer, "now": None})]
