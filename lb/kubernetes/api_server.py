"""Requests to Kubernetes' API server: a list, and a watch of what changes after it."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import trio

from lb.kubernetes.watch_lines import GoneError, KubernetesError, RefusedError, WatchLines, status_text
from lb.model import PoolTlsSpec
from lb.model.kubernetes import KubernetesSource
from lb.model.tls import PemSpec
from lb.net.files import read_file
from lb.net.http_client import AnswerBytes, HttpClient, HttpClientError, beginning_of_answer, read_answer
from lb.net.threads import Threads
from lb.net.tls import verifying_context
from lb.tls.contexts import client_context

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
UNAUTHORIZED, GONE = 401, 410
LARGE_PAGE = 1 << 16
"""Bytes of JSON that are decoded at once: 0.5 ms."""
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
        self._ca = source.ca
        self._http = _http_client(source, source.ca)
        self._base = source.api
        self._path = ""

    @property
    def place(self) -> str:
        """The server's URL, for people."""
        return self._base or "the API server"

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

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
        answer = AnswerBytes(LONGEST_PAGE)
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
        headers = await self._prepare()
        query = {"labelSelector": f"kubernetes.io/service-name={self._source.service}", **query}
        try:
            async with self._http.stream("GET", self._base + self._path, params=query, headers=headers) as response:
                if response.status_code == 200:
                    begun()
                    return await read_answer(response, take)
                reason = await beginning_of_answer(response, LARGE_PAGE)
        except HttpClientError as error:
            raise KubernetesError(f"{self.place}: {error}") from error
        text = f"{self.place}: {status_text(response.status_code, reason)}"
        if response.status_code == UNAUTHORIZED:
            path = _token_path(self._source)
            text += f"; it does not know the token in {path}" if path else "; no token was sent, 'token_file' names one"
        raise GoneError(text) if response.status_code == GONE else RefusedError(text)

    async def _prepare(self) -> dict[str, str]:
        """Find the server, and return the headers of a request with the token of the moment."""
        if not self._path:
            self._base = self._source.api or _api_of_pod()
            namespace = await self._thread.run(_namespace, self._source)
            self._path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        ca, token = await self._thread.run(_credentials, self._source)
        if ca != self._ca:  # kubelet has renewed it: connections that verify by the old one would fail for ever
            await self._http.close()
            self._ca, self._http = ca, _http_client(self._source, ca)
        return {"Authorization": f"Bearer {token}"} if token else {}


def _check_list(page: _Document) -> None:
    """Raise KeyError, TypeError or AttributeError if this is no list of objects that have names."""
    page.get("metadata", {}).get("continue")
    for each in page.get("items") or ():
        hash(each["metadata"]["name"])


def _api_of_pod() -> str:
    """Return the URL that a pod finds in its environment. Raises KubernetesError."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    if not host:
        raise KubernetesError("KUBERNETES_SERVICE_HOST is not set: this is no pod; the key 'api' is needed")
    port = os.environ.get("KUBERNETES_SERVICE_PORT_HTTPS") or os.environ.get("KUBERNETES_SERVICE_PORT") or "443"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _namespace(source: KubernetesSource) -> str:
    """Return the namespace of the service. Raises KubernetesError."""
    return source.namespace or _read_text(SERVICE_ACCOUNT / "namespace")


def _http_client(source: KubernetesSource, ca: PemSpec | None) -> HttpClient:
    return HttpClient(
        partial(_tls, source, ca),
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        socket_options=TCP_KEEP_ALIVE,
    )


def _tls(source: KubernetesSource, ca: PemSpec | None) -> ssl.SSLContext:
    """Return the context for the server. Raises KubernetesError."""
    if source.api.startswith("http:"):
        return verifying_context(verify=False)  # not used
    try:
        return client_context(PoolTlsSpec(ca=ca))
    except ssl.SSLError as error:
        raise KubernetesError(f"{ca and ca.path}: holds no certificate that can be read") from error


def _credentials(source: KubernetesSource) -> tuple[PemSpec | None, str]:
    """Return the CA and the token of the moment, as kubelet renews both. None, empty = none. Raises KubernetesError."""
    ca = source.ca
    if ca is None and not source.api:
        ca = PemSpec(str(SERVICE_ACCOUNT / "ca.crt"), _read_text(SERVICE_ACCOUNT / "ca.crt").encode())
    path = _token_path(source)
    return ca, _read_text(path) if path else ""


def _token_path(source: KubernetesSource) -> str:
    """Return the file with the token; empty = none is sent."""
    return source.token_file or ("" if source.api else str(SERVICE_ACCOUNT / "token"))


def _read_text(path: str | Path) -> str:
    try:
        return read_file(path).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else "is not UTF-8"
        raise KubernetesError(f"{path}: cannot be read: {reason.lower()}") from error
