"""Listening sockets: bind, conflicts, and leftover files."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack

import pytest

from lb.model.address import Address
from lb.net.activation import socket_name
from lb.net.sockets import open_sockets, remove_file

ANYWHERE = Address.parse("127.0.0.1:0")


def test_the_name_of_a_socket_is_the_address_that_was_really_bound(tmp_path):
    (sock,) = open_sockets(ANYWHERE, 16)
    with sock:
        assert socket_name(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    (sock,) = open_sockets(Address.parse(f"unix:{tmp_path}/s"), 16)
    with sock:
        assert socket_name(sock) == f"unix:{tmp_path}/s"


def test_the_file_of_a_unix_socket_is_removed_and_nothing_else(tmp_path):
    address = Address.parse(f"unix:{tmp_path}/s")
    (sock,) = open_sockets(address, 16)
    with sock:
        remove_file(address)
        assert not (tmp_path / "s").exists()
        remove_file(address)
        (tmp_path / "s").mkdir()
        remove_file(address)
        assert (tmp_path / "s").is_dir()
        remove_file(ANYWHERE)


def test_a_unix_socket_that_a_dead_process_left_is_replaced(tmp_path):
    address = Address.parse(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(address.path)
    (sock,) = open_sockets(address, 16)
    with sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)


def test_a_unix_socket_that_is_alive_is_not_taken_away(tmp_path):
    address = Address.parse(f"unix:{tmp_path}/s")
    (sock,) = open_sockets(address, 16)
    with sock, pytest.raises(OSError, match=r"cannot listen on unix:.*address already in use"):
        open_sockets(address, 16)


def test_a_unix_socket_whose_process_hangs_is_in_use_and_waited_for_by_nobody(tmp_path):
    """A connect to a full backlog would block."""
    address = Address.parse(f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as hanging, ExitStack() as clients:
        hanging.bind(address.path)
        hanging.listen(0)
        while True:
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            if client.connect_ex(address.path) == errno.EAGAIN:
                break
        with pytest.raises(OSError, match=r"cannot listen on unix:.*address already in use"):
            open_sockets(address, 16)


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="cannot listen on unix:"):
        open_sockets(Address.parse(f"unix:{tmp_path}/s"), 16)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_port_in_use_is_named_with_its_reason():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: address already in use") as caught:
            open_sockets(Address.parse(f"127.0.0.1:{port}"), 16)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_name_that_binds_in_part_leaves_nothing_open(monkeypatch):
    """Two addresses; the second is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(OSError, match="in use"):
            open_sockets(Address.parse(f"both.example:{port}"), 16)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_an_empty_host_takes_both_families():
    (sock,) = open_sockets(Address.parse(":0"), 16)
    with sock:
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)) as client:
                accepted, _ = sock.accept()
                accepted.close()
                assert client.getpeername()[1] == port


def test_an_ipv6_address_leaves_the_ipv4_port_alone():
    (sock,) = open_sockets(Address.parse("[::]:0"), 16)
    with sock, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sock.getsockname()[1]))


def test_what_is_accepted_sends_without_delay():
    (sock,) = open_sockets(ANYWHERE, 16)
    with sock, socket.create_connection(sock.getsockname()):
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
