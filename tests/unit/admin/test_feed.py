"""The feed of the last events."""

from __future__ import annotations

import json

import trio

import lb.admin.feed
from lb.admin.feed import Feed
from lb.events import AdminBadRequest, ConfigApplied, ConfigRejected, Fault, LogDropped
from tests.unit.dataplane.test_stats import record
from tests.unit.log.test_request_line import request


def rejected(feed, *texts):
    for text in texts:
        feed(ConfigRejected((text,)))


async def read(feed, after, count):
    texts = []
    for _ in range(count):
        entry = await feed.next(after)
        after = entry.number
        texts.append(entry.fields["errors"][0])
    return texts


async def test_who_comes_gets_the_events_after_the_one_it_knows():
    feed = Feed()
    rejected(feed, "1", "2", "3")
    assert await read(feed, 1, 2) == ["2", "3"]


async def test_who_waits_is_told_at_once(nursery, autojump_clock):
    feed = Feed()

    async def speak():
        await trio.sleep(5)
        rejected(feed, "news")

    nursery.start_soon(speak)
    assert await read(feed, 0, 1) == ["news"]


async def test_a_slow_reader_misses_the_oldest_and_costs_nothing(monkeypatch):
    monkeypatch.setattr(lb.admin.feed, "MAX_EVENTS", 3)
    feed = Feed()
    rejected(feed, *"abcdefgh")
    assert await read(feed, 0, 3) == ["f", "g", "h"]
    assert len(feed.last(100)) == 3


def test_connections_and_requests_are_too_many_to_keep():
    feed = Feed()
    feed(record())
    feed(request())
    assert feed.newest == 0
    assert feed.last(5) == []


def test_reloads_and_lost_lines_are_counted():
    feed = Feed()
    rejected(feed, "a", "b")
    feed(ConfigApplied((), (), ()))
    feed(LogDropped(3))
    feed(LogDropped(4))
    assert feed.reloads == {"applied": 1, "rejected": 2}
    assert feed.lines_dropped == 7


def test_a_bug_is_kept_as_text():
    feed = Feed()
    feed(Fault("here", ValueError("what")))
    assert feed.last(1)[0].fields["exception"] == "ValueError('what')"


def test_an_event_is_kept_in_bounded_size():
    """The errors of a rejected configuration, or the servers of an applied one, may be any number."""
    feed = Feed()
    feed(ConfigRejected(("x" * 100_000,) * 10_000))
    feed(ConfigApplied(tuple(map(str, range(10_000))), (), ()))
    rejected, applied = (entry.fields for entry in feed.last(2))
    assert len(json.dumps(rejected)) < 10_000
    assert applied["added"] == [*map(str, range(19)), "and 9981 more"]


def test_events_at_debug_are_for_the_log_alone():
    feed = Feed()
    feed(AdminBadRequest("10.0.0.1:5", "no HTTP"))
    assert feed.newest == 0
