"""Streams fetched from an origin: one connection each, bounded in number, let go when nobody wants them."""

from __future__ import annotations

from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from lb.media.pulls import MOST_STARTING, Pulls
from lb.media.rtmp.tracks import StreamMetadata
from lb.model import LiveSpec
from lb.model.rtmp_address import rtmp_template
from tests.support.relay_servers import AUDIO_CONFIG, PEER, VIDEO_CONFIG, FakeDialer, FakeServer, video

APP = LiveSpec("live", linger=60.0, pull=rtmp_template("rtmp://origin/live/{name}?key=verysecret"))
PLAYS = [StreamMetadata({"width": 640.0}), VIDEO_CONFIG, AUDIO_CONFIG, video(0, key=True)]


class Publication:
    def __init__(self, scope):
        self.scope = scope
        self.items = []
        self.reason = None
        self.config = self.frame = self.metadata = self.items.append

    def ended(self, reason):
        self.reason = self.reason or reason


class Pulling:
    """An edge. ``publications`` by name: all that there were."""

    def __init__(self, nursery, server):
        self.publications = {}
        self.players = 0
        self.taken = set()
        self.events = []
        self.changes = 0
        self.dialer = FakeDialer(nursery, {} if server is None else {"origin": server})
        self.pulls = Pulls(self, self.dialer, self.events.append, nursery.start_soon)

    def begin_pull(self, app, name, origin, scope):
        assert (app, origin) == ("live", PEER)
        if name in self.taken:
            return None
        self.publications.setdefault(name, []).append(Publication(scope))
        return self.publications[name][-1]

    def count_players(self, app, name):
        return self.players

    def pulls_changed(self):
        self.changes += 1

    def want(self, name="show", app=APP):
        return self.pulls.want(app, name)

    async def send(self, server, seconds, *, asking=()):
        """The origin plays for some seconds, while these names are asked for each second."""
        for second in range(round(seconds)):
            for session in server.sessions:
                server.send(session, video(1_000 * second, key=True))
            await server.flush()
            for name in asking:
                self.want(name)
            await trio.sleep(1)


@asynccontextmanager
async def pulling(server):
    with trio.fail_after(10_000):
        async with trio.open_nursery() as nursery:
            found = Pulling(nursery, server)
            yield found
            nursery.cancel_scope.cancel()
    assert "verysecret" not in str(found.events)


async def test_a_stream_is_fetched_once_however_many_want_it(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        assert {edge.want() for _ in range(1_000)} == {"starting"}
        await trio.sleep(0.1)
        assert edge.want() == "live"
        (publication,) = edge.publications["show"]
        assert publication.items == PLAYS
        assert server.connections == 1
        assert (server.asked[0].app, server.asked[0].name, server.asked[0].key) == ("live", "show", "verysecret")
        assert edge.changes >= 1


async def test_a_stream_of_a_high_bitrate_is_read_as_fast_as_it_comes(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        await trio.sleep(0.1)
        frames = [video(number, key=True, data=bytes(1 << 20)) for number in range(16)]
        for frame in frames:
            server.send(server.sessions[0], frame)
        await server.flush()
        await trio.sleep(0.5)
        assert edge.publications["show"][0].items[-16:] == frames


async def test_a_stream_is_let_go_when_nobody_has_wanted_it_for_long(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        await edge.send(server, 100, asking=["show"])
        (publication,) = edge.publications["show"]
        assert publication.reason is None
        await edge.send(server, 58)
        assert publication.reason is None
        await edge.send(server, 5)
        assert publication.reason == "unwatched"
        assert server.ends == ["left"]
        assert server.open == 0
        edge.want()
        await trio.sleep(0.1)
        assert len(edge.publications["show"]) == 2


async def test_players_of_rtmp_are_viewers_too(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        edge.players = 1
        await edge.send(server, 300)
        assert edge.publications["show"][0].reason is None
        edge.players = 0
        await edge.send(server, 65)
        assert edge.publications["show"][0].reason == "unwatched"


async def test_segments_are_wanted_too(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        for _ in range(10):
            await edge.send(server, 30)
            edge.pulls.touch("live", "show")
        assert edge.publications["show"][0].reason is None


async def test_a_short_linger_is_three_segments(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want(app=attrs.evolve(APP, linger=0.0))
        await edge.send(server, 6)
        assert edge.publications["show"][0].reason is None
        await edge.send(server, 3)
        assert edge.publications["show"][0].reason == "unwatched"


@pytest.mark.parametrize("silent", [False, True])
async def test_names_that_nobody_has_open_few_connections(autojump_clock, silent):
    """A silent origin is like nginx-rtmp, which waits for a publisher."""
    server = FakeServer(refusal=None if silent else "no such stream")
    async with pulling(server) as edge:
        states = [edge.want(f"x{number}") for number in range(10_000)]
        assert states.count("starting") == MOST_STARTING
        assert states.count("busy") == 10_000 - MOST_STARTING
        await wait_all_tasks_blocked()
        assert server.open <= MOST_STARTING
        await trio.sleep(5.1)
        assert server.open == 0
        assert edge.events == []
        assert edge.publications == {}


async def test_a_name_that_the_origin_does_not_have_is_asked_for_ever_more_seldom(autojump_clock):
    server = FakeServer(refusal="no such stream")
    async with pulling(server) as edge:
        states = set()
        for _ in range(600):
            states.add(edge.want())
            await trio.sleep(0.1)
        assert states == {"starting", "missing"}
        assert 10 <= server.connections <= 24
        server.refusal, server.plays = None, PLAYS
        for _ in range(60):
            edge.want()
            await trio.sleep(0.1)
        assert edge.want() == "live"


async def test_an_origin_that_is_dead_is_asked_seldom_whatever_the_names(autojump_clock):
    async with pulling(None) as edge:
        for number in range(600):
            edge.want(f"x{number}")
            await trio.sleep(0.1)
        assert len(edge.dialer.dialed) <= 30
        assert edge.want("other") == "failed"
        (event,) = edge.events
        assert (event.name, event.origin, event.error) == (
            "stream.pull_failed",
            "rtmp://origin/live",
            "connection refused",
        )
        edge.dialer.servers["origin"] = FakeServer(plays=PLAYS)
        await trio.sleep(6)
        edge.want()
        await trio.sleep(0.1)
        assert edge.want() == "live"
        del edge.dialer.servers["origin"]
        await trio.sleep(11)
        assert edge.publications["show"][0].reason == "idle"
        edge.want("other")
        await trio.sleep(0.1)
        assert len(edge.events) == 2


async def test_an_origin_that_says_nothing_at_all_has_failed(autojump_clock):
    async with pulling(FakeServer(silent=True)) as edge:
        edge.want()
        await trio.sleep(5.1)
        assert edge.want() == "failed"
        assert edge.events[0].error == "the origin does not answer"


async def test_the_end_of_a_stream_is_told_and_asked_after_again(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        await edge.send(server, 20, asking=["show"])
        server.sessions[0].end("the publisher has left")
        await server.flush()
        await trio.sleep(0.1)
        assert edge.publications["show"][0].reason == "left"
        assert edge.want() == "missing"
        await trio.sleep(1)
        edge.want()
        await trio.sleep(0.1)
        assert edge.want() == "live"
        server.cut()
        await trio.sleep(0.1)
        assert edge.publications["show"][1].reason == "reset"
    assert edge.events == []


async def test_a_publisher_of_its_own_goes_before_the_origin(autojump_clock):
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.taken.add("show")
        edge.want()
        await trio.sleep(0.1)
        assert edge.publications == {}
        assert server.open == 0


async def test_a_stream_that_is_sent_away_is_not_fetched_again_at_once(autojump_clock):
    """For it may be one that cannot be packaged."""
    server = FakeServer(plays=PLAYS)
    async with pulling(server) as edge:
        edge.want()
        await trio.sleep(0.1)
        edge.publications["show"][0].ended("bad_stream")
        edge.publications["show"][0].scope.cancel()
        await trio.sleep(0.1)
        assert server.open == 0
        assert edge.want() == "missing"


async def test_another_origin_is_asked_after_a_reload(autojump_clock):
    first, second = FakeServer(plays=PLAYS), FakeServer(plays=PLAYS)
    async with pulling(first) as edge:
        edge.dialer.servers["second"] = second
        edge.want()
        await trio.sleep(0.1)
        edge.pulls.configure({"live": attrs.evolve(APP, linger=30.0)})
        await trio.sleep(0.1)
        assert edge.publications["show"][0].reason is None
        other = attrs.evolve(APP, pull=rtmp_template("rtmp://second/live/{name}"))
        edge.pulls.configure({"live": other})
        await trio.sleep(1.1)
        assert edge.publications["show"][0].reason == "removed"
        edge.want(app=other)
        await trio.sleep(0.1)
        assert (first.open, second.open) == (0, 1)
        edge.pulls.configure({})
        await trio.sleep(0.1)
        assert second.open == 0
