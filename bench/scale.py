"""Several balancers, simulated with the real strategies: misplaced keys, load, checks, flows that a router moves.

``python bench/scale.py`` writes ``results/scale.md`` and ``.svg``; with ``--quick`` it prints a small form, in a second
or two.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from ecmp import rehash
from line_chart import Chart, Line, page
from load_spread import HELD, load_spread
from misplaced import TABLES, after_a_change, alike, with_private_doubts
from report import markdown_table

from healthcheck.assignment import checkers
from lb.model import PluginSpec

RESULTS = Path(__file__).parent / "results"
STRATEGIES = (
    *((name, PluginSpec(name), False) for name in ("round-robin", "least-conn", "random-two", "consistent-hash")),
    ("round-robin, all just started", PluginSpec("round-robin"), True),
    ("least-conn, all just started", PluginSpec("least-conn"), True),
)
"""Each with whether all balancers have just started, at the same time."""


@attrs.frozen
class Size:
    """How much is simulated."""

    nodes: Sequence[int] = (1, 2, 3, 5, 8, 16, 32, 64)
    servers: Sequence[int] = (10, 100, 1_000, 10_000)
    loaded: Sequence[int] = (10, 100, 1_000, 10_000)
    """Servers whose load is simulated. The last number takes as long as all others: for a few numbers of balancers."""
    few: Sequence[int] = (1, 8, 64)
    keys: int = 10_000


QUICK = Size((1, 3, 64), (20,), (10, 20), (1, 64), 500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="simulate little, and print only")
    size = QUICK if parser.parse_args().quick else Size()
    began = time.monotonic()
    sections, charts = list(zip(*_parts(size), strict=True))
    text = "# Several balancers, simulated\n\n" + "\n".join(sections)
    if size is QUICK:
        print(text)
        return
    (RESULTS / "scale.md").write_text(f"{text}\n![plots](scale.svg)\n", encoding="utf-8")
    (RESULTS / "scale.svg").write_text(page(charts), encoding="utf-8")
    print(f"written in {time.monotonic() - began:.0f} s: {RESULTS / 'scale.md'}")


def _parts(size: Size) -> Iterator[tuple[str, Chart]]:
    yield _misplaced(size)
    yield _load(size)
    yield _checks(size)
    yield _rehash(size)


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"


def _misplaced(size: Size) -> tuple[str, Chart]:
    """Consistent hashing: keys whose server depends on the balancer."""
    several = [nodes for nodes in size.nodes if nodes > 1]
    rows = []
    for table in TABLES:
        for servers in size.servers:
            shares = [alike(table, servers, size.keys), after_a_change(table, servers, size.keys)]
            rows.append([table, f"{servers:,}", *map(_percent, shares)])
    lines = [
        Line(
            f"{servers:,} servers",
            [(nodes, 100 * with_private_doubts("maglev", servers, nodes, size.keys)) for nodes in several],
        )
        for servers in size.servers
    ]
    doubts = [[line.name, *(f"{value:.3g} %" for _, value in line.points)] for line in lines]
    titles = ["table", "servers", "the same servers, in any order", "one balancer has a server more"]
    text = (
        f"## Misplaced keys\n\nThe share of {size.keys:,} keys whose server is not the same on all balancers, in pools "
        "with consistent hashing.\n\n"
        f"{markdown_table(titles, rows)}\n"
        "While each balancer takes another server for dead, any of them (table maglev):\n\n"
        f"{markdown_table(['', *(f'{nodes} balancers' for nodes in several)], doubts)}"
    )
    return text, Chart("Misplaced keys while each doubts another server", "% of keys", lines, logarithmic=True)


def _load(size: Size) -> tuple[str, Chart]:
    """Connections of the fullest server, by strategy."""
    rows, lines = [], []
    drawn = size.loaded[(len(size.loaded) - 1) // 2]
    for servers in size.loaded:
        several = size.few if servers == size.loaded[-1] else size.nodes
        for name, spec, together in STRATEGIES:
            found = {nodes: load_spread(spec, nodes, servers, together=together).most for nodes in several}
            rows.append([name, f"{servers:,}", *(f"{found[n]:.2f}" if n in found else "-" for n in size.nodes)])
            if servers == drawn:
                lines.append(Line(name, [*found.items()]))
    columns = [f"{nodes} balancers" if nodes > 1 else "1 balancer" for nodes in size.nodes]
    text = (
        "## Load of servers\n\nConnections of the server that has most of them, in units of the mean, which is "
        f"{HELD} at a time. Connections come to any balancer, which knows its own only.\n\n"
        f"{markdown_table(['strategy', 'servers', *columns], rows)}"
    )
    return text, Chart(f"The fullest of {drawn:,} servers", "connections ÷ mean", lines)


def _checks(size: Size) -> tuple[str, Chart]:
    """Checks that a server hears, and that the busiest balancer makes, without and with ``health.share``."""
    servers = size.servers[-1]
    names = [f"web/{number}" for number in range(servers)]
    rows, heard, busiest = [], [], []
    for count in size.nodes:
        nodes = [f"lb{number}" for number in range(1, count + 1)]
        made = Counter(node for name in names for node in checkers(name, nodes))
        each = made.total() / servers
        heard.append((count, each))
        busiest.append(max(made.values()))
        rows.append(
            [
                f"{count}",
                f"{count}",
                f"{each:g}",
                f"{servers:,}",
                f"{statistics.fmean(made.values()):,.0f}",
                f"{busiest[-1]:,}",
            ]
        )
    titles = [
        "balancers",
        "a server hears",
        "shared",
        "a balancer makes",
        "shared",
        "shared, the busiest",
    ]
    text = (
        f"## Health checks\n\nChecks an interval, of {servers:,} servers, as `health.share` assigns them.\n\n"
        f"{markdown_table(titles, rows)}"
    )
    lines = [Line("each by itself", [(count, count) for count in size.nodes]), Line("shared", heard)]
    return text, Chart("Checks that a server hears in an interval", "checks", lines)


def _rehash(size: Size) -> tuple[str, Chart]:
    """Open flows that ECMP moves, as parts of all."""
    several = [nodes for nodes in size.nodes if nodes > 1]
    moves = {nodes: [rehash(nodes, leaves) for leaves in range(nodes)] for nodes in several}
    rows = []
    for nodes, found in moves.items():
        others = [float(each.others) for each in found]
        own = float(found[0].own)
        shares = [own, statistics.fmean(others), max(others), own + statistics.fmean(others), own + max(others)]
        rows.append([f"{nodes}", *map(_percent, shares)])
    titles = [
        "balancers",
        "own flows of the one that leaves",
        "flows of others that move, mean",
        "worst",
        "cut by its return, mean",
        "worst",
    ]
    text = (
        "## Flows that a router moves\n\nParts of all open flows, with the hash-threshold of Linux' ECMP. The mean is "
        "over which balancer leaves; the first or the last of the route is the worst.\n\n"
        f"{markdown_table(titles, rows)}"
    )
    lines = [
        Line("it leaves: its own", [(nodes, 100 / nodes) for nodes in several]),
        Line(
            "it leaves: others, mean", [(n, 100 * statistics.fmean(float(e.others) for e in moves[n])) for n in several]
        ),
        Line(
            "it returns, mean",
            [(n, 100 * statistics.fmean(float(e.others + e.own) for e in moves[n])) for n in several],
        ),
    ]
    return text, Chart("Open flows that end or are cut", "% of all flows", lines)


if __name__ == "__main__":
    main()
