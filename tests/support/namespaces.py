"""Machines for tests: network namespaces, with cables between them that can be pulled."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import socket
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import pytest

from tests.e2e.traffic.test_real_peers import program
from tests.support.servers import serving

CLONE_NEWNET = 0x40000000  # setns(2)
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace):
    """Move this thread, or a child process before exec, to an open network namespace."""
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(*arguments, text=None):
    """Run a command that must succeed."""
    done = subprocess.run([*map(str, arguments)], check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{arguments}: {done.stderr.strip()}")


@attrs.frozen
class Machine:
    """A network namespace. Files and processes are those of the host."""

    namespace: str
    file: object
    """Its open namespace."""

    def enter(self):
        """Enter the machine: for a child process before exec."""
        _enter(self.file)

    def ip(self, *arguments):
        """Run ``ip`` on this machine."""
        run("ip", "-n", self.namespace, *arguments)

    def sysctl(self, name, value):
        run("ip", "netns", "exec", self.namespace, "sysctl", "-qw", f"{name}={value}")

    def addresses(self, interface):
        """Return the addresses of an interface, as ``192.0.2.1/24``."""
        done = subprocess.run(
            ["ip", "-n", self.namespace, "-json", "address", "show", "dev", interface],
            check=True,
            capture_output=True,
        )
        found = json.loads(done.stdout)[0]["addr_info"]
        return {f"{each['local']}/{each['prefixlen']}" for each in found}

    def local_routes(self):
        """Return the static routes of the table ``local``, of both families."""
        found = set()
        for family in ("-4", "-6"):
            show = ["route", "show", "table", "local", "proto", "static"]
            done = subprocess.run(["ip", "-n", self.namespace, family, "-json", *show], check=True, capture_output=True)
            found |= {each["dst"] for each in json.loads(done.stdout or b"[]")}
        return found

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM):
        """Return a socket on this machine. It stays there."""
        with Path("/proc/thread-self/ns/net").open() as home:
            self.enter()
            try:
                return socket.socket(family, kind)
            finally:
                _enter(home)

    def serving(self, name, host, port=0):
        """Run a server on this machine: :func:`tests.support.servers.serving`."""
        return serving(name=name, address=(host, port), new_socket=self.socket)

    def plug(self, interface, *addresses, up=True):
        """Set addresses on an interface, and set it up or down."""
        for address in addresses:
            self.ip("address", "add", address, "dev", interface)
        self.ip("link", "set", interface, "up" if up else "down")


@attrs.frozen
class Cable:
    """A link from a port of a machine's switch to an interface of another machine."""

    switch: Machine
    port: str

    def pull(self):
        """Pull the cable out: both ends lose the carrier."""
        self.switch.plug(self.port, up=False)

    def plug_in(self):
        self.switch.plug(self.port)


def lay_switch(machine, name, *addresses):
    """Make a bridge on a machine, which has these addresses itself."""
    machine.ip("link", "add", name, "type", "bridge")
    machine.plug(name, *addresses)


def lay_cable(switch, bridge, machine, interface, *addresses):
    """Connect an interface of a machine with a port of a bridge."""
    port = f"port{next(_numbers)}"
    lay_link(switch, port, machine, interface, *addresses)
    switch.ip("link", "set", port, "master", bridge)
    return Cable(switch, port)


def lay_link(one, end, other, interface, *addresses):
    """Connect two machines; ``addresses`` are those of the second one."""
    one.ip("link", "add", end, "type", "veth", "peer", interface, "netns", other.namespace)
    one.plug(end)
    other.plug(interface, *addresses)


@contextmanager
def machines(*names):
    """Make machines, and delete them at the end of the block. Skip the test if namespaces are not available."""
    program("ip")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    with ExitStack() as stack:
        made = []
        for name in names:
            namespace = f"lb-{name}-{os.getpid()}-{next(_numbers)}"
            try:
                run("ip", "netns", "add", namespace)
            except OSError as error:
                pytest.skip(f"no network namespaces here: {error}")
            stack.callback(run, "ip", "netns", "delete", namespace)
            made.append(Machine(namespace, stack.enter_context(Path("/run/netns", namespace).open())))
            made[-1].plug("lo")
        yield made
