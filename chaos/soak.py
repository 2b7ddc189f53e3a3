"""``python -m chaos.soak``: very many sessions of mixed kinds. Exit code 1 if memory or descriptors grow.

They are connections of the tcp listener, or with ``--http`` requests of the http listener, on kept connections and not.

No server fails here: every session must succeed, its record must match, and in the second half neither memory nor
descriptors may grow.
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
from chaos.http_clients import HttpClients
from chaos.judge import fates, judge
from chaos.ledger import Ledger
from chaos.outside import ProcessStats
from chaos.servers import ServerProcess
from chaos.verdict import Line, table

__all__ = ["Sample", "grown", "judge_samples", "soak"]

SERVERS = ("a", "b")
CLIENTS = 40
DESCRIPTORS = 1024
SAMPLES = 60
"""Samples per run."""
FLAT_KIB = 1024
"""Maximum growth of a process's resident memory in the second half, in KiB, by the slope of its samples.

An estimate. With 100,000 connections it is 20 bytes for each; a short run only finds large leaks.
"""


@attrs.frozen
class Sample:
    """Statistics of the balancer's processes after a number of sessions."""

    sessions: int
    stats: Mapping[str, ProcessStats]


async def soak(ledger: Ledger, count: int, workers: int, seed: int = 1, *, http: bool = False) -> list[Sample]:
    """Run a soak test of this many connections, or requests.

    The first sample is from before it, the last from after. Raises chaos.balancer.BrokenError.
    """
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
            clients = (
                HttpClients(ledger, balancer.ports["www"], seed)
                if http
                else Clients(ledger, balancer.ports["web"], seed)
            )
            record = "http.request" if http else "connection.closed"
            try:
                await _run(ledger, balancer, clients, record, count, samples)
                await balancer.stop()
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    balancer.kill()
                    for server in servers.values():
                        await server.kill()
    return samples


async def _run(
    ledger: Ledger,
    balancer: RunningBalancer,
    clients: Clients | HttpClients,
    record: str,
    count: int,
    samples: list[Sample],
) -> None:
    def take_sample() -> None:
        samples.append(Sample(len(ledger.sessions), balancer.stats()))

    take_sample()
    enough = trio.Event()
    async with trio.open_nursery() as nursery:
        for _ in range(CLIENTS):
            nursery.start_soon(clients.one_after_another, enough)
        for number in range(1, SAMPLES + 1):
            await balancer.lines(record, number * count // SAMPLES)
            take_sample()
        enough.set()
    await balancer.records()
    samples.append(Sample(len(ledger.sessions), await balancer.settled_stats(samples[0].stats)))


def grown(values: Sequence[float]) -> float:
    """Return the growth of evenly spaced values by their slope (least squares); a single peak does not count."""
    positions = range(len(values))
    return statistics.linear_regression(positions, values).slope * (len(values) - 1)


def judge_samples(samples: Sequence[Sample]) -> list[Line]:
    """Check that memory and descriptors did not grow. No I/O."""
    first, *during, last = samples
    half = during[len(during) // 2 :]
    memory, descriptors, figures, counts = [], [], [], []
    for role in first.stats:
        kib = grown([sample.stats[role].kib for sample in half])
        figures.append(f"{role} {half[0].stats[role].kib} -> {half[-1].stats[role].kib} KiB, slope {kib:+.0f}")
        if kib > FLAT_KIB:
            memory.append(f"{role} has grown by {kib:.0f} KiB")
        before, after = first.stats[role].descriptors, last.stats[role].descriptors
        most = max(sample.stats[role].descriptors for sample in half)
        most_before = max(sample.stats[role].descriptors for sample in during[: len(during) // 2])
        counts.append(f"{role} {before} -> {after}, at most {most_before} and {most}")
        if after > before or most > most_before + CLIENTS:
            descriptors.append(f"{role} has more descriptors than before")
    return [
        Line("memory does not grow in the second half", "; ".join(figures), tuple(memory)),
        Line("descriptors are closed", "; ".join(counts), tuple(descriptors)),
    ]


def main() -> int:
    """Run the command and return the exit code."""
    parser = argparse.ArgumentParser(prog="chaos.soak", description=__doc__)
    parser.add_argument("--connections", type=int, default=100_000, help="number of connections (default: %(default)s)")
    parser.add_argument("--http", action="store_true", help="requests of the http listener, as many")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default: %(default)s)")
    options = parser.parse_args()
    ledger = Ledger()
    samples = trio.run(partial(soak, ledger, options.connections, options.workers, http=options.http))
    results_text = ", ".join(f"{count} {result}" for result, count in fates(ledger).most_common())
    results = [Line("every session succeeds, with one record", results_text, tuple(judge(ledger)))]
    results += judge_samples(samples)
    print(table(results))
    return 1 if any(line.wrong for line in results) else 0


if __name__ == "__main__":
    sys.exit(main())
