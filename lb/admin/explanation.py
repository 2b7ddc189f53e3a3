"""``/api/v1/explain``: which server a client or a request gets, and why."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack
from typing import TypeAlias

import trio

from lb.admin.messages import AdminRequest, HttpError, check_parameters
from lb.admin.streams import figures_of, streams_of
from lb.admin.utc_text import utc_text
from lb.control.balancer import Balancer
from lb.explain.explanation import ExplainQuestion, client_of_text, explanation, judged, listener_of, pool_name, routed
from lb.explain.stream import explain_stream
from lb.model.explained_request import AskedRequest, RoutedRequest
from lb.model.explained_target import AskedTarget
from lb.net.cooperate import done_in_turns

__all__ = ["EXPLAIN_QUEUE_TIMEOUT", "Explainer"]

EXPLAIN_QUEUE_TIMEOUT = 5.0
"""Seconds that a request waits for the previous one. An estimate: half the time that ``lb explain`` waits."""

_ONCE = ("listener", "source", "name", "url", "method", "target", "user", "stream")
"""The parameters that are given once at most."""

JsonObject: TypeAlias = dict[str, object]


class Explainer:
    """Answers requests in short turns beside the traffic. Stops when the client disconnects."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._building = trio.Lock()
        """Held for ``without``: a hash pool builds another table, which may be large, so only one at a time."""

    async def answer(self, request: AdminRequest) -> JsonObject:
        """Return the answer to the query of a request. Raises HttpError."""
        if "stream" in request.query:
            return await self._of_stream(request.query)
        try:
            question = await self._question(request.query)
            work = self._work(question)
        except LookupError as error:
            raise HttpError(404, str(error)) from error
        answer: JsonObject | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_on_disconnect, request, nursery.cancel_scope)
            answer = await self._done(work, alone="without" in request.query)
            nursery.cancel_scope.cancel()
        if answer is None:
            raise HttpError(503, "too many explain requests in progress; try again")
        if question.request is not None and question.request.cache:
            answer["stored"] = await self._stored(question.request)
        return answer

    async def _of_stream(self, query: Mapping[str, list[str]]) -> JsonObject:
        """Return how a live stream is published and served, and what there is of it now."""
        if [*query] != ["stream"] or len(query["stream"]) > 1:
            raise HttpError(400, "stream stands alone, and is given once")
        balancer, (stream,) = self._balancer, query["stream"]
        bound = {name: balancer.bound_of(name) for name in balancer.bound}
        stats, media = await figures_of(balancer)
        silent = [] if media.answered.get("live") else ["the process of live streams does not answer"]
        try:
            answer = explain_stream(balancer.config, stream, bound, silent)
        except LookupError as error:
            raise HttpError(404, str(error)) from error
        except ValueError as error:
            raise HttpError(400, f"stream: {error}") from error
        now = streams_of(balancer.config.media, stats, media).get(stream)
        return {**answer, "now": now, "timestamp": utc_text(time.time())}

    async def _stored(self, request: RoutedRequest) -> list[JsonObject]:
        """Return what its cache has for a request."""
        found = await self._balancer.data_plane.stored(request.cache, request.cache_key)
        return [
            {
                "status": each.status,
                "bytes": each.bytes,
                "age": round(each.age, 3),
                "fresh_for": round(each.fresh_for, 3),
            }
            for each in found
        ]

    async def _question(self, query: Mapping[str, list[str]]) -> ExplainQuestion:
        """Parse the query. Raises HttpError and LookupError."""
        _check(query)
        listener = listener_of(self._balancer.config.listeners, query["listener"][0])
        try:
            client = client_of_text(query["source"][0])
        except ValueError as error:
            raise HttpError(400, f"source: {error}") from error
        question = ExplainQuestion(listener, client, query.get("name", [""])[0], query.get("without", []))
        try:
            if "target" in query:
                return await judged(question, AskedTarget(query["target"][0], query.get("user", [None])[0]))
            if "url" in query:
                asked = AskedRequest(query["url"][0], query.get("method", ["GET"])[0], tuple(query.get("header", ())))
                pools = {name: pool.spec for name, pool in self._balancer.pools.items()}
                return routed(question, asked, pools, self._balancer.secret)
        except ValueError as error:
            raise HttpError(400, str(error)) from error
        return question

    def _work(self, question: ExplainQuestion) -> Generator[None, None, JsonObject]:
        name = pool_name(question)
        if not name:
            return explanation(question, None)
        pool = self._balancer.pools[name]
        if len(question.without) > len(pool.backends):
            raise HttpError(400, f"without: more names than the pool {pool.name!r} has servers")
        workers = self._balancer.workers
        turns = f"each of the {workers} workers keeps its own turn" if workers > 1 else ""
        return explanation(question, pool, turns=turns)

    async def _done(self, work: Generator[None, None, JsonObject], *, alone: bool) -> JsonObject | None:
        """Return the answer; None if the wait for the previous request takes too long."""
        async with AsyncExitStack() as stack:
            if alone:
                with trio.move_on_after(EXPLAIN_QUEUE_TIMEOUT) as waiting:
                    await stack.enter_async_context(self._building)
                if waiting.cancelled_caught:
                    return None
            return await done_in_turns(work)


async def _cancel_on_disconnect(request: AdminRequest, scope: trio.CancelScope) -> None:
    """Cancel the work when the client disconnects."""
    await request.disconnected()
    scope.cancel()


def _check(query: Mapping[str, list[str]]) -> None:
    """Raises HttpError if a parameter is unknown, missing or repeated."""
    check_parameters(query, {*_ONCE, "without", "header"})
    for name in ("listener", "source"):
        if name not in query:
            raise HttpError(400, f"{name} is missing")
    for name in _ONCE:
        if len(query.get(name, ())) > 1:
            raise HttpError(400, f"{name} is given twice")
    for name in ("method", "header"):
        if name in query and "url" not in query:
            raise HttpError(400, f"{name} is of a request, and url is missing")
    if "user" in query and "target" not in query:
        raise HttpError(400, "user asks for a target, and target is missing")
    if "url" in query and "target" in query:
        raise HttpError(400, "url and target exclude each other")
