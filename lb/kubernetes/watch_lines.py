"""The lines of a watch of Kubernetes' API, and the errors of its answers. No I/O."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

from lb.model.printable import printable, shortened

__all__ = ["GoneError", "KubernetesError", "RefusedError", "WatchEvent", "WatchLines", "status_text"]

LONGEST_EVENT = 1 << 20
"""Maximum bytes of one event: ten times a slice of 100 endpoints."""
_LONGEST_TEXT = 300
_GONE = 410


class KubernetesError(Exception):
    """The API server does not answer, or refuses. The message is one line, without the token."""


class RefusedError(KubernetesError):
    """The API server answers that it will not."""


class GoneError(KubernetesError):
    """The version to watch from is too old: list again."""


@attrs.frozen
class WatchEvent:
    """A change. Of a bookmark, ``document`` has a version and nothing else."""

    kind: str
    """ADDED, MODIFIED, DELETED or BOOKMARK."""
    document: dict[str, Any]


class WatchLines:
    """Takes the bytes of a watch, and calls ``changed`` with the events of each piece.

    ``version`` is that of the last event: where the next watch goes on.
    """

    def __init__(self, version: str, changed: Callable[[list[WatchEvent]], None]) -> None:
        self.version = version
        self._changed = changed
        self._rest = b""
        self._error: KubernetesError | None = None

    def take(self, chunk: bytes) -> bool:
        """Take bytes. False: the watch is over, as :meth:`finish` says."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events: list[WatchEvent] = []
        try:
            for line in filter(bytes.strip, lines):
                events.append(self._event(line))  # noqa: PERF401 - those before a bad line count
            if len(self._rest) > LONGEST_EVENT:
                raise KubernetesError(f"sends a line of more than {LONGEST_EVENT >> 20} MiB")  # noqa: TRY301 - one place for all that ends it
        except KubernetesError as error:
            self._error = error
        if events:
            self._changed(events)
        return self._error is None

    def _event(self, line: bytes) -> WatchEvent:
        try:
            event = json.loads(line)
            kind, document = event["type"], event["object"]
            if kind != "ERROR":
                self.version = str(document["metadata"]["resourceVersion"])
                _ = kind == "BOOKMARK" or document["metadata"]["name"]
                return WatchEvent(str(kind), document)
            code, text = document.get("code"), str(document.get("message") or document.get("reason"))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise KubernetesError("sends what is no watch of EndpointSlices") from error
        raise GoneError(_short(text)) if code == _GONE else KubernetesError(_short(text))

    def finish(self, place: str) -> None:
        """Raise what has ended the watch, if it was an error. ``place`` is the server."""
        if self._error is not None:
            raise type(self._error)(f"{place}: {self._error}") from self._error


def status_text(status: int, content: bytes) -> str:
    """Return what an answer with an error says: the message of its Status object, or the number."""
    try:
        message = json.loads(content)["message"]
    except (KeyError, TypeError, ValueError, RecursionError):
        message = ""
    return _short(f"status {status}: {message}" if isinstance(message, str) and message else f"status {status}")


def _short(text: str) -> str:
    return shortened(printable(text), _LONGEST_TEXT)
