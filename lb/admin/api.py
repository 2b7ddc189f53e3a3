"""The HTTP API of the admin endpoint: status, metrics, connections, events, and operations on servers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator
from importlib.resources import files

import attrs
import trio

from lb.admin.caches import caches_of, purge_of
from lb.admin.explanation import Explainer
from lb.admin.exposition import exposition
from lb.admin.feed import Feed
from lb.admin.history import History
from lb.admin.messages import AdminRequest, AdminResponse, HttpError, RouteHandler, check_parameters, json_response
from lb.admin.overview import overview
from lb.admin.overview_query import OverviewQuery
from lb.admin.page_files import PAGE_FILES
from lb.admin.playback import page_policy, stream_urls
from lb.admin.process import Process
from lb.admin.recent_requests import RecentRequests
from lb.admin.routes import Routes
from lb.admin.status import announce_status, status
from lb.admin.streams import figures_of, streams_of
from lb.admin.surveyor import Surveyor
from lb.admin.values import values_of
from lb.config.load import ConfigError
from lb.control.balancer import Balancer, why_rejected
from lb.control.overrides import Override, OverrideChange
from lb.control.readiness import without_server
from lb.explain.explain import expected_share
from lb.model.connection import ConnectionFilter
from lb.model.values import shown, whole_number
from lb.net.cooperate import in_turns
from lb.pools.backend import Backend

__all__ = ["api"]

MAX_CONNECTIONS = 1_000
"""Maximum open connections in one response."""
HEARTBEAT = 15.0
"""Seconds without an event after which a stream sends a comment, so that proxies do not close it."""
PAGE_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)
MAX_STREAMS = 32
"""Maximum event streams: half of the connections, as they never end by themselves."""


def api(process: Process, recent: RecentRequests, history: History) -> Routes:
    """Return the routes. Authorization happens before them, and /healthz is answered there."""
    endpoints = AdminRoutes(process, recent, history)
    server = "/api/v1/pools/(?P<pool>[^/]+)/servers/(?P<server>.+)"
    routes = Routes()
    for path, (name, content_type) in PAGE_FILES.items():
        routes.add(re.escape(path), GET=_file(process.balancer, name, content_type))
    routes.add("/readyz", GET=endpoints.readyz)
    routes.add("/metrics", GET=endpoints.metrics)
    routes.add("/api/v1/status", GET=endpoints.status)
    routes.add("/api/v1/overview", GET=endpoints.overview)
    routes.add("/api/v1/caches", GET=endpoints.caches)
    routes.add("/api/v1/caches/(?P<zone>[^/]+)/purge", POST=endpoints.purge)
    routes.add("/api/v1/cluster", GET=endpoints.cluster)
    routes.add("/api/v1/streams", GET=endpoints.streams)
    routes.add("/api/v1/connections", GET=endpoints.connections)
    routes.add("/api/v1/connections/(?P<id>[0-9]{1,18})/close", POST=endpoints.close_connection)
    routes.add("/api/v1/events", GET=endpoints.events)
    routes.add("/api/v1/explain", GET=endpoints.explain)
    routes.add("/api/v1/reload", GET=endpoints.preview, POST=endpoints.reload)
    routes.add("/api/v1/pools/(?P<pool>[^/]+)/history", GET=endpoints.history)
    routes.add(f"{server}/drain", POST=endpoints.drain)
    routes.add(f"{server}/enable", POST=endpoints.enable)
    routes.add(f"{server}/weight", POST=endpoints.weight)
    routes.add(f"{server}/close", POST=endpoints.close_server)
    return routes


def _file(balancer: Balancer, name: str, content_type: str) -> RouteHandler:
    """Return a handler that serves a file of the page."""
    content = files("lb.admin").joinpath("page", name).read_bytes()

    async def answer(request: AdminRequest) -> AdminResponse:
        policy = page_policy(balancer, request.headers.get("host", ""))
        return AdminResponse(content, content_type, headers=(("Content-Security-Policy", policy), *PAGE_HEADERS))

    return answer


class AdminRoutes:
    """The handlers, one method per route."""

    def __init__(self, process: Process, recent: RecentRequests, history: History) -> None:
        self._process = process
        self._recent = recent
        self._history = history
        self._balancer = process.balancer
        self._explainer = Explainer(process.balancer)
        self._surveyor = Surveyor(process.balancer)

    # Queries

    async def readyz(self, _request: AdminRequest) -> AdminResponse:
        if self._balancer.stop_begun:
            return AdminResponse(b"stopping\n", status=503)
        without = without_server(self._balancer.shown_pools)
        if without:
            return AdminResponse(f"no available server: {', '.join(without)}\n".encode(), status=503)
        return AdminResponse(b"ok\n")

    async def status(self, request: AdminRequest) -> AdminResponse:
        stats, media = await figures_of(self._balancer)
        document = await status(self._balancer, stats, media, self._recent)
        document["announce"] = announce_status(self._process.announcer)
        document["stream_urls"] = stream_urls(self._balancer, request.headers.get("host", ""))
        document["cluster"] = self._process.cluster.status()
        document["events"] = [entry.fields for entry in self._process.feed.last(20)]
        return AdminResponse((await _encoded(document)).encode(), "application/json")

    async def overview(self, request: AdminRequest) -> AdminResponse:
        query = OverviewQuery.parse(request.query)
        survey = await self._surveyor.survey(self._process.feed.newest)
        document = await overview(self._process, survey, self._recent, query, request.headers.get("host", ""))
        timestamp = json.dumps(document.pop("timestamp"))
        body = (await _encoded(document)).encode()
        tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
        if request.headers.get("if-none-match") == tag:
            return AdminResponse(b"", "application/json", 304, (("ETag", tag),))
        body = b'{"timestamp": %b, %b' % (timestamp.encode(), body[1:])
        return AdminResponse(body, "application/json", headers=(("ETag", tag), ("Cache-Control", "no-store")))

    async def metrics(self, _request: AdminRequest) -> AdminResponse:
        values = await values_of(self._process)
        lines = [line async for line in in_turns(exposition(values))]
        return AdminResponse("".join(lines).encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def caches(self, _request: AdminRequest) -> AdminResponse:
        stats = await self._balancer.data_plane.stats()
        return json_response({"caches": caches_of(self._balancer.config.caches, stats, self._recent.oldest_caches)})

    async def cluster(self, _request: AdminRequest) -> AdminResponse:
        status = self._process.cluster.status()
        if status is None:
            raise HttpError(404, "this balancer is in no cluster: its configuration has no [cluster]")
        return json_response(status)

    async def streams(self, _request: AdminRequest) -> AdminResponse:
        stats, media = await figures_of(self._balancer)
        if not media.answered.get("live", True):
            raise HttpError(503, "the process of live streams does not answer")
        return json_response(streams_of(self._balancer.config.media, stats, media))

    async def history(self, request: AdminRequest) -> AdminResponse:
        pool = request.parameters["pool"]
        self._require(pool)
        answer = await _encoded(self._history.document(pool), depth=2)
        return AdminResponse(answer.encode(), "application/json")

    async def connections(self, request: AdminRequest) -> AdminResponse:
        check_parameters(request.query, {"id", "listener", "pool", "server", "client", "limit"})
        query = {key: values[-1] for key, values in request.query.items()}
        only = ConnectionFilter(
            id=_number(query["id"], "id") if "id" in query else None,
            listener=query.get("listener"),
            pool=query.get("pool"),
            server=query.get("server"),
            client=query.get("client"),
            most=max(1, min(_number(query.get("limit", "100"), "limit"), MAX_CONNECTIONS)),
        )
        found = await self._balancer.data_plane.live(only)
        return json_response({"connections": [attrs.asdict(each) for each in found], "limit": only.most})

    async def events(self, request: AdminRequest) -> AdminResponse:
        after = request.headers.get("last-event-id") or request.query.get("after", [""])[-1]
        feed = self._process.feed
        if feed.readers >= MAX_STREAMS:
            raise HttpError(503, f"there are {MAX_STREAMS} event streams already")
        seen = min(_number(after, "Last-Event-ID"), feed.newest) if after else feed.newest
        return AdminResponse(_stream(feed, seen), "text/event-stream", headers=(("Cache-Control", "no-store"),))

    async def explain(self, request: AdminRequest) -> AdminResponse:
        answer = await _encoded(await self._explainer.answer(request), depth=3)
        return AdminResponse(answer.encode(), "application/json")

    # Operations

    async def preview(self, _request: AdminRequest) -> AdminResponse:
        try:
            return json_response({"changes": list(await self._process.file.preview()), "errors": []})
        except ConfigError as error:
            return json_response({"changes": [], "errors": list(error.errors)})

    async def reload(self, _request: AdminRequest) -> AdminResponse:
        errors = await self._process.file.reload()
        if errors:
            return json_response({"applied": False, "errors": list(errors)}, 422)
        return json_response({"applied": True, "errors": []})

    async def drain(self, request: AdminRequest) -> AdminResponse:
        return await self._override(request, {"drained": True})

    async def enable(self, request: AdminRequest) -> AdminResponse:
        return await self._override(request, {"drained": False})

    async def weight(self, request: AdminRequest) -> AdminResponse:
        body = _json_object(request.body)
        if set(body) != {"weight"}:
            raise HttpError(422, 'the body must be {"weight": NUMBER}, or null for the configured weight')
        try:
            weight = None if body["weight"] is None else whole_number(most=65_535)(body["weight"])
        except ValueError as error:
            raise HttpError(422, f"weight: {error}") from error
        return await self._override(request, {"weight": weight})

    async def _override(self, request: AdminRequest, change: OverrideChange) -> AdminResponse:
        pool, server = request.parameters["pool"], request.parameters["server"]
        self._find(pool, server)
        try:
            told = await self._process.cluster.override(pool, server, change)
        except KeyError as error:  # a reload has removed it meanwhile
            raise HttpError(404, f"the pool {pool!r} has no server {shown(server)}") from error
        except Exception as exception:
            for event in why_rejected("admin", exception):
                self._process.sink(event)
            raise HttpError(500, str(exception)) from exception
        backend = self._find(pool, server)
        override = self._balancer.overrides.get((pool, server), Override())
        running = self._balancer.pools[pool]
        share = expected_share(running, backend)
        answer: dict[str, object] = {
            "pool": pool,
            "server": server,
            "state": backend.state,
            "weight": backend.spec.effective_weight,
            "override": attrs.asdict(override),
            "share": None if share is None else round(share, 4),
            "strategy": running.spec.strategy.name,
            "ignored": running.ignored,
        }
        return json_response(answer if told is None else {**answer, "cluster": told})

    async def purge(self, request: AdminRequest) -> AdminResponse:
        zone = request.parameters["zone"]
        if zone not in self._balancer.config.caches:
            raise HttpError(404, f"there is no cache {shown(zone)}")
        return json_response({"purged": await self._balancer.purge(zone, purge_of(_json_object(request.body)))})

    async def close_server(self, request: AdminRequest) -> AdminResponse:
        pool, server = request.parameters["pool"], request.parameters["server"]
        self._find(pool, server)
        return json_response(
            {"closed": await self._balancer.data_plane.cut(ConnectionFilter(pool=pool, server=server))}
        )

    async def close_connection(self, request: AdminRequest) -> AdminResponse:
        closed = await self._balancer.data_plane.cut(ConnectionFilter(id=int(request.parameters["id"])))
        if not closed:
            raise HttpError(404, "no such open connection")
        return json_response({"closed": closed})

    def _require(self, pool: str) -> None:
        if pool not in self._balancer.shown_pools:
            raise HttpError(404, f"there is no pool {shown(pool)}")

    def _find(self, pool: str, server: str) -> Backend:
        self._require(pool)
        if server not in self._balancer.pools[pool].backends:
            raise HttpError(404, f"the pool {pool!r} has no server {shown(server)}")
        return self._balancer.pools[pool].backends[server]


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise HttpError(400, f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)


def _json_object(content: bytes) -> dict[str, object]:
    """Return the JSON object in the body of a request."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HttpError(422, f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise HttpError(422, "the body must be a JSON object")
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


async def _stream(feed: Feed, seen: int) -> AsyncGenerator[bytes, None]:
    """Yield server-sent events (WHATWG HTML, section 9.2) after number ``seen``, and a comment as a heartbeat."""
    feed.readers += 1
    try:
        yield b": trio-lb\n\n"
        while True:
            entry = None
            with trio.move_on_after(HEARTBEAT):
                entry = await feed.next(seen)
            if entry is None:
                yield b": still here\n\n"
            else:
                seen = entry.number
                data = json.dumps(entry.fields)
                yield f"id: {seen}\nevent: {entry.fields['event']}\ndata: {data}\n\n".encode()
    finally:
        feed.readers -= 1
