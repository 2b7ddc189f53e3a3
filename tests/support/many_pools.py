"""A configuration with many pools, for the dashboard."""

from __future__ import annotations

from tests.support.balancer import QUICK_CHECKS, with_workers

POOLS, SERVERS = 200, 20


def many_pools(*live, top="", pools=POOLS, servers=SERVERS):
    """Return a configuration of pools, ``p000`` and so on, each with a listener and servers, ``p000-00`` and so on.

    Nobody checks these, and nothing is there. The servers in ``live`` are in a pool of that name, and are checked.
    """
    tables = [top]
    for number in range(pools):
        name = f"p{number:03}"
        addresses = (f'{{ name = "{name}-{each:02}", address = "10.0.{number}.{each}:80" }}' for each in range(servers))
        tables.append(f'[listeners.{name}]\nbind = "127.0.0.1:0"\npool = "{name}"')
        tables.append(f"[pools.{name}]\nhealth = false\nservers = [{', '.join(addresses)}]")
    if live:
        addresses = (f'{{ name = "{each.name}", address = "{each.address}" }}' for each in live)
        tables.append('[listeners.web]\nbind = "127.0.0.1:0"\npool = "live"')
        tables.append(f"[pools.live]\nservers = [{', '.join(addresses)}]\n[pools.live.health]\n{QUICK_CHECKS}")
    return with_workers("\n".join([*tables, ""]))
