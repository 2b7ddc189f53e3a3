"""The PROXY protocol with the real command: headers from proxies, headers to servers, and no lost bytes."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

import pytest
import trio

from lb.model.address import Client
from lb.proxy_protocol.header import HeaderReader, local_header, proxy_header
from tests.support.balancer import PATIENCE, QUICK_CHECKS, balancer, config, connect, read_all
from tests.support.servers import Named, refusing, serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("balancer_kind")]

CLIENT, FRONT = Client("192.0.2.7", 5555), Client("198.51.100.1", 443)
VERSIONS = ("v1", "v2")
LOCAL = local_header(CLIENT, FRONT)


@pytest.fixture(params=VERSIONS)
def header(request):
    return proxy_header(request.param, CLIENT, FRONT)


async def echo(stream):
    async for chunk in stream:
        await stream.send_all(chunk)


async def talk(port, *pieces, host="127.0.0.1"):
    """Send the pieces one by one, each when the previous one was sent, half-close, and return all received bytes."""
    async with await connect(port, host) as stream:
        for piece in pieces:
            await stream.send_all(piece)
        await stream.send_eof()
        return await read_all(stream)


async def until_closed(stream):
    """Wait for the end without data, or for a reset, because not all sent bytes were read."""
    with suppress(trio.BrokenResourceError):
        assert await read_all(stream) == b""


async def record_of(lb, count=1, **fields):
    return await lb.event("connection.closed", count=count, **fields)


# Received headers


async def test_the_client_of_the_header_is_the_one_in_the_log_and_the_stream_is_whole(tmp_path, header):
    async with serving(echo) as server, balancer(tmp_path, config(server, listener="accept_proxy = true")) as lb:
        payload = b"x" * 300_000
        assert await talk(lb.port, header + payload) == payload
        record = await lb.only_record()
    assert (record["client"], record["reason"], record["bytes_in"]) == (str(CLIENT), "eof", len(payload))
    assert record["peer"].startswith("127.0.0.1:")


async def test_a_header_may_come_byte_by_byte(tmp_path, header):
    async with serving(echo) as server, balancer(tmp_path, config(server, listener="accept_proxy = true")) as lb:
        async with await connect(lb.port) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + b"payload":
                await stream.send_all(bytes([byte]))
                await trio.lowlevel.checkpoint()
            await stream.send_eof()
            assert await read_all(stream) == b"payload"
        assert (await lb.only_record())["client"] == str(CLIENT)


async def test_a_server_that_speaks_first_is_heard_when_the_header_is_complete(tmp_path, header):
    async def greet(stream):
        await stream.send_all(b"220 ready\r\n")

    async with serving(greet) as server, balancer(tmp_path, config(server, listener="accept_proxy = true")) as lb:
        async with await connect(lb.port) as stream:
            await stream.send_all(header)
            assert await read_all(stream) == b"220 ready\r\n"
        assert (await lb.only_record())["ended_by"] == "server"


@pytest.mark.parametrize("own", [b"PROXY UNKNOWN\r\n", LOCAL], ids=VERSIONS)
async def test_a_proxy_that_speaks_for_itself_is_the_client(tmp_path, own):
    async with serving(echo) as server, balancer(tmp_path, config(server, listener="accept_proxy = true")) as lb:
        assert await talk(lb.port, own + b"hello") == b"hello"
        record = await lb.only_record()
    assert record["client"].startswith("127.0.0.1:")
    assert "peer" not in record


async def test_a_unix_proxy_speaks_for_others_and_a_unix_client_has_no_address(tmp_path):
    path = str(tmp_path / "front.sock")
    async with (
        serving(echo) as server,
        balancer(tmp_path, config(server, bind=f"unix:{path}", listener="accept_proxy = true")) as lb,
    ):
        for header in (proxy_header("v2", CLIENT, FRONT), proxy_header("v2", Client("", 0), Client("", 0))):
            async with await trio.open_unix_socket(path) as stream:
                await stream.send_all(header + b"hello")
                await stream.send_eof()
                assert await read_all(stream) == b"hello"
        first, second = await record_of(lb), await record_of(lb, 2)
    assert {(record["client"], record["peer"]) for record in (first, second)} == {
        (str(CLIENT), "unix:"),
        ("unix:", "unix:"),
    }


BAD = {
    "none": b"GET / HTTP/1.0\r\n\r\n",
    "tls": b"\x16\x03\x01\x00\xca",
    "long tlv": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 16) + bytes(12) + b"\x02\xff\xffx",
    "checksum": b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack("!H", 19) + bytes(12) + b"\x03\0\x04nope",
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_header_ends_the_connection_and_no_server_hears_of_it(tmp_path, what):
    async with (
        serving(echo) as server,
        balancer(tmp_path, config(server, listener="accept_proxy = true", health=None)) as lb,
    ):
        async with await connect(lb.port) as stream:
            await stream.send_all(BAD[what])
            await until_closed(stream)
        record = await lb.only_record()
        assert (record["reason"], record["ended_by"], record["server"]) == ("bad_proxy_header", "lb", None)
        assert not server.connections


async def test_a_header_that_does_not_come_has_a_deadline(tmp_path):
    listener = 'accept_proxy = true\nheader_timeout = "200ms"'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=listener, health=None)) as lb:
        for beginning in (b"", b"PROXY TCP4 ", LOCAL[:14]):
            async with await connect(lb.port) as stream:
                await stream.send_all(beginning)
                assert await read_all(stream) == b""
        records = [await record_of(lb, count) for count in (1, 2, 3)]
        assert not server.connections
    assert {(record["reason"], record["ended_by"]) for record in records} == {("bad_proxy_header", "lb")}
    assert all(200 <= record["duration_ms"] < PATIENCE * 1000 for record in records)


async def test_a_client_that_leaves_before_its_header_is_complete_is_told_so(tmp_path):
    async with serving(echo) as server, balancer(tmp_path, config(server, listener="accept_proxy = true")) as lb:
        assert await talk(lb.port, b"PROXY TCP4 ") == b""
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"]) == ("bad_proxy_header", "client")


async def test_only_the_proxies_that_are_listed_may_connect(tmp_path, header):
    listener = 'accept_proxy = ["127.0.0.2", "10.0.0.0/8"]'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=listener)) as lb:
        async with await trio.open_tcp_stream("127.0.0.1", lb.port, local_address="127.0.0.2") as stream:
            await stream.send_all(header + b"hello")
            await stream.send_eof()
            assert await read_all(stream) == b"hello"
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        denied = await record_of(lb, reason="denied")
        assert (await record_of(lb, reason="eof"))["client"] == str(CLIENT)
    assert denied["client"].startswith("127.0.0.1:")


async def test_access_and_hashing_judge_the_client_of_the_header(tmp_path):
    listener = 'accept_proxy = true\nallow = ["192.0.2.0/24"]\ndeny = ["192.0.2.128/25"]'
    async with serving(name="a") as a, serving(name="b") as b:
        text = config(a, b, listener=listener, pool='strategy = "consistent-hash"', health=None)
        async with balancer(tmp_path, text) as lb:
            served = {}
            for number in range(1, 40):
                for _ in range(2):
                    header = proxy_header("v1", Client(f"192.0.2.{number}", 1), FRONT)
                    served.setdefault(number, set()).add(await talk(lb.port, header + b"name\n"))
            assert all(len(names) == 1 for names in served.values())
            assert set.union(*served.values()) == {b"a\n", b"b\n"}
            for outside in ("192.0.2.200", "203.0.113.1"):
                async with await connect(lb.port) as stream:
                    await stream.send_all(proxy_header("v1", Client(outside, 1), FRONT))
                    await until_closed(stream)
                await record_of(lb, reason="denied", client=f"{outside}:1")


async def test_connections_that_have_not_been_heard_end_when_the_balancer_stops(tmp_path):
    async with serving(echo) as server:
        text = config(server, listener="accept_proxy = true", top='[process]\nstop_timeout = "100ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream, await connect(lb.port) as other:
            await stream.send_all(b"PROXY TCP4 ")
            await other.send_all(LOCAL + b"hello")
            assert await other.receive_some() == b"hello"
            assert await lb.stop() == 0
            assert [record["reason"] for record in lb.of("connection.closed")] == ["stopped"] * 2


# Sent headers


def recording_server():
    """Return a server that reads a header and then echoes, and the list of headers that it has read."""
    headers = []

    async def record_and_echo(stream):
        reader, rest = HeaderReader(), b""
        async for chunk in stream:
            rest = chunk[reader.take(chunk) :]
            if reader.complete:
                break
        headers.append(reader.endpoints if reader.complete else "cut")
        await stream.send_all(rest)
        await echo(stream)

    return record_and_echo, headers


@pytest.mark.parametrize("version", VERSIONS)
async def test_servers_hear_who_the_client_is_before_its_first_byte(tmp_path, version):
    record_and_echo, headers = recording_server()
    async with (
        serving(record_and_echo) as server,
        balancer(tmp_path, config(server, pool=f'send_proxy = "{version}"', health=None)) as lb,
    ):
        async with await connect(lb.port) as stream:
            name = stream.socket.getsockname()
            await stream.send_all(b"hello")
            await stream.send_eof()
            assert await read_all(stream) == b"hello"
        assert headers == [(Client(*name), Client("127.0.0.1", lb.port))]
        record = await lb.only_record()
    assert (record["client"], record["bytes_in"], record["bytes_out"]) == (str(Client(*name)), 5, 5)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_header_that_came_in_goes_out_with_its_addresses(tmp_path, version, header):
    record_and_echo, headers = recording_server()
    text_of = {"listener": "accept_proxy = true", "pool": f'send_proxy = "{version}"'}
    async with serving(record_and_echo) as server, balancer(tmp_path, config(server, health=None, **text_of)) as lb:
        assert await talk(lb.port, header, b"hello") == b"hello"
    assert headers == [(CLIENT, FRONT)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_next_server_hears_it_when_the_first_is_gone(tmp_path, version):
    record_and_echo, headers = recording_server()
    async with refusing("dead") as dead, serving(record_and_echo, name="a") as server:
        text = config(dead, server, pool=f'send_proxy = "{version}"', health=None)
        async with balancer(tmp_path, text) as lb:
            for _ in range(4):
                assert await talk(lb.port, b"hello") == b"hello"
    assert len(headers) == 4
    assert all(source.host == "127.0.0.1" for source, _ in headers)


def endpoints_of(header):
    """Return the two addresses in a header, and the number of bytes after it; None for a header without addresses."""
    reader = HeaderReader()
    taken = reader.take(header)
    return reader.endpoints, len(header) - taken


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("probe", ["tcp", "http"])
async def test_checks_name_themselves_as_the_client_and_close_properly(tmp_path, version, probe):
    """UNKNOWN would leave the server without an address: Postfix refuses it with 421."""
    seen = []

    async def note(stream):
        seen.append((stream.socket.getpeername(), await receive_whole(stream, probe)))

    health = f'{QUICK_CHECKS}\nprobe = "{probe}"'
    async with (
        serving(note) as server,
        balancer(tmp_path, config(server, pool=f'send_proxy = "{version}"', health=health)) as lb,
    ):
        await server.until(lambda served: served.connections >= 3 and len(seen) >= 2)
        assert not lb.of("backend.ejected")
        complete = [*seen]  # before the balancer stops, which cancels checks in progress
    here = Client("127.0.0.1", int(server.address.rpartition(":")[2]))
    for peer, received in complete:
        if (version, probe) == ("v2", "tcp"):
            assert received == LOCAL
        else:
            endpoints, more = endpoints_of(received)
            assert endpoints == (Client(*peer), here)
            assert (more > 0) == (probe == "http")


async def receive_whole(stream, probe):
    """Read until the probe has sent everything, and answer the http probe."""
    received = b""
    while not (probe == "http" and received.count(b"\r\n\r\n") > received.startswith(b"\r\n\r\n")):
        chunk = await stream.receive_some()
        if not chunk:
            return received
        received += chunk
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return received + await read_all(stream)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_check_of_a_unix_socket_has_a_header_without_addresses(tmp_path, version):
    seen, path = [], str(tmp_path / "server.sock")
    expected = {"v1": b"PROXY UNKNOWN\r\n", "v2": proxy_header("v2", Client("", 0), Client("", 0))}[version]

    async def note(stream):
        seen.append(await stream.receive_some(len(expected)))
        arrived.set()

    arrived = trio.Event()
    health = f'{QUICK_CHECKS}\nprobe = "exchange"\nsend = "hello"'
    text = config(Named("a", f"unix:{path}"), pool=f'send_proxy = "{version}"', health=health)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                trio.serve_listeners, note, [trio.SocketListener(trio.socket.from_stdlib_socket(listening))]
            )
            async with balancer(tmp_path, text):
                with trio.fail_after(PATIENCE):
                    await arrived.wait()
            nursery.cancel_scope.cancel()
    assert seen[0] == expected


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_of_a_unix_socket_has_a_header_without_addresses(tmp_path, version):
    path = str(tmp_path / "front.sock")
    expected = {"v1": b"PROXY UNKNOWN\r\n", "v2": proxy_header("v2", Client("", 0), Client("", 0))}[version]
    async with (
        serving(echo) as server,
        balancer(tmp_path, config(server, bind=f"unix:{path}", pool=f'send_proxy = "{version}"', health=None)),
        await trio.open_unix_socket(path) as stream,
    ):
        await stream.send_all(b"hello")
        await stream.send_eof()
        assert await read_all(stream) == expected + b"hello"


async def test_a_check_on_a_port_of_its_own_has_no_header(tmp_path):
    seen = []

    async def note(stream):
        seen.append(await read_all(stream))

    async with serving(echo) as server, serving(note) as checked:
        port = checked.address.rpartition(":")[2]
        text = config(server, pool='send_proxy = "v2"', health=f"{QUICK_CHECKS}\nport = {port}")
        async with balancer(tmp_path, text):
            await checked.until(lambda served: len(seen) >= 2)
    assert set(seen) == {b""}


async def test_a_reload_turns_the_header_on_and_off(tmp_path):
    record_and_echo, headers = recording_server()
    async with serving(record_and_echo) as server:
        plain, with_header = (
            config(server, health=None, pool=f'send_proxy = "{version}"', listener=f"accept_proxy = {accepts}")
            for version, accepts in (("off", "false"), ("v1", "true"))
        )
        async with balancer(tmp_path, plain) as lb:
            first = proxy_header("v2", CLIENT, FRONT)
            assert await talk(lb.port, first + b"hello") == b"hello"
            await lb.reload(with_header)
            assert await talk(lb.port, proxy_header("v1", FRONT, CLIENT) + b"hello") == b"hello"
            await lb.reload(plain)
            assert await talk(lb.port, first + b"hello") == b"hello"
    assert headers == [(CLIENT, FRONT), (FRONT, CLIENT), (CLIENT, FRONT)]


async def test_listed_peers_send_the_header_and_others_come_without(tmp_path, header):
    """Each as itself: a header of others is part of their stream."""
    listener = 'accept_proxy = { from = ["127.0.0.2"], others = "plain" }'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=listener)) as lb:
        assert await talk(lb.port, header + b"plain") == header + b"plain"
        record = await record_of(lb)
        assert record["client"].startswith("127.0.0.1:")
        assert record["reason"] == "eof"
        for sent, got, client, reason in [
            (header + b"proxied", b"proxied", str(CLIENT), "eof"),
            (b"without", b"", None, "bad_proxy_header"),
        ]:
            count = len(lb.of("connection.closed")) + 1
            async with await trio.open_tcp_stream("127.0.0.1", lb.port, local_address="127.0.0.2") as stream:
                await stream.send_all(sent)
                if got:
                    await stream.send_eof()
                    assert await read_all(stream) == got
                else:
                    await until_closed(stream)
            record = await record_of(lb, count)
            assert record["reason"] == reason
            assert client is None or record["client"] == client


async def test_others_may_be_denied_by_name(tmp_path):
    listener = 'accept_proxy = { from = ["127.0.0.2"], others = "deny" }'
    async with serving(echo) as server, balancer(tmp_path, config(server, listener=listener)) as lb:
        async with await connect(lb.port) as stream:
            await until_closed(stream)
        assert (await record_of(lb))["reason"] == "denied"
