"""What is rehearsed, as frozen values: clients, servers, and what happens. Times are seconds from the start."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import attrs

from lb.model import Config

__all__ = ["ClientsSpec", "ConductSpec", "Does", "Happening", "Reload", "Scenario"]

Does: TypeAlias = Literal["die", "vanish", "hang", "slow", "fail", "flap", "join", "recover"]


@attrs.frozen
class ClientsSpec:
    """Clients of one kind. ``math.inf`` stands for "never"."""

    name: str
    listener: str
    rate: float
    """Sessions a second."""
    session: float = 1.0
    """Mean length, from the moment that there is a server."""
    distribution: Literal["exponential", "fixed", "lognormal"] = "exponential"
    """Of the lengths."""
    arrivals: Literal["random", "even"] = "random"
    sources: str = "10.0.0.0/16"
    """The network that they come from, each from some address of it."""
    patience: float = math.inf
    """How long one waits for a server, or for one that has fallen silent."""
    begins: float = 0.0
    ends: float = math.inf


@attrs.frozen
class ConductSpec:
    """How a server behaves that is well."""

    connect: float = 0.001
    """Until a connect is done, or refused."""
    answer: float = 0.005
    """Until a check that asks for something has its answer."""


@attrs.frozen
class Happening:
    """Something befalls servers."""

    at: float
    servers: tuple[str, ...]
    """As ``pool/server``."""
    does: Does
    by: float = 10.0
    """How many times slower ``slow`` makes everything."""
    every: float = 20.0
    """From one change to the next of a server that flaps."""
    lasts: float = math.inf
    """Then it recovers."""


@attrs.frozen
class Reload:
    at: float
    file: str
    """As the scenario names it."""
    config: Config


@attrs.frozen
class Scenario:
    duration: float = 3600.0
    seed: int = 1
    clients: tuple[ClientsSpec, ...] = ()
    conduct: ConductSpec = ConductSpec()
    """Of servers that have none of their own."""
    conducts: dict[str, ConductSpec] = attrs.field(factory=dict)
    """By ``pool/server``."""
    happenings: tuple[Happening, ...] = ()
    reloads: tuple[Reload, ...] = ()
