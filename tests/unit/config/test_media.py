"""Mistakes in ``[media]``, and what is said of them."""

from __future__ import annotations

import pytest

from lb.config.load import ConfigError, parse
from lb.model.stream_name import STREAM_NAME_RULE

LISTENERS = """
[listeners.rtmp]
mode = "rtmp"
bind = ":1935"
[listeners.web]
mode = "http"
bind = ":80"
[[listeners.web.routes]]
path = "/live/"
media = "live"
"""
APP = f"{LISTENERS}[media.live.live]\n"
PUBLISH = 'publish = [{ name = "*", key = "secret" }]\n'
NO_DIRECTORY = "needs a directory to write to: set 'directory' in [media], as in directory = \"/var/lib/trio-lb/media\""


def problems(text):
    """Return what is said of a file, without its name and the lines."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "lb.toml")
    return [error.removeprefix("lb.toml: ").rpartition(" (line ")[0] for error in caught.value.errors]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('segmnt = "2s"', "segmnt: unknown key, did you mean 'segment'?"),
        ('segment = "100ms"', "segment: must be from 0.5s to 60s, not '100ms'"),
        ('linger = "60"', "linger: needs a unit, as in '60s' or '60ms', not '60'"),
        ("window = 6.5", "window: must be a whole number, not 6.5"),
        ("window = 20", "keep: must be at least 'window', which is 20"),
        ('part = "1500ms"', "part: must be from 0.1s to half of 'segment'"),
        ('max_gop = "1s"', "max_gop: must be at least 'segment'"),
        ('second_publisher = "kick"', "second_publisher: must be 'refuse' or 'replace', not 'kick'"),
        ('play = "yes"', "play: must be true or false, not 'yes'"),
        ('ladder = ["low", "high"]', "ladder: must be a table, not a list"),
        ("ladder = { show = [] }", "ladder.show: must name at least one stream"),
        ('ladder = { a = ["low"], b = ["low"] }', "ladder: 'low' is a rendition of two ladders"),
        ('ladder = { low = ["low"] }', "ladder: 'low' is the name of a ladder: it cannot be a rendition, too"),
        ('ladder = { a = ["b"], b = ["c"] }', "ladder: 'b' is the name of a ladder: it cannot be a rendition, too"),
        ('push = "rtmp://a.example/live/x"', "push: must be a list, not 'rtmp://a.example/live/x'"),
        ('pull = "http://a.example/live/x"', "pull: the URL begins with neither rtmp:// nor rtmps://"),
        ('on_publish = "127.0.0.1:9091"', "on_publish: must be a URL like 'http://127.0.0.1:9091/publish'"),
        (
            'record = "{name}.mp4"',
            f"record: {NO_DIRECTORY}",
        ),
    ],
)
def test_a_mistake_in_an_application_is_told_in_a_sentence(lines, problem):
    assert problems(f"{APP}{PUBLISH}{lines}\n") == [f"media.live.live.{problem}"]


@pytest.mark.parametrize(
    ("publish", "problem"),
    [
        ('"show"', "publish: must be a list, not 'show'"),
        ('[{ key = "secret" }]', "publish[0]: needs the 'name' of a stream, or '*' for any"),
        ('[{ name = "show" }]', "publish[0]: needs one of 'key' and 'key_file'"),
        ('[{ name = "show", key = "a", key_file = "b" }]', "publish[0]: needs one of 'key' and 'key_file'"),
        ('[{ name = "show", key = "" }]', "publish[0].key: must not be empty"),
        ('[{ name = "show", key = 5 }]', "publish[0].key: must be a string"),
        (
            '[{ name = "a/b", key = "secret" }]',
            f"publish[0].name: must have {STREAM_NAME_RULE}, not 'a/b'",
        ),
    ],
)
def test_a_mistake_in_who_may_publish_is_told_in_a_sentence(publish, problem):
    assert problems(f"{APP}publish = {publish}\n") == [f"media.live.live.{problem}"]


def test_a_stream_may_be_configured_by_every_name_that_publishers_may_use():
    parse(f'{APP}publish = [{{ name = "cam@1:a=b+c,d~e-f.g_h", key = "secret" }}]\n', "lb.toml")


def test_a_route_to_what_is_not_configured_is_told_with_what_is():
    text = f"{APP}{PUBLISH}".replace('media = "live"', 'media = "liv"')
    assert problems(text) == ["listeners.web.routes[0].media: there is no 'liv' in [media], did you mean 'live'?"]


def test_a_listener_of_rtmp_needs_an_application():
    assert problems(LISTENERS)[0] == (
        "listeners.rtmp.mode: mode 'rtmp' needs an application for its streams, as in [media.live.live]"
    )


def test_the_portable_splicer_has_no_mode_rtmp(monkeypatch):
    monkeypatch.setenv("LB_SPLICER", "portable")
    assert problems(APP)[0] == (
        "listeners.rtmp.mode: mode 'rtmp' needs the fast splicer: it runs on Linux, without LB_SPLICER=portable"
    )


def test_films_need_a_directory_that_is_there_and_a_name_of_their_own(tmp_path):
    assert problems(f'{APP}{PUBLISH}[media.vod.films]\nroot = "/no/such"\n') == [
        "media.vod.films.root: '/no/such' is not a directory"
    ]
    assert problems(f"{APP}{PUBLISH}[media.vod.films]\n") == [
        'media.vod.films.root: missing, as in root = "/srv/films"'
    ]
    assert problems(f'{APP}{PUBLISH}[media.vod.live]\nroot = "{tmp_path}"\n') == [
        "media.vod.live: 'live' is the name of a live application, too"
    ]
