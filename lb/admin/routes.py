"""Routes: which handler answers a request."""

from __future__ import annotations

import re

import attrs

from lb.admin.messages import AdminRequest, AdminResponse, HttpError, RouteHandler

__all__ = ["Routes"]


class Routes:
    """Handlers by path and method. Answers HEAD as GET; the server leaves out the body."""

    def __init__(self) -> None:
        self._routes: list[tuple[re.Pattern[str], dict[str, RouteHandler]]] = []

    def add(self, path: str, **handlers: RouteHandler) -> None:
        """Add the handlers of a path, by method. ``path`` is a regular expression, its groups are the parameters."""
        self._routes.append((re.compile(path), handlers))

    async def answer(self, request: AdminRequest) -> AdminResponse:
        """Call the handler of a request. Raises HttpError, also if there is none."""
        for pattern, handlers in self._routes:
            match = pattern.fullmatch(request.path)
            if match is None:
                continue
            handler = handlers.get("GET" if request.method == "HEAD" else request.method)
            if handler is None:
                allowed = [*handlers, "HEAD"] if "GET" in handlers else [*handlers]
                raise HttpError(405, "method not allowed", (("Allow", ", ".join(allowed)),))
            return await handler(attrs.evolve(request, parameters=match.groupdict()))
        raise HttpError(404, "not found")
