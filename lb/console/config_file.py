"""Which configuration file a command uses. All commands take it in the same way."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = [
    "PLACES",
    "UsageError",
    "add_config",
    "config_file",
    "found_config",
    "named_config",
    "reordered",
    "take_new_file",
]

VARIABLE = "LB_CONFIG"
PLACES = ("./lb.toml", "/etc/trio-lb/lb.toml")
"""Where a command looks for the file if it is not named."""
FILE_HELP = (
    f"configuration file (TOML), '-' for standard input; default: {VARIABLE} of the environment, "
    f"else {' or '.join(PLACES)}"
)


class UsageError(Exception):
    """The arguments and the environment do not say what is needed. The text is one line."""


def add_config(
    parser: argparse.ArgumentParser, *, default: object = None, argument: bool = True, text: str = FILE_HELP
) -> None:
    """Add ``-c``, and the file as the first argument if ``argument``. ``text`` is the help text of the option."""
    parser.add_argument("-c", "--config", type=Path, default=default, metavar="FILE", help=text)
    if argument:
        parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the same as --config FILE")


def config_file(options: argparse.Namespace) -> Path:
    """Return the file for a command. Raises UsageError if none is named and none is in the usual places."""
    found = found_config(options)
    if found is None:
        raise UsageError(
            f"no configuration file: there is no {' and no '.join(PLACES)}; use --config FILE or {VARIABLE}"
        )
    return found


def named_config(options: argparse.Namespace) -> Path | None:
    """Return the file that the command line names. Raises UsageError if it names two."""
    named: list[Path | None] = [options.config, getattr(options, "file", None)]
    if None not in named:
        raise UsageError(f"the configuration file is given twice: {named[0]} and {named[1]}")
    return named[0] or named[1]


def found_config(options: argparse.Namespace) -> Path | None:
    """Return the file that is named, else one in the usual places; None if there is none. Raises UsageError."""
    named = named_config(options) or os.environ.get(VARIABLE)
    return Path(named) if named else next(filter(_is_there, map(Path, PLACES)), None)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # no permission: who reads it will say so
        return True
    return True


def reordered(options: argparse.Namespace, rest: list[str]) -> bool:
    """Accept ``lb rehearse OLD --option NEW``. Returns whether ``rest``, which argparse has left over, is that.

    Before Python 3.13, argparse decides at the option that OLD is absent and takes its text for NEW; or that NEW is
    absent, where it may be.
    """
    if len(rest) != 1 or rest[0].startswith("-") or not hasattr(options, "other"):
        return False
    if options.other is None:
        options.other = Path(rest[0])
        return True
    if named_config(options):
        return False
    options.file, options.other = options.other, Path(rest[0])
    return True


def take_new_file(options: argparse.Namespace) -> bool:
    """Take the only file of ``lb diff NEW`` for NEW: argparse has taken it for FILE, which it is with ``--cluster``.

    Returns whether the command has all that it needs.
    """
    if getattr(options, "other", "") is None and not options.cluster:
        options.file, options.other = None, options.file
        return options.other is not None
    return True
