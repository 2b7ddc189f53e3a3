"""Reader for ``[announce]``."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

import attrs

from lb.model import AnnounceSpec, ListenerSpec
from lb.model.announce import InterfaceAddress
from lb.model.shape import IPV4_PATTERN, IPV6_PATTERN, list_of, shaped, table_of, whole
from lb.model.table import Table
from lb.model.values import duration, shown, text

__all__ = ["ANNOUNCE_TABLE", "read_announce", "with_freebind"]

LONGEST_INTERFACE = 15
"""Of an interface: IFNAMSIZ of Linux, without the NUL."""


@shaped({"type": "string", "pattern": whole(rf"(?:{IPV4_PATTERN}|{IPV6_PATTERN})(?:/.+)?")})
def _announced_address(value: object) -> InterfaceAddress:
    """An address, or a network in which every address is one: ``203.0.113.5``, ``203.0.113.0/24``."""
    found = text(value)
    try:
        address = None if "%" in found else ipaddress.ip_interface(found)
    except ValueError:
        address = None
    if address is None:
        raise ValueError(f"must be an address such as '203.0.113.5/32', not {shown(found)}")
    if "/" not in found or address.ip != address.network.network_address:  # host bits
        address = ipaddress.ip_interface(address.ip)
    ip = address.ip
    if ip.is_loopback or ip.is_multicast or ip.is_unspecified or ip.is_link_local:
        raise ValueError(f"{shown(found)} cannot be announced: no router leads to it")
    return address


@shaped({"type": "string", "pattern": whole(rf"[^/ :]{{1,{LONGEST_INTERFACE}}}")})
def _interface_name(value: object) -> str:
    """The name of a network interface."""
    found = text(value)
    if not 0 < len(found) <= LONGEST_INTERFACE or not found.isprintable() or {*found} & {*"/ :"}:
        raise ValueError(f"must be the name of a network interface, such as 'lo', not {shown(found)}")
    return found


ANNOUNCE_TABLE = table_of(
    {"addresses": list_of(_announced_address, least=1), "interface": _interface_name, "rise": duration},
    required=["addresses", "interface"],
)


def read_announce(root: Table) -> AnnounceSpec | None:
    if not root.has("announce"):
        return None
    table = root.table("announce")
    addresses = table.each("addresses", _announced_address)
    interface = table.value("interface", _interface_name)
    rise = table.values({"rise": duration})
    if not table.content.get("addresses"):
        table.complain('missing, as in addresses = ["203.0.113.5/32"]', table.at("addresses"))
    if not table.has("interface"):
        table.complain('missing, as in interface = "lo"', table.at("interface"))
    table.finish()
    return AnnounceSpec(addresses, interface, **rise) if addresses and interface else None


def with_freebind(
    listeners: Mapping[str, ListenerSpec], tables: Mapping[str, Table], announce: AnnounceSpec | None
) -> dict[str, ListenerSpec]:
    """Return the listeners with ``freebind`` where they bind an announced address: it may stand only later.

    What a listener says of ``freebind`` itself counts.
    """
    networks = [address.network for address in announce.addresses] if announce is not None else []
    return {
        name: attrs.evolve(spec, freebind=True)
        if "freebind" not in tables[name].content and any(_is_within(each.host, networks) for each in spec.bind)
        else spec
        for name, spec in listeners.items()
    }


def _is_within(host: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    try:
        return any(ipaddress.ip_address(host) in network for network in networks)
    except ValueError:  # a name, or empty: all addresses
        return False
