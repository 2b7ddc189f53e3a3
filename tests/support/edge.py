"""The examples ``ha-vip`` and ``ha-bgp`` on machines of a test, and clients that keep coming.

::

    ha-vip:   clients, servers (lan) ── front, back ── lb1, lb2
    ha-bgp:   clients, servers (lan) ── clients ── router ── front ── lb1, lb2; servers ── back ── lb1, lb2
"""

from __future__ import annotations

import itertools
import math
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.e2e.traffic.test_real_peers import program
from tests.support.balancer import PATIENCE, balancer, killed_at_end, read_all
from tests.support.namespaces import lay_cable, lay_link, lay_switch, machines
from tests.support.paths import EXAMPLES

CLIENTS = [f"192.0.2.{number}" for number in range(100, 200)]
SERVERS = ["10.66.0.11", "10.66.0.12", "10.66.0.13"]
PORT = 9000
MOST_LOST = 5
"""Sessions that are open in the very moment in which an address moves."""


async def until(holds):
    """Wait until a condition holds of which nobody tells."""
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 - they have no events
            await trio.sleep(0.01)


@attrs.frozen
class Node:
    """A machine with a balancer, and its cables."""

    number: int
    machine: object
    front: object
    back: object

    def pull_cables(self):
        """The machine dies, as far as others can see."""
        for cable in (self.front, self.back):
            cable.pull()

    def plug_in(self):
        for cable in (self.back, self.front):
            cable.plug_in()


@attrs.frozen
class Edge:
    """The machines of an example."""

    example: Path
    lan: object
    """Where clients and servers are."""
    nodes: list[Node]
    address: str
    """Of the service."""
    home: Path
    """For files of the programs."""
    router: object = None

    @asynccontextmanager
    async def balancer(self, node):
        """Run the balancer of a node, with the example's configuration."""
        home = self.home / f"lb{node.number}"
        home.mkdir(exist_ok=True)
        text = (self.example / "lb.toml").read_text()
        env = {"LB_NODE": f"lb{node.number}"}
        async with balancer(home, text, preexec=node.machine.enter, env=env) as lb:
            yield lb

    @asynccontextmanager
    async def program(self, machine, *command):
        """Run a program on a machine, before all others that want the CPU, until the end of the block."""
        log = self.home / f"{Path(command[0]).name}-{machine.namespace}.log"
        with log.open("ab") as output:
            process = await trio.lowlevel.open_process(
                [program("nice"), "-n", "-20", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.example,
                preexec_fn=machine.enter,
            )
        async with killed_at_end(process):
            try:
                yield Program(log)
            finally:
                process.terminate()  # it ends its own children, and removes its addresses
                with trio.move_on_after(PATIENCE) as scope:
                    scope.shield = True
                    await process.wait()

    def keepalived(self, node):
        own = self.home / f"keepalived-{node.number}"
        files = [f"--{kind}={own}-{kind}" for kind in ("pid", "vrrp_pid", "checkers_pid")]
        config = f"--use-file=keepalived-{node.number}.conf"
        return self.program(node.machine, program("keepalived"), "-n", "-l", "-D", config, *files)

    def bird(self, machine, config):
        own = self.home / f"bird-{machine.namespace}"
        return self.program(machine, program("bird"), "-f", "-c", config, "-s", f"{own}.ctl", "-P", f"{own}.pid")

    @asynccontextmanager
    async def birds(self):
        """Run bird on the router and on all nodes."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.bird(self.router, "bird-router.conf"))
            for node in self.nodes:
                await stack.enter_async_context(self.bird(node.machine, "bird.conf"))
            yield

    @asynccontextmanager
    async def servers(self):
        """Run the three servers; each has its address as its name."""
        async with AsyncExitStack() as stack:
            for address in SERVERS:
                await stack.enter_async_context(self.lan.serving(address, address, PORT))
            yield

    async def connect(self, client, address=None):
        """Open a connection of a client to the service."""
        sock = trio.socket.from_stdlib_socket(_nonblocking(self.lan.socket()))
        try:
            await sock.bind((client, 0))
            await sock.connect((address or self.address, 80))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)

    async def ask(self, client, connected=lambda: None):
        """Run a session of a client: return its server. Call ``connected`` in between."""
        with trio.fail_after(PATIENCE):
            async with await self.connect(client) as stream:
                connected()
                await stream.send_all(b"name\n")
                await stream.send_eof()
                return (await read_all(stream)).decode().strip()

    async def placed(self, clients):
        """Return the server of each client."""
        found = {}

        async def ask(client):
            found[client] = await self.ask(client)

        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(ask, client)
        return found

    def has(self, node, stream):
        """Return whether a client's connection is one of this node."""
        client, port = stream.socket.getsockname()
        command = ["ip", "netns", "exec", node.machine.namespace, "ss", "-Htn", "dst", client, "dport", f"= :{port}"]
        return bool(subprocess.run(command, check=True, capture_output=True).stdout)


@attrs.frozen
class Program:
    """A running program, and what it says."""

    log: Path

    async def says(self, text, count=1):
        """Wait until it has said this so many times."""
        await until(lambda: self.log.read_text().count(text) >= count)


def _nonblocking(sock):
    sock.setblocking(False)
    return sock


@attrs.define
class Session:
    """A session of the load. Times are of trio's clock."""

    began: float
    connected: float = math.inf
    served: float | None = None
    error: str = ""

    @property
    def ended(self):
        return self.served is not None or self.error != ""


class Load:
    """Clients that come one after the other, whatever becomes of those before."""

    def __init__(self, edge):
        self.sessions = []
        self._edge = edge
        self._change = math.inf

    async def run(self, nursery):
        """Begin sessions until cancelled."""
        for client in itertools.cycle(CLIENTS):
            nursery.start_soon(self._session, client)
            await trio.sleep(0.02)

    async def _session(self, client):
        session = Session(trio.current_time())
        self.sessions.append(session)

        def connected():
            session.connected = trio.current_time()

        try:
            await self._edge.ask(client, connected)
        except (OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
            session.error = repr(error)
        else:
            session.served = trio.current_time()

    async def moved(self):
        """The address has moved: sessions that begin from now on must be served, and so must nearly all before."""
        self._change = trio.current_time()
        await self.more(20)

    async def more(self, count):
        """Wait until so many sessions that have not begun yet are served."""
        now = trio.current_time()
        await until(lambda: sum(each.began > now and each.served is not None for each in self.sessions) >= count)

    async def settled(self):
        """Wait for all sessions but those that were connected when the address moved: they may have no end."""
        moved = self._change if self._change < math.inf else 0
        await until(lambda: all(each.ended for each in self.sessions if each.connected > moved))

    def check(self):
        """Hold what can be had: a session that is open in the very moment of the change may be lost, no later one."""
        lost = [session for session in self.sessions if session.served is None]
        told = [(each.began - self._change, each.connected - self._change, each.error) for each in lost]
        assert len(lost) <= (MOST_LOST if self._change < math.inf else 0), told
        assert not [session for session in lost if session.began > self._change], told


@asynccontextmanager
async def load(edge):
    """Run a load within the block. Then hold that no more sessions were lost than :meth:`Load.check` allows."""
    running = Load(edge)
    async with trio.open_nursery() as sessions:
        async with trio.open_nursery() as beginning:
            beginning.start_soon(running.run, sessions)
            await running.more(5)
            yield running
            beginning.cancel_scope.cancel()
        await running.settled()
        sessions.cancel_scope.cancel()
    running.check()


def lay_nodes(lan, front, addresses, balancers):
    """Return the nodes, connected to switch ``front`` of a machine and ``back`` of the LAN."""
    lay_switch(lan, "back", "10.66.0.1/24", *(f"{server}/24" for server in SERVERS))
    nodes = []
    for number, machine in enumerate(balancers, 1):
        there = lay_cable(front, "front", machine, "front", addresses.format(number + 1))
        nodes.append(Node(number, machine, there, lay_cable(lan, "back", machine, "back", f"10.66.0.{number + 1}/24")))
    return nodes


@asynccontextmanager
async def ha_vip(tmp_path):
    """Yield the machines of ``examples/ha-vip``, with the servers running."""
    with machines("lan", "lb1", "lb2") as (lan, *balancers):
        lay_switch(lan, "front", *(f"{client}/24" for client in CLIENTS))
        nodes = lay_nodes(lan, lan, "192.0.2.{}/24", balancers)
        edge = Edge(EXAMPLES / "ha-vip", lan, nodes, "192.0.2.10", tmp_path)
        async with edge.servers():
            yield edge


@asynccontextmanager
async def ha_bgp(tmp_path, count=2):
    """Yield the machines of ``examples/ha-bgp``, with the servers running."""
    names = [f"lb{number}" for number in range(1, count + 1)]
    with machines("lan", "router", *names) as (lan, router, *balancers):
        router.sysctl("net.ipv4.ip_forward", 1)
        router.sysctl("net.ipv4.fib_multipath_hash_policy", 1)
        lay_switch(router, "front", "10.65.0.1/24")
        lay_link(lan, "uplink", router, "clients", "192.0.2.1/24")
        lan.plug("uplink", *(f"{client}/24" for client in CLIENTS))
        lan.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.1")
        nodes = lay_nodes(lan, router, "10.65.0.{}/24", balancers)
        edge = Edge(EXAMPLES / "ha-bgp", lan, nodes, "203.0.113.5", tmp_path, router)
        async with edge.servers():
            yield edge
