"""Where a check connects to: the address, the port, PROXY header and TLS of each check of a server."""

from __future__ import annotations

import socket

import pytest

from lb.control.check_target import checked_address, on_port
from lb.model import CheckSpec
from lb.model.address import Address


@pytest.mark.parametrize(
    ("server", "port", "expected"),
    [
        ("10.0.0.1:80", 8080, "10.0.0.1:8080"),
        ("[::1]:80", 8080, "[::1]:8080"),
        ("db.internal:5432", 8008, "db.internal:8008"),
    ],
)
def test_another_port_replaces_that_of_the_server(server, port, expected):
    address = checked_address(Address.parse(server), CheckSpec(port=port))
    assert address == Address.parse(expected)
    assert (address.host, address.port) == (Address.parse(expected).host, port)


@pytest.mark.parametrize("text", ["10.0.0.1:80", "unix:/run/x"])
@pytest.mark.parametrize("port", [0, 80])
def test_a_check_of_the_same_port_uses_the_address_of_traffic(text, port):
    server = Address.parse(text)
    assert checked_address(server, CheckSpec(port=port)) is server


@pytest.mark.parametrize(
    ("server", "port", "address", "expected"),
    [
        ("10.0.0.1:80", 0, "10.0.0.2", "10.0.0.2:80"),
        ("10.0.0.1:80", 8080, "::1", "[::1]:8080"),
        ("db.internal:5432", 0, "10.0.0.2", "10.0.0.2:5432"),
        ("unix:/run/x", 8080, "127.0.0.1", "127.0.0.1:8080"),
    ],
)
def test_another_address_replaces_that_of_the_server(server, port, address, expected):
    assert checked_address(Address.parse(server), CheckSpec(port=port, address=address)) == Address.parse(expected)


def test_another_port_keeps_what_else_is_in_a_socket_address():
    assert on_port(((socket.AF_INET6, ("fe80::1", 1, 0, 2)),), 2) == ((socket.AF_INET6, ("fe80::1", 2, 0, 2)),)
