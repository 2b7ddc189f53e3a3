"""Servers that the configuration file names by where in DNS they are found, and who is asked."""

from __future__ import annotations

from collections.abc import Mapping

from lb.address import Address
from lb.config_file.table import Table
from lb.config_file.values import Reader, shown, text, whole_number
from lb.model import DnsSource

__all__ = ["nameserver", "read_dns_source"]

_LONGEST = 253  # characters of a name, RFC 1035 section 2.3.4 less the lengths and dots of the wire
_DNS_PORT = 53


def read_dns_source(entry: Table, server_keys: Mapping[str, Reader[object]]) -> DnsSource | None:
    """A table with ``dns``: the name of addresses and a ``port``, or of SRV records, which starts with ``_``."""
    name = entry.value("dns", _dns_name)
    values = entry.values({"port": whole_number(least=1, most=65_535), **server_keys})
    if name is not None and name.startswith("_"):
        for key in ("port", "weight"):
            if key in entry.content:
                entry.complain("the SRV records of such a name tell it, leave it out", entry.at(key))
                values.pop(key, None)
    elif name is not None and not entry.has("port"):
        entry.complain(
            "missing; only a name of SRV records, like '_http._tcp.web.internal', tells it", entry.at("port")
        )
    entry.finish()
    return DnsSource(name, **values) if name is not None else None


def _dns_name(value: object) -> str:
    """A name to look up."""
    name = text(value)
    try:
        good = Address.parse(f"{name}:1").is_name and len(name) <= _LONGEST
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"must be a name to look up in DNS, like 'web.internal', not {shown(name)}")
    return name


def nameserver(value: object) -> Address:
    """The address of a name server: one that needs no look-up itself, with or without a port."""
    given = text(value)
    for candidate in (given, f"{given}:{_DNS_PORT}", f"[{given}]:{_DNS_PORT}"):
        try:
            parsed = Address.parse(candidate)
        except ValueError:
            continue
        if parsed.host and parsed.port and not parsed.is_name:
            return parsed
    raise ValueError(f"must be an address like '10.0.0.53' or '10.0.0.53:5353', not {shown(given)}")
