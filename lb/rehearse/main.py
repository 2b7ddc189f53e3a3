"""``lb rehearse``: what would happen, without anything happening."""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from lb.config import ConfigError, load
from lb.model import Config
from lb.rehearse.expectation import Expectation, parse_expectation
from lb.rehearse.imagined import imagined, left_out
from lb.rehearse.outcome import Outcome, outcome
from lb.rehearse.scenario import Scenario
from lb.rehearse.scenario_file import read_scenario
from lb.rehearse.stage import play
from lb.rehearse.tally import Tally
from lb.rehearse.words import in_words

__all__ = ["rehearse"]


def rehearse(
    config_file: Path,
    scenario_file: Path,
    *,
    seed: int | None,
    expected: Sequence[str],
    report: Path | None,
    as_json: bool,
) -> int:
    """Rehearse, and print what came of it; returns the exit code.

    0 fine; 1 if an expectation is not met; 2 for what is wrong with the files or the expectations.
    """
    try:
        written = load(config_file)
        config = imagined(written)
        scenario = read_scenario(scenario_file, config)
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return 2
    if seed is not None:
        scenario = attrs.evolve(scenario, seed=seed)
    known = outcome(config, scenario, Tally(scenario.duration)).statistics
    try:
        expectations = [parse_expectation(text, known) for text in expected]
    except ValueError as error:
        print(f"--expect: {error}", file=sys.stderr)
        return 2
    for line in left_out(written):
        print(f"not rehearsed: {line}", file=sys.stderr)
    _collect_garbage_rarely()
    tally = _played(config, scenario)
    if tally is None:
        return 128 + signal.SIGINT
    result = outcome(config, scenario, tally)
    if report is not None:
        from lb.rehearse.report import report_page  # noqa: PLC0415 - most do without

        title = f"{config_file.name} under {scenario_file.name}"
        try:
            report.write_text(report_page(title, scenario, tally, result, expectations))
        except OSError as error:
            print(f"lb: {report}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    print(_as_json(scenario, result, expectations) if as_json else in_words(scenario, tally, result, expectations))
    return 0 if all(each.met(result.statistics) for each in expectations) else 1


def _played(config: Config, scenario: Scenario) -> Tally | None:
    """None after Ctrl-C. How far it has come is said to a terminal only."""
    shown = sys.stderr.isatty()

    def progress(percent: int) -> None:
        if shown:
            print(f"\r{percent:3} %", end="", file=sys.stderr, flush=True)

    try:
        return play(config, scenario, progress)
    except* KeyboardInterrupt:
        pass
    finally:
        if shown:
            print("\r     \r", end="", file=sys.stderr, flush=True)
    return None


def _collect_garbage_rarely() -> None:
    """A session leaves none that holds a circle, and to look for it takes a fifth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _as_json(scenario: Scenario, result: Outcome, expectations: Sequence[Expectation]) -> str:
    """For programs. A time that never came is null."""
    return json.dumps(
        {
            "duration": scenario.duration,
            "seed": scenario.seed,
            "statistics": {name: _finite(value) for name, value in result.statistics.items()},
            "incidents": [
                {
                    "at": incident.at,
                    "server": incident.server,
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
                    "value": _finite(result.statistics[each.name]),
                    "met": each.met(result.statistics),
                }
                for each in expectations
            ],
        },
        indent=2,
    )


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 6)
