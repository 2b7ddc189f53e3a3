"""Two test hosts: network namespaces with links that can be cut, so that packets are dropped."""

from __future__ import annotations

from contextlib import contextmanager

import attrs

from tests.e2e.traffic.test_real_peers import program
from tests.support.namespaces import Machine, lay_link, machines, run


@attrs.frozen
class Link:
    """A link between the two hosts, with a server's address at its far end."""

    host: Machine
    """The balancer's."""
    number: int

    @property
    def address(self):
        return f"10.203.{self.number}.2"

    def lay(self, far):
        lay_link(self.host, self._name, far, self._name, f"{self.address}/24")
        self.host.plug(self._name, f"10.203.{self.number}.1/24")

    @property
    def _name(self):
        return f"link{self.number}"

    def cut(self):
        """Drop all packets both ways, without a reset or an error."""
        chains = "".join(
            f'chain {hook} {{ type filter hook {hook} priority 0; {way} "{self._name}" drop; }}\n'
            for hook, way in (("input", "iifname"), ("output", "oifname"))
        )
        self._nft("-f", "-", text=f"table inet {self._name} {{\n{chains}}}")

    def mend(self):
        self._nft("delete", "table", "inet", self._name)

    def _nft(self, *arguments, text=None):
        run("ip", "netns", "exec", self.host.namespace, "nft", *arguments, text=text)

    def unplug(self):
        """Set the link down. The balancer's host then has no route."""
        self.host.plug(self._name, up=False)

    def plug_in(self):
        self.host.plug(self._name)


@attrs.frozen
class TwoHosts:
    """The balancer's host (``near``), the servers' host (``far``), and the links between them."""

    near: Machine
    far: Machine
    links: list[Link]

    def serving(self, name, link):
        """Run a server (tests/support/backend.py) at the far end of a link. The block gets its name and address."""
        return self.far.serving(name, link.address)


@contextmanager
def two_hosts(links=2):
    """Make the two hosts, and delete them at the end of the block. Skip the test if namespaces are not available."""
    program("nft")
    with machines("near", "far") as (near, far):
        laid = [Link(near, number) for number in range(links)]
        for link in laid:
            link.lay(far)
        yield TwoHosts(near, far, laid)
