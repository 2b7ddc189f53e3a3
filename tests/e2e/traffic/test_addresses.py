"""All kinds of addresses on both sides: unix sockets, IPv6, dual stack, several bindings, host names."""

from __future__ import annotations

import socket

import pytest
import trio

from tests.support.balancer import ask, balancer, config, connect, read_all, request
from tests.support.servers import Named, serving

pytestmark = pytest.mark.slow
both_splicers = pytest.mark.usefixtures("splicer_kind")
needs_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")


def port_of(bind):
    return int(bind.rpartition(":")[2])


@both_splicers
async def test_unix_sockets_on_both_sides(tmp_path):
    front, back = str(tmp_path / "front"), str(tmp_path / "back")
    async with serving(address=back) as server, balancer(tmp_path, config(server, bind=f"unix:{front}")) as lb:
        assert lb.binds == {"web": [f"unix:{front}"]}
        async with await trio.open_unix_socket(front) as stream:
            assert await request(stream, b"echo through the file system") == b"through the file system"
            await stream.send_eof()
            assert await read_all(stream) == b""
        record = await lb.only_record()
    assert (record["client"], record["server"], record["reason"]) == ("unix:", "s", "eof")


async def test_a_socket_file_left_behind_is_replaced_and_one_in_use_is_not(tmp_path):
    path = tmp_path / "front"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with serving() as server, balancer(tmp_path, config(server, bind=f"unix:{path}")) as lb:
        async with await trio.open_unix_socket(path) as stream:
            assert await request(stream, b"name") == b"s"
        in_use = tmp_path / "in_use"
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(in_use))
            taken.listen()
            rejected = await lb.reload(config(server, bind=f"unix:{in_use}"))
            assert rejected["errors"] == [f"cannot listen on unix:{in_use}: address already in use"]
        async with await trio.open_unix_socket(path) as stream:
            assert await request(stream, b"name") == b"s"


@both_splicers
async def test_a_unix_server_that_is_gone_has_words_of_its_own(tmp_path):
    missing = Named("missing", f"unix:{tmp_path / 'missing'}")
    async with serving() as server, balancer(tmp_path, config(missing, server, health=None)) as lb:
        assert await ask(lb.port) == b"s\n"
        record = await lb.only_record()
    assert [(each["server"], each["error"]) for each in record["attempts"]] == [("missing", "no such socket")]


@both_splicers
@needs_ipv6
async def test_ipv6_on_both_sides(tmp_path):
    async with serving(address=("::1", 0)) as server, balancer(tmp_path, config(server, bind="[::1]:0")) as lb:
        async with await connect(lb.port, "::1") as stream:
            port = stream.socket.getsockname()[1]
            assert await request(stream, b"name") == b"s"
        record = await lb.only_record()
    assert record["client"] == f"[::1]:{port}"


@needs_ipv6
async def test_a_bare_port_takes_both_families_and_an_ipv4_client_is_plain_ipv4(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, bind=":0")) as lb:
        for host in ("127.0.0.1", "::1"):
            assert await ask(lb.port, host=host) == b"s\n"
        await lb.event("connection.closed", count=2)
        assert await lb.stop() == 0
    clients = [record["client"].rpartition(":")[0] for record in lb.of("connection.closed")]
    assert clients == ["127.0.0.1", "[::1]"]


@both_splicers
async def test_every_bind_of_a_listener_serves(tmp_path):
    binds = ["127.0.0.1:0", "127.0.0.2:0", f"unix:{tmp_path / 'front'}"]
    async with serving() as server, balancer(tmp_path, config(server, bind=binds)) as lb:
        first, second, third = lb.binds["web"]
        assert await ask(port_of(first), host="127.0.0.1") == b"s\n"
        assert await ask(port_of(second), host="127.0.0.2") == b"s\n"
        async with await trio.open_unix_socket(third.removeprefix("unix:")) as stream:
            assert await request(stream, b"name") == b"s"


async def test_two_listeners_may_both_ask_for_any_port(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b:
        other = f'[listeners.other]\nbind = "127.0.0.1:0"\nservers = ["{b.address}"]'
        async with balancer(tmp_path, config(a, top=other)) as lb:
            assert await ask(lb.port) == b"a\n"
            assert await ask(port_of(lb.binds["other"][0])) == b"b\n"


async def test_a_server_may_be_a_host_name(tmp_path):
    async with serving() as server:
        by_name = Named("s", f"localhost:{port_of(server.address)}")
        async with balancer(tmp_path, config(by_name, pool='resolve_interval = "50ms"')) as lb:
            assert await ask(lb.port) == b"s\n"
        async with balancer(tmp_path, config(by_name, health=None, bind="localhost:0")) as lb:
            assert await ask(lb.port, host="localhost") == b"s\n"


async def test_a_name_that_nobody_knows_is_said_and_leaves_clients_to_the_others(tmp_path):
    """``.invalid`` never resolves, RFC 2606."""
    unknown = Named("unknown", "nobody.invalid:80")
    async with serving() as server, balancer(tmp_path, config(unknown, server, health=None)) as lb:
        said = await lb.event("resolve.failed", server="unknown")
        assert said["host"] == "nobody.invalid"
        assert await ask(lb.port) == b"s\n"


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("bind", ["127.0.0.1:0", ":0"])
async def test_a_server_that_is_a_listener_of_ours_is_a_failed_connect(tmp_path, bind):
    """Otherwise one client becomes two connections, four, eight, until all descriptors are used up."""
    async with serving(name="a") as a, balancer(tmp_path, config(a, bind=bind, health=None)) as lb:
        own = Named("own", f"127.0.0.1:{lb.port}")
        await lb.reload(config(own, bind=bind, health=None))
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.event("connection.closed")
        assert record["reason"] == "connect_failed"
        assert {attempt["error"] for attempt in record["attempts"]} == {"it is a listener of this process"}
        await lb.reload(config(a, own, bind=bind, health=None))
        assert {await ask(lb.port) for _ in range(10)} == {b"a\n"}
        await lb.stop()
    assert len(lb.of("connection.closed")) == 11
