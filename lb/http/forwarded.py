"""What proxies in front say of their clients, and what the servers are told of them.

The fields are X-Forwarded-For, -Proto and -Host, Forwarded (RFC 7239) and X-Request-Id. Trusted proxies are believed;
what any other peer says is replaced.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet

import attrs

from lb.http.header_edits import FieldChange
from lb.http1.field import FORWARDED
from lb.http1.field_block import FieldBlock
from lb.http1.grammar import TOKEN_BYTES, is_host
from lb.http1.request_head import RequestHead
from lb.model.address import SEEN_ADDRESSES, Client, IPAddress, Networks, address_of

__all__ = ["Forwarding", "connection_lines", "host_line", "is_trusted", "read_forwarding"]

_MAX_HOPS = 64
"""Addresses of a list that are looked at, from its end. A longer way is no way."""
_MAX_FORWARDED = 4096
"""Bytes of Forwarded that are read. A longer one counts as malformed."""
_LONGEST_NODE = 64
_SHARED = 256
"""Hosts whose connections share their lines. Few hosts, such as proxies, have many connections at a time."""
_NODE = re.compile(
    rb"\[(?P<six>[0-9A-Fa-f:.]{2,45})\](?::(?P<port>[0-9]{1,5}))?"
    rb"|(?P<four>[0-9.]{7,15})(?::(?P<port_of_four>[0-9]{1,5}))?"
    rb"|(?P<bare_six>[0-9A-Fa-f:.]{2,45})"
)
_TOKEN = rb"[%s]+" % re.escape(TOKEN_BYTES)
_PAIR = re.compile(rb'[ \t]*(?:(%s)=("(?:[^"\\]|\\.)*"|%s)[ \t]*)?([;,]|\Z)' % (_TOKEN, _TOKEN), re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_SCHEMES = (b"http", b"https")
_MAX_PORT = 65535
_READ = (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto", b"x-forwarded-host", b"x-request-id")
_NAMES = frozenset(_READ)


@attrs.frozen
class Forwarding:
    """A request, as the proxies in front of it tell."""

    client: Client
    """The last one on the way that is not a trusted proxy itself. Its port is 0 if no proxy tells it."""
    scheme: bytes
    """``http`` or ``https``: what the client used."""
    request_id: bytes
    """Of a trusted proxy, if it is one: 1 to 128 visible characters; else ours."""
    change: FieldChange
    """What the servers are told: a change of the request's fields."""


def is_trusted(peer: Client, trusted: Networks) -> bool:
    """Return True if what this peer says of its clients is believed. Of a Unix socket, it is not."""
    return bool(trusted) and address_of(peer.host) in trusted


@functools.lru_cache(_SHARED)
def connection_lines(host: str, scheme: bytes) -> bytes:
    """Return what is the same in all requests of an untrusted host. It ends within the X-Request-Id line.

    The id, CRLF and :func:`host_line` follow. So usual requests have the fields of :func:`read_forwarding` without it.
    Connections of one host share the object.
    """
    client = b"X-Forwarded-For: %s\r\n" % host.encode() if host else b""
    return b"%sX-Forwarded-Proto: %s\r\nX-Request-Id: " % (client, scheme)


def host_line(head: RequestHead) -> bytes:
    """Return the line X-Forwarded-Host of an untrusted peer's request; empty if the request has no Host."""
    return b"X-Forwarded-Host: %s\r\n" % head.host if head.host else b""


def read_forwarding(head: RequestHead, peer: Client, scheme: bytes, trusted: Networks, own_id: bytes) -> Forwarding:
    """Return what is known of a request. ``scheme`` is the connection's; ``own_id`` is for a request without an id."""
    if is_trusted(peer, trusted):
        return _of_trusted(head, peer, scheme, trusted, own_id)
    sent = {field.name for field in head.block.fields if field.meaning == FORWARDED}
    fields = [
        (b"X-Forwarded-For", peer.host.encode()),
        (b"X-Forwarded-Proto", scheme),
        (b"X-Request-Id", own_id),
        (b"X-Forwarded-Host", head.host),
    ]
    return Forwarding(peer, scheme, own_id, _change(_NAMES | sent, fields))


def _of_trusted(head: RequestHead, peer: Client, scheme: bytes, trusted: Networks, own_id: bytes) -> Forwarding:
    values = _values(head.block)
    for_value, forwarded, proto, host, found_id = (values.get(name, b"") for name in _READ)
    elements = _read_forwarded(forwarded) if forwarded else []
    nodes = _listed(for_value) if for_value else [element.get(b"for", b"") for element in elements]
    way = _way(peer, nodes, trusted)
    told = {} if for_value or len(way) == 1 else elements[1 - len(way)]
    known = next((each for each in (proto, told.get(b"proto", b"")) if each.lower() in _SCHEMES), scheme).lower()
    known_host = told.get(b"host", b"")
    valid_id = _REQUEST_ID.fullmatch(found_id) is not None
    hosts = [for_value] if for_value else [hop.host.encode() for hop in reversed(way[1:])]
    fields = [
        (b"X-Forwarded-For", b", ".join([*hosts, peer.host.encode()])),
        (b"Forwarded", b"%s, for=%s" % (forwarded, _node_of(peer)) if elements else b""),
        (b"X-Forwarded-Proto", b"" if proto else known),
        (b"X-Forwarded-Host", b"" if host else known_host if is_host(known_host) else head.host),
        (b"X-Request-Id", b"" if valid_id else own_id),
    ]
    replaced = {
        b"forwarded",
        *(name.lower() for name, value in fields if value),
        *(name for name in values if b"_" in name),
    }
    return Forwarding(way[-1], known, found_id if valid_id else own_id, _change(replaced, fields))


def _change(names: AbstractSet[bytes], fields: Iterable[tuple[bytes, bytes]]) -> FieldChange:
    return FieldChange(frozenset(names), tuple(field for field in fields if field[1]))


def _values(block: FieldBlock) -> dict[bytes, bytes]:
    """Return what proxies say, by names in lower case; the values of several fields of a name together."""
    found: dict[bytes, bytes] = {}
    if block.meanings & FORWARDED:
        for field in block.fields:
            if field.meaning == FORWARDED and field.value:
                name = field.name
                found[name] = b"%s, %s" % (found[name], field.value) if name in found else field.value
    return found


def _listed(value: bytes) -> list[bytes]:
    return [node for node in value.rsplit(b",", _MAX_HOPS)[-_MAX_HOPS:] if node.strip(b" \t")]


def _way(peer: Client, nodes: Sequence[bytes], trusted: Networks) -> list[Client]:
    """Return the peer and those before it that ``nodes`` name, the latest last, as far as trusted proxies name them.

    The last of the result is the client. What is not an address ends the way: nobody has vouched for what is before it.
    """
    way = [peer]
    for node in reversed(nodes):
        hop = _read_node(node.strip(b" \t")) if len(node) <= _LONGEST_NODE else None
        if hop is None:
            break
        way.append(hop)
        if not is_trusted(hop, trusted):
            break
    return way


@functools.lru_cache(SEEN_ADDRESSES)
def _read_node(text: bytes) -> Client | None:
    """Return the address that a list names, in its usual form; None if it is none."""
    match = _NODE.fullmatch(text)
    if match is None:
        return None
    four = match["four"]
    try:
        if four:
            address: IPAddress = ipaddress.IPv4Address(four.decode())
        else:
            six = ipaddress.IPv6Address((match["six"] or match["bare_six"]).decode())
            address = six.ipv4_mapped or six
    except ValueError:
        return None
    port = int(match["port"] or match["port_of_four"] or 0)
    return Client(str(address), port) if port <= _MAX_PORT else None


def _node_of(peer: Client) -> bytes:
    """Return an address as Forwarded has it."""
    return (f'"[{peer.host}]"' if ":" in peer.host else peer.host).encode()


def _read_forwarded(value: bytes) -> list[dict[bytes, bytes]]:
    """Return what each proxy says in a Forwarded, the last ones only if they are many; nothing if it is malformed.

    The parameters are by their names in lower case.
    """
    if len(value) > _MAX_FORWARDED:
        return []
    elements: list[dict[bytes, bytes]] = [{}]
    at = 0
    while at < len(value):
        match = _PAIR.match(value, at)
        if match is None:
            return []
        name, text, end = match.groups()
        if name:
            elements[-1].setdefault(name.lower(), _unquoted(text))
        if end == b",":
            elements.append({})
        at = match.end()
    return [element for element in elements if element][-_MAX_HOPS:]


def _unquoted(text: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", text[1:-1]) if text.startswith(b'"') else text
