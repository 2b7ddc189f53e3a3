"""Who watches live streams, as the processes that carry the traffic see it."""

from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from lb.dataplane import viewers
from lb.dataplane.stats import StatsSnapshot
from lb.dataplane.viewers import Watchers, viewers_of
from lb.events import ConfigRejected, HttpRequest
from lb.model import Config, HttpSettings, ListenerSpec, LiveSpec, MediaSpec, RouteSpec, ToMedia, ToPool, VodSpec
from lb.model.address import Client
from lb.model.media import LIVE_POOL, VOD_POOL

LIVE = LiveSpec("live", segment=2.0, max_gop=20.0, ladder=(("show", ("low", "high")),))
MEDIA = MediaSpec(live=(LIVE, LiveSpec("radio", segment=4.0)), vod=(VodSpec("films", "/"),))
ROUTES = (
    RouteSpec("live", ToMedia(LIVE_POOL, "live"), path="/live/"),
    RouteSpec("radio", ToMedia(LIVE_POOL, "radio"), path="/"),
    RouteSpec("films", ToMedia(VOD_POOL, "films"), path="/films/"),
    RouteSpec("other", ToPool("web"), path="/other/"),
)
LISTENER = ListenerSpec("web", (), HttpSettings(routes=ROUTES), "http")
CONFIG = Config(listeners={"web": LISTENER}, media=MEDIA)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def request(path, address="192.0.2.1", *, route="live", status=200, method="GET"):
    timing, result = (0, 9, 1.0, 1.0), ("pool", None, (), "HIT", "ok")
    return HttpRequest("1", "web", route, Client(address, 1), method, "host", path, "1.1", status, *timing, *result)


def watchers(clock, *records, config=CONFIG):
    made = Watchers(clock)
    made.configure(config)
    for record in records:
        made.note(record)
    return made


def count(seen, now, targets=()):
    return viewers_of(seen, MEDIA, dict(targets), now)


def test_an_address_that_asks_for_lists_is_one_viewer():
    clock = Clock()
    paths = ["/live/a/master.m3u8", "/live/a/v0.m3u8", "/live/a/a0.m3u8", "/live/a/manifest.mpd"]
    seen = watchers(clock, *map(request, paths), request("/live/a/v0.m3u8", "2001:db8::1")).seen()
    assert count(seen, clock.now) == {"live/a": 2}


def test_only_who_gets_a_list_of_a_live_stream_is_a_viewer():
    clock = Clock()
    made = watchers(
        clock,
        request("/live/a/v0.m3u8", status=404),
        request("/live/a/v0.m3u8", status=None),
        request("/live/a/v0.m3u8", method="HEAD"),
        request("/live/a/01234567/v0/7.m4s"),
        request("/live/time"),
        request("/live/v0.m3u8"),
        request("/live/a/b/v0.m3u8"),
        request("/live/a/v0.m3u8", address=""),
        request("/films/a/v0.m3u8", route="films"),
        request("/other/a/v0.m3u8", route="other"),
        request("/live/a/v0.m3u8", route=""),
    )
    assert made.seen() == {}
    made.note(request("/live/a/v0.m3u8", status=304))
    made.note(request("/talk/v0.m3u8", route="radio"))
    assert count(made.seen(), clock.now) == {"live/a": 1, "radio/talk": 1}


def test_a_viewer_has_left_after_three_target_durations():
    clock = Clock()
    made = watchers(clock, request("/live/a/v0.m3u8"), request("/live/b/v0.m3u8"))
    clock.now += 6.0
    assert count(made.seen(), clock.now) == {"live/a": 1, "live/b": 1}
    clock.now += 0.1
    assert count(made.seen(), clock.now, {"live/b": 5.0}) == {"live/b": 1}


def test_who_has_left_is_forgotten():
    clock = Clock()
    made = watchers(clock, request("/live/a/v0.m3u8"))
    clock.now += 59.0
    made.note(request("/live/a/v0.m3u8", "192.0.2.2"))
    assert made.seen()["live/a"].keys() == {"192.0.2.1", "192.0.2.2"}
    clock.now += 2.0
    assert made.seen()["live/a"].keys() == {"192.0.2.2"}
    clock.now += 60.0
    assert made.seen() == {}


def test_who_watches_a_member_watches_its_ladder_once():
    clock = Clock()
    asked = [("/live/show/master.m3u8", "192.0.2.1"), ("/live/low/v0.m3u8", "192.0.2.1")]
    asked += [("/live/high/v0.m3u8", "192.0.2.1"), ("/live/high/v0.m3u8", "192.0.2.2")]
    seen = watchers(clock, *(request(*each) for each in asked)).seen()
    assert count(seen, clock.now) == {"live/show": 2, "live/low": 1, "live/high": 2}


def test_a_viewer_of_several_processes_counts_once():
    clock = Clock()
    one = StatsSnapshot(watched=watchers(clock, request("/live/a/v0.m3u8"), request("/live/b/v0.m3u8")).seen())
    clock.now += 5.0
    other = StatsSnapshot(watched=watchers(clock, request("/live/a/v0.m3u8")).seen())
    total = StatsSnapshot.sum([one, pickle.loads(pickle.dumps(other))])
    assert count(total.watched, clock.now) == {"live/a": 1, "live/b": 1}
    assert count(total.watched, clock.now + 5.0) == {"live/a": 1}
    assert one.totals().watched == {}


def test_a_process_remembers_so_many_and_then_those_who_are_there(monkeypatch):
    monkeypatch.setattr(viewers, "MOST_VIEWERS", 10)
    clock = Clock()
    made = watchers(clock)
    for each in range(30):
        made.note(request(f"/live/s{each % 3}/v0.m3u8", f"192.0.2.{each}"))
    assert sum(count(made.seen(), clock.now).values()) == 10
    made.note(request("/live/s0/v0.m3u8", "192.0.2.0"))
    assert sum(count(made.seen(), clock.now).values()) == 10
    clock.now += 61.0
    for each in range(8):
        made.note(request("/live/new/v0.m3u8", f"192.0.2.{each}"))
    assert count(made.seen(), clock.now) == {"live/new": 8}


def test_an_application_that_is_gone_has_no_viewers():
    clock = Clock()
    made = watchers(clock, request("/live/a/v0.m3u8"))
    clock.now += 1.0
    made.configure(Config())
    assert made.seen() == {}
    passed = []
    assert made.observing(passed.append) == passed.append


def test_events_are_passed_on():
    passed = []
    made = watchers(Clock())
    sink = made.observing(passed.append)
    events = [ConfigRejected(("no",)), request("/live/a/v0.m3u8")]
    for event in events:
        sink(event)
    assert passed == events
    assert made.seen().keys() == {"live/a"}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.floats(0, 40))))
def test_processes_together_count_what_one_would(steps):
    clock = Clock()
    alone, parts = watchers(clock), [watchers(clock), watchers(clock)]
    for name, viewer, pause in steps:
        clock.now += pause
        record = request(f"/live/{name}/v0.m3u8", f"192.0.2.{viewer}")
        alone.note(record)
        parts[viewer % 2].note(record)
    total = StatsSnapshot.sum([StatsSnapshot(watched=part.seen()) for part in parts])
    assert count(total.watched, clock.now) == count(alone.seen(), clock.now)
