"""``lb rehearse``: simulates failures under a configuration, and checks expectations."""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs

from lb.config.load import ConfigError, load
from lb.model import Config
from lb.model.values import whole_number
from lb.tools.rehearse.expectation import Expectation, parse_expectation
from lb.tools.rehearse.outcome import RehearsalOutcome, outcome
from lb.tools.rehearse.recorder import Recorder
from lb.tools.rehearse.scenario import Scenario
from lb.tools.rehearse.scenario_file import read_scenario
from lb.tools.rehearse.simulation import simulate
from lb.tools.rehearse.virtual_config import not_simulated, virtual_config
from lb.tools.rehearse.words import as_text

__all__ = ["rehearse"]

MAX_NODES = 64
"""Balancers of one rehearsal: what ``bench/scale.py`` goes up to."""


def rehearse(
    config_file: Path,
    scenario_file: Path,
    *,
    nodes: int | None,
    seed: int | None,
    expected: Sequence[str],
    report: Path | None,
    as_json: bool,
) -> int:
    """Run a rehearsal, of several balancers if ``nodes`` is given, print its result, and return the exit code.

    0 success; 1 if an expectation is not met, or there were no sessions; 2 for errors in the files or the options.
    """
    try:
        config = virtual_config(written := load(config_file))
        scenario = read_scenario(scenario_file, config, _node_names(nodes))
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return 2
    expectations, errors = _read_options(
        seed, expected, report, outcome(config, scenario, Recorder(scenario.duration)).statistics
    )
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 2
    if seed is not None:
        scenario = attrs.evolve(scenario, seed=seed)
    print(*(f"not rehearsed: {line}\n" for line in not_simulated(written)), sep="", end="", file=sys.stderr)
    _collect_garbage_rarely()
    if (recorder := _run(config, scenario)) is None:
        return 128 + signal.SIGINT
    result = outcome(config, scenario, recorder)
    print(_as_json(scenario, result, expectations) if as_json else as_text(scenario, recorder, result, expectations))
    if not recorder.arrived:
        print("lb: there were no sessions; use a higher rate or a longer duration", file=sys.stderr)
    title = f"{config_file.name} under {scenario_file.name}"
    if report and not _write_report(report, title, scenario, recorder, result, expectations):
        return 1
    return 0 if recorder.arrived and all(each.met(result.statistics) for each in expectations) else 1


def _node_names(nodes: int | None) -> list[str]:
    """Return the names of several balancers; none without a number. Raises ConfigError."""
    if nodes is not None and not 1 <= nodes <= MAX_NODES:
        raise ConfigError([f"--nodes: must be from 1 to {MAX_NODES}, not {nodes}"])
    return [f"lb{number}" for number in range(1, (nodes or 0) + 1)]


def _write_report(
    path: Path,
    title: str,
    scenario: Scenario,
    recorder: Recorder,
    result: RehearsalOutcome,
    expectations: Sequence[Expectation],
) -> bool:
    """Write the report. Prints an error and returns False if that fails."""
    from lb.tools.rehearse.report import report_page  # noqa: PLC0415 - needed with --report only

    try:
        path.write_text(report_page(title, scenario, recorder, result, expectations), encoding="utf-8")
    except OSError as error:  # after the check of the path: the disk is full, for example
        print(f"lb: {path}: cannot be written: {error.strerror}", file=sys.stderr)
        return False
    return True


def _read_options(
    seed: int | None, expected: Sequence[str], report: Path | None, known: Collection[str]
) -> tuple[list[Expectation], list[str]]:
    """Return the expectations, and all errors in the options."""
    expectations, errors = [], []
    for text in expected:
        try:
            expectations.append(parse_expectation(text, known))
        except ValueError as error:
            errors.append(f"--expect: {error}")
    if seed is not None:
        try:
            whole_number()(seed)
        except ValueError as error:
            errors.append(f"--seed: {error}")
    if report is not None and not errors:
        try:
            report.open("ab").close()
        except OSError as error:
            errors.append(f"--report: {report}: cannot be written: {error.strerror}")
    return expectations, errors


def _run(config: Config, scenario: Scenario) -> Recorder | None:
    """Run the simulation; return None after Ctrl-C. Prints the progress if stderr is a terminal."""
    shown = sys.stderr.isatty()

    def progress(percent: int) -> None:
        if shown:
            print(f"\r{percent:3} %", end="", file=sys.stderr, flush=True)

    try:
        return simulate(config, scenario, progress)
    except* KeyboardInterrupt:
        pass
    finally:
        if shown:
            print("\r     \r", end="", file=sys.stderr, flush=True)
    return None


def _collect_garbage_rarely() -> None:
    """Run the garbage collector rarely: sessions leave no reference cycles, and searching takes a fifth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _as_json(scenario: Scenario, result: RehearsalOutcome, expectations: Sequence[Expectation]) -> str:
    """Format the result as JSON. An infinite time is null."""
    return json.dumps(
        {
            "duration": scenario.duration,
            "seed": scenario.seed,
            **({"nodes": list(scenario.nodes)} if scenario.nodes else {}),
            "statistics": {name: _finite(value) for name, value in result.statistics.items()},
            "incidents": [
                {
                    "at": incident.at,
                    "node" if incident.of_node else "server": incident.name,
                    "does": incident.does,
                    "ejected_after": _finite(incident.ejected_after),
                    "restored_after": _finite(incident.restored_after),
                }
                for incident in result.incidents
            ],
            "timeline": [{"at": each.at, "kind": each.kind, "text": each.text} for each in result.timeline],
            "expectations": [
                {
                    "expectation": each.text,
                    "value": _finite(each.actual(result.statistics)),
                    "met": each.met(result.statistics),
                }
                for each in expectations
            ],
        },
        indent=2,
    )


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 6)
