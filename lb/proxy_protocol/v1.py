"""PROXY protocol version 1: a line such as ``PROXY TCP4 10.1.2.3 10.0.0.1 5555 80`` (section 2.1)."""

from __future__ import annotations

import re

from lb.model.address import Client
from lb.proxy_protocol.endpoints import BadProxyHeader, Endpoints, host_of

__all__ = ["UNKNOWN", "encode", "end_of_header", "parse"]

UNKNOWN = b"PROXY UNKNOWN\r\n"
_START = b"PROXY "
_LONGEST = 107
"""Maximum bytes of a line with its line end, the "worst case" of section 2.1."""
_PORT = re.compile(r"0|[1-9][0-9]{0,4}")
_FAMILIES = {"TCP4": 4, "TCP6": 6}


def end_of_header(head: bytes) -> int | None:
    """Return the length of the header at the start of ``head``; None if it is incomplete. Raises BadProxyHeader."""
    if not _START.startswith(head[: len(_START)]):
        raise BadProxyHeader("not a PROXY header")
    end = head.find(b"\n", 0, _LONGEST) + 1
    if not end and len(head) >= _LONGEST:
        raise BadProxyHeader("the line is too long")
    return end or None


def parse(line: bytes) -> Endpoints | None:
    """Parse a complete line. Return None for UNKNOWN, whose remaining fields are ignored. Raises BadProxyHeader."""
    if not line.endswith(b"\r\n"):
        raise BadProxyHeader("the line does not end with CR and LF")
    _, *fields = line[:-2].decode("latin-1").split(" ")
    if fields[0] == "UNKNOWN":
        return None
    if len(fields) != 5 or fields[0] not in _FAMILIES:
        raise BadProxyHeader("not a family, two addresses and two ports")
    family, source, destination, source_port, destination_port = fields
    return Endpoints(_client(family, source, source_port), _client(family, destination, destination_port))


def _client(family: str, host: str, port: str) -> Client:
    if not _PORT.fullmatch(port) or int(port) > 65_535:
        raise BadProxyHeader("not a port")
    try:
        return Client(host_of(host, _FAMILIES[family]), int(port))
    except ValueError as error:
        raise BadProxyHeader("not an address") from error


def encode(endpoints: Endpoints) -> bytes:
    """Build the line. It cannot express unix ends: they become UNKNOWN."""
    addresses = endpoints.addresses()
    if addresses is None:
        return UNKNOWN
    source, destination = addresses
    ports = f"{endpoints.source.port} {endpoints.destination.port}"
    return f"PROXY TCP{source.version} {source} {destination} {ports}\r\n".encode()
