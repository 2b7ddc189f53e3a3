"""HTTP requests to etcd's JSON gateway."""

from __future__ import annotations

import json
import json.scanner
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

from lb.etcd.errors import EtcdError
from lb.etcd.messages import Document
from lb.model import EtcdSpec, PoolTlsSpec
from lb.model.printable import shortened
from lb.net.http_client import AnswerBytes, HttpClient, HttpClientError, beginning_of_answer, read_answer
from lb.net.http_failure import http_failure_text
from lb.net.threads import Threads
from lb.net.tls import verifying_context
from lb.tls.contexts import client_context

__all__ = ["Gateway", "decoded"]

T = TypeVar("T")

LARGEST_MESSAGE = 1 << 24
"""Maximum bytes of one answer. A guess: ten times the largest value that etcd takes by default, in base64."""
_TOO_LARGE = f"sends more than {LARGEST_MESSAGE >> 20} MiB at a time"
LONGEST_REASON = 300
"""Maximum characters of what etcd says about an error. Its own are shorter: what is longer is from something else."""
LARGE_MESSAGE = 1 << 16
"""Bytes of JSON that are decoded at once: 0.5 ms."""
MAX_ETCD_CONNECTIONS = 16
"""Connections to etcd at a time: a watch, and requests beside it."""

_large_messages = Threads(2)


class Gateway:
    """Sends requests to the endpoints of an etcd. It knows nothing of what is in them."""

    def __init__(self, spec: EtcdSpec) -> None:
        self._http = HttpClient(
            partial(_tls, spec),
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            most_connections=MAX_ETCD_CONNECTIONS,
        )

    async def load(self) -> None:
        """Get ready, which takes 0.3 s, before the time of a request is counted."""
        await self._http.load()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def post(self, endpoint: str, path: str, request: Document, token: str, decode: Callable[[Document], T]) -> T:
        """Return the answer to one request, decoded by ``decode``. Raises EtcdError. It has no timeout."""
        answer = AnswerBytes(LARGEST_MESSAGE)
        await self.stream(endpoint, path, request, token, answer.take)
        return await decoded(endpoint, bytes(answer.content), decode)

    async def stream(
        self, endpoint: str, path: str, request: Document, token: str, take: Callable[[bytes], bool]
    ) -> None:
        """Send one request, and pass on the bytes of its answer until it ends. ``take`` may refuse them: too many.

        Raises EtcdError, also for an answer with an error.
        """
        headers = {"Authorization": token} if token else {}
        content = json.dumps(request).encode()
        trace = _Trace()
        extensions = {"trace": trace}
        try:
            async with self._http.stream(
                "POST", endpoint + path, content=content, headers=headers, extensions=extensions
            ) as response:
                if response.status_code == 200:
                    if not await read_answer(response, take):
                        raise EtcdError({endpoint: _TOO_LARGE}, is_too_large=True)
                    return
                reason = await beginning_of_answer(response, LARGE_MESSAGE)
                status = response.status_code
        except HttpClientError as error:
            cause = http_failure_text(trace.first) if trace.first else str(error)
            raise EtcdError({endpoint: cause}) from error
        raise _refusal(endpoint, status, reason)


class _Trace:
    """Remembers what failed first in a request. A write that fails is not raised: httpcore goes on to read, in vain."""

    def __init__(self) -> None:
        self.first: BaseException | None = None

    async def __call__(self, event: str, details: Mapping[str, object]) -> None:
        exception = details.get("exception")
        if self.first is None and event.endswith(".failed") and isinstance(exception, BaseException):
            self.first = exception


def _tls(spec: EtcdSpec) -> ssl.SSLContext:
    if any(endpoint.startswith("https:") for endpoint in spec.endpoints):
        return client_context(PoolTlsSpec(ca=spec.ca, certificate=spec.certificate))
    return verifying_context(verify=False)  # not used


def _refusal(endpoint: str, status: int, content: bytes) -> EtcdError:
    """Return the error of an answer whose status is not 200."""
    try:
        return error_of(endpoint, json.loads(content))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return EtcdError({endpoint: f"status {status}: is not the JSON gateway of etcd 3.4 or newer"})


def error_of(endpoint: str, answer: Document) -> EtcdError:
    """Return the error that an answer has. Raises KeyError and the like if it has none."""
    found = answer["error"] if isinstance(answer.get("error"), dict) else answer  # in a stream it is below "error"
    text = str(found.get("message") or found["error"]).removeprefix("etcdserver: ")
    code = int(found["grpc_code"] if "grpc_code" in found else found["code"])
    return EtcdError({endpoint: shortened(text, LONGEST_REASON)}, code)


async def decoded(endpoint: str, content: bytes, decode: Callable[[Document], T]) -> T:
    """Return a message as ``decode`` reads it: a large one in a thread. Raises EtcdError."""
    if len(content) <= LARGE_MESSAGE:
        return _decoded(endpoint, content, json.loads, decode)
    return await _large_messages.run(_decoded, endpoint, content, _InterpretedDecoder().decode_bytes, decode)


def _decoded(endpoint: str, content: bytes, loads: Callable[[bytes], Document], decode: Callable[[Document], T]) -> T:
    try:
        answer = loads(content)
        if "error" in answer:
            raise error_of(endpoint, answer)
        return decode(answer)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EtcdError({endpoint: "sends what is not an answer of etcd"}) from error


class _InterpretedDecoder(json.JSONDecoder):
    """Decodes without holding the interpreter: the compiled scanner holds it for 10 ms for a megabyte."""

    def __init__(self) -> None:
        super().__init__()
        self.scan_once = json.scanner.py_make_scanner(self)  # type: ignore[attr-defined]  # public, but not in typeshed

    def decode_bytes(self, content: bytes) -> Document:
        document: Document = self.decode(content.decode())
        return document
