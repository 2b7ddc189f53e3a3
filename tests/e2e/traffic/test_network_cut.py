"""A network partition between two hosts: packets are dropped silently. The hosts are network namespaces."""

from __future__ import annotations

import contextlib

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, config, read_all, request
from tests.support.two_hosts import two_hosts

pytestmark = pytest.mark.slow
CHECKS = 'interval = "100ms"\nfast_interval = "100ms"\ntimeout = "300ms"\nfall = 2\nrise = 1'


class Setup:
    """A balancer on one host, servers ``a`` and ``b`` on the other, each with its own link."""

    def __init__(self, lb, path, links):
        self.lb = lb
        self.path = path
        self.link_to_a, self.link_to_b = links

    async def connect(self):
        return await trio.open_unix_socket(self.path)

    async def ask(self):
        """Run one complete session. Both ends have arrived, so a cut after it affects no open connection."""
        async with await self.connect() as stream:
            name = await request(stream, b"name")
            await stream.send_eof()
            assert await read_all(stream) == b""
        return name

    async def connect_to(self, name):
        """Return an open connection to this server."""
        with trio.fail_after(PATIENCE):
            while True:
                stream = await self.connect()
                if await request(stream, b"name") == name:
                    return stream
                await stream.aclose()


@contextlib.asynccontextmanager
async def set_up(tmp_path, **options):
    path = tmp_path / "front"
    with two_hosts() as hosts:
        async with hosts.serving("a", hosts.links[0]) as a, hosts.serving("b", hosts.links[1]) as b:
            text = config(a, b, bind=f"unix:{path}", **options)
            async with balancer(tmp_path, text, preexec=hosts.near.enter) as lb:
                yield Setup(lb, path, hosts.links)


@pytest.mark.usefixtures("balancer_kind")
async def test_a_connect_that_is_not_answered_goes_to_the_next_server(tmp_path):
    options = {"health": None, "pool": 'connect_timeout = "300ms"\n[pools.web.passive]\nfailures = 3\neject_for = "1h"'}
    async with set_up(tmp_path, **options) as setup:
        assert {await setup.ask() for _ in range(4)} == {b"a", b"b"}
        setup.link_to_a.cut()
        while not setup.lb.of("backend.ejected"):
            assert await setup.ask() == b"b"
        (ejected,) = setup.lb.of("backend.ejected")
        assert (ejected["server"], ejected["reason"], ejected["source"]) == ("a", "timed out", "passive")
        attempts = [attempt for record in setup.lb.of("connection.closed") for attempt in record["attempts"]]
        assert {(attempt["server"], attempt["error"]) for attempt in attempts} == {("a", "timed out")}
        assert min(attempt["ms"] for attempt in attempts) >= 300
        assert not setup.lb.of("connection.closed", server=None)


async def test_checks_notice_the_cut_and_its_end(tmp_path):
    async with set_up(tmp_path, health=CHECKS) as setup:
        setup.link_to_a.cut()
        ejected = await setup.lb.event("backend.ejected")
        assert (ejected["server"], ejected["reason"], ejected["source"]) == ("a", "no answer in 0.3 s", "active")
        assert {await setup.ask() for _ in range(6)} == {b"b"}
        setup.link_to_a.mend()
        await setup.lb.event("backend.restored", server="a")
        assert {await setup.ask() for _ in range(6)} == {b"a", b"b"}


async def test_a_link_that_is_known_to_be_down_costs_no_wait(tmp_path):
    async with set_up(tmp_path, health=None, pool='connect_timeout = "1h"') as setup:
        setup.link_to_a.unplug()
        assert {await setup.ask() for _ in range(6)} == {b"b"}
        ejected = await setup.lb.event("backend.ejected")
        assert (ejected["server"], ejected["reason"]) == ("a", "network unreachable")


async def test_an_open_connection_outlives_a_cut_and_what_was_sent_meanwhile_arrives(tmp_path):
    async with set_up(tmp_path, health=CHECKS) as setup, await setup.connect_to(b"a") as stream:
        setup.link_to_a.cut()
        await setup.lb.event("backend.ejected", server="a")
        await stream.send_all(b"echo still here\n")
        setup.link_to_a.mend()
        await setup.lb.event("backend.restored", server="a")
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b"still here\n"


async def test_an_open_connection_whose_cut_does_not_end_lives_until_its_idle_timeout(tmp_path):
    async with set_up(tmp_path, health=CHECKS, listener='idle_timeout = "1s"') as setup:
        async with await setup.connect_to(b"a") as stream:
            setup.link_to_a.cut()
            await setup.lb.event("backend.ejected", server="a")
            assert await read_all(stream) == b""
        await setup.lb.event("connection.closed", server="a", ended_by="lb", reason="idle_timeout")


@pytest.mark.usefixtures("worker_count")
async def test_with_on_down_close_it_ends_with_the_verdict_of_the_checks(tmp_path):
    async with set_up(tmp_path, health=CHECKS, pool='on_down = "close"') as setup:
        async with await setup.connect_to(b"a") as stream:
            setup.link_to_a.cut()
            assert await read_all(stream) == b"", "unix sockets have no reset"
        await setup.lb.event("connection.closed", server="a", ended_by="lb", reason="server_down")
