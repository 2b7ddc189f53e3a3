"""How far several balancers go, from measured costs: the tables of ``docs/explanation/how-far-it-goes.md``.

``python bench/reach.py`` prints them; ``--write`` puts them into the page, ``--check`` fails if the page has others.
The costs are those of ``results/latest.md``, the result of the last ``make bench``.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import attrs
from costs_of_results import Costs, read_costs
from ecmp import rehash
from load_spread import server_specs
from report import markdown_table

import strategies.registry
from healthcheck.assignment import CHECKERS
from lb.model import PluginSpec
from strategies import driver

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "explanation" / "how-far-it-goes.md"
LATEST = HERE / "results" / "latest.md"
BLOCK = re.compile(r"(<!-- reach: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

NODES = (1, 2, 3, 8, 64)
PORTS = 60_999 - 32_768 + 1
"""Local ports of an address: Linux' ip_local_port_range."""
TIME_WAIT = 60.0
"""Seconds for which a port stays in use after a session that the client has ended: Linux' constant."""
DESCRIPTORS = 1_048_576
"""Open files of a process: Linux' fs.nr_open. A connection has two."""
INTERVAL = 2.0
"""Seconds between checks: the default."""


@attrs.frozen
class Machine:
    """What a balancer runs on: one process on one core, as the costs were measured."""

    memory: float = 8 * 2**30
    """Bytes for connections."""
    network: float = 10e9 / 8
    """Bytes a second, each way."""
    servers: int = 20
    socket: float = 4 * 1024
    """Bytes that the kernel holds for an idle socket, buffers aside."""


@attrs.frozen
class Workload:
    """Sessions of one kind: their length in seconds, requests, bytes from the server; whether clients speak TLS."""

    name: str
    seconds: float
    requests: int
    size: float
    tls: bool = False


WORKLOADS = (
    Workload("short: one request of 10 kB, 0.1 s", 0.1, 1, 10e3),
    Workload("pages: 20 requests, 1 MB, 30 s, TLS", 30, 20, 1e6, tls=True),
    Workload("API: 1,000 requests, 2 MB, 5 min, TLS", 300, 1_000, 2e6, tls=True),
    Workload("held: 60 requests, 60 kB, 1 h, TLS", 3_600, 60, 60e3, tls=True),
    Workload("downloads: 1 GB, 1 min", 60, 1, 1e9),
)


def walls(load: Workload, costs: Costs, machine: Machine) -> dict[str, float]:
    """Return the sessions a second of one balancer at which each of its means is used up."""
    begin = costs.handshake if load.tls else costs.connection
    byte = (costs.gigabyte_tls if load.tls else costs.gigabyte) / 1e9
    held = (costs.idle_tls if load.tls else costs.idle) + 2 * machine.socket
    return {
        "CPU": 1 / (begin + (load.requests - 1) * costs.request + load.size * byte),
        "memory": machine.memory / held / load.seconds,
        "local ports": machine.servers * PORTS / (load.seconds + TIME_WAIT),
        "descriptors": DESCRIPTORS / 2 / load.seconds,
        "network": machine.network / load.size,
    }


def first_walls(load: Workload, costs: Costs, machine: Machine) -> list[tuple[float, str]]:
    """Return the walls, nearest first, each with its sessions a second."""
    return sorted((rate, wall) for wall, rate in walls(load, costs, machine).items())


def tables() -> dict[str, str]:
    """Return the tables of the page by name."""
    costs, machine = read_costs(LATEST), Machine()
    return {
        "costs": _costs(costs),
        "walls": _walls(costs, machine),
        "nodes": _nodes(costs, machine),
        "ports": _ports(),
        "hash": _hash_tables(),
        "checks": _checks(costs),
        "rehash": _rehash(),
    }


def _figure(value: float) -> str:
    """Format with three digits: ``7,460``, ``0.0213``."""
    digits = f"{value:.3g}"
    return f"{float(digits):,.0f}" if value >= 100 else digits


def _costs(costs: Costs) -> str:
    rows = [
        ("a connection with one request", costs.connection, "a second"),
        ("the same with a TLS handshake", costs.handshake, "a second"),
        ("a further request", costs.request, "a second"),
    ]
    if costs.request_http is not None:
        rows.append(("a request of mode `http`", costs.request_http, "a second"))
    lines = [[name, f"{_figure(cost * 1e6)} µs", f"{_figure(1 / cost)} {unit}"] for name, cost, unit in rows]
    for name, cost in (("a GB from the server", costs.gigabyte), ("a GB from the server, TLS", costs.gigabyte_tls)):
        lines.append([name, f"{_figure(cost)} s", f"{_figure(8 / cost)} Gbit/s"])
    for name, cost in (("a tcp check", costs.check), ("an http check", costs.check_http)):
        lines.append([name, f"{_figure(cost * 1e6)} µs", f"{_figure(INTERVAL / cost)} servers each {INTERVAL:g} s"])
    for name, size in (("an idle connection", costs.idle), ("an idle connection, TLS", costs.idle_tls)):
        whole = size + 2 * Machine().socket
        lines.append([name, f"{_figure(whole / 1024)} KiB with its sockets", f"{_figure(2**30 / whole)} a GiB"])
    return (
        f"{markdown_table(['', 'costs', 'one core, or one GiB, has room for'], lines)}\nMeasured on {costs.machine}.\n"
    )


def _walls(costs: Costs, machine: Machine) -> str:
    names = list(walls(WORKLOADS[0], costs, machine))
    rows = []
    for load in WORKLOADS:
        rates, (first, *_) = walls(load, costs, machine), first_walls(load, costs, machine)
        rows.append([load.name, *(f"**{_figure(rates[n])}**" if n == first[1] else _figure(rates[n]) for n in names)])
    return markdown_table(["sessions a second of one balancer, at which it runs out of", *names], rows)


def _nodes(costs: Costs, machine: Machine) -> str:
    rows = []
    for load in WORKLOADS:
        (rate, wall), (after, following), *_ = first_walls(load, costs, machine)
        carried = [_figure(rate * (nodes - 1 or 1)) for nodes in NODES]
        rows.append([load.name, *carried, wall, f"{following}, at {after / rate:.1f} times"])
    titles = [
        "sessions a second",
        *(f"{n} balancers" if n > 1 else "1 balancer" for n in NODES),
        "the wall",
        "the next wall",
    ]
    return markdown_table(titles, rows)


def _ports() -> str:
    rows = [
        [f"{servers:,}", f"{servers * PORTS:,}", _figure(servers * PORTS / TIME_WAIT), f"{3 * servers * PORTS:,}"]
        for servers in (1, 10, 100, 1_000)
    ]
    return markdown_table(
        ["servers", "connections at a time", "short sessions a second", "at a time, with three source addresses"], rows
    )


def _hash_tables() -> str:
    rows = []
    for servers in (10, 100, 1_000, 10_000):
        row = [f"{servers:,}"]
        for table, most in (("maglev", 10_000), ("ketama", 1_000)):
            if servers > most:
                row += ["-", "-"]
                continue
            spec = PluginSpec("consistent-hash", (("table", table),))
            layout = driver.finish(strategies.registry.create(spec).build(server_specs(servers)))
            owned = Counter(layout.table.owners) if table == "maglev" else _arcs(layout.table)
            parts = [owned.get(index, 0) for index in range(servers)]
            row += [f"{len(layout.table.owners):,}", f"{max(parts) / statistics.fmean(parts):.2f}"]
        rows.append(row)
    titles = [
        "servers",
        "maglev: entries",
        "keys of the fullest ÷ mean",
        "ketama: points",
        "keys of the fullest ÷ mean",
    ]
    return markdown_table(titles, rows)


def _arcs(table: object) -> Mapping[int, int]:
    """Return the hashes of each server on a ring."""
    points, owners = table.points, table.owners
    owned: Counter[int] = Counter()
    for before, point, owner in zip([points[-1] - 2**32, *points], points, owners, strict=False):
        owned[owner] += point - before
    return owned


def _checks(costs: Costs) -> str:
    rows = []
    for nodes in NODES:
        for servers in (100, 1_000, 10_000):
            share = min(nodes, CHECKERS)
            own = servers * costs.check_http / INTERVAL
            rows.append(
                [
                    f"{nodes}",
                    f"{servers:,}",
                    f"{nodes / INTERVAL:g}",
                    f"{100 * own:.3g} %",
                    f"{share / INTERVAL:g}",
                    f"{100 * own * share / nodes:.3g} %",
                ]
            )
    titles = [
        "balancers",
        "servers",
        "a server hears, a second",
        "CPU of a balancer",
        "a server hears, shared",
        "CPU, shared",
    ]
    return markdown_table(titles, rows)


def _rehash() -> str:
    rows = []
    for nodes in (2, 3, 4, 8, 16, 64):
        moves = [rehash(nodes, leaves) for leaves in range(nodes)]
        others = [float(each.others) for each in moves]
        own = 1 / nodes
        rows.append(
            [
                f"{nodes}",
                *(
                    f"{100 * part:.1f} %"
                    for part in (own, min(others), max(others), own + min(others), own + max(others))
                ),
            ]
        )
    titles = [
        "balancers",
        "one leaves: its own flows",
        "flows of others, at best",
        "at worst",
        "it returns: flows cut, at best",
        "at worst",
    ]
    return markdown_table(titles, rows)


def filled(page: str) -> str:
    """Return the page with the tables of now. Raises KeyError for a table that there is not."""
    known = tables()
    return BLOCK.sub(lambda block: f"{block[1]}\n{known[block[2]]}\n{block[3]}", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables into the page")
    parser.add_argument("--check", action="store_true", help="exit code 1 if the page has others")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    if options.write:
        PAGE.write_text(filled(page), encoding="utf-8")
    elif options.check and filled(page) != page:
        print(f"{PAGE.name} has other tables: python bench/reach.py --write", file=sys.stderr)
        return 1
    elif not options.check:
        print("\n".join(f"{name}\n\n{table}" for name, table in tables().items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
