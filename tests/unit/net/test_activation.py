"""Socket activation: which passed sockets a listener uses, and what happens to them."""

from __future__ import annotations

import os
import signal
import socket

import pytest

from lb.model.address import Address
from lb.model.listener import ListeningSpec
from lb.net.activation import Given, GivenError, GivenSockets
from lb.net.sockets import open_sockets
from tests.support.balancer import ask, balancer, config, connect, request
from tests.support.servers import serving
from tests.support.service_manager import giving

slow = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")

LISTENING = ListeningSpec(16)


@pytest.fixture
def tcp():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def unix(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/given")
        sock.listen()
        yield sock


def bind_of(sock):
    host, port = sock.getsockname()
    return f"{host}:{port}"


def test_a_listener_takes_a_copy_of_the_socket_that_is_bound_where_it_wants_to_be(tcp, unix):
    given = GivenSockets([Given(tcp, "web"), Given(unix, "local")])
    for sock, text in ((tcp, bind_of(tcp)), (unix, f"unix:{unix.getsockname()}")):
        (taken,) = open_sockets(Address.parse(text), LISTENING, given)
        with taken:
            assert taken.getsockname() == sock.getsockname()
            assert taken.fileno() != sock.fileno()
            assert not taken.getblocking()
    assert sock.fileno() >= 0, "the passed socket stays open"


def test_an_address_that_no_given_socket_has_is_bound_as_ever(tcp):
    given = GivenSockets([Given(tcp, "web")])
    (sock,) = open_sockets(Address.parse("127.0.0.1:0"), LISTENING, given)
    with sock:
        assert sock.getsockname() != tcp.getsockname()
        assert [each.name for each in given.unused([bind_of(sock)])] == ["web"]
    assert given.unused([bind_of(tcp)]) == []


def test_an_ipv6_socket_is_found_whatever_its_flow_and_scope():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        port = sock.getsockname()[1]
        (taken,) = open_sockets(Address.parse(f"[::1]:{port}"), LISTENING, GivenSockets([Given(sock, "six")]))
        with taken:
            assert taken.getsockname()[1] == port


def test_all_addresses_are_those_of_a_socket_of_both_families():
    """The socket that systemd opens for ListenStream=PORT."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as sock:
        port = sock.getsockname()[1]
        (taken,) = open_sockets(Address.parse(f":{port}"), LISTENING, GivenSockets([Given(sock, "both")]))
        taken.close()


def test_the_file_of_a_given_socket_is_not_ours(unix, tmp_path):
    given = GivenSockets([Given(unix, "local")])
    assert given.has_file(Address.parse(f"unix:{tmp_path}/given"))
    assert not given.has_file(Address.parse(f"unix:{tmp_path}/other"))


@pytest.mark.parametrize("pid", ["", "1", "0"])
def test_words_that_are_for_another_process_are_not_heeded_but_taken_out(monkeypatch, pid):
    monkeypatch.setenv("LISTEN_PID", pid)
    monkeypatch.setenv("LISTEN_FDS", "2")
    assert GivenSockets.of_environment().all == ()
    assert not [key for key in os.environ if key.startswith("LISTEN_")]


def test_what_is_no_listening_stream_socket_is_refused():
    with socket.socket() as silent, pytest.raises(GivenError, match="is not a listening TCP or unix stream socket"):
        GivenSockets.of_descriptors({os.dup(silent.fileno()): "web"})
    read, write = os.pipe()
    with pytest.raises(GivenError, match=f"descriptor {read} is not a socket"):
        GivenSockets.of_descriptors({read: "web"})
    os.close(read)
    os.close(write)


@slow
@one_process_or_two
async def test_the_balancer_serves_on_a_given_socket_and_leaves_it_open_when_it_stops(tmp_path, tcp):
    """So a restart refuses no client: new clients wait in the backlog."""
    async with serving() as server:
        text = config(server, bind=bind_of(tcp))
        for _ in range(2):
            async with await connect(tcp.getsockname()[1]) as early, balancer(tmp_path, text, **giving(tcp)) as lb:
                assert await ask(lb.port) == b"s\n"
                assert await request(early, b"name") == b"s"
                await early.aclose()
                assert await lb.stop() == 0
                assert not lb.of("socket.unused")


@slow
@one_process_or_two
async def test_one_that_nobody_uses_is_told_of_and_a_reload_may_take_it(tmp_path, tcp, unix):
    path = unix.getsockname()
    async with serving() as server, balancer(tmp_path, config(server, bind=bind_of(tcp)), **giving(tcp, unix)) as lb:
        unused = await lb.event("socket.unused")
        assert (unused["bind"], unused["socket"]) == (f"unix:{path}", "b")
        assert (await lb.reload(config(server, bind=[bind_of(tcp), f"unix:{path}"])))["event"] == "config.applied"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            await lb.event("listener.started", bind=f"unix:{path}")
        assert (await lb.reload(config(server, bind=f"unix:{path}")))["event"] == "config.applied"
        assert (await lb.event("socket.unused", count=2))["socket"] == "a"
        assert await lb.stop() == 0
    assert (tmp_path / "given").exists(), "the file belongs to the service manager"


@slow
@one_process_or_two
async def test_a_new_process_gets_them_too(tmp_path, tcp, unix):
    path = f"unix:{unix.getsockname()}"
    async with serving() as server, balancer(tmp_path, config(server, bind=bind_of(tcp)), **giving(tcp, unix)) as lb:
        lb.config_file.write_text(config(server, bind=path))
        pid = (await lb.upgrade())["pid"]
        assert (await lb.event("socket.unused", count=2))["socket"] == "a"
        await lb.event("server.stopped")
        async with await connect(tcp.getsockname()[1]) as early:
            assert (await lb.reload(config(server, bind=[path, bind_of(tcp)])))["event"] == "config.applied"
            assert await ask(tcp.getsockname()[1]) == b"s\n"
            assert await request(early, b"name") == b"s"
        lb.signal(signal.SIGTERM)
        await lb.gone(pid)
    assert (tmp_path / "given").exists()


@pytest.mark.parametrize("count", ["x", "-1", "", "1" * 5000, "99999999"])
def test_a_count_of_sockets_that_is_none_is_one_line(monkeypatch, count):
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", count)
    with pytest.raises(GivenError, match="LISTEN_FDS must be a number of descriptors, not "):
        GivenSockets.of_environment()
