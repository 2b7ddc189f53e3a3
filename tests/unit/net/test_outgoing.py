"""Sockets towards servers before the connect, and their options after it."""

from __future__ import annotations

import socket

import pytest

from lb.net.errors import MissingSourceError, describe_error, is_local_error
from lb.net.outgoing import Outgoing
from lb.net.tcp import socket_options


def test_sources_are_taken_in_turn_and_no_port_is_taken_yet():
    """IP_BIND_ADDRESS_NO_PORT: a port that is taken at the bind serves one server only."""
    outgoing = Outgoing(["127.0.0.2", "127.0.0.3", "::1"])
    names = []
    for _ in range(3):
        with socket.socket() as sock:
            outgoing.prepare(sock)
            names.append(sock.getsockname())
    assert names == [("127.0.0.2", 0), ("127.0.0.3", 0), ("127.0.0.2", 0)]
    with socket.socket(socket.AF_INET6) as sock:
        outgoing.prepare(sock)
        assert sock.getsockname()[:2] == ("::1", 0)


def test_a_family_without_a_source_and_a_unix_socket_are_left_alone():
    outgoing = Outgoing(["127.0.0.2"], buffer=65536)
    with socket.socket(socket.AF_INET6) as sock, socket.socket(socket.AF_UNIX) as local:
        before = local.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        outgoing.prepare(sock)
        outgoing.prepare(local)
        assert sock.getsockname()[0] == "::"
        assert local.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_buffers_have_their_size_before_the_connect():
    with socket.socket() as sock:
        Outgoing(buffer=65536).prepare(sock)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert sock.getsockopt(socket.SOL_SOCKET, option) == 2 * 65536, "Linux doubles it, socket(7)"


def test_a_source_that_is_not_here_closes_the_socket_and_is_an_error_of_this_host():
    sock = socket.socket()
    with pytest.raises(MissingSourceError) as caught:
        Outgoing(["192.0.2.1"]).prepare(sock)
    assert sock.fileno() == -1
    assert is_local_error(caught.value)
    assert describe_error(caught.value) == "192.0.2.1 is not an address of this host"


def test_options_towards_servers_are_no_more_than_needed():
    """Each is a system call for each connection."""
    assert len(socket_options(0, 0)) == 2
    options = {(level, option): value for level, option, value in socket_options(120, 30)}
    assert len(options) == 5
    assert options[socket.IPPROTO_TCP, socket.TCP_KEEPIDLE] == 120
    assert options[socket.SOL_SOCKET, socket.SO_KEEPALIVE] == 1
    assert options[socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT] == 30_000
    shortest = {option: value for _, option, value in socket_options(0.2, 0.0001)}
    assert (shortest[socket.TCP_KEEPIDLE], shortest[socket.TCP_USER_TIMEOUT]) == (1, 1)
