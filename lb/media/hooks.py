"""Hooks: a web server is asked who may publish, and told who has ended."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import trio

from lb.events import Event, StreamHookFailed
from lb.model import Secret
from lb.net.http_failure import http_failure_text
from lb.net.threads import Threads
from lb.net.tls import verifying_context

if TYPE_CHECKING:
    import httpx

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
        self._thread = Threads(1)
        self._loading = trio.Lock()
        self._client: httpx.AsyncClient | None = None
        self._failures: tuple[type[Exception], ...] = ()

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
                client, failures = await self._loaded()
                try:
                    async with client.stream("POST", str(url.value), content=call.body) as answer:
                        return answer.status_code
                except failures as failure:
                    error = http_failure_text(failure)
        self._failed(hook, call, error)
        return None

    async def _loaded(self) -> tuple[httpx.AsyncClient, tuple[type[Exception], ...]]:
        """Import the library and read the authorities that the system trusts, in a thread: together they take 0.3 s."""
        async with self._loading:
            if self._client is None:
                library, context = await self._thread.run(_load)
                self._failures = (library.HTTPError, library.InvalidURL, OSError)
                self._client = library.AsyncClient(
                    verify=context,
                    trust_env=False,  # no proxy: hooks are near
                    timeout=TIMEOUT,
                    headers={"User-Agent": "trio-lb", "Content-Type": "application/json"},
                    limits=library.Limits(max_connections=MOST_CALLS, max_keepalive_connections=0),
                )
        return self._client, self._failures

    def _failed(self, hook: _Hook, call: HookCall, error: str) -> None:
        self._emit(StreamHookFailed(f"{call.app}/{call.name}", hook, error))


def _load() -> tuple[ModuleType, ssl.SSLContext]:
    import httpx  # noqa: PLC0415 - only where there are hooks

    return httpx, verifying_context(verify=True)
