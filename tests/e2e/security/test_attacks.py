"""Clients without any rights who make dear work: no worker dies, and honest clients of other listeners are served.

``python -m chaos.attacks`` measures how long honest clients wait meanwhile.
"""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from chaos.attacks import TlsStream, certificate, client_hello, key_updates, proxy_header, tiny_records
from tests.support.balancer import PATIENCE, balancer, config, connect, request
from tests.support.servers import serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("worker_count")]
ECHOES = 50


@pytest.fixture(scope="module")
def rsa(tmp_path_factory):
    """The path of a certificate with an RSA key of 4,096 bits: each handshake takes milliseconds."""
    return certificate(tmp_path_factory.mktemp("rsa"))


def listener(rsa, **tables):
    """The listener ``attacked``, beside the plain one, with the same pool."""
    secured = f'[listeners.attacked.tls]\ncertificate = "{rsa}"\n' if "tls" in tables else ""
    proxied = "accept_proxy = true\n" if "proxy" in tables else ""
    return f'[listeners.attacked]\nbind = "127.0.0.1:0"\npool = "web"\nheader_timeout = "60s"\n{proxied}{secured}'


async def serve_echo(stream):
    async for chunk in stream:
        await stream.send_all(chunk)


def attacked_port(lb):
    return lb.ports["attacked"]


async def echoes(stream):
    """Some echoes on an open connection, and one on a new connection each."""
    for number in range(ECHOES):
        line = b"%d" % number
        assert await request(stream, line) == line


async def until_all_are_served(lb, count, **fields):
    """Wait for the ends of the attackers. Meanwhile an honest client is served."""
    async with await connect(lb.port) as honest:
        await echoes(honest)
        await lb.event("connection.closed", count=count, listener="attacked", **fields)
        await echoes(honest)
    assert not lb.of("worker.died")


def sockets_to(port, count):
    return [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(count)]


async def send_all_at_once(sockets, messages):
    """Send as one does who does not care what becomes of it."""

    def send(sock, message):
        with suppress(OSError):  # the balancer has closed it, which is right
            sock.sendall(message)

    async with trio.open_nursery() as nursery:
        for sock, message in zip(sockets, messages, strict=True):
            nursery.start_soon(trio.to_thread.run_sync, send, sock, message)


@asynccontextmanager
async def attacked(tmp_path, more, count):
    """A balancer with a listener beside ``web``, and connections to it."""
    async with serving(serve_echo) as server, balancer(tmp_path, config(server, health=None) + more) as lb:
        attackers = sockets_to(attacked_port(lb), count)
        yield lb, attackers
        for sock in attackers:
            sock.close()


async def test_many_client_hellos_at_once_hold_up_nobody_else(tmp_path, rsa):
    """Each is worth a signature. The clients go on, or end: all of their handshakes come to an end."""
    count = 150
    async with attacked(tmp_path, listener(rsa, tls=True), count) as (lb, attackers):
        await send_all_at_once(attackers, [client_hello()] * count)
        async with await connect(lb.port) as honest:
            await echoes(honest)
        for sock in attackers:
            assert await trio.to_thread.run_sync(sock.recv, 1) == b"\x16", "it got the balancer's part of the handshake"
            sock.close()
        await until_all_are_served(lb, count, reason="tls_failed")


@pytest.mark.parametrize("tlv", [3, 20_000])
async def test_headers_of_64_kib_are_refused_before_they_are_read(tmp_path, rsa, tlv):
    count = 400
    async with attacked(tmp_path, listener(rsa, proxy=True), count) as (lb, attackers):
        await send_all_at_once(attackers, [proxy_header(65_000, tlv)] * count)
        await until_all_are_served(lb, count, reason="bad_proxy_header")


async def test_key_updates_without_end_end_the_connection(tmp_path, rsa):
    count = 10
    async with attacked(tmp_path, listener(rsa, tls=True), count) as (lb, attackers):
        streams = [await trio.to_thread.run_sync(TlsStream, sock) for sock in attackers]
        updates = [await trio.to_thread.run_sync(key_updates, stream) for stream in streams]
        await send_all_at_once(attackers, updates)
        await until_all_are_served(lb, count, reason="reset", ended_by="client")


async def test_the_smallest_records_arrive_and_hold_up_nobody_else(tmp_path, rsa):
    count = 10
    async with attacked(tmp_path, listener(rsa, tls=True), count) as (lb, attackers):
        streams = [await trio.to_thread.run_sync(TlsStream, sock) for sock in attackers]
        records = [tiny_records(stream) for stream in streams]
        await send_all_at_once(attackers, records)
        for sock in attackers:
            sock.shutdown(socket.SHUT_WR)
        await until_all_are_served(lb, count)
        assert {record["bytes_in"] for record in lb.of("connection.closed", listener="attacked")} == {
            len(records[0]) // 23
        }
