"""The bodies of the balancer's own errors. They say nothing about servers."""

from __future__ import annotations

import json
from http import HTTPStatus

from lb.http1.accept import NAMED, media_weight

__all__ = ["error_page"]

_TEXTS = (b"text/plain", b"text/html")
"""Who prefers HTML reads plain text, too."""
_PROBLEMS = (b"application/problem+json", b"application/json")
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


def error_page(
    status: int, accept: bytes, request_id: str, detail: str = ""
) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return fields and body of an error: a problem in JSON (RFC 9457) for who prefers JSON, else plain text.

    ``accept`` is the value of Accept, empty without one. ``detail``: one more line.
    The page is of this request alone, so it must not be stored.
    """
    title = _PHRASES.get(status, "Error")
    if _prefers_json(accept):
        content_type = b"application/problem+json"
        problem = {"type": "about:blank", "title": title, "status": status, "request_id": request_id}
        if detail:
            problem["detail"] = detail
        body = json.dumps(problem).encode()
    else:
        content_type = b"text/plain; charset=utf-8"
        more = f"{detail}\n" if detail else ""
        body = f"{status} {title}\n{more}Request id: {request_id}\n".encode()
    return [(b"Content-Type", content_type), (b"Cache-Control", b"no-store")], body


def _prefers_json(accept: bytes) -> bool:
    """Return True if JSON weighs more, or as much and is named: no browser names it."""
    json_weight = max(media_weight(accept, media_type) for media_type in _PROBLEMS)
    text_weight = max(media_weight(accept, media_type) for media_type in _TEXTS)
    if not json_weight[0]:
        return False
    return json_weight > text_weight or (json_weight == text_weight and json_weight[1] == NAMED)
