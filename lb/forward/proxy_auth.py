"""``auth`` of a forward proxy: Basic in Proxy-Authorization."""

from __future__ import annotations

from typing import ClassVar

from lb.http.basic_auth import BasicAuth, credentials_of
from lb.http1.request_head import RequestHead

__all__ = ["ProxyAuth", "user_of"]


class ProxyAuth(BasicAuth):
    """Implements :class:`lb.http.steps.Step`. No server gets the field."""

    field: ClassVar[bytes] = b"proxy-authorization"
    challenge: ClassVar[bytes] = b"Proxy-Authenticate"
    status: ClassVar[int] = 407


def user_of(head: RequestHead) -> str | None:
    """Return the user that a request names, right or wrong."""
    credentials = credentials_of(head.block.get(ProxyAuth.field))
    return None if credentials is None else credentials.partition(b":")[0].decode(errors="replace")
