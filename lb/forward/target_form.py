"""The target of a request to a forward proxy: a URL (absolute form), or host and port of CONNECT. Pure."""

from __future__ import annotations

import re

from lb.http1.grammar import MalformedError
from lb.http1.target import split_absolute

__all__ = ["read_proxy_target"]

_OTHER_SCHEME = re.compile(rb"(?!(?i:http):)[A-Za-z][A-Za-z0-9+.\-]*://.*")


def read_proxy_target(
    method: bytes,
    target: bytes,
    host: bytes,  # noqa: ARG001 - what Host says does not count: RFC 9112, section 3.2.2
) -> tuple[bytes, bytes]:
    """Return host and target of a request whose target is no path, see :data:`lb.http1.request_head.ReadTarget`.

    The host is empty if the proxy itself is meant. Raises MalformedError, with status 501 for another scheme than http:
    what is encrypted goes through CONNECT.
    """
    if method == b"CONNECT":
        return target.lower(), target
    if target == b"*" and method == b"OPTIONS":
        return b"", target
    if _OTHER_SCHEME.fullmatch(target):
        raise MalformedError("the proxy speaks http only", 501)
    return split_absolute(target, empty=b"*" if method == b"OPTIONS" else b"/")
