"""A name server that never answers, as the only one of a command's machine."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
from contextlib import contextmanager

import pytest

_numbers = itertools.count(1)


@contextmanager
def silent_names(tmp_path):
    """Yield the prefix of a command for which no host name is answered. For ``through`` of tests.support.balancer."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("a mount namespace needs root and unshare")
    pid = os.getpid()
    address = f"127.{64 + (pid >> 8) % 64}.{pid % 256}.{next(_numbers)}"
    file = tmp_path / "resolv.conf"
    file.write_text(f"nameserver {address}\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        yield ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', file)
