"""Two test hosts: network namespaces with links that can be cut, so that packets are dropped."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio

import tests.support.backend
from tests.e2e.traffic.test_real_peers import program

CLONE_NEWNET = 0x40000000  # setns(2)
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    """Move this thread, or a child process before exec, to an open network namespace."""
    if _libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run(*arguments, text=None):
    """Run a command that must succeed."""
    done = subprocess.run([*map(str, arguments)], check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{arguments}: {done.stderr.strip()}")


@attrs.frozen
class Link:
    """A link between the two hosts, with a server's address at its far end."""

    host: str
    """The balancer's namespace."""
    number: int

    @property
    def address(self):
        return f"10.203.{self.number}.2"

    def lay(self, far):
        run("ip", "link", "add", self._name, "netns", self.host, "type", "veth", "peer", self._name, "netns", far)
        for namespace, end in ((self.host, 1), (far, 2)):
            run("ip", "-n", namespace, "address", "add", f"10.203.{self.number}.{end}/24", "dev", self._name)
            run("ip", "-n", namespace, "link", "set", self._name, "up")

    @property
    def _name(self):
        return f"link{self.number}"

    def cut(self):
        """Drop all packets both ways, without a reset or an error."""
        chains = "".join(
            f'chain {hook} {{ type filter hook {hook} priority 0; {way} "{self._name}" drop; }}\n'
            for hook, way in (("input", "iifname"), ("output", "oifname"))
        )
        run("ip", "netns", "exec", self.host, "nft", "-f", "-", text=f"table inet {self._name} {{\n{chains}}}")

    def mend(self):
        run("ip", "netns", "exec", self.host, "nft", "delete", "table", "inet", self._name)

    def unplug(self):
        """Set the link down. The balancer's host then has no route."""
        run("ip", "-n", self.host, "link", "set", self._name, "down")

    def plug_in(self):
        run("ip", "-n", self.host, "link", "set", self._name, "up")


@attrs.frozen
class TwoHosts:
    """The balancer's host (``near``), the servers' host (``far``), and the links between them."""

    near: object
    far: object
    links: list[Link]

    def enter_near(self):
        """Enter the near host: for a child process before exec."""
        enter(self.near)

    def _listen(self, link):
        """Return a listening socket on the far host. A socket belongs to the namespace in which it was made."""
        with Path("/proc/thread-self/ns/net").open() as home:
            enter(self.far)
            try:
                return socket.create_server((link.address, 0))
            finally:
                enter(home)

    @asynccontextmanager
    async def serving(self, name, link):
        """Run a server (tests/support/backend.py) at the far end of a link. Yield its name and address."""
        listening = self._listen(link)

        async def serve(stream):
            with suppress(trio.BrokenResourceError):
                await tests.support.backend.serve(name, stream)

        listening.setblocking(False)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, serve, [listener])
            yield Server(name, f"{link.address}:{listening.getsockname()[1]}")
            nursery.cancel_scope.cancel()


@attrs.frozen
class Server:
    name: str
    address: str


@contextmanager
def two_hosts(links=2):
    """Make the two hosts, and delete them at the end of the block. Skip the test if namespaces are not available."""
    for tool in ("ip", "nft"):
        program(tool)
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    names = [f"lb-test-{os.getpid()}-{next(_numbers)}" for _ in range(2)]
    with ExitStack() as stack:
        for name in names:
            try:
                run("ip", "netns", "add", name)
            except OSError as error:
                pytest.skip(f"no network namespaces here: {error}")
            stack.callback(run, "ip", "netns", "delete", name)
        laid = [Link(names[0], number) for number in range(links)]
        for link in laid:
            link.lay(names[1])
        near, far = (stack.enter_context(Path("/run/netns", name).open()) for name in names)
        yield TwoHosts(near, far, laid)
