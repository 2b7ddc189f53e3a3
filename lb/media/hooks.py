"""Hooks: a web server is asked who may publish, and told who has ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeAlias

import attrs
import trio

from lb.events import Event, StreamHookFailed
from lb.model import Secret
from lb.net.http_client import HttpClient, HttpClientError
from lb.net.tls import verifying_context

__all__ = ["HookCall", "Hooks"]

TIMEOUT = 3.0
"""Seconds that a hook has in all: until a call is free, for the name, the connection and the answer's head."""
MOST_CALLS = 64
"""At a time."""
_Hook: TypeAlias = Literal["on_publish", "on_publish_done"]


@attrs.frozen
class HookCall:
    """What a hook is told."""

    app: str
    name: str
    client: str
    key: str = attrs.field(repr=False)

    @property
    def body(self) -> bytes:
        return json.dumps(attrs.asdict(self)).encode()


class Hooks:
    """Calls hooks. Of an answer, only its status counts: a redirect is not followed, a body is not read."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._slots = trio.Semaphore(MOST_CALLS)
        self._http = HttpClient(
            partial(verifying_context, verify=True),
            headers={"Content-Type": "application/json"},
            most_connections=MOST_CALLS,
        )

    async def allow(self, url: Secret, call: HookCall) -> bool:
        """Return whether a publisher may come in."""
        status = await self._post("on_publish", url, call)
        if status is not None and not 200 <= status < 300 and not 400 <= status < 500:
            self._failed("on_publish", call, f"status {status}")
        return status is not None and 200 <= status < 300

    async def tell_end(self, url: Secret, call: HookCall) -> None:
        """Tell that a publisher has ended, once: a hook that does not hear it is not told again.

        The end of this process waits for it.
        """
        with trio.CancelScope(shield=True):
            status = await self._post("on_publish_done", url, call)
        if status is not None and not 200 <= status < 300:
            self._failed("on_publish_done", call, f"status {status}")

    async def _post(self, hook: _Hook, url: Secret, call: HookCall) -> int | None:
        """Return the status of the answer; None if there is none in time, which has become an event."""
        error = f"no answer in {TIMEOUT:g} s"
        with trio.move_on_after(TIMEOUT):
            async with self._slots:
                try:
                    async with self._http.stream("POST", str(url.value), content=call.body) as answer:
                        return answer.status_code
                except HttpClientError as failure:
                    error = str(failure)
        self._failed(hook, call, error)
        return None

    def _failed(self, hook: _Hook, call: HookCall, error: str) -> None:
        self._emit(StreamHookFailed(f"{call.app}/{call.name}", hook, error))
