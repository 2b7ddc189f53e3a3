"""A client of the admin endpoint: requests with JSON, and the event stream."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from typing import Any, Self
from urllib.parse import quote, urlencode

from lb.model.address import Address
from lb.net.errors import describe_error

__all__ = ["AdminClient", "AdminError"]

REQUEST_TIMEOUT = 10.0
"""Seconds to wait for a response. An estimate: the endpoint responds at once unless the machine is overloaded."""
STREAM_TIMEOUT = 45.0
"""Seconds without data after which an event stream counts as dead: three of its heartbeats."""
MOST_LINE = 1_048_576
"""Maximum bytes of one line of an event stream. A balancer sends no longer lines."""
WILDCARD_HOSTS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to connect, not to listen
"""Wildcard addresses, which a socket can listen on but not connect to -> the loopback address to connect to."""

RAW = "surrogateescape"


class AdminError(Exception):
    """The endpoint is unreachable, or refused the request. The text is one line with the reason."""

    def __init__(self, text: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.answer = answer or {}
        """The JSON body of the refusal."""


class AdminClient:
    """A client of an admin endpoint. It opens a connection per request, so it survives restarts of the balancer."""

    def __init__(self, address: Address, token: str) -> None:
        self.address = address
        self.timeout = REQUEST_TIMEOUT
        """Seconds to wait for a response."""
        self._headers = {"Accept": "application/json"}
        if token:  # as a password: unlike "Bearer", "Basic" allows every character
            self._headers["Authorization"] = f"Basic {base64.b64encode(f':{token}'.encode()).decode()}"

    def get(self, *path: str, **parameters: object) -> dict[str, Any]:
        """GET a path below ``/api/v1``. Leaves out parameters that are None, repeats lists. Raises AdminError."""
        return self._request("GET", path, parameters)

    def status(self) -> dict[str, Any]:
        """Return the status. Raises AdminError, also if the response is not that of a balancer."""
        answer = self.get("status")
        if not {"listeners", "pools", "timestamp"} <= answer.keys():
            raise self._not_lb()
        return answer

    def post(self, *path: str, body: object = None) -> dict[str, Any]:
        """POST to a path below ``/api/v1`` and return the response. Raises AdminError."""
        return self._request("POST", path, body=body)

    def events(self, after: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield number and fields of each event without end, first the stored ones after number ``after``.

        Reads server-sent events (WHATWG HTML, section 9.2). Raises AdminError, also when the balancer stops.
        """
        with _Exchange(self.address, STREAM_TIMEOUT) as exchange:
            response = exchange.send("GET", _target(("events",), {"after": after}), self._headers)
            if response.status != 200:
                raise self._refusal(response.status, response.read())
            if not response.getheader("content-type", "").startswith("text/event-stream"):
                raise self._not_lb()
            fields: dict[str, str] = {}
            while line := response.readline(MOST_LINE).decode():
                key, _, value = line.rstrip("\r\n").partition(": ")
                if key:
                    fields[key] = value
                elif "data" in fields:
                    yield int(fields["id"]), json.loads(fields["data"])
                    fields = {}
        raise AdminError(f"{self.address}: the balancer closed the connection")

    def _request(
        self, method: str, path: tuple[str, ...], parameters: Mapping[str, object] | None = None, body: object = None
    ) -> dict[str, Any]:
        with _Exchange(self.address, self.timeout) as exchange:
            response = exchange.send(method, _target(path, parameters or {}), self._headers, json.dumps(body))
            status, content = response.status, response.read()
        if status != 200:
            raise self._refusal(status, content)
        return self._json(content)

    def _refusal(self, status: int, content: bytes) -> AdminError:
        answer = self._json(content)
        if status == 401:
            sent = "Authorization" in self._headers
            return AdminError(f"{self.address}: {'wrong token' if sent else 'a token is required'}", answer)
        reason = answer.get("error") or "; ".join(answer.get("errors", ())) or f"HTTP status {status}"
        return AdminError(reason, answer)

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self._not_lb() from error
        if isinstance(answer, dict):
            return answer
        raise self._not_lb()

    def _not_lb(self) -> AdminError:
        return AdminError(f"{self.address}: not an admin endpoint of lb")


class _Exchange:
    """One request and its response. A context manager that turns errors of the connection into AdminError."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._address = address
        self._connection = _Connection(address, timeout)

    def __enter__(self) -> Self:
        return self

    def send(self, method: str, target: str, headers: Mapping[str, str], body: str | None = None) -> HTTPResponse:
        try:
            self._connection.connect()
        except OSError as error:
            raise AdminError(f"cannot reach the admin endpoint at {self._address}: {describe_error(error)}") from error
        self._connection.request(method, target, body if method == "POST" else None, dict(headers))
        return self._connection.getresponse()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        self._connection.close()
        if isinstance(error, RemoteDisconnected):  # a subclass of OSError whose text is not that of the system
            raise AdminError(f"{self._address}: the connection was closed without an answer") from error
        if isinstance(error, OSError):
            raise AdminError(f"{self._address}: {describe_error(error)}") from error
        if isinstance(error, HTTPException | ValueError | KeyError):
            raise AdminError(f"{self._address}: not an admin endpoint of lb") from error


class _Connection(HTTPConnection):
    """HTTP over TCP or a unix socket."""

    def __init__(self, address: Address, timeout: float) -> None:
        host = "localhost" if address.is_unix else WILDCARD_HOSTS.get(address.host, address.host)
        super().__init__(host, address.port or None, timeout=timeout)
        self._path = address.path
        self._timeout = timeout

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout)
        self.sock.connect(self._path)


def _target(path: tuple[str, ...], parameters: Mapping[str, object]) -> str:
    """Return the request target. Arguments that are not UTF-8 are sent as their bytes."""
    given = {key: value for key, value in parameters.items() if value is not None}
    query = urlencode(given, doseq=True, errors=RAW)
    target = "/api/v1/" + "/".join(quote(part, safe="", errors=RAW) for part in path)
    return f"{target}?{query}" if query else target
