"""A machine of a command's own: another /etc/resolv.conf, whose only name server is one of the test's."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
from contextlib import contextmanager

import pytest

__all__ = ["DNS_PORT", "own_loopback_address", "silent_names", "with_name_server"]

DNS_PORT = 53
_numbers = itertools.count(1)


def own_loopback_address():
    """Return an address of 127.0.0.0/8 that no other test uses."""
    pid = os.getpid()
    return f"127.{64 + (pid >> 8) % 64}.{pid % 256}.{next(_numbers)}"


def with_name_server(tmp_path, address):
    """Return the prefix of a command that asks this name server. For ``through`` of tests.support.balancer."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a mount namespace needs root and unshare")
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {address}\n")
    return ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', file)


@contextmanager
def silent_names(tmp_path):
    """Yield the prefix of a command for which no host name is answered."""
    address = own_loopback_address()
    through = with_name_server(tmp_path, address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, DNS_PORT))
        yield through
