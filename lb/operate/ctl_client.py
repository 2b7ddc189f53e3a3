"""Who asks the admin endpoint of a running balancer: JSON out, JSON in, and events as they come."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, RemoteDisconnected
from typing import Any, Self
from urllib.parse import quote, urlencode

from lb.address import Address
from lb.errors import describe_error

__all__ = ["AdminClient", "AdminError"]

PATIENCE = 10.0
"""Seconds for an answer. A guess: the endpoint answers at once, unless the machine is in trouble."""
SILENCE = 45.0
"""Seconds without a word after which an event stream is dead: three of its heartbeats."""
MOST_LINE = 1_048_576
"""Bytes of one line of an event stream; who sends more is no balancer."""
EVERY_ADDRESS = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to ask there, not to listen
"""Hosts that a socket can listen at, but that none can connect to: where this machine finds them."""

RAW = "surrogateescape"


class AdminError(Exception):
    """The endpoint could not be asked, or has refused; the text is one line that says why."""

    def __init__(self, text: str, answer: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.answer = answer or {}
        """The JSON with which it has refused."""


class AdminClient:
    """One connection for each request, so that a balancer that restarts meanwhile is found again."""

    def __init__(self, address: Address, token: str) -> None:
        self.address = address
        self._headers = {"Accept": "application/json"}
        if token:  # as a password: unlike after "Bearer", each character may stand there
            self._headers["Authorization"] = f"Basic {base64.b64encode(f':{token}'.encode()).decode()}"

    def get(self, *path: str, **parameters: object) -> dict[str, Any]:
        """The JSON below ``/api/v1``, with those parameters that are not None, each of a list. Raises AdminError."""
        return self._ask("GET", path, parameters)

    def status(self) -> dict[str, Any]:
        """How it stands, as far as it is a balancer that answers. Raises AdminError."""
        answer = self.get("status")
        if not {"listeners", "pools", "timestamp"} <= answer.keys():
            raise self._stranger()
        return answer

    def post(self, *path: str, body: object = None) -> dict[str, Any]:
        """Have something done; what became of it. Raises AdminError."""
        return self._ask("POST", path, body=body)

    def events(self, after: int | None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and fields of each event, for ever; first those that are kept after this number.

        They come as server-sent events (WHATWG HTML, section 9.2). Raises AdminError, also when the balancer ends.
        """
        with _Asking(self.address, SILENCE) as asking:
            response = asking.send("GET", _target(("events",), {"after": after}), self._headers)
            if response.status != 200:
                raise self._refusal(response.status, response.read())
            if not response.getheader("content-type", "").startswith("text/event-stream"):
                raise self._stranger()
            fields: dict[str, str] = {}
            while line := response.readline(MOST_LINE).decode():
                key, _, value = line.rstrip("\r\n").partition(": ")
                if key:
                    fields[key] = value
                elif "data" in fields:
                    yield int(fields["id"]), json.loads(fields["data"])
                    fields = {}
        raise AdminError(f"{self.address}: the balancer has ended the connection")

    def _ask(
        self, method: str, path: tuple[str, ...], parameters: Mapping[str, object] | None = None, body: object = None
    ) -> dict[str, Any]:
        with _Asking(self.address, PATIENCE) as asking:
            response = asking.send(method, _target(path, parameters or {}), self._headers, json.dumps(body))
            status, content = response.status, response.read()
        if status != 200:
            raise self._refusal(status, content)
        return self._json(content)

    def _refusal(self, status: int, content: bytes) -> AdminError:
        answer = self._json(content)
        if status == 401:
            known = "Authorization" in self._headers
            return AdminError(f"{self.address}: {'wrong token' if known else 'a token is needed'}", answer)
        reason = answer.get("error") or "; ".join(answer.get("errors", ())) or f"HTTP status {status}"
        return AdminError(reason, answer)

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except ValueError as error:
            raise self._stranger() from error
        if isinstance(answer, dict):
            return answer
        raise self._stranger()

    def _stranger(self) -> AdminError:
        return AdminError(f"{self.address}: no admin endpoint of lb answers there")


class _Asking:
    """A request and its answer: what goes wrong with the connection meanwhile becomes an AdminError."""

    def __init__(self, address: Address, patience: float) -> None:
        self._address = address
        self._connection = _Connection(address, patience)

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
        if isinstance(error, RemoteDisconnected):  # an OSError as well, with a text of another kind
            raise AdminError(f"{self._address}: the connection was closed without an answer") from error
        if isinstance(error, OSError):
            raise AdminError(f"{self._address}: {describe_error(error)}") from error
        if isinstance(error, HTTPException | ValueError | KeyError):
            raise AdminError(f"{self._address}: no admin endpoint of lb answers there") from error


class _Connection(HTTPConnection):
    """HTTP over TCP or a unix socket."""

    def __init__(self, address: Address, patience: float) -> None:
        host = "localhost" if address.is_unix else EVERY_ADDRESS.get(address.host, address.host)
        super().__init__(host, address.port or None, timeout=patience)
        self._path = address.path
        self._patience = patience

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._patience)
        self.sock.connect(self._path)


def _target(path: tuple[str, ...], parameters: Mapping[str, object]) -> str:
    """Words of the command line that are not UTF-8 go as the bytes that they are."""
    given = {key: value for key, value in parameters.items() if value is not None}
    query = urlencode(given, doseq=True, errors=RAW)
    target = "/api/v1/" + "/".join(quote(part, safe="", errors=RAW) for part in path)
    return f"{target}?{query}" if query else target
