"""A request as the choice of a server and the cache see it. Values only: no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from lb.model.address import Client

__all__ = ["HeaderFields", "Request", "RequestClient", "client_with"]

HeaderFields: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Header fields: names as sent, and values."""


class Request(Protocol):
    """A request, as strategies see it. All values are bytes as sent, if nothing else is said."""

    @property
    def uri(self) -> bytes:
        """Path and query."""

    @property
    def path(self) -> bytes:
        """The path that routes are matched with: decoded, without dot segments."""

    @property
    def host(self) -> bytes:
        """In lower case, with the port if there is one; empty if the request names no host."""

    def header(self, name: bytes, /) -> bytes | None:
        """Return the value of the first field of this name, in whatever case; None if there is none."""

    def cookie(self, name: bytes, /) -> bytes | None:
        """Return the value of the first cookie of this name; None if there is none."""

    def query(self, name: bytes, /) -> bytes | None:
        """Return the value of the first parameter of this name, decoded; None if there is none.

        The name is compared decoded, too.
        """


class RequestClient(Client):
    """A client with the request that a server is chosen for. Equal to the client without it.

    Make it with :func:`client_with`. Clients of mode ``tcp`` have no request.
    """

    request: Request


_new_tuple = tuple.__new__


def client_with(client: Client, request: Request) -> RequestClient:
    """Return the client with a request. Made for each request, so it is as cheap as a client itself."""
    made = _new_tuple(RequestClient, (client.host, client.port))
    made.request = request
    return made
