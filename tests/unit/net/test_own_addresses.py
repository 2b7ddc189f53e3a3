"""Which addresses of servers are those of listening sockets of this process."""

from __future__ import annotations

import socket

import pytest

from lb.net.own_addresses import OwnAddresses

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


@pytest.mark.parametrize(
    ("bound", "target", "own"),
    [
        (("127.0.0.1", 80), (V4, ("127.0.0.1", 80)), True),
        (("127.0.0.1", 80), (V4, ("127.0.0.1", 81)), False),
        (("127.0.0.1", 80), (V4, ("127.0.0.2", 80)), False),
        (("127.0.0.1", 80), (V4, ("127.0.0.1", 0)), True),
        (("127.0.0.1", 80), (V4, ("127.0.0.2", 0)), False),
        (("127.0.0.1", 80), (V4, ("0.0.0.0", 80)), True),
        (("127.0.0.1", 80), (V6, ("::1", 80)), False),
        (("127.0.0.1", 80), (V6, ("::ffff:127.0.0.1", 80, 0, 0)), True),
        (("::1", 80, 0, 0), (V6, ("0:0:0:0:0:0:0:1", 80)), True),
        (("::", 80, 0, 0), (V4, ("127.0.0.1", 80)), True),
        (("::", 80, 0, 0), (V6, ("::1", 80)), True),
        (("0.0.0.0", 80), (V4, ("127.0.0.9", 80)), True),
        (("0.0.0.0", 80), (V4, ("192.0.2.1", 80)), False),
        (("fe80::1%lo", 80, 0, 1), (V6, ("fe80::1", 80, 0, 1)), True),
        ("/run/lb.sock", (UNIX, "/run/lb.sock"), True),
        ("/run/lb.sock", (UNIX, "/run/other.sock"), False),
        ("/run/lb.sock", (V4, ("127.0.0.1", 80)), False),
    ],
)
def test_own_addresses_are_found(bound, target, own):
    other = (V4, ("192.0.2.9", 9))
    assert OwnAddresses([bound, ("192.0.2.200", 443)]).among([other, target]) == ({target} if own else set())


def test_without_listeners_nothing_is_our_own():
    assert not OwnAddresses().among([(V4, ("127.0.0.1", 80)), (UNIX, "/run/lb.sock")])
