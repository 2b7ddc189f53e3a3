"""``/api/v1/explain``: who gets a client, and why."""

from __future__ import annotations

import trio
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from lb.explain.explanation import Question, client_of_text, explanation, listener_of, moves, pool_name
from lb.server import Balancer

__all__ = ["explain"]


async def explain(balancer: Balancer, query: QueryParams) -> dict[str, object]:
    """The answer to what the query asks. Raises HTTPException."""
    unknown = sorted(set(query) - {"listener", "source", "name", "without"})
    if unknown:
        raise HTTPException(400, f"unknown parameter {unknown[0]!r}")
    missing = [name for name in ("listener", "source") if name not in query]
    if missing:
        raise HTTPException(400, f"{missing[0]} is missing")
    try:
        client = client_of_text(query["source"])
    except ValueError as error:
        raise HTTPException(400, f"source: {error}") from error
    try:
        listener = listener_of(balancer.config.listeners, query["listener"])
        question = Question(listener, client, query.get("name", ""), tuple(query.getlist("without")))
        pool = balancer.pools[pool_name(listener, question.asks_for)]
        workers = balancer.workers
        turns = f"each of the {workers} workers takes turns of its own" if workers > 1 else ""
        moved = await trio.to_thread.run_sync(moves, pool.spec, question.without)  # traffic need not wait
        return explanation(question, pool, moved, turns=turns)
    except LookupError as error:
        raise HTTPException(404, str(error)) from error
