"""Live streams and films in ``lb check``, ``lb diff`` and warnings; their internal pools are nobody's business."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lb.config.describe import describe
from lb.config.load import ConfigError, config_of, parse
from lb.config.toml_file import TomlFile
from lb.config.warnings import Written, warnings
from lb.control.plan import plan
from lb.tools.rehearse.virtual_config import not_simulated, virtual_config

RTMP = '[listeners.rtmp]\nmode = "rtmp"\nbind = ":1935"\n'
WEB = '[listeners.web]\nmode = "http"\nbind = ":80"\n'
LIVE = '[[listeners.web.routes]]\npath = "/tv/"\nmedia = "live"\n[media.live.live]\n'
PUBLISH = 'publish = [{ name = "show", key = "first" }, { name = "*", key = "second" }]\n'


def films(tmp_path, name="films"):
    return f'[[listeners.web.routes]]\npath = "/films/"\nmedia = "{name}"\n[media.vod.{name}]\nroot = "{tmp_path}"\n'


def warned(text):
    file = TomlFile.parse(text, "lb.toml")
    found = warnings(Written(config_of(file), file.content, datetime.now(UTC).date()))
    return [line.removeprefix("lb.toml: ") for line in file.located(found)]


def test_a_summary_has_applications_and_no_internal_pools(tmp_path):
    text = RTMP + WEB + LIVE + PUBLISH + 'ladder = { show = ["high", "low"] }\npart = "500ms"\n' + films(tmp_path)
    assert describe(parse(text, "lb.toml")).splitlines() == [
        "listener rtmp: :1935, mode rtmp -> live streams",
        "listener web: :80, mode http -> 2 routes, others -> 404",
        "  /films/  path /films/, media films",
        "  /tv/     path /tv/, media live",
        "media.live.live: segment 2s, window 6, part 500ms, publish show, *, ladder show = high + low",
        f"media.vod.films: root {tmp_path}, segment 6s",
    ]


def test_a_difference_is_told_by_the_keys_of_the_file_and_shows_no_publish_key(tmp_path):
    text = RTMP + WEB + LIVE + PUBLISH
    before, after = parse(text, "lb.toml"), text.replace("first", "third") + 'segment = "4s"\n' + films(tmp_path)
    steps = plan(before, parse("media.memory = '64MiB'\n" + after, "lb.toml"))
    assert [" ".join(line.split()) for line in steps.lines()] == [
        "added web route /films/ path /films/, media films",
        f"added media.vod.films root {tmp_path}, segment 6s",
        "changed media.live.live segment 2s -> 4s",
        "changed media.live.live publish show, * -> the same with other keys",
        "changed media memory 1073741824 -> 67108864",
    ]
    assert (steps.added, steps.removed) == (("media.vod.films",), ())
    assert steps.changed == ("web", "media.live.live")
    assert not steps.is_empty
    back = plan(parse(after, "lb.toml"), before)
    assert back.removed == ("media.vod.films",)
    assert plan(before, before).is_empty
    assert plan(before, before).lines() == ("no changes",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (RTMP + WEB + LIVE + PUBLISH, []),
        (
            RTMP + WEB + LIVE,
            ["media.live.live: nobody may publish: it has no 'publish', 'on_publish' or 'pull'"],
        ),
        (
            RTMP + "[media.live.live]\n" + PUBLISH,
            ["media.live.live: no route serves it: none has 'media = live'"],
        ),
        (WEB + LIVE + PUBLISH, ["media.live.live: no listener takes publishers: none has mode 'rtmp'"]),
        (
            '[listeners.media-live]\nbind = ":8"\nservers = ["10.0.0.1:1"]\n',
            ["listeners.media-live: [media] has a pool of this name: together with it, the file is invalid"],
        ),
    ],
)
def test_what_is_hardly_intended_is_warned_of(text, expected):
    assert [line.partition(" (line")[0] for line in warned(text)] == expected


@pytest.mark.parametrize(
    ("own", "path"),
    [
        ('[pools.media-live]\nservers = ["10.0.0.1:1"]\n', "pools.media-live"),
        ('[listeners.media-rtmp]\nbind = ":8"\nservers = ["10.0.0.1:1"]\n', "listeners.media-rtmp"),
    ],
)
def test_a_pool_with_an_internal_name_is_an_error_where_it_is_written(own, path):
    with pytest.raises(ConfigError) as caught:
        parse(RTMP + WEB + LIVE + PUBLISH + own, "lb.toml")
    (error,) = caught.value.errors
    assert f"{path}: is the name of a pool that [media] needs" in error


def test_an_internal_pool_cannot_be_named():
    route = '[[listeners.web.routes]]\npath = "/a/"\npool = "media-live"\n'
    with pytest.raises(ConfigError, match="there is no pool 'media-live'"):
        parse(RTMP + WEB + LIVE + PUBLISH + route, "lb.toml")


def test_a_rehearsal_leaves_media_out(tmp_path):
    servers = '[listeners.app]\nbind = ":8"\nservers = ["10.0.0.1:1"]\n'
    config = parse(RTMP + WEB + servers + LIVE + PUBLISH + films(tmp_path), "lb.toml")
    rehearsed = virtual_config(config)
    assert ([*rehearsed.listeners], [*rehearsed.pools]) == (["app"], ["app"])
    assert not rehearsed.media
    assert not_simulated(config) == ["listeners.web: no server gets its requests", "media: live streams and films"]


RELAY = """
push = ["rtmp://a.example/live2/verysecret", "rtmps://b.example/{app}/{name}?key=verysecret"]
pull = "rtmp://o.example/live/{name}?key=verysecret"
on_publish = "http://user:verysecret@h.example/?token=verysecret"
"""


def test_urls_are_shown_without_keys():
    before = parse(RTMP + WEB + LIVE + RELAY, "lb.toml")
    shown = describe(before).splitlines()[-1]
    assert shown == (
        "media.live.live: segment 2s, window 6, publish nobody, on_publish (hidden), "
        "push rtmp://a.example/live2, rtmps://b.example/{app}, pull rtmp://o.example/live"
    )
    assert "verysecret" not in f"{before.media}"
    after = RTMP + WEB + LIVE + RELAY.replace("verysecret", "another")
    assert [" ".join(line.split()) for line in plan(before, parse(after, "lb.toml")).lines()] == [
        "changed media.live.live on_publish (hidden) -> (hidden)",
        "changed media.live.live push rtmp://a.example/live2, rtmps://b.example/{app} -> the same with other keys",
        "changed media.live.live pull rtmp://o.example/live -> the same with other keys",
    ]


@pytest.mark.parametrize(
    "line",
    [
        'push = ["rtmp://verysecret:a@h/a/b"]', 'push = ["http://h/a/verysecret"]', 'push = ["rtmp://h/a/b?verysecret#"]',
        'push = ["rtmp://h/verysecret"]', 'pull = "rtmp://h/a/{verysecret}"', 'push = ["rtmp://h:verysecret/a/b"]',
        'on_publish = "ftp://verysecret/"', 'on_publish = "http://h/very secret#verysecret"',
        'on_publish_done = ["verysecret"]', 'pull = ["verysecret"]', "push = [{ verysecret = 1 }]",
        'on_publish = "http://verysecret:70000/"', 'push = ["rtmp://[verysecret]/a/b"]', 'push = ["rtmp://h:0/a/verysecret"]',
    ],
)  # fmt: skip
def test_urls_that_are_wrong_are_not_shown(line):
    with pytest.raises(ConfigError) as caught:
        parse(RTMP + WEB + LIVE + PUBLISH + line, "lb.toml")
    assert "media.live.live." in str(caught.value)
    assert "verysecret" not in str(caught.value)
