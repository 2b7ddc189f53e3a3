"""IPv6: hosts without it, and addresses with a scope. Each runs in a network namespace of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

NAMESPACE = ["unshare", "--net"]
IMPORTS = """
import socket
from lb.model.address import Address
from lb.model.listener import ListeningSpec
from lb.net.activation import socket_name
from lb.net.resolver import static_targets
from lb.net.sockets import open_sockets
"""


def may_unshare():
    return subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not may_unshare(), reason="needs the right to make a network namespace"),
]


def printed(setup, script):
    """Return what a Python script prints in a namespace that has been set up by shell commands."""
    command = [*NAMESPACE, "sh", "-c", f'ip link set lo up; {setup}; exec "$@"', "sh"]
    done = subprocess.run(
        [*command, sys.executable, "-c", IMPORTS + script], check=True, capture_output=True, text=True, cwd=ROOT
    )
    return done.stdout.splitlines()


def test_a_host_without_ipv6_says_so_and_binds_the_rest_of_localhost():
    script = """
try:
    open_sockets(Address.parse("[::1]:0"), ListeningSpec())
except OSError as error:
    print(error.strerror)
targets = [(socket.AF_INET6, ("::1", 0, 0, 0)), (socket.AF_INET, ("127.0.0.1", 0))]
for sock in open_sockets(Address.parse("localhost:0"), ListeningSpec(), targets=targets):
    print(sock.getsockname()[0])
"""
    off = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6"
    assert printed(off, script) == ["cannot listen on [::1]:0: this host has no IPv6", "127.0.0.1"]


def test_a_link_local_server_keeps_its_scope():
    """Without it the connect fails: "invalid argument"."""
    script = """
(listening,) = open_sockets(Address.parse("[fe80::1%lo]:0"), ListeningSpec())
name = socket_name(listening)
((family, target),) = static_targets(Address.parse(name))
with socket.socket(family) as client:
    client.connect(target)
    print(name.rpartition(":")[0], client.getpeername()[3] == socket.if_nametoindex("lo"))
((family, target),) = static_targets(Address.parse("[fe80::1%none]:80"))
print(target)
"""
    found = printed("ip -6 addr add fe80::1/64 dev lo nodad", script)
    assert found == ["[fe80::1%lo] True", "('fe80::1', 80)"]
