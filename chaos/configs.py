"""Random configurations, valid and invalid. No I/O. ``$a`` is replaced by the address of the server ``a``."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence

__all__ = ["base", "invalid", "valid"]

STRATEGIES = ("round-robin", "weighted", "least-conn", "random-two", "consistent-hash", "ketama")
KEPT_TIME = 1.0
"""Seconds in which an idle connection to a server is kept."""
CALM_LIMIT = 60
"""The minimum of ``max_connections``: below it clients would wait just because of the limit."""


def base(servers: Sequence[str], options: str = "") -> str:
    """Return a configuration with all servers, and ``options`` for each of them."""
    return _text("round-robin", "", [(name, options) for name in servers])


def valid(rng: random.Random, members: Collection[str]) -> str:
    """Return a random valid configuration with these servers."""
    pool = "\n".join(
        (
            f'on_down = "{rng.choice(("keep", "keep", "close"))}"',
            f'on_remove = "{rng.choice(("drain", "close"))}"',
            f"connect_timeout = {rng.choice((1, 2))}",
        )
    )
    servers = []
    for name in rng.sample(sorted(members), len(members)):
        limit = rng.choice((0, 0, rng.randint(CALM_LIMIT, 3 * CALM_LIMIT)))
        servers.append((name, f"weight = {rng.randint(1, 5)}\nmax_connections = {limit}"))
    return _text(rng.choice(STRATEGIES), pool, servers, rng.choice(("1s", "2s")))


def invalid(rng: random.Random, members: Collection[str], listening: str) -> str:
    """Return a configuration that must be rejected, for a random reason. The address of ``listening`` is in use."""
    good = valid(rng, members)
    cut = rng.randrange(len(good) // 2)
    return rng.choice(
        (
            good[:cut] + "\x00" + good[cut:],
            good.replace("bind", "bnid", 1),
            good.replace("retries = ", "retries = -", 1),
            good.replace("round-robin", "x").replace("[pools.web]", '[pools.web]\nstrategi = "x"'),
            good.replace("workers = 2", "workers = 3"),
            good.replace("[listeners.web]", f'[listeners.other]\nbind = "${listening}"\npool = "web"\n[listeners.web]'),
            "",
        )
    )


def _text(strategy: str, pool: str, servers: Sequence[tuple[str, str]], response_timeout: str = "2s") -> str:
    name = f'"{strategy}"' if strategy != "ketama" else '{ name = "consistent-hash", table = "ketama" }'
    tables = "".join(f'[[pools.web.servers]]\nname = "{each}"\naddress = "${each}"\n{more}\n' for each, more in servers)
    return f"""\
[process]
workers = 2
stop_timeout = "10s"
[listeners.web]
bind = "127.0.0.1:0"
pool = "web"
[listeners.www]
mode = "http"
bind = "127.0.0.1:0"
pool = "web"
[pools.web]
strategy = {name}
retries = {len(servers)}
when_all_down = "hold"
hold_timeout = "20s"
{pool}
[pools.web.http]
keep_alive_timeout = "{KEPT_TIME:g}s"
response_timeout = "{response_timeout}"
retry_on = ["reset", "timeout", "502", "503", "504"]
[pools.web.health]
probe = "exchange"
send = "ping\\n"
expect = "^pong"
interval = "200ms"
fast_interval = "100ms"
timeout = "500ms"
rise = 1
fall = 2
[pools.web.passive]
eject_for = "1s"
{tables}"""
