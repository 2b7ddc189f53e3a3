"""``lb strategy``: list the strategies, and test one."""

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
from lb.model.plugin_modules import search_beside
from lb.tools.strategy_kit.bench import costs
from lb.tools.strategy_kit.checks import Finding, checks, examine
from lb.tools.strategy_kit.explaining import Make
from lb.tools.strategy_kit.options import strategy_spec
from lb.tools.strategy_kit.trial import CheckTimeoutError, RuleViolationError
from strategies import registry
from strategies.base import Strategy

__all__ = ["finding_text", "findings", "known", "known_text"]

LIMIT = 20.0
"""Maximum seconds of a check. An estimate: the checks of a built-in strategy take less than one each."""
NAME_WIDTH = len("determinism")
"""Width of the longest name of a check."""


def known() -> list[dict[str, Any]]:
    """Return the built-in, then the installed strategies: ``name``, ``about`` (first line of the docstring), options.

    A strategy that does not load has ``error`` instead of ``about`` and ``options``.
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
    """Return the options, from the signature of the constructor. Required options have no ``default``."""
    return [
        {"name": each.name} | ({} if each.default is each.empty else {"default": each.default})
        for each in inspect.signature(strategy).parameters.values()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]


def known_text(entries: Sequence[dict[str, Any]]) -> str:
    """Format a line per strategy, and a line with its options if it has any."""
    width = max(len(entry["name"]) for entry in entries)
    lines = []
    for entry in entries:
        lines.append(f"{entry['name']:{width}}  {entry.get('error') or entry['about']}".rstrip())
        options = ", ".join(map(_option_text, entry.get("options", ())))
        lines += [f"{'':{width}}  options: {options}"] if options else []
    return "\n".join(lines)


def _option_text(option: dict[str, Any]) -> str:
    if "default" not in option:
        return f"{option['name']} (required)"
    return (
        option["name"]
        if option["default"] is None
        else f"{option['name']} = {json.dumps(option['default'], default=str)}"
    )


def findings(name: str, options: Sequence[str]) -> Iterator[Finding]:
    """Run the checks of a strategy and yield their findings. Raises ValueError at once if it cannot be created.

    Searches the working directory for its module first; a configuration searches the directory of its file.
    """
    search_beside(Path.cwd())
    spec = strategy_spec(name, options)
    _check_creation(spec)
    make = partial(registry.create, spec)
    return _found(make, partial(_in_other_process, name, options))


def _found(make: Make, in_other_process: Callable[[], Sequence[str]]) -> Iterator[Finding]:
    failed = False
    for finding in examine(checks(make, in_other_process), _limited):
        failed |= finding.verdict == "fail"
        yield finding
    if not failed:  # a strategy that breaks a rule is not timed
        yield from examine(costs(make), _limited)


class _Alarm(BaseException):
    """Not an Exception, so that a strategy does not catch it."""


@contextmanager
def _limited() -> Iterator[None]:
    """Limit the time of the block to LIMIT. Raises CheckTimeoutError. Works in the main thread only, as signals do."""

    def ring(_signal: int, _frame: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    except _Alarm:
        raise CheckTimeoutError(f"it was stopped after {LIMIT:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _check_creation(spec: PluginSpec) -> None:
    try:
        with _limited():
            registry.create(spec)
    except ValueError:
        raise
    except CheckTimeoutError as error:
        raise ValueError(f"{spec.name!r} cannot be created: {error}") from error
    except (Exception, SystemExit) as error:  # a third-party constructor may raise anything
        raise ValueError(f"{spec.name!r} cannot be created: {type(error).__name__}: {error}") from error


def _in_other_process(name: str, options: Sequence[str]) -> list[str]:
    """Return its picks in another process, where ``hash`` returns other values."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-P", "-m", "lb.tools.strategy_kit.choices", name, *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - runs this package
    if done.returncode:
        raise RuleViolationError(f"it fails in another process: {done.stderr.strip().rpartition(chr(10))[2]}")
    chosen: list[str] = json.loads(done.stdout)
    return chosen


def finding_text(finding: Finding) -> str:
    """Format a finding as a line."""
    return f"{finding.verdict:4}  {finding.check:{NAME_WIDTH}}  {finding.text}"
