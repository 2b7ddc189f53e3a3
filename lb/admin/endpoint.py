"""The HTTP server of the admin endpoint: Hypercorn on the balancer's trio loop."""

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
from lb.admin.auth import refusal
from lb.admin.process import Process
from lb.events import Fault

__all__ = ["serve_admin"]

STOP_GRACE = 0.1
"""Seconds that responses in progress get when the endpoint stops. Event streams never end by themselves."""
KEEP_ALIVE_TIMEOUT = 75.0
"""Seconds that a connection may be idle; longer than the usual scrape interval."""
RESTART_PAUSE = 1.0
"""Seconds until a restart after the HTTP server itself failed."""

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


async def serve_admin(sockets: Sequence[socket.socket], process: Process) -> NoReturn:
    """Serve on these sockets without end, and leave them open. Requests need the token of the current configuration."""
    app = _guarded(api(process), process)
    while True:
        config = hypercorn.config.Config()
        config.bind = [f"fd://{os.dup(sock.fileno())}" for sock in sockets]  # Hypercorn closes its own
        config.errorlog = None  # errors in this code are reported as faults
        config.include_server_header = False
        config.graceful_timeout = STOP_GRACE
        config.keep_alive_timeout = KEEP_ALIVE_TIMEOUT
        try:
            await hypercorn.trio.serve(app, config, mode="asgi")  # type: ignore[arg-type]  # it has a type per message
        except Exception as exception:  # noqa: BLE001 - it must not affect the traffic
            process.sink(Fault("admin", exception))
        await trio.sleep(RESTART_PAUSE)


def _guarded(app: App, process: Process) -> App:
    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan, and web sockets, which it refuses
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
        except Exception as exception:  # noqa: BLE001 - an error in one response must not affect others
            process.sink(Fault("admin", exception))

    return guarded
