import re
import socket
import sys

import attrs
import pytest
import trio

from healthcheck.probe import Target, hang_up
from healthcheck.probes.tcp import TcpProbe
from lb.model.address import Address
from tests.support.balancer import PATIENCE
from tests.support.probe_server import failure, resets, server, stays_silent, target_at


@pytest.fixture
def dead_port():
    """A port that refuses connections: bound by a socket that does not listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# Targets


async def test_a_refused_connect_is_an_error_of_the_system(dead_port):
    with pytest.raises(ConnectionRefusedError):
        await TcpProbe().check(target_at(dead_port))


async def test_a_name_without_addresses_is_said_to_be_so():
    target = Target("web", "a", Address.parse("nowhere.example:80"), ())
    assert await failure(TcpProbe(), target) == "cannot resolve nowhere.example"


async def test_a_connection_of_a_socket_with_itself_is_a_refused_one(monkeypatch, dead_port):
    """Simulates the system choosing, as the local port, the port that has no listener."""
    unbound = trio.socket.socket

    def bound(*args):
        sock = unbound(*args)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock._sock.bind(("127.0.0.1", port))
        return sock

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(trio.socket, "socket", bound)
    with pytest.raises(ConnectionRefusedError):
        await target_at(port).connect()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems queue differently")
async def test_a_unix_socket_with_a_full_backlog_has_not_connected(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(path)
        listening.listen(0)
        first.connect(path)
        target = Target("web", "a", Address.parse(f"unix:{path}"), ((socket.AF_UNIX, path),))
        assert await failure(TcpProbe(), target) == "backlog full"


async def test_a_unix_socket_can_be_probed(tmp_path):
    path = str(tmp_path / "socket")
    target = Target("web", "a", Address.parse(f"unix:{path}"), ((socket.AF_UNIX, path),))
    with pytest.raises(FileNotFoundError):
        await TcpProbe().check(target)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        assert (await TcpProbe().check(target)).startswith("connected in ")


async def test_a_probe_that_connects_itself_sends_the_header_of_its_own_connection():
    heard = []

    async def handle(stream):
        heard.append(await stream.receive_some())

    async with server(handle) as target:
        told = attrs.evolve(target, header=lambda source, destination: f"{source} {destination}".encode())
        stream = await told.connect()
        own = stream.socket.getsockname()
        await hang_up(stream)
    assert heard == [f"127.0.0.1:{own[1]} {target.address}".encode()]


# tcp


@pytest.mark.parametrize("greeting", [b"", b"220 mail.example ESMTP\r\n"])
async def test_tcp_connects_and_the_server_sees_an_orderly_end(greeting):
    heard = []

    async def handle(stream):
        await stream.send_all(greeting)
        heard.append(await stream.receive_some())  # raises if the probe resets the connection

    async with server(handle) as target:
        assert re.fullmatch(r"connected in [0-9]+\.[0-9] ms", await TcpProbe().check(target))
        while not heard:
            await trio.lowlevel.checkpoint()
    assert heard == [b""]


async def test_tcp_does_not_wait_for_ever_for_a_server_that_does_not_close(monkeypatch):
    async def never_closes(stream):
        await trio.sleep_forever()

    async with server(never_closes) as target:
        with trio.fail_after(PATIENCE):
            await TcpProbe().check(target)
        monkeypatch.setattr("healthcheck.over_stream.CLOSE_TIMEOUT", 100.0)
        with trio.fail_after(2):  # shorter than closing may take; the check still passes
            await TcpProbe().check(target)


async def test_tcp_passes_a_server_that_resets_after_the_accept():
    async with server(resets) as target:
        assert (await TcpProbe().check(target)).startswith("connected")


async def seconds_to_hang_up_on(target):
    with trio.fail_after(PATIENCE):
        stream = await target.connect()
        began = trio.current_time()
        await hang_up(stream)
    return trio.current_time() - began


async def test_hanging_up_takes_no_longer_than_the_server_needs_to_close(monkeypatch):
    monkeypatch.setattr("healthcheck.probe.CLOSE_TIMEOUT", 100.0)
    async with server(stays_silent) as target:
        assert await seconds_to_hang_up_on(target) < 1


async def test_hanging_up_on_a_server_that_talks_for_ever_ends(monkeypatch):
    monkeypatch.setattr("healthcheck.probe.CLOSE_TIMEOUT", 100.0)

    async def talk(stream):
        while True:
            await stream.send_all(bytes(65_536))

    async def handle(stream):
        with pytest.raises(trio.BrokenResourceError):
            await talk(stream)

    async with server(handle) as target:
        assert await seconds_to_hang_up_on(target) < 1
