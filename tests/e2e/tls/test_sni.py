"""SNI routing: TLS is passed through without decryption, and every byte reaches the server."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from lb.model.listener import find
from tests.e2e.tls.test_tls import echo, session
from tests.support.balancer import PATIENCE, balancer, connect, read_all, with_workers
from tests.support.processes import children, cpu_seconds
from tests.support.servers import serving
from tests.support.tls_peers import TlsEnd, client_context, names_in, server_context, tls_server
from tests.unit.tls.test_client_hello import hello, in_records

A, B, WILD = "a.example.org", "b.example.org", "*.wild.example.org"


@pytest.mark.parametrize(
    ("name", "route"),
    [
        ("a.org", "exact"),
        ("x.a.org", "wide"),
        ("x.y.a.org", "wide"),
        ("z.b.a.org", "narrow"),
        ("b.a.org", "wide"),
        ("xa.org", None),
        ("org", None),
        ("", None),
        (".", None),
    ],
)
def test_the_longest_match_counts(name, route):
    routes = {"a.org": "exact", "*.a.org": "wide", "*.b.a.org": "narrow"}
    assert find(routes, name) == route


def routed(a, b, other, listener="", top=""):
    pools = "".join(
        f'[pools.{pool}]\nhealth = false\nservers = ["{server.address}"]\n'
        for pool, server in [("a", a), ("b", b), ("other", other)]
    )
    return with_workers(
        f'{top}\n[listeners.web]\nbind = "127.0.0.1:0"\n{listener}\n'
        f'[listeners.web.sni]\n"{A}" = "a"\n"{B}" = "b"\n"{WILD}" = "b"\ndefault = "other"\n{pools}'
    )


@asynccontextmanager
async def three_pools(tmp_path):
    """A balancer and three servers, each with its own certificate."""
    one, two, three = (tls_server(echo, server_context(*names)) for names in ([A], [B, WILD], ["other.example.org"]))
    async with (
        serving(one, name="a") as a,
        serving(two, name="b") as b,
        serving(three, name="other") as other,
        balancer(tmp_path, routed(a, b, other)) as lb,
    ):
        yield lb, (a, b, other)


async def open_tls(port, name, **options):
    context = client_context(**options)
    context.check_hostname = False
    return await TlsEnd(await connect(port), context, server_name=name).shake_hands()


@pytest.mark.parametrize(
    ("name", "shown", "pool"),
    [
        (A, A, "a"),
        ("A.EXAMPLE.org", A, "a"),
        (B, B, "b"),
        ("x.wild.example.org", B, "b"),
        ("x.y.wild.example.org", B, "b"),
        ("wild.example.org", "other.example.org", "other"),
        ("unknown.example.org", "other.example.org", "other"),
        (None, "other.example.org", "other"),
    ],
)
async def test_the_name_decides_and_the_server_itself_shakes_hands(tmp_path, balancer_kind, name, shown, pool):
    async with three_pools(tmp_path) as (lb, _):
        end = await open_tls(lb.port, name)
        assert shown in names_in(end)
        await end.send_all(b"hello")
        await end.finish(fin=True)
        assert await end.receive_all() == b"hello"
        await end.aclose()
        record = await lb.only_record()
    assert record["pool"] == pool
    assert record["bytes_in"] > 200, "the count includes the TLS handshake"


async def test_megabytes_pass_unchanged(tmp_path, balancer_kind):
    payload = os.urandom(8 << 20)
    async with three_pools(tmp_path) as (lb, _):
        assert await session(lb.port, payload) == payload


def addressed_to(name, size=None):
    return in_records(hello(name), size) if size else hello(name)


@pytest.mark.parametrize("pieces", ["byte by byte", "small records", "with more behind it"])
async def test_a_hello_that_comes_in_pieces_arrives_whole_at_the_server(tmp_path, balancer_kind, pieces):
    seen = bytearray()

    async def note(stream):
        async for chunk in stream:
            seen.extend(chunk)
        await stream.send_all(b"bye")

    whole = addressed_to(B, 20 if pieces == "small records" else None) + b"behind" * 1000 * (pieces[0] == "w")
    async with (
        serving(echo) as other,
        serving(note, name="b") as b,
        balancer(tmp_path, routed(other, b, other)) as lb,
        await connect(lb.port) as stream,
    ):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), step := 1 if pieces == "byte by byte" else len(whole)):
            await stream.send_all(whole[start : start + step])
            await trio.lowlevel.checkpoint()
        await stream.send_eof()
        with trio.fail_after(PATIENCE):
            assert b"".join([chunk async for chunk in stream]) == b"bye"
        record = await lb.only_record()
    assert bytes(seen) == whole
    assert (record["pool"], record["bytes_in"]) == ("b", len(whole))


async def test_it_works_over_a_unix_socket_too(tmp_path, balancer_kind):
    whole = addressed_to(B)

    async def answer(stream):
        await stream.send_all(b"%d" % len(await stream.receive_some(65536)))

    path = tmp_path / "lb.sock"
    async with serving(echo) as a, serving(answer, name="b") as b:
        text = routed(a, b, a).replace("127.0.0.1:0", f"unix:{path}")
        async with balancer(tmp_path, text) as lb, await trio.open_unix_socket(path) as stream:
            await stream.send_all(whole[:100])
            await trio.sleep(0.05)  # the balancer should see a part first; otherwise the test is only easier
            await stream.send_all(whole[100:])
            with trio.fail_after(PATIENCE):
                assert b"".join([chunk async for chunk in stream]) == b"%d" % len(whole)
            await stream.aclose()
            assert (await lb.only_record())["pool"] == "b"


@pytest.mark.parametrize(
    ("first", "ended_by"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "lb"),
        (addressed_to(A)[:100], "client"),
        (b"", "client"),
        (b"\x16\x03\x01", "client"),
    ],
    ids=["HTTP", "half a hello", "nothing", "three bytes"],
)
async def test_who_is_no_tls_client_gets_no_server(tmp_path, balancer_kind, first, ended_by):
    async with three_pools(tmp_path) as (lb, servers), await connect(lb.port) as stream:
        if first:
            await stream.send_all(first)
        with suppress(trio.BrokenResourceError):  # it may already have been refused
            await stream.send_eof()
        record = await lb.event("connection.closed")
        assert (record["ended_by"], record["reason"], record["server"]) == (ended_by, "tls_failed", None)
        assert [server.connections for server in servers] == [0, 0, 0]


async def test_half_a_hello_has_a_deadline_and_costs_no_cpu_meanwhile(tmp_path, balancer_kind):
    async with serving(echo) as a:
        text = routed(a, a, a, listener='header_timeout = "1s"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            await stream.send_all(addressed_to(A)[:100])
            before = cpu_of_all(lb.process.pid)
            record = await lb.event("connection.closed")
            assert (record["ended_by"], record["reason"]) == ("lb", "tls_failed")
            assert cpu_of_all(lb.process.pid) - before < 0.5, "the balancer waits without polling"


def cpu_of_all(pid):
    """CPU time of a process and its descendants."""
    return cpu_seconds(pid) + sum(map(cpu_of_all, children(pid)))


async def test_a_reload_can_send_a_name_elsewhere_while_a_client_shakes_hands(tmp_path, balancer_kind):
    """A client that has sent half a ClientHello when the configuration changes uses the new route."""
    whole = addressed_to(A)
    async with three_pools(tmp_path) as (lb, (a, b, other)):
        async with await connect(lb.port) as stream:
            await stream.send_all(whole[:100])
            await open_and_close(lb.port)  # accepted after the client above, by at least one worker
            await lb.reload(routed(b, a, other).replace("[pools.a]", "[pools.c]").replace('"a"', '"c"'))
            await stream.send_all(whole[100:])
            await b.until(lambda server: server.connections == 1)
        await lb.event("connection.closed", pool="c")


async def open_and_close(port):
    end = await open_tls(port, A)
    await end.aclose()


@pytest.mark.usefixtures("balancer_kind")
async def test_a_pool_for_clients_without_tls(tmp_path):
    """Who speaks first gets there at once; who waits for the server, as with SSH, after ``header_timeout``."""

    async def ssh(stream):
        await stream.send_all(b"SSH-2.0-server\r\n")
        async for chunk in stream:
            await stream.send_all(chunk)

    one = tls_server(echo, server_context(A))
    async with serving(one, name="a") as a, serving(ssh, name="ssh") as plain:
        text = routed(a, a, plain, listener='header_timeout = "500ms"').replace('default = "other"', 'default = "a"')
        text = text.replace('default = "a"', 'default = "a"\nno_tls = "other"')
        async with balancer(tmp_path, text) as lb:
            began = trio.current_time()
            async with await connect(lb.port) as stream:
                assert await stream.receive_some() == b"SSH-2.0-server\r\n"
                assert trio.current_time() - began > 0.4
                await stream.send_all(b"SSH-2.0-client\r\n")
                assert await stream.receive_some() == b"SSH-2.0-client\r\n"
            async with await connect(lb.port) as stream:
                await stream.send_all(b"S")
                await stream.send_eof()
                assert await read_all(stream) == b"SSH-2.0-server\r\nS"
            end = await open_tls(lb.port, A)
            await end.send_all(b"over TLS")
            assert await end.receive_exactly(8) == b"over TLS"
            await end.aclose()
            async with await connect(lb.port) as stream:
                await stream.send_all(b"\x16\x03\x01")
                with suppress(trio.BrokenResourceError):
                    assert await stream.receive_some() == b""
            assert (await lb.event("connection.closed", reason="tls_failed"))["pool"]
