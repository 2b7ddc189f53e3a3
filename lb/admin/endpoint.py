"""The admin endpoint as a task: HTTP by Hypercorn, on the same trio loop as everything else."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NoReturn, TypeAlias

import hypercorn.config
import hypercorn.trio
import trio
from starlette.responses import JSONResponse

from lb.admin.api import api
from lb.admin.gate import refusal
from lb.admin.process import Process
from lb.events import Fault

__all__ = ["serve_admin"]

GRACE = 0.1
"""Seconds that answers under way get when the endpoint ends. Event streams never end by themselves."""
KEPT_OPEN = 75.0
"""Seconds that a client may stay without asking; longer than the usual interval of a scraper."""
PAUSE = 1.0
"""Seconds until it is tried again when the HTTP server itself has failed."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


async def serve_admin(sockets: Sequence[socket.socket], process: Process) -> NoReturn:
    """Serve on these sockets, which stay open, for ever. The present configuration says who may ask."""
    app = _guarded(api(process), process)
    while True:
        config = hypercorn.config.Config()
        config.bind = [f"fd://{os.dup(sock.fileno())}" for sock in sockets]  # it closes what it serves
        config.errorlog = None  # what goes wrong in our code is told as a fault
        config.include_server_header = False
        config.graceful_timeout = GRACE
        config.keep_alive_timeout = KEPT_OPEN
        try:
            await hypercorn.trio.serve(app, config, mode="asgi")  # type: ignore[arg-type]  # it has a type per message
        except Exception as exception:  # noqa: BLE001 - it must not reach the traffic
            process.say(Fault("admin", exception))
        await trio.sleep(PAUSE)


def _guarded(app: App, process: Process) -> App:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # its own start and end; web sockets, which it refuses
            await app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        admin = process.balancer.config.admin
        token = str(admin.token.value) if admin is not None and admin.token is not None else ""
        refused = refusal(scope["method"], scope["path"], headers, token)
        try:
            if refused is None:
                await app(scope, receive, send)
            else:
                answer = JSONResponse({"error": refused.detail}, refused.status, dict(refused.headers))
                await answer(scope, receive, send)
        except Exception as exception:  # noqa: BLE001 - a bug in one answer must not reach another
            process.say(Fault("admin", exception))

    return guarded
