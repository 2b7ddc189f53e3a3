"""Compare the balancer with HAProxy and nginx stream in one run: alternating rounds, medians, Markdown and a plot.

A full run is also saved in ``bench/results/``; ``--quick`` and ``--only`` only print. See ``bench/README.md``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import loads
import machine
from backends import Ports, backends
from cases import CASES, FULL, QUICK
from configurations import LB_COMMAND
from model import Case, Scale
from plot import plot
from processes import LOAD_CORES, NotListeningError, keep_to
from report import bars_table, case_tables
from results import Results
from targets import start

RESULTS = Path(__file__).with_name("results")
NEEDED = (
    "haproxy",
    "nginx",
    "wrk",
    "h2load",
    "openssl",
    "ss",
    "taskset",
    "squid",
    "tinyproxy",
    "microsocks",
    "ffmpeg",
    "chromium",
    str(LB_COMMAND),
)
DESCRIPTORS = 20_000
"""For 9,500 idle tunnels: a proxy needs two for each."""


def main() -> int:
    """Run the benchmark; return 1 if a load had an error, 2 if a program is missing."""
    options = _options()
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        print(f"bench: missing programs: {', '.join(missing)}", file=sys.stderr)
        return 2
    _raise_descriptor_limit()
    signal.signal(signal.SIGTERM, _terminate)
    started, load_before = datetime.now(UTC), os.getloadavg()[0]
    about_the_machine = machine.description()
    results = measure(options.cases, options.scale)
    minutes = (datetime.now(UTC) - started).total_seconds() / 60
    text = (
        f"# {started:%Y-%m-%d %H:%M} UTC\n\n{about_the_machine}"
        f"- rounds: {options.scale.rounds}, in {minutes:.1f} minutes; load average {load_before:.1f} before, "
        f"{os.getloadavg()[0]:.1f} after\n\n"
        "Medians, with minimum and maximum of the rounds in brackets. Ratios are those of medians."
        f"\n\n## Limits\n\n{bars_table(results)}\n{_problems(results)}"
        f"\n## All figures\n\n{case_tables(results)}"
    )
    print(text)
    if options.keep:
        _keep(text, plot(results), f"{started:%Y-%m-%d}")
    return 1 if results.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the balancer with HAProxy and nginx stream.")
    names = list(dict.fromkeys(case.name for case in CASES))
    parser.add_argument("--quick", action="store_true", help="one short round, within a minute; results are not saved")
    parser.add_argument(
        "--only", choices=names, metavar="NAME", help=f"run one case: {', '.join(names)}; results are not saved"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help=f"number of rounds (default: {FULL.rounds}, with --quick {QUICK.rounds})",
    )
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: must be 1 or more")
    scale = QUICK if options.quick else FULL
    options.scale = attrs.evolve(scale, rounds=options.rounds or scale.rounds)
    options.cases = [case for case in CASES if options.only in (None, case.name) and (case.quick or not options.quick)]
    options.keep = not (options.quick or options.only)
    return options


def measure(cases: Sequence[Case], scale: Scale) -> Results:
    """Run all rounds of all cases."""
    results = Results()
    keep_to(LOAD_CORES)
    with tempfile.TemporaryDirectory(prefix="lb-bench-") as name:
        directory = Path(name)
        with backends(directory) as behind:
            loads.download(behind.web, "/large", 1)  # loads the file into the page cache
            for case in cases:
                print(f"{case.name} …", file=sys.stderr)
                try:
                    _measure_case(case, scale, behind, directory, results)
                except (NotListeningError, OSError, threading.BrokenBarrierError) as error:
                    results.problems.append(f"{case.name}, aborted: {error or repr(error)}")
    return results


def _measure_case(case: Case, scale: Scale, behind: Ports, directory: Path, results: Results) -> None:
    """Measure a case. The targets alternate, so that other load on the machine affects all of them equally.

    Each round begins with another target. Raises NotListeningError if one does not start, and the errors of a load.
    """
    with contextlib.ExitStack() as stack:
        all_running = (
            {} if case.fresh else {each: stack.enter_context(start(each, behind, directory)) for each in case.targets}
        )
        for round_number in range(scale.rounds * case.repeat):
            first = round_number % len(case.targets)
            samples = {}
            for target in case.targets[first:] + case.targets[:first]:
                if case.fresh:
                    with start(target, behind, directory) as running:
                        sample = case.run(running, scale)
                else:
                    sample = case.run(all_running[target], scale)
                samples[target] = sample
                where = f"{case.name}, round {round_number + 1}, {target.name}"
                results.problems += [f"{where}: {problem}" for problem in sample.problems]
            results.add(case, samples)


def _raise_descriptor_limit() -> None:
    """Raise the limit as far as allowed; the balancers inherit it. Raises RuntimeError if that is not enough."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < DESCRIPTORS:
        raise RuntimeError(f"needs {DESCRIPTORS} open files, `ulimit -Hn` allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _terminate(_number: int, _frame: types.FrameType | None) -> None:
    """Exit through the ``finally`` blocks, which stop the child processes."""
    sys.exit(128 + signal.SIGTERM)


def _problems(results: Results) -> str:
    lines = [f"- {problem}\n" for problem in results.problems]
    return f"**Errors; the affected figures are invalid:**\n\n{''.join(lines)}" if lines else "Errors: none.\n"


def _keep(text: str, picture: str, date: str) -> None:
    RESULTS.mkdir(exist_ok=True)
    for name in (date, "latest"):
        (RESULTS / f"{name}.svg").write_text(picture)
        (RESULTS / f"{name}.md").write_text(f"{text}\n![ratios]({name}.svg)\n")


if __name__ == "__main__":
    sys.exit(main())
