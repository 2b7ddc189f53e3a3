"""The addresses that a balancer has on an interface while it can serve."""

from __future__ import annotations

import ipaddress
from typing import TypeAlias

import attrs

__all__ = ["AnnounceSpec", "InterfaceAddress"]

InterfaceAddress: TypeAlias = "ipaddress.IPv4Interface | ipaddress.IPv6Interface"


@attrs.frozen
class AnnounceSpec:
    """What a routing daemon beside this balancer shall announce."""

    addresses: tuple[InterfaceAddress, ...]
    interface: str
    rise: float = 1.0
    """Seconds for which all conditions must hold before the addresses stand."""
