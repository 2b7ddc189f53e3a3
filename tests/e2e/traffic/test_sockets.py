"""Options of sockets: keep-alive, source addresses, port ranges, unix sockets."""

from __future__ import annotations

import random
import socket
import stat
from pathlib import Path

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, config, connect, request
from tests.support.operating import operated
from tests.support.servers import Named, serving

pytestmark = pytest.mark.slow
every_kind = pytest.mark.usefixtures("balancer_kind")
KEEPALIVE_TIMER = 2  # "tr" in /proc/net/tcp, see proc_net_tcp.rst of Linux


async def tell_peer(stream):
    """Send a client its address as seen from here."""
    await stream.send_all(f"{stream.socket.getpeername()[0]}\n".encode())
    await stream.receive_some()


def timers_of(port):
    """Return the kernel's timers of the connections to a local port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [int(row[5].partition(":")[0]) for row in rows if row[2].endswith(f":{port:04X}") and row[3] == "01"]


@every_kind
@pytest.mark.parametrize(("keys", "timer"), [('keepalive = "2s"', KEEPALIVE_TIMER), ('keepalive = "0"', 0)])
async def test_a_peer_that_vanished_is_noticed_on_both_sides(tmp_path, keys, timer):
    """It held two descriptors for ever with idle_timeout = "0"."""
    async with serving() as server:
        text = config(server, listener=f'idle_timeout = "0"\n{keys}', health=None)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            assert await request(stream, b"name") == b"s"
            with trio.fail_after(PATIENCE):
                while timers_of(int(server.address.rpartition(":")[2])) != [timer]:  # noqa: ASYNC110 - no event for it
                    await trio.sleep(0.1)


@every_kind
async def test_connections_come_from_the_sources_in_turn(tmp_path):
    async with serving(tell_peer) as server:
        text = config(server, pool='source = ["127.0.0.3", "127.0.0.4"]', health=None, top="[process]\nworkers = 1\n")
        async with balancer(tmp_path, text) as lb:
            peers = [await ask(lb.port) for _ in range(4)]
    assert sorted(peers) == [b"127.0.0.3\n", b"127.0.0.3\n", b"127.0.0.4\n", b"127.0.0.4\n"]


async def test_checks_come_from_the_sources_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        server = Named("s", f"127.0.0.1:{listening.getsockname()[1]}")
        text = config(server, pool='source = "127.0.0.3"')
        async with balancer(tmp_path, text), await listener.accept() as stream:
            assert stream.socket.getpeername()[0] == "127.0.0.3"


async def test_a_source_that_is_not_here_is_no_fault_of_the_server(tmp_path):
    async with serving() as server:
        text = config(server, pool='source = "192.0.2.1"\n[pools.web.passive]\nfailures = 1', health=None)
        async with balancer(tmp_path, text) as lb:
            with pytest.raises(trio.BrokenResourceError):
                await ask(lb.port)
            record = await lb.event("connection.closed")
            assert record["reason"] == "connect_failed"
            assert record["attempts"][0]["error"] == "192.0.2.1 is not an address of this host"
            assert not lb.of("backend.ejected")


@every_kind
async def test_a_server_without_a_port_is_reached_at_that_of_the_client(tmp_path):
    here, there = (f"127.{random.randrange(2, 255)}.{random.randrange(255)}.{last}" for last in (1, 2))
    async with serving(name="first", address=(there, 5000)), serving(name="second", address=(there, 5001)):
        text = config(Named("s", there), bind=f"{here}:5000-5001", health=None)
        async with balancer(tmp_path, text):
            assert await ask(5000, host=here) == b"first\n"
            assert await ask(5001, host=here) == b"second\n"


@every_kind
async def test_an_abstract_socket_is_no_file(tmp_path):
    name = f"lb-test{tmp_path}"
    async with serving() as server, balancer(tmp_path, config(server, bind=f"unix:@{name}")) as lb:
        assert lb.binds["web"] == [f"unix:@{name}"]
        async with await trio.open_unix_socket(f"\0{name}") as stream:
            assert await request(stream, b"name") == b"s"
        assert await lb.stop() == 0
    assert not list(tmp_path.glob("*lb-test*"))


async def test_a_relative_path_starts_at_the_configuration(tmp_path):
    (tmp_path / "run").mkdir()
    async with (
        serving() as server,
        balancer(tmp_path, config(server, bind="unix:run/front")),
        await trio.open_unix_socket(tmp_path / "run" / "front") as stream,
    ):
        assert await request(stream, b"name") == b"s"


async def test_the_files_of_listeners_and_admin_have_their_modes(tmp_path):
    admin = '[admin]\nbind = "unix:admin"\nsocket_mode = "0640"'
    async with serving() as server:
        text = config(server, bind="unix:front", listener='socket_mode = "0666"', top=admin)
        async with operated(tmp_path, text) as (_, operator):
            assert (await operator.client.get("/healthz")).status_code == 200
            modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("front", "admin")]
    assert modes == [0o666, 0o640]
