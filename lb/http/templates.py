"""Texts of the configuration that hold values of a request: ``https://{host}{uri}``."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Protocol

import attrs

from lb.http1.request_head import RequestHead

__all__ = ["VARIABLES", "RequestValues", "Template", "TemplateValues"]


class TemplateValues(Protocol):
    """The values of a request. Each is empty where there is none."""

    @property
    def client_ip(self) -> bytes:
        """Behind trusted proxies, the client that they name; empty for a Unix socket."""

    @property
    def host(self) -> bytes:
        """The host that the client asked for, in lower case, without a port."""

    @property
    def path(self) -> bytes:
        """The path as sent, without the query."""

    @property
    def uri(self) -> bytes:
        """Path and query as sent."""

    @property
    def query(self) -> bytes:
        """The query as sent, without ``?``."""

    @property
    def method(self) -> bytes: ...

    @property
    def scheme(self) -> bytes:
        """``http`` or ``https``."""

    @property
    def request_id(self) -> bytes: ...

    @property
    def server(self) -> bytes:
        """The server that answered. Known in responses only."""

    @property
    def cache_status(self) -> bytes:
        """What the cache did. Known in responses only."""


VARIABLES = tuple(name for name in vars(TemplateValues) if not name.startswith("_"))
"""The names that may stand in braces."""


@attrs.define
class RequestValues:
    """The values of one request: a :class:`TemplateValues`. Those that follow from the head are made when asked for."""

    head: RequestHead
    client_ip: bytes
    scheme: bytes
    request_id: bytes
    server: bytes = b""
    cache_status: bytes = b""

    @property
    def host(self) -> bytes:
        host, colon, port = self.head.host.rpartition(b":")
        return host if colon and not port.endswith(b"]") else self.head.host

    @property
    def path(self) -> bytes:
        return self.uri.partition(b"?")[0]

    @property
    def uri(self) -> bytes:
        target = self.head.target
        return target if target.startswith(b"/") else b"/"  # "*" of OPTIONS

    @property
    def query(self) -> bytes:
        return self.uri.partition(b"?")[2]

    @property
    def method(self) -> bytes:
        return self.head.method


_VARIABLE = re.compile(r"\{(" + "|".join(VARIABLES) + r")\}")
_CONTROLS = bytes((*range(0x20), 0x7F))


class Template:
    """A text with variables, read once. Braces around anything else are ordinary characters."""

    def __init__(self, text: str) -> None:
        first, *rest = _VARIABLE.split(text)
        self.names: tuple[str, ...] = tuple(rest[::2])
        """The variables, in their order."""
        self.constant: bytes | None = None if self.names else first.encode()
        """The text, if it is the same for all requests."""
        self._first = first.encode()
        self._rest = [(attrgetter(name), part.encode()) for name, part in zip(rest[::2], rest[1::2], strict=True)]

    def render(self, values: TemplateValues) -> bytes:
        """Return the text for a request. A value loses its control characters: it cannot end a line."""
        parts = [self._first]
        for get, text in self._rest:
            parts += (get(values).translate(None, _CONTROLS), text)
        return b"".join(parts)
