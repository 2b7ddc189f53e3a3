"""Requests as the cache gets them."""

from __future__ import annotations

from lb.http1.request_head import RequestHead, RequestHeads

__all__ = ["request"]


def request(*fields: str, method: str = "GET", uri: str = "/", host: str = "example.com") -> RequestHead:
    """Return the head of a request with these field lines."""
    lines = [f"{method} {uri} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return RequestHeads().read("\r\n".join(lines).encode("latin-1"))
