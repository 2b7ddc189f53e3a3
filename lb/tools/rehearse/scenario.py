"""The scenario as frozen values: clients, servers, faults, reloads. Times are seconds from the start."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import attrs

from lb.model import Config

__all__ = ["ClientsSpec", "ConductSpec", "Does", "FaultSpec", "NodeDoes", "NodeFaultSpec", "Reload", "Scenario"]

Does: TypeAlias = Literal["die", "vanish", "hang", "slow", "fail", "flap", "join", "recover"]
NodeDoes: TypeAlias = Literal["die", "vanish", "recover"]


@attrs.frozen
class ClientsSpec:
    """Clients of one kind. ``math.inf`` means never."""

    name: str
    listener: str
    rate: float
    """Clients per second: sessions, unless a client has several."""
    session: float = 1.0
    """Mean length in seconds, counted from when the session has a server."""
    distribution: Literal["exponential", "fixed", "lognormal"] = "exponential"
    """Distribution of the lengths."""
    arrivals: Literal["random", "even"] = "random"
    sources: str = "10.0.0.0/16"
    """Network of the random client addresses."""
    patience: float = 10.0
    """Seconds that a client waits for a server, or for a server that has become silent."""
    begins: float = 0.0
    ends: float = math.inf
    requests: float = 1.0
    """Mean number of sessions of a client, one after another from the same address and port: the requests of one
    connection in mode ``http``."""
    pause: float = 1.0
    """Mean seconds between two of them."""


@attrs.frozen
class ConductSpec:
    """Default behaviour of healthy servers."""

    connect: float = 0.001
    """Seconds until a connect succeeds or is refused."""
    answer: float = 0.005
    """Seconds until a health check has its reply, if the probe does more than connect."""


@attrs.frozen
class FaultSpec:
    """A fault of servers."""

    at: float
    servers: tuple[str, ...]
    """``pool/server``."""
    does: Does
    by: float = 10.0
    """Factor of ``slow``."""
    every: float = 20.0
    """Seconds between two changes of ``flap``."""
    lasts: float = math.inf
    """Seconds until the servers recover."""


@attrs.frozen
class NodeFaultSpec:
    """A fault of balancers, if there are several."""

    at: float
    nodes: tuple[str, ...]
    does: NodeDoes
    lasts: float = math.inf
    """Seconds until the balancers recover."""


@attrs.frozen
class Reload:
    """A reload of the balancer, or of all of them."""

    at: float
    file: str
    """Name in the scenario file."""
    config: Config


@attrs.frozen
class Scenario:
    """A scenario."""

    duration: float = 3600.0
    seed: int = 1
    nodes: tuple[str, ...] = ()
    """The names of the balancers; empty: there is one, which has no name."""
    detect: float = 0.5
    """Seconds until the network in front of the balancers notices that one has vanished."""
    clients: tuple[ClientsSpec, ...] = ()
    conduct: ConductSpec = ConductSpec()
    """Default for all servers."""
    conducts: dict[str, ConductSpec] = attrs.field(factory=dict)
    """Per ``pool/server``."""
    fault_specs: tuple[FaultSpec, ...] = ()
    node_fault_specs: tuple[NodeFaultSpec, ...] = ()
    reloads: tuple[Reload, ...] = ()
