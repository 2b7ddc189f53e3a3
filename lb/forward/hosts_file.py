"""The file /etc/hosts, hosts(5)."""

from __future__ import annotations

from pathlib import Path

__all__ = ["HostsTable", "read_hosts"]

HostsTable = dict[str, tuple[str, ...]]
"""Host name in lower case, without the final dot -> its addresses in the order of the file, as they stand there."""


def read_hosts(path: Path) -> HostsTable:
    """Read the file. Lines of the same name add up. A file that is not there has no names. Raises OSError."""
    found: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                address, *names = line.partition("#")[0].lower().split() or [""]
                for name in names:
                    found.setdefault(name.removesuffix("."), []).append(address)
    except FileNotFoundError:
        return {}
    return {name: tuple(dict.fromkeys(addresses)) for name, addresses in found.items()}
