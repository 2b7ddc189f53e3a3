"""Servers that die and come back under load: later clients do not notice."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import QUICK_CHECKS, ask, balancer, by_server, config, connect, read_all, request
from tests.support.effort import DEEP
from tests.support.load import load
from tests.support.servers import backends

pytestmark = pytest.mark.slow
SOME = 200 if DEEP else 100
"""Sessions before and after each kill."""
every_kind = pytest.mark.usefixtures("balancer_kind")


@pytest.mark.usefixtures("splicer_kind")
async def test_four_servers_five_clients_take_turns(tmp_path):
    async with backends("1", "2", "3", "4") as servers, balancer(tmp_path, config(*servers)) as lb:
        answers = [await ask(lb.port) for _ in range(5)]
    assert answers == [b"1\n", b"2\n", b"3\n", b"4\n", b"1\n"]


@pytest.mark.parametrize(("node", "first"), [("lb1", b"4\n"), ("lb2", b"1\n"), ("lb4", b"3\n")])
async def test_where_the_turns_begin_depends_on_the_name_of_the_balancer(tmp_path, node, first):
    async with (
        backends("1", "2", "3", "4") as servers,
        balancer(tmp_path, config(*servers), env={"LB_NODE": node}) as lb,
    ):
        assert await ask(lb.port) == first


@every_kind
@pytest.mark.parametrize("clients", [1, 50])
async def test_no_session_that_starts_after_a_kill_fails(tmp_path, clients):
    async with (
        backends("a", "b", "c") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        load(lb.port, servers, clients=clients) as sessions,
    ):
        a, b, _ = servers
        await sessions.sessions(SOME)
        assert not sessions.failures, "sessions failed before the kill"
        await a.kill()
        killed = trio.current_time()
        await lb.event("backend.ejected", server="a")
        await sessions.sessions(SOME)
        await a.start()
        await lb.event("backend.restored", server="a")
        await sessions.until_seen(b"a\n")
        await sessions.sessions(SOME)
        assert not sessions.failed_since(killed)
        assert len(sessions.failures) <= clients, "more sessions failed than were open at the kill"
        await b.kill()
        killed = trio.current_time()
        await lb.event("backend.ejected", server="b")
        await sessions.sessions(SOME)
        assert not sessions.failed_since(killed)
        assert len(sessions.failures) <= 2 * clients
        assert sessions.done >= 4 * SOME
    assert not lb.of("backend.ejected", server="c")
    assert not lb.of("connection.closed", reason="no_server")
    assert not lb.of("connection.closed", reason="connect_failed")


@every_kind
async def test_the_last_server_left_serves_everybody(tmp_path):
    async with backends("a", "b", "c") as servers, balancer(tmp_path, config(*servers)) as lb:
        for dead in servers[:2]:
            await dead.kill()
        assert [await ask(lb.port) for _ in range(20)] == [b"c\n"] * 20


@every_kind
async def test_a_server_takes_only_its_own_open_connections_with_it(tmp_path):
    async with (
        backends("a", "b") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        await connect(lb.port) as one,
        await connect(lb.port) as other,
    ):
        to = await by_server(one, other)
        await servers[0].kill()
        assert await read_all(to["a"]) == b""
        await to["a"].aclose()
        record = await lb.event("connection.closed")
        assert (record["server"], record["ended_by"]) == ("a", "server")
        assert await request(to["b"], b"echo still here") == b"still here"


@every_kind
async def test_a_frozen_server_is_taken_out_and_comes_back_when_it_thaws(tmp_path):
    checks = 'probe = "exchange"\nsend = "name\\n"\nexpect = "."\ntimeout = "400ms"\nfall = 2\n' + QUICK_CHECKS
    async with backends("a", "b") as servers, balancer(tmp_path, config(*servers, health=checks)) as lb:
        servers[0].freeze()
        ejected = await lb.known("backend.ejected", server="a")
        assert ejected["reason"] == "no answer in 0.4 s"
        assert {await ask(lb.port) for _ in range(4)} == {b"b\n"}
        servers[0].thaw()
        await lb.known("backend.restored", server="a")
        assert {await ask(lb.port) for _ in range(4)} == {b"a\n", b"b\n"}
