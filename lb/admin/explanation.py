"""``/api/v1/explain``: who gets a client, and why."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AsyncExitStack
from typing import TypeAlias

import trio
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request

from lb.config_file.values import shown
from lb.explain.explanation import Question, client_of_text, explanation, listener_of, pool_name
from lb.server import Balancer
from lb.turns import done_in_turns

__all__ = ["PATIENCE", "Explainer"]

PATIENCE = 5.0
"""Seconds that a question waits for the one before it. A guess: half as long as ``lb explain`` waits for an answer."""

Document: TypeAlias = dict[str, object]


class Explainer:
    """Answers questions in turns beside the traffic, as long as somebody waits for the answer."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._building = trio.Lock()
        """To leave servers out, a hash pool needs another table, which may be large: one at a time."""

    async def answer(self, request: Request) -> Document:
        """The answer to what the query asks. Raises HTTPException."""
        try:
            work = self._work(self._question(request.query_params))
        except LookupError as error:
            raise HTTPException(404, str(error)) from error
        answer: Document | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_once_gone, request, nursery.cancel_scope)
            answer = await self._done(work, alone="without" in request.query_params)
            nursery.cancel_scope.cancel()
        if answer is None:
            raise HTTPException(503, "other questions of this kind are being answered; ask again")
        return answer

    def _question(self, query: QueryParams) -> Question:
        """Raises HTTPException and LookupError."""
        _check(query)
        listener = listener_of(self._balancer.config.listeners, query["listener"])
        try:
            client = client_of_text(query["source"])
        except ValueError as error:
            raise HTTPException(400, f"source: {error}") from error
        return Question(listener, client, query.get("name", ""), query.getlist("without"))

    def _work(self, question: Question) -> Generator[None, None, Document]:
        pool = self._balancer.pools[pool_name(question.listener, question.asks_for)]
        if len(question.without) > len(pool.backends):
            raise HTTPException(400, f"without: more names than the pool {pool.name!r} has servers")
        workers = self._balancer.workers
        turns = f"each of the {workers} workers takes turns of its own" if workers > 1 else ""
        return explanation(question, pool, turns=turns)

    async def _done(self, work: Generator[None, None, Document], *, alone: bool) -> Document | None:
        """None if it would have to wait for too long."""
        async with AsyncExitStack() as stack:
            if alone:
                with trio.move_on_after(PATIENCE) as waiting:
                    await stack.enter_async_context(self._building)
                if waiting.cancelled_caught:
                    return None
            return await done_in_turns(work)


async def _cancel_once_gone(request: Request, scope: trio.CancelScope) -> None:
    """A client that does not wait for its answer needs none."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _check(query: QueryParams) -> None:
    """Raises HTTPException if a parameter is unknown, missing or there too often."""
    unknown = sorted(set(query) - {"listener", "source", "name", "without"})
    if unknown:
        raise HTTPException(400, f"unknown parameter {shown(unknown[0])}")
    for name in ("listener", "source"):
        if name not in query:
            raise HTTPException(400, f"{name} is missing")
    for name in ("listener", "source", "name"):
        if len(query.getlist(name)) > 1:
            raise HTTPException(400, f"{name} is given twice")
