"""stdout and stderr of a command, which may be full or closed."""

from __future__ import annotations

import os
from typing import Any, TextIO

__all__ = ["Messages", "Output"]


class _Wrapped:
    """A stream that is like the one that it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any attribute of a stream
        return getattr(self._stream, name)


class Output(_Wrapped):
    """A stream that remembers why it could not be written."""

    failure: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error
            raise

    def discard(self) -> None:
        """Write the rest to /dev/null: Python flushes once more at exit."""
        _discard(self._stream)


class Messages(_Wrapped):
    """A stream for messages. Those that cannot be written are lost, as nobody can be told; the exit code stays."""

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError:
            _discard(self._stream)
            return len(text)


def _discard(stream: TextIO) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
