"""The HTTP server of the admin endpoint, on the balancer's trio loop: HTTP/1.1 by h11."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import attrs
import h11
import trio

from lb.admin.api import api
from lb.admin.auth import OPEN_TO_ALL, refusal
from lb.admin.connection import AdminConnection
from lb.admin.gate import Gate
from lb.admin.history import History
from lb.admin.messages import AdminRequest, AdminResponse, HttpError, error_response, request_of
from lb.admin.process import Process
from lb.admin.recent_requests import RecentRequests
from lb.events import AdminBadRequest, Fault

__all__ = ["Endpoint"]

ALIVE = AdminResponse(b"ok\n")


class Endpoint:
    """Serves on these sockets, and closes them. Requests need the token of the current configuration.

    Samples the ``history`` of the pools meanwhile.
    """

    def __init__(self, sockets: Sequence[socket.socket], process: Process, history: History) -> None:
        self._sockets = sockets
        self._process = process
        self._recent = RecentRequests()
        self._history = history
        self._routes = api(process, self._recent, history)
        self._gate = Gate(sockets, process.balancer.data_plane.descriptors, self._at_once, self._admit, process.sink)
        self._nursery: trio.Nursery

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._recent.run, self._process.balancer)
            self._nursery.start_soon(self._history.run, self._process.balancer)
            await self._gate.run()

    def close(self) -> None:
        """Close all sockets at once. Cancel :meth:`run` next."""
        self._gate.close()
        for sock in self._sockets:
            sock.close()

    def _at_once(self, request: AdminRequest) -> AdminResponse | None:
        """Return the response to a request without rights; None if it is allowed."""
        if request.path == OPEN_TO_ALL:
            return ALIVE if request.method in ("GET", "HEAD") else error_response(405, "method not allowed")
        admin = self._process.balancer.config.admin
        token = str(admin.token.value) if admin is not None and admin.token is not None else ""
        refused = refusal(request.method, request.path, request.headers, token)
        return None if refused is None else error_response(refused.status, refused.detail, refused.headers)

    def _admit(self, connection: AdminConnection, head: h11.Request) -> None:
        self._nursery.start_soon(self._serve, connection, head)

    async def _serve(self, connection: AdminConnection, head: h11.Request) -> None:
        try:
            await self._answer_all(connection, head)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # the client has gone or does not read, or the connection was closed here
        except Exception as exception:  # noqa: BLE001 - an error on one connection must not affect others
            self._process.sink(Fault("admin", exception))
        finally:
            self._gate.left(connection)

    async def _answer_all(self, connection: AdminConnection, first: h11.Request) -> None:
        """Answer the requests of a connection until one has no rights, or is none."""
        head: h11.Request | None = first
        try:
            while head is not None:
                request = request_of(head)
                with_body = request.method != "HEAD"
                refused = self._at_once(request)
                if refused is not None:
                    await connection.end(refused, with_body=with_body)
                    return
                request = attrs.evolve(request, body=await connection.body(), disconnected=connection.disconnected)
                await connection.respond(await self._response(request), with_body=with_body)
                head = await connection.next_head()
        except HttpError as error:
            self._process.sink(AdminBadRequest(connection.client, error.detail))
            await connection.end(error_response(error.status, error.detail))

    async def _response(self, request: AdminRequest) -> AdminResponse:
        try:
            return await self._routes.answer(request)
        except HttpError as error:
            return error_response(error.status, error.detail, error.headers)
        except Exception as exception:  # noqa: BLE001 - an error in one response must not affect others
            self._process.sink(Fault("admin", exception))
            return error_response(500, "internal error")
