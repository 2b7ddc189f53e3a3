"""More clients than descriptors or limits allow: they wait in the backlog, and all are served."""

from __future__ import annotations

import resource

import pytest
import trio

from tests.support.balancer import PATIENCE, balancer, config, connect, read_all, request
from tests.support.servers import backends, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("balancer_kind")]
CLIENTS = 200


def a_hundred_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


class Crowd:
    """Clients that all connect, send one request, and close on demand."""

    def __init__(self, port):
        self.port = port
        self.connected = 0
        self.served = 0
        self.may_leave = trio.Event()
        self.all_connected = trio.Event()

    async def client(self):
        async with await connect(self.port) as stream:
            self.connected += 1
            if self.connected == CLIENTS:
                self.all_connected.set()
            assert await request(stream, b"name") == b"s"
            self.served += 1
            await self.may_leave.wait()
            await stream.send_eof()
            assert await read_all(stream) == b""

    async def start(self, nursery):
        """Return when all are connected, at least in the backlog."""
        for _ in range(CLIENTS):
            nursery.start_soon(self.client)
        with trio.fail_after(PATIENCE):
            await self.all_connected.wait()


async def test_out_of_descriptors_clients_wait_and_all_are_served(tmp_path, balancer_kind):
    processes = 2 if balancer_kind == "two workers" else 1
    async with backends("s") as (server,), balancer(tmp_path, config(server), preexec=a_hundred_descriptors) as lb:
        crowd = Crowd(lb.port)
        with trio.fail_after(2 * PATIENCE):
            async with trio.open_nursery() as nursery:
                await crowd.start(nursery)
                paused = await lb.event("accept.paused")
                assert "file descriptors" in paused["reason"]
                await lb.reload(config(server))  # makes it check the backlog again
                assert len(lb.of("accept.paused")) <= processes, "one pause was reported twice"
                assert crowd.served < CLIENTS
                crowd.may_leave.set()
        assert crowd.served == CLIENTS
        await lb.event("connection.closed", count=CLIENTS)
        await lb.event("accept.resumed", count=len(lb.of("accept.paused")))
    assert len(lb.of("accept.resumed")) == len(lb.of("accept.paused"))
    pauses = [event["event"] for event in lb.of("accept.paused", "accept.resumed")]
    if processes == 1:
        assert pauses == ["accept.paused", "accept.resumed"] * (len(pauses) // 2)
    assert {(record["reason"], len(record["attempts"])) for record in lb.of("connection.closed")} == {("eof", 0)}
    assert not lb.of("backend.ejected"), "a shortage of the balancer must not eject the server"


async def test_above_the_listeners_limit_clients_wait_and_all_are_served(tmp_path, balancer_kind):
    async with serving() as server:
        async with balancer(tmp_path, config(server, health=None, listener="max_connections = 10")) as lb:
            crowd = Crowd(lb.port)
            with trio.fail_after(2 * PATIENCE):
                async with trio.open_nursery() as nursery:
                    await crowd.start(nursery)
                    await server.until(lambda server: server.open == 10)
                    crowd.may_leave.set()
            assert crowd.served == CLIENTS
            await lb.event("connection.closed", count=CLIENTS)
        assert server.connections == CLIENTS
        # The server may see one connection's end after the next accept, and two workers may accept at once.
        assert server.most_open <= (12 if balancer_kind == "two workers" else 11), "the limit was exceeded"
    assert not lb.of("accept.paused"), "a limit of the configuration is no shortage"


async def test_a_reload_may_raise_the_listeners_limit_for_those_who_wait(tmp_path):
    async with (
        serving() as server,
        balancer(tmp_path, config(server, listener="max_connections = 1")) as lb,
        await connect(lb.port) as first,
        await connect(lb.port) as second,
    ):
        assert await request(first, b"name") == b"s"
        await second.send_all(b"name\n")
        await lb.reload(config(server, listener="max_connections = 2"))
        with trio.fail_after(PATIENCE):
            assert await second.receive_some() == b"s\n"
