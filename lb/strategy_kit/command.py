"""``lb strategy``: which strategies there are, and what one is worth."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from lb.model import PluginSpec
from lb.strategy_kit.bench import costs
from lb.strategy_kit.checks import Finding, Make, checks, examine
from lb.strategy_kit.options import strategy_spec
from lb.strategy_kit.trial import Misbehaved, TooLong
from strategies import registry
from strategies.base import Strategy

__all__ = ["finding_text", "findings", "known", "known_text"]

LIMIT = 20.0
"""Seconds that a check may take. A guess: those of a built-in strategy take less than one."""
WIDTH = len("determinism")
"""Of the longest name of a check."""


def known() -> list[dict[str, Any]]:
    """Built-ins, then installed entry points: ``name``, ``about`` (the first line of its docstring) and ``options``.

    One that does not load has ``error`` in their place.
    """
    return [_entry(name) for name in registry.names()]


def _entry(name: str) -> dict[str, Any]:
    try:
        strategy = registry.load(name)
    except ValueError as error:
        return {"name": name, "error": str(error)}
    about = inspect.cleandoc(strategy.__doc__ or "").partition("\n")[0]
    return {"name": name, "about": about, "options": _options(strategy)}


def _options(strategy: type[Strategy]) -> list[dict[str, Any]]:
    """As the constructor's signature has them; ``default`` is missing where one must be given."""
    return [
        {"name": each.name} | ({} if each.default is each.empty else {"default": each.default})
        for each in inspect.signature(strategy).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]


def known_text(entries: Sequence[dict[str, Any]]) -> str:
    """A line for each, and one with its options if it has any."""
    width = max(len(entry["name"]) for entry in entries)
    lines = []
    for entry in entries:
        lines.append(f"{entry['name']:{width}}  {entry.get('error') or entry['about']}".rstrip())
        options = ", ".join(map(_option_text, entry.get("options", ())))
        lines += [f"{'':{width}}  options: {options}"] if options else []
    return "\n".join(lines)


def _option_text(option: dict[str, Any]) -> str:
    if "default" not in option:
        return f"{option['name']} (needed)"
    return (
        option["name"]
        if option["default"] is None
        else f"{option['name']} = {json.dumps(option['default'], default=str)}"
    )


def findings(name: str, options: Sequence[str]) -> Iterator[Finding]:
    """What a strategy is worth, as it is found out. Raises ValueError at once if it cannot be loaded or made.

    It is looked for in the working directory, too, as the configuration's is beside the file.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    spec = strategy_spec(name, options)
    _try_out(spec)
    make = partial(registry.create, spec)
    return _found(make, partial(_elsewhere, name, options))


def _found(make: Make, elsewhere: Callable[[], Sequence[str]]) -> Iterator[Finding]:
    failed = False
    for finding in examine(checks(make, elsewhere), _limited):
        failed |= finding.verdict == "fail"
        yield finding
    if not failed:  # what misbehaves need not be timed
        yield from examine(costs(make), _limited)


class _Alarm(BaseException):
    """None of those that a strategy may catch for its own ends."""


@contextmanager
def _limited() -> Iterator[None]:
    """No longer than LIMIT. Raises TooLong. For the main thread, as signals are."""

    def ring(_signal: int, _frame: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    except _Alarm:
        raise TooLong(f"it was stopped after {LIMIT:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _try_out(spec: PluginSpec) -> None:
    try:
        with _limited():
            registry.create(spec)
    except ValueError:
        raise
    except TooLong as error:
        raise ValueError(f"{spec.name!r} does not start: {error}") from error
    except (Exception, SystemExit) as error:  # somebody else's constructor: it may raise anything
        raise ValueError(f"{spec.name!r} does not start: {type(error).__name__}: {error}") from error


def _elsewhere(name: str, options: Sequence[str]) -> list[str]:
    """What it chooses in another process, in which ``hash`` comes to something else."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-P", "-m", "lb.strategy_kit.choices", name, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - ourselves
    if done.returncode:
        raise Misbehaved(f"in another process it fails: {done.stderr.strip().rpartition(chr(10))[2]}")
    chosen: list[str] = json.loads(done.stdout)
    return chosen


def finding_text(finding: Finding) -> str:
    """A line."""
    return f"{finding.verdict:4}  {finding.check:{WIDTH}}  {finding.text}"
