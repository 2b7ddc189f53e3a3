"""Requests to Kubernetes' API server, over httpx: a list, and a watch of what changes after it."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from lb.kubernetes.watch_lines import GoneError, KubernetesError, RefusedError, WatchLines, status_text
from lb.model import PoolTlsSpec
from lb.model.kubernetes import KubernetesSource
from lb.model.tls import PemSpec
from lb.net.files import read_file
from lb.net.http_failure import http_failure_text
from lb.net.threads import Threads
from lb.net.tls import verifying_context
from lb.tls.contexts import client_context

if TYPE_CHECKING:
    import httpx

__all__ = ["ApiServer"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds the token, the CA and the namespace of its service account."""
LIST_TIMEOUT = 10.0
"""Seconds for one page of a list. A guess."""
WATCH_SECONDS = 120
"""Seconds after which the server shall end a watch, which then goes on where it was. It may be silent all the time."""
WATCH_GRACE = 10.0
"""Seconds after which a server that does not end it counts as gone."""
PAGE_SLICES = 5
"""Slices of one page: 500 endpoints at most, 0.3 MB."""
MOST_PAGES = 200
LONGEST_PAGE = 1 << 24
"""Maximum bytes of a page."""
GONE = 410
LARGE_PAGE = 1 << 16
"""Bytes of JSON that are decoded at once: 0.5 ms."""
API_CLOSE_TIMEOUT = 1.0
TCP_KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""A machine that vanished is noticed in 20 s, though a watch may be silent for longer."""

_Document: TypeAlias = dict[str, Any]


class ApiServer:
    """The API server, asked for the EndpointSlices of one service. It knows nothing of what is in them.

    All methods raise KubernetesError: RefusedError if the server says no, GoneError for a version that is too old.
    """

    def __init__(self, source: KubernetesSource) -> None:
        self._source = source
        self._thread = Threads(1)
        self._client: httpx.AsyncClient | None = None
        self._failures: tuple[type[Exception], ...] = ()
        self._base = source.api
        self._path = ""

    @property
    def place(self) -> str:
        """The server's URL, for people."""
        return self._base or "the API server"

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            client, self._client = self._client, None
            with trio.move_on_after(API_CLOSE_TIMEOUT, shield=True):
                await client.aclose()

    async def list(self) -> tuple[list[_Document], str]:
        """Return all slices, and the version to watch from."""
        found: list[_Document] = []
        query = {"limit": str(PAGE_SLICES)}
        for _ in range(MOST_PAGES):
            page = await self._page(query)
            metadata = page.get("metadata") or {}
            found += page.get("items") or []
            if not metadata.get("continue"):
                return found, str(metadata.get("resourceVersion", ""))
            query["continue"] = metadata["continue"]
        raise KubernetesError(f"{self.place}: the list of EndpointSlices has no end")

    async def _page(self, query: dict[str, str]) -> _Document:
        answer = _Answer(LONGEST_PAGE)
        with trio.move_on_after(LIST_TIMEOUT) as timeout:
            if not await self._get(query, answer.take):
                raise KubernetesError(f"{self.place}: sends more than {LONGEST_PAGE >> 20} MiB at a time")
        if timeout.cancelled_caught:
            raise KubernetesError(f"{self.place}: no answer in {LIST_TIMEOUT:g} s")
        try:
            large = len(answer.content) > LARGE_PAGE
            page: _Document = (
                await self._thread.run(json.loads, answer.content) if large else json.loads(answer.content)
            )
            _check_list(page)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise KubernetesError(f"{self.place}: sends what is no list of EndpointSlices") from error
        return page

    async def watch(self, version: str, lines: WatchLines, begun: Callable[[], None]) -> None:
        """Pass on what changes after a version, until the server ends the watch, which it does after a while.

        ``begun`` is called once the server has agreed.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        with trio.move_on_after(WATCH_SECONDS + WATCH_GRACE) as timeout:
            await self._get(query, lines.take, begun)
        if timeout.cancelled_caught:
            raise KubernetesError(f"{self.place}: a watch does not end")
        lines.finish(self.place)

    async def _get(
        self, query: dict[str, str], take: Callable[[bytes], bool], begun: Callable[[], None] = lambda: None
    ) -> bool:
        """Send one request, and pass on the bytes of its answer. False if ``take`` refused a part of them."""
        client, headers = await self._prepare()
        query = {"labelSelector": f"kubernetes.io/service-name={self._source.service}", **query}
        try:
            async with client.stream("GET", self._base + self._path, params=query, headers=headers) as response:
                if response.status_code == 200:
                    begun()
                    return await _read(response, take)
                reason = _Answer(LARGE_PAGE)
                await _read(response, reason.take)
        except self._failures as failure:
            raise KubernetesError(f"{self.place}: {http_failure_text(failure)}") from failure
        text = f"{self.place}: {status_text(response.status_code, bytes(reason.content))}"
        raise GoneError(text) if response.status_code == GONE else RefusedError(text)

    async def _prepare(self) -> tuple[httpx.AsyncClient, dict[str, str]]:
        """Return the client, and the headers of a request with the token of the moment."""
        if self._client is None:
            self._base = self._source.api or _api_of_pod()
            library, context, namespace = await self._thread.run(_load, self._source)
            self._failures = (library.HTTPError, library.InvalidURL, OSError)
            self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
            transport = library.AsyncHTTPTransport(verify=context, trust_env=False, socket_options=TCP_KEEP_ALIVE)
            self._client = library.AsyncClient(
                transport=transport, trust_env=False, timeout=None
            )  # deadlines are trio's
        token = await self._thread.run(_token, self._source)
        headers = {"User-Agent": "trio-lb", "Accept": "application/json", "Accept-Encoding": "identity"}
        return self._client, {**headers, "Authorization": f"Bearer {token}"} if token else headers


def _check_list(page: _Document) -> None:
    """Raise KeyError, TypeError or AttributeError if this is no list of objects that have names."""
    page.get("metadata", {}).get("continue")
    for each in page.get("items") or ():
        hash(each["metadata"]["name"])


class _Answer:
    """The bytes of an answer, up to a limit."""

    def __init__(self, most: int) -> None:
        self.content = bytearray()
        self._most = most

    def take(self, chunk: bytes) -> bool:
        """Take bytes. False if there are too many."""
        self.content += chunk
        return len(self.content) <= self._most


async def _read(response: httpx.Response, take: Callable[[bytes], bool]) -> bool:
    """Read the body of an answer to its end. False if ``take`` refused a part of it.

    A body that is given up is left while its next part is awaited: only so do the generators of httpx end cleanly.
    """
    with trio.CancelScope() as given_up:
        async for chunk in response.aiter_raw():
            if not take(chunk):
                given_up.cancel()
    return not given_up.cancelled_caught


def _api_of_pod() -> str:
    """Return the URL that a pod finds in its environment. Raises KubernetesError."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if not host:
        raise KubernetesError("KUBERNETES_SERVICE_HOST is not set: this is no pod; the key 'api' is needed")
    port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _load(source: KubernetesSource) -> tuple[ModuleType, ssl.SSLContext, str]:
    """Import the library, and return it with a context and the namespace. Raises KubernetesError."""
    import httpx  # noqa: PLC0415 - only where there is a Kubernetes

    namespace = source.namespace or _read_text(SERVICE_ACCOUNT / "namespace")
    if source.api.startswith("http:"):
        return httpx, verifying_context(verify=False), namespace  # not used
    ca = source.ca
    if ca is None and not source.api:
        ca = PemSpec(str(SERVICE_ACCOUNT / "ca.crt"), _read_text(SERVICE_ACCOUNT / "ca.crt").encode())
    try:
        return httpx, client_context(PoolTlsSpec(ca=ca)), namespace
    except ssl.SSLError as error:
        raise KubernetesError(f"{ca and ca.path}: holds no certificate that can be read") from error


def _token(source: KubernetesSource) -> str:
    """Return the token, which is read again each time as kubelet renews it; empty = none. Raises KubernetesError."""
    path = source.token_file or ("" if source.api else SERVICE_ACCOUNT / "token")
    return _read_text(path) if path else ""


def _read_text(path: str | Path) -> str:
    try:
        return read_file(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is not UTF-8"
        raise KubernetesError(f"{path}: cannot be read: {reason.lower()}") from error
