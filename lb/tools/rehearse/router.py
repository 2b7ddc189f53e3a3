"""The network in front of the balancers of a rehearsal: it spreads connections over them, as routers do (ECMP)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial

from lb.model.address import client_of
from lb.tools.rehearse.node import VirtualNode
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.sockets import VirtualClient
from lb.tools.rehearse.virtual_clock import VirtualClock

__all__ = ["VirtualRouter"]

NO_NODE = "no balancer"
NO_ANSWER = "no answer of its balancer"


class VirtualRouter:
    """Chooses the balancer of each session, by a hash of its address and port."""

    def __init__(self, nodes: Sequence[VirtualNode], clock: VirtualClock, recorder: Recorder) -> None:
        self._nodes = nodes
        self._clock = clock
        self._recorder = recorder

    def connect(self, listener: str, client: VirtualClient, peer: tuple[str, int]) -> None:
        """Let a client connect to the listener of some balancer."""
        route = [node for node in self._nodes if node.condition != "away"]
        if not route:
            self._recorder.client_refused(self._clock.now, listener, NO_NODE)
            return
        node = route[zlib.crc32(f"{peer[0]} {peer[1]}".encode()) * len(route) >> 32]
        if node.condition == "silent":
            self._wait(node, listener, client, peer)
            return
        if self._differ(listener, peer):
            self._recorder.client_misplaced()
        node.connect(listener, client, peer)

    def _differ(self, listener: str, peer: tuple[str, int]) -> bool:
        """Return whether the balancers that serve would give this client different servers of a pool that hashes."""
        serving = [node for node in self._nodes if node.condition == "serving"]
        if len(serving) < 2 or not serving[0].hashes(listener):
            return False
        client = client_of(peer)
        return len({node.placed(listener, client) for node in serving}) > 1

    def _wait(self, node: VirtualNode, listener: str, client: VirtualClient, peer: tuple[str, int]) -> None:
        """Let the client try again once the loss of its balancer has been detected, or give up before."""
        gives_up = client.arrived + client.patience
        if gives_up < node.away_from:
            refused = partial(self._recorder.client_refused, gives_up, listener, NO_ANSWER)
            self._clock.at(gives_up, refused)
        else:
            self._clock.at(node.away_from, partial(self.connect, listener, client, peer))
