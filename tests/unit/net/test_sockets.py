"""Listening sockets: bind, conflicts, and leftover files."""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from contextlib import ExitStack

import pytest

from lb.model.address import Address
from lb.model.listener import ListeningSpec
from lb.net.activation import socket_name
from lb.net.sockets import open_sockets, remove_file, set_options

ANYWHERE = Address.parse("127.0.0.1:0")
LISTENING = ListeningSpec(16)


def test_the_name_of_a_socket_is_the_address_that_was_really_bound(tmp_path):
    (sock,) = open_sockets(ANYWHERE, LISTENING)
    with sock:
        assert socket_name(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    (sock,) = open_sockets(Address.parse(f"unix:{tmp_path}/s"), LISTENING)
    with sock:
        assert socket_name(sock) == f"unix:{tmp_path}/s"


def test_the_file_of_a_unix_socket_is_removed_and_nothing_else(tmp_path):
    address = Address.parse(f"unix:{tmp_path}/s")
    (sock,) = open_sockets(address, LISTENING)
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
    (sock,) = open_sockets(address, LISTENING)
    with sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(address.path)


def test_a_unix_socket_that_is_alive_is_not_taken_away(tmp_path):
    address = Address.parse(f"unix:{tmp_path}/s")
    (sock,) = open_sockets(address, LISTENING)
    with sock, pytest.raises(OSError, match=r"cannot listen on unix:.*address already in use"):
        open_sockets(address, LISTENING)


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
            open_sockets(address, LISTENING)


def test_a_file_that_is_no_socket_is_not_removed(tmp_path):
    (tmp_path / "s").write_text("precious")
    with pytest.raises(OSError, match="cannot listen on unix:"):
        open_sockets(Address.parse(f"unix:{tmp_path}/s"), LISTENING)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_port_in_use_is_named_with_its_reason():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}: address already in use") as caught:
            open_sockets(Address.parse(f"127.0.0.1:{port}"), LISTENING)
    assert caught.value.errno == errno.EADDRINUSE


def test_a_name_that_binds_in_part_leaves_nothing_open(monkeypatch):
    """Two addresses; the second is in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
        with pytest.raises(OSError, match="in use"):
            open_sockets(Address.parse(f"both.example:{port}"), LISTENING)
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_an_empty_host_takes_both_families():
    (sock,) = open_sockets(Address.parse(":0"), LISTENING)
    with sock:
        port = sock.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)) as client:
                accepted, _ = sock.accept()
                accepted.close()
                assert client.getpeername()[1] == port


def test_an_ipv6_address_leaves_the_ipv4_port_alone():
    (sock,) = open_sockets(Address.parse("[::]:0"), LISTENING)
    with sock, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", sock.getsockname()[1]))


def test_what_is_accepted_sends_without_delay():
    (sock,) = open_sockets(ANYWHERE, LISTENING)
    with sock, socket.create_connection(sock.getsockname()):
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_of_another_host_is_called_so():
    """The reason was "out of local ports", which is that of a connect."""
    with pytest.raises(OSError, match=r"cannot listen on 192\.0\.2\.1:0: not an address of this host"):
        open_sockets(Address.parse("192.0.2.1:0"), LISTENING)


def test_an_address_that_is_not_here_yet_can_be_bound():
    (sock,) = open_sockets(Address.parse("192.0.2.1:0"), ListeningSpec(freebind=True))
    with sock:
        assert sock.getsockname()[0] == "192.0.2.1"
    (sock,) = open_sockets(Address.parse("[2001:db8::1]:0"), ListeningSpec(freebind=True))
    with sock:
        assert sock.getsockname()[0] == "2001:db8::1"


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(OSError, match=f"there is no directory '{tmp_path}/run'"):
        open_sockets(Address.parse(f"unix:{tmp_path}/run/lb.sock"), LISTENING)


def test_a_name_binds_those_of_its_addresses_that_are_here():
    """Many hosts have ::1 for localhost in /etc/hosts, and no IPv6."""
    targets = [(socket.AF_INET6, ("2001:db8::1", 0)), (socket.AF_INET, ("127.0.0.1", 0))]
    (sock,) = open_sockets(Address.parse("localhost:0"), LISTENING, targets=targets)
    with sock:
        assert sock.getsockname()[0] == "127.0.0.1"
    with pytest.raises(OSError, match="cannot listen on localhost:0: not an address of this host"):
        open_sockets(Address.parse("localhost:0"), LISTENING, targets=targets[:1])


def test_a_host_without_ipv6_says_so(monkeypatch):
    monkeypatch.setattr("lb.net.sockets._has_ipv6", lambda: False)
    with pytest.raises(OSError, match=r"cannot listen on \[2001:db8::1\]:0: this host has no IPv6"):
        open_sockets(Address.parse("[2001:db8::1]:0"), LISTENING)


def test_an_abstract_socket_has_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    address = Address.parse(f"unix:@{tmp_path}")
    (sock,) = open_sockets(address, LISTENING)
    with sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{tmp_path}")
        assert socket_name(sock) == f"unix:@{tmp_path}"
        remove_file(address)
    assert not list(tmp_path.iterdir())


def test_the_file_of_a_socket_has_its_mode_before_it_listens(tmp_path, monkeypatch):
    """Once, anyone could connect to the admin endpoint in the moment before its chmod."""
    path, modes = tmp_path / "s", []
    bind = socket.socket.bind

    def observed(sock, target):
        bind(sock, target)
        modes.append(stat.S_IMODE(path.stat().st_mode))

    monkeypatch.setattr(socket.socket, "bind", observed)
    before = os.umask(0)
    try:
        (sock,) = open_sockets(Address.parse(f"unix:{path}"), ListeningSpec(mode=0o600))
    finally:
        os.umask(before)
    sock.close()
    assert modes == [0o600]
    path.unlink()
    (sock,) = open_sockets(
        Address.parse(f"unix:{path}"), ListeningSpec(mode=0o666, owner=f":{grp.getgrgid(1).gr_name}")
    )
    sock.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o666, "the umask takes nothing away"
    assert path.stat().st_gid == 1


def test_an_owner_that_is_unknown_is_named(tmp_path):
    with pytest.raises(OSError, match="socket_owner: no such user or group: 'nobody-here'"):
        open_sockets(Address.parse(f"unix:{tmp_path}/s"), ListeningSpec(owner="nobody-here"))


def test_what_is_accepted_inherits_keep_alive_and_user_timeout():
    """So they cost no system call for each connection."""
    (sock,) = open_sockets(ANYWHERE, ListeningSpec(keepalive=90, user_timeout=30))
    with sock, socket.create_connection(sock.getsockname()):
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 90
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        set_options(sock, ListeningSpec())
        assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
