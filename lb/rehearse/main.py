"""``lb rehearse``: what would happen, without anything happening."""

from __future__ import annotations

import gc
import json
import math
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs

from lb.config import ConfigError, load
from lb.config_file.values import whole_number
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

    0 fine; 1 if an expectation is not met, or no session came; 2 for what is wrong with the files or the options.
    """
    try:
        written = load(config_file)
        config = imagined(written)
        scenario = read_scenario(scenario_file, config)
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return 2
    known = outcome(config, scenario, Tally(scenario.duration)).statistics
    expectations, errors = _read_options(seed, expected, report, known)
    if errors:
        print("\n".join(errors), file=sys.stderr)
        return 2
    if seed is not None:
        scenario = attrs.evolve(scenario, seed=seed)
    for line in left_out(written):
        print(f"not rehearsed: {line}", file=sys.stderr)
    _collect_garbage_rarely()
    tally = _played(config, scenario)
    if tally is None:
        return 128 + signal.SIGINT
    result = outcome(config, scenario, tally)
    print(_as_json(scenario, result, expectations) if as_json else in_words(scenario, tally, result, expectations))
    if not tally.arrived:
        print("lb: no session came, so nothing was rehearsed: a higher rate, or a longer duration?", file=sys.stderr)
    if report is not None:
        from lb.rehearse.report import report_page  # noqa: PLC0415 - most do without

        title = f"{config_file.name} under {scenario_file.name}"
        try:
            report.write_text(report_page(title, scenario, tally, result, expectations), encoding="utf-8")
        except OSError as error:  # since it was opened: the disk is full, say
            print(f"lb: {report}: cannot be written: {error.strerror}", file=sys.stderr)
            return 1
    return 0 if tally.arrived and all(each.met(result.statistics) for each in expectations) else 1


def _read_options(
    seed: int | None, expected: Sequence[str], report: Path | None, known: Collection[str]
) -> tuple[list[Expectation], list[str]]:
    """The expectations, and all that is wrong with the options."""
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
                    "value": _finite(each.came_to(result.statistics)),
                    "met": each.met(result.statistics),
                }
                for each in expectations
            ],
        },
        indent=2,
    )


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else round(value, 6)
