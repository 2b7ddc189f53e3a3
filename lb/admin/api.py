"""The HTTP API of the admin endpoint: status, metrics, connections, events, and operations on servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from importlib.resources import files
from mimetypes import guess_type

import attrs
import trio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from lb import __version__
from lb.admin.explanation import Explainer
from lb.admin.exposition import ServerFigures, Values, exposition
from lb.admin.feed import Feed
from lb.admin.process import Process
from lb.admin.status import ready, status
from lb.config.load import ConfigError
from lb.control.balancer import why_rejected
from lb.control.overrides import Override
from lb.model.connection import ConnectionFilter
from lb.model.values import shown, whole_number
from lb.net.cooperate import in_turns
from lb.pools.backend import Backend

__all__ = ["api"]

MAX_CONNECTIONS = 1_000
"""Maximum open connections in one response."""
MAX_BODY = 65_536
"""Maximum bytes of a request body."""
HEARTBEAT = 15.0
"""Seconds without an event after which a stream sends a comment, so that proxies do not close it."""
PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""The page connects only to its own origin, runs only its own script, and cannot be framed by other pages."""
PAGE_FILES = {"/": "index.html", "/dashboard.css": "dashboard.css", "/dashboard.js": "dashboard.js"}


def api(process: Process) -> Starlette:
    """Return the application. Authorization happens before it."""
    endpoints = AdminRoutes(process)
    server = "/api/v1/pools/{pool}/servers/{server:path}"
    return Starlette(
        routes=[
            *(Route(path, _file(name)) for path, name in PAGE_FILES.items()),
            Route("/healthz", endpoints.healthz),
            Route("/readyz", endpoints.readyz),
            Route("/metrics", endpoints.metrics),
            Route("/api/v1/status", endpoints.status),
            Route("/api/v1/connections", endpoints.connections),
            Route("/api/v1/connections/{id:int}/close", endpoints.close_connection, methods=["POST"]),
            Route("/api/v1/events", endpoints.events),
            Route("/api/v1/explain", endpoints.explain),
            Route("/api/v1/reload", endpoints.preview),
            Route("/api/v1/reload", endpoints.reload, methods=["POST"]),
            Route(f"{server}/drain", endpoints.drain, methods=["POST"]),
            Route(f"{server}/enable", endpoints.enable, methods=["POST"]),
            Route(f"{server}/weight", endpoints.weight, methods=["POST"]),
            Route(f"{server}/close", endpoints.close_server, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _error},
    )


def _file(name: str) -> Callable[[Request], Awaitable[Response]]:
    """Return a handler that serves a file of the page."""
    content = files("lb.admin").joinpath("page", name).read_bytes()
    media_type = guess_type(name)[0]

    async def answer(_request: Request) -> Response:
        return Response(content, headers=PAGE_HEADERS, media_type=media_type)

    return answer


async def _error(_request: Request, exception: Exception) -> Response:
    assert isinstance(exception, HTTPException)  # noqa: S101 - registered for this type only
    return JSONResponse({"error": exception.detail}, exception.status_code, exception.headers)


class AdminRoutes:
    """The handlers, one method per route."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._balancer = process.balancer
        self._explainer = Explainer(process.balancer)

    # Queries

    async def healthz(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(self, _request: Request) -> Response:
        if self._balancer.stop_begun:
            return PlainTextResponse("stopping\n", 503)
        without = ready(self._balancer)
        if without:
            return PlainTextResponse(f"no available server: {', '.join(without)}\n", 503)
        return PlainTextResponse("ok\n")

    async def status(self, _request: Request) -> Response:
        document = await status(self._balancer, await self._balancer.data_plane.stats())
        document["events"] = [entry.fields for entry in self._process.feed.last(20)]
        return Response(await _encoded(document), media_type="application/json")

    async def metrics(self, _request: Request) -> Response:
        balancer = self._balancer
        stats = await balancer.data_plane.stats()
        servers = []
        async for pool, backend in in_turns([(p, b) for p in balancer.pools.values() for b in p.backends.values()]):
            up, weight = backend.health.serving, backend.spec.weight
            servers.append(ServerFigures(pool.name, backend.name, up, backend.state, backend.active, weight))
        values = Values(
            version=__version__,
            figures=stats.figures,
            handshakes_waiting=stats.handshakes_waiting,
            active={name: balancer.data_plane.active(name) for name in balancer.bound},
            servers=tuple(servers),
            checks=dict(balancer.checks),
            reloads=dict(self._process.feed.reloads),
            discovery_failures=dict(balancer.discovery_failures),
            log_lines_dropped=self._process.feed.lines_dropped,
        )
        lines = [line async for line in in_turns(exposition(values))]
        return Response("".join(lines), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def connections(self, request: Request) -> Response:
        query = request.query_params
        unknown = sorted(set(query) - {"id", "listener", "pool", "server", "client", "limit"})
        if unknown:
            raise HTTPException(400, f"unknown parameter {shown(unknown[0])}")
        only = ConnectionFilter(
            id=_number(query["id"], "id") if "id" in query else None,
            listener=query.get("listener"),
            pool=query.get("pool"),
            server=query.get("server"),
            client=query.get("client"),
            most=max(1, min(_number(query.get("limit", "100"), "limit"), MAX_CONNECTIONS)),
        )
        found = await self._balancer.data_plane.live(only)
        return JSONResponse({"connections": [attrs.asdict(each) for each in found], "limit": only.most})

    async def events(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        feed = self._process.feed
        seen = min(_number(after, "Last-Event-ID"), feed.newest) if after else feed.newest
        return StreamingResponse(
            _stream(feed, seen), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def explain(self, request: Request) -> Response:
        return Response(await _encoded(await self._explainer.answer(request), depth=3), media_type="application/json")

    # Operations

    async def preview(self, _request: Request) -> Response:
        try:
            return JSONResponse({"changes": list(await self._process.file.preview()), "errors": []})
        except ConfigError as error:
            return JSONResponse({"changes": [], "errors": list(error.errors)})

    async def reload(self, _request: Request) -> Response:
        errors = await self._process.file.reload()
        if errors:
            return JSONResponse({"applied": False, "errors": list(errors)}, 422)
        return JSONResponse({"applied": True, "errors": []})

    async def drain(self, request: Request) -> Response:
        return await self._override(request, partial(attrs.evolve, drained=True))

    async def enable(self, request: Request) -> Response:
        return await self._override(request, partial(attrs.evolve, drained=False))

    async def weight(self, request: Request) -> Response:
        body = await _body(request)
        weight = body.get("weight")
        if set(body) != {"weight"}:
            raise HTTPException(422, 'the body must be {"weight": NUMBER}, or null for the configured weight')
        if weight is not None:
            try:
                weight = whole_number(most=65_535)(weight)
            except ValueError as error:
                raise HTTPException(422, f"weight: {error}") from error
        return await self._override(request, partial(attrs.evolve, weight=weight))

    async def _override(self, request: Request, change: Callable[[Override], Override]) -> Response:
        pool, server = request.path_params["pool"], request.path_params["server"]
        self._find(pool, server)
        try:
            await self._balancer.override(pool, server, change)
        except KeyError as error:  # a reload has removed it meanwhile
            raise HTTPException(404, f"the pool {pool!r} has no server {shown(server)}") from error
        except Exception as exception:
            for event in why_rejected("admin", exception):
                self._process.sink(event)
            raise HTTPException(500, str(exception)) from exception
        backend = self._find(pool, server)
        override = self._balancer.overrides.get((pool, server), Override())
        answer = {"state": backend.state, "weight": backend.spec.weight, "override": attrs.asdict(override)}
        return JSONResponse({"pool": pool, "server": server, **answer})

    async def close_server(self, request: Request) -> Response:
        pool, server = request.path_params["pool"], request.path_params["server"]
        self._find(pool, server)
        return JSONResponse({"closed": await self._balancer.data_plane.cut(ConnectionFilter(pool=pool, server=server))})

    async def close_connection(self, request: Request) -> Response:
        closed = await self._balancer.data_plane.cut(ConnectionFilter(id=request.path_params["id"]))
        if not closed:
            raise HTTPException(404, "no such open connection")
        return JSONResponse({"closed": closed})

    def _find(self, pool: str, server: str) -> Backend:
        if pool not in self._balancer.pools:
            raise HTTPException(404, f"there is no pool {shown(pool)}")
        if server not in self._balancer.pools[pool].backends:
            raise HTTPException(404, f"the pool {pool!r} has no server {shown(server)}")
        return self._balancer.pools[pool].backends[server]


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HTTPException(400, f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


async def _body(request: Request) -> dict[str, object]:
    """Return the JSON object in the body of a request."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise HTTPException(413, f"the body has more than {MAX_BODY} bytes")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(422, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise HTTPException(422, "the body must be a JSON object")
    return body


async def _encoded(value: object, depth: int = 4) -> str:
    """Encode JSON in short turns. Values ``depth`` levels down, such as a server of the status, are encoded at once."""
    if depth and isinstance(value, dict):
        fields = [
            f"{json.dumps(key)}: {await _encoded(each, depth - 1)}" async for key, each in in_turns(value.items())
        ]
        return f"{{{', '.join(fields)}}}"
    if depth and isinstance(value, list):
        return f"[{', '.join([await _encoded(each, depth - 1) async for each in in_turns(value)])}]"
    return json.dumps(value)


async def _stream(feed: Feed, seen: int) -> AsyncIterator[str]:
    """Yield server-sent events (WHATWG HTML, section 9.2) after number ``seen``, and a comment as a heartbeat."""
    yield ": trio-lb\n\n"
    while True:
        entry = None
        with trio.move_on_after(HEARTBEAT):
            entry = await feed.next(seen)
        if entry is None:
            yield ": still here\n\n"
        else:
            seen = entry.number
            yield f"id: {entry.number}\nevent: {entry.fields['event']}\ndata: {json.dumps(entry.fields)}\n\n"
