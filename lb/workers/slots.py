"""Who counts in which slot of the board."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from lb.model import Config

__all__ = ["assign", "names", "queue_name", "server_name"]


def server_name(pool: str, server: str) -> str:
    """What a server counts under; a listener does under its own name, which holds no slash."""
    return f"{pool}/{server}"


def queue_name(pool: str) -> str:
    """What those who wait for a server of a pool count under. No server's name is empty."""
    return f"{pool}/"


def names(config: Config) -> list[str]:
    """All that counts in a configuration."""
    servers = (server_name(pool.name, server.name) for pool in config.pools.values() for server in pool.servers)
    return [*config.listeners, *map(queue_name, config.pools), *servers]


def assign(
    before: Mapping[str, int], in_use: Collection[str], wanted: Iterable[str], total: Callable[[int], int], most: int
) -> dict[str, int]:
    """Slots for the names that are wanted: those that they have, else free ones.

    A name that is neither wanted nor ``in_use`` keeps its slot as long as something is counted there: the connections
    of a server that is gone may last. Raises ValueError if more than ``most`` slots are needed.
    """
    kept = set(in_use) | (wanted_names := dict.fromkeys(wanted)).keys()
    slots = {name: slot for name, slot in before.items() if name in kept or total(slot)}
    taken = set(slots.values())
    free = (slot for slot in range(most) if slot not in taken)
    for name in wanted_names:
        if name not in slots:
            slot = next(free, None)
            if slot is None:
                raise ValueError(f"more than {most} listeners and servers")
            slots[name] = slot
    return slots
