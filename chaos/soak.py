"""``python -m chaos.soak``: very many connections of mixed kinds, and nothing that grows. Exit code 1 if something did.

No server fails here: every session has to be answered, its record has to agree, and in the second half neither memory
nor descriptors may grow.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from chaos import configs
from chaos.balancer import RunningBalancer
from chaos.clients import Clients
from chaos.judge import fates, judge
from chaos.ledger import Ledger
from chaos.outside import Sight
from chaos.servers import ServerProcess
from chaos.verdict import Line, table

__all__ = ["Sample", "grown", "judge_samples", "soak"]

SERVERS = ("a", "b")
CLIENTS = 40
DESCRIPTORS = 1024
SAMPLES = 60
"""Looks at the balancer in a run."""
FLAT_KIB = 1024
"""Resident memory by which a process may grow in the second half, by the slope of its samples.

A guess. In 100,000 connections it is 20 bytes for each; in a short run it only finds what is coarse.
"""


@attrs.frozen
class Sample:
    """The balancer's processes, after so many sessions."""

    sessions: int
    sights: Mapping[str, Sight]


async def soak(ledger: Ledger, connections: int, workers: int, seed: int = 1) -> list[Sample]:
    """Run it. The first sample is from before, the last from after. Raises chaos.balancer.BrokenError."""
    samples: list[Sample] = []
    servers = {name: ServerProcess(name, partial(ledger.report, name)) for name in SERVERS}
    addresses = {name: f"127.0.0.1:{server.port}" for name, server in servers.items()}
    with tempfile.TemporaryDirectory(prefix="lb-soak-") as folder:
        balancer = RunningBalancer(Path(folder), ledger, addresses)
        async with trio.open_nursery() as nursery:
            for server in servers.values():
                await server.start(nursery)
            text = configs.base(SERVERS).replace("workers = 2", f"workers = {workers}")
            await balancer.start(nursery, text, DESCRIPTORS)
            clients = Clients(ledger, balancer.port, seed)
            try:
                await _run(ledger, balancer, clients, connections, samples)
                await balancer.stop()
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    balancer.kill()
                    for server in servers.values():
                        await server.kill()
    return samples


async def _run(
    ledger: Ledger, balancer: RunningBalancer, clients: Clients, connections: int, samples: list[Sample]
) -> None:
    def look() -> None:
        samples.append(Sample(len(ledger.sessions), balancer.look()))

    look()
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(clients.one_after_another, enough)
        for number in range(1, SAMPLES + 1):
            await balancer.lines("connection.closed", number * connections // SAMPLES)
            look()
        enough.set()
    await balancer.records()
    samples.append(Sample(len(ledger.sessions), await balancer.calm(samples[0].sights)))


def grown(values: Sequence[float]) -> float:
    """By how much evenly spaced values have grown, judged by their slope (least squares), so that one peak is none."""
    places = range(len(values))
    return statistics.linear_regression(places, values).slope * (len(values) - 1)


def judge_samples(samples: Sequence[Sample]) -> list[Line]:
    """Whether memory and descriptors were flat. Pure."""
    first, *during, last = samples
    half = during[len(during) // 2 :]
    memory, descriptors, figures, counts = [], [], [], []
    for role in first.sights:
        kib = grown([sample.sights[role].kib for sample in half])
        figures.append(f"{role} {half[0].sights[role].kib} -> {half[-1].sights[role].kib} KiB, slope {kib:+.0f}")
        if kib > FLAT_KIB:
            memory.append(f"{role} has grown by {kib:.0f} KiB")
        before, after = first.sights[role].descriptors, last.sights[role].descriptors
        most = max(sample.sights[role].descriptors for sample in half)
        most_before = max(sample.sights[role].descriptors for sample in during[: len(during) // 2])
        counts.append(f"{role} {before} -> {after}, at most {most_before} and {most}")
        if after > before or most > most_before + CLIENTS:
            descriptors.append(f"{role} has more than before")
    return [
        Line("memory is flat in the second half", "; ".join(figures), tuple(memory)),
        Line("descriptors are back", "; ".join(counts), tuple(descriptors)),
    ]


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="chaos.soak", description=__doc__)
    parser.add_argument("--connections", type=int, default=100_000, help="how many (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes that carry the traffic (%(default)s)")
    options = parser.parse_args()
    ledger = Ledger()
    samples = trio.run(soak, ledger, options.connections, options.workers)
    what_became = ", ".join(f"{count} {fate}" for fate, count in fates(ledger).most_common())
    results = [Line("every session is answered, with one record", what_became, tuple(judge(ledger)))]
    results += judge_samples(samples)
    print(table(results))
    return 1 if any(line.wrong for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
