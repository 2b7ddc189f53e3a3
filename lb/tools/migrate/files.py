"""The files that a migration reads: a configuration, and the lists of values that it names."""

from __future__ import annotations

from pathlib import Path

from lb.net.files import read_file
from lb.tools.migrate.formats import UnreadableError

__all__ = ["configuration_text", "listed_values"]


def configuration_text(path: Path) -> str:
    """Return the text of a configuration. Raises UnreadableError."""
    try:
        return read_file(path).decode()
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError as error:
        raise UnreadableError(f"{path}: is not UTF-8") from error


def listed_values(path: Path) -> list[str]:
    """Return the lines of a file of values, without comments. Raises ValueError if it cannot be read."""
    try:
        lines = read_file(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read here") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
