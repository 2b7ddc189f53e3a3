"""Read a file that holds a secret."""

from __future__ import annotations

from pathlib import Path

from lb.model.shape import shape_of, shaped
from lb.model.values import Reader, file_name
from lb.net.files import read_file

__all__ = ["secret_in_file"]


def secret_in_file(directory: Path) -> Reader[str]:
    """Return a reader for the name of a file with a secret. White space around the secret does not belong to it."""

    @shaped(shape_of(file_name))
    def read(value: object) -> str:
        path = file_name(value)
        try:
            found = read_file(directory / path).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is not UTF-8"
            raise ValueError(f"{path!r} cannot be read: {reason.lower()}") from error
        if not found:
            raise ValueError(f"{path!r} is empty")
        return found

    return read
