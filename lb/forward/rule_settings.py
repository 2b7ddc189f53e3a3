"""Read one entry of ``allow_to`` and ``deny_to``."""

from __future__ import annotations

import ipaddress
import re

from lb.forward.target import LAST_PORT, target_of_name
from lb.http.route_readers import host_name
from lb.http1.grammar import MalformedError
from lb.model.forward import TargetRule
from lb.model.shape import IPV4_PATTERN, IPV6_PATTERN, NAME_PATTERN, PORT_PATTERN, Shape, shape_of, shaped
from lb.model.values import network, shown, text

__all__ = ["target_rule"]

_NETWORK = re.compile(r"[0-9A-Fa-f:.]+/[0-9]+|[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
"""A network, or an IPv6 address without brackets."""
_RULE = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:/@]+))(?::(?P<port>[0-9]{1,5}))?")
_FORMS = (
    "'example.com', '*.example.com', '10.0.0.0/8', '2001:db8::/32', 'example.com:443', '[2001:db8::1]:443' or '*:25'"
)

_TARGET_PATTERN = rf"(?:\*\.)?(?:{NAME_PATTERN})|\*|{IPV4_PATTERN}|\[{IPV6_PATTERN}\]"
_SHAPE: Shape = {
    "anyOf": [
        shape_of(network),
        {"type": "string", "pattern": rf"^(?:{_TARGET_PATTERN})(?::{PORT_PATTERN})?$"},
    ]
}


@shaped(_SHAPE)
def target_rule(value: object) -> TargetRule:
    """A host name, a wildcard like ``*.example.com``, or ``*``, a network or an address, some with a port."""
    given = text(value)
    if _NETWORK.fullmatch(given):
        return TargetRule(given, network=ipaddress.ip_network(network(given)))
    match = _RULE.fullmatch(given)
    if match is None:
        raise ValueError(f"must be a target like {_FORMS}, not {shown(given)}")
    port = _port(match["port"], given)
    if match["ipv6"]:
        return TargetRule(given, network=ipaddress.ip_network(network(match["ipv6"])), port=port)
    return _of_host(match["host"], port, given)


def _port(digits: str | None, given: str) -> int:
    """Return the port; 0 if there is none."""
    if digits is None:
        return 0
    if not 0 < int(digits) <= LAST_PORT:
        raise ValueError(f"the port must be a number from 1 to {LAST_PORT}, not {shown(given)}")
    return int(digits)


def _of_host(host: str, port: int, given: str) -> TargetRule:
    if host == "*":
        return TargetRule(given, host, port=port)
    name = host_name(host)
    if name.startswith("*."):
        return TargetRule(given, name, port=port)
    try:
        target = target_of_name(name.encode("ascii"), 1)
    except MalformedError as error:
        raise ValueError(f"must be a target like {_FORMS}, not {shown(given)}") from error
    if target.address is None:
        return TargetRule(given, target.host, port=port)
    if target.host != name:
        raise ValueError(f"must be an address of four numbers, did you mean '{target.host}'?")
    return TargetRule(given, network=ipaddress.ip_network(target.address), port=port)
