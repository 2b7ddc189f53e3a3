"""A stand-in for Kubernetes' API server. It has EndpointSlices only, and keeps to what the documentation says.

From "Kubernetes API Concepts": lists with ``limit`` and ``continue``, a ``resourceVersion`` of the list, watches from a
version on as lines of JSON, bookmarks, status 410 for versions that are too old (as an answer, or as an ERROR event),
``timeoutSeconds``, label selectors, and errors as Status objects. Objects and their fields are those of
``discovery.k8s.io/v1``.
"""

from __future__ import annotations

import json
import math
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qsl, urlsplit

import h11
import trio

PATH = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


def endpoint(pod, host, *, zone="", hints=(), **conditions):
    """Return an endpoint of a slice. Without conditions it is ready."""
    return {
        "addresses": [host],
        "conditions": conditions or {"ready": True, "serving": True, "terminating": False},
        "nodeName": f"node-of-{pod}",
        "targetRef": {"kind": "Pod", "namespace": "default", "name": pod, "uid": f"uid-of-{pod}"},
        **({"zone": zone} if zone else {}),
        **({"hints": {"forZones": [{"name": each} for each in hints]}} if hints else {}),
    }


def terminating(pod, host, *, serving=True):
    return endpoint(pod, host, ready=False, serving=serving, terminating=True)


def slice_of(name, *endpoints, ports=(("http", 80),), service="web", family="IPv4"):
    """Return an EndpointSlice, as the control plane makes it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "endpoints": [*endpoints],
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports],
    }


def status(code, reason, message):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


GONE = status(410, "Expired", "too old resource version: 1 (9)")


class StandInApi:
    """The server's store, and the requests that came."""

    def __init__(self):
        self.version = 1
        self.slices = {}
        self.history = []
        """Changes: version, kind, object."""
        self.compacted = 0
        """Versions up to this one are no longer known."""
        self.token = ""
        """Empty: everybody may ask."""
        self.refused = {}
        """What nobody may do: verb to the Status that answers it."""
        self.bookmarks = True
        self.requests = []
        """The queries of all requests."""
        self.watches = 0
        """Open watches."""
        self.url = ""
        self._changed = trio.Event()
        self._open = set()

    def put(self, *slices):
        """Create or change slices."""
        for document in slices:
            name = document["metadata"]["name"]
            self._change("MODIFIED" if name in self.slices else "ADDED", document)

    def delete(self, name):
        self._change("DELETED", self.slices[name])

    def _change(self, kind, document):
        self.version += 1
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}
        name = document["metadata"]["name"]
        self.slices = {key: each for key, each in self.slices.items() if key != name}
        if kind != "DELETED":
            self.slices[name] = document
        self.history.append((self.version, kind, document))
        self.news()

    def compact(self):
        """Forget all history, also for open watches that have not seen it."""
        self.version += 1
        self.compacted, self.history = self.version, []
        self.news()

    def news(self):
        self._changed.set()
        self._changed = trio.Event()

    def cut(self):
        """End all connections at once."""
        for scope in list(self._open):
            scope.cancel()

    async def until(self, condition):
        """Wait until a condition holds; it is looked at with each request and change."""
        while not condition(self):
            await self._changed.wait()

    async def serve(self, stream):
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError), trio.CancelScope() as scope:
            self._open.add(scope)
            connection = h11.Connection(h11.SERVER)
            try:
                while (request := await _request(connection, stream)) is not None:
                    await self._answer(_Reply(connection, stream), request)
                    connection.start_next_cycle()
            finally:
                self._open.discard(scope)
                with trio.CancelScope(shield=True):
                    await trio.aclose_forcefully(stream)

    async def _answer(self, reply, request):
        target = urlsplit(request.target.decode())
        query = dict(parse_qsl(target.query))
        self.requests.append(query)
        self.news()
        verb = "watch" if query.get("watch") in ("1", "true") else "list"
        token = dict(request.headers).get(b"authorization", b"").decode()
        if self.token and token != f"Bearer {self.token}":
            await reply.document(status(401, "Unauthorized", "Unauthorized"))
        elif target.path != PATH.format("default"):
            await reply.document(status(404, "NotFound", "the server could not find the requested resource"))
        elif verb in self.refused:
            await reply.document(self.refused[verb])
        elif verb == "watch":
            self.watches += 1
            self.news()
            try:
                await self._watch(reply, query)
            finally:
                self.watches -= 1
                self.news()
        else:
            await reply.document(self._list(query))

    def _selected(self, document, query):
        key, _, value = query.get("labelSelector", "").partition("=")
        return not key or document["metadata"]["labels"].get(key) == value

    def _list(self, query):
        found = [each for _, each in sorted(self.slices.items()) if self._selected(each, query)]
        first, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or math.inf
        page = found[first : first + int(min(limit, len(found)))]
        more = first + len(page) < len(found)
        metadata = {"resourceVersion": str(self.version), **({"continue": str(first + len(page))} if more else {})}
        return {"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "items": page}

    async def _watch(self, reply, query):
        seen = int(query["resourceVersion"])
        if seen < self.compacted:
            await reply.document(GONE)
            return
        await reply.begin()
        with trio.move_on_after(float(query["timeoutSeconds"])):
            while True:
                changed, latest, history = self._changed, self.version, [*self.history]
                if seen < self.compacted:
                    await reply.line({"type": "ERROR", "object": GONE})
                    break
                for version, kind, document in history:
                    if version > seen and self._selected(document, query):
                        await reply.line({"type": kind, "object": document})
                if seen < latest and self.bookmarks and query.get("allowWatchBookmarks") == "true":
                    metadata = {"resourceVersion": str(latest), "creationTimestamp": None}
                    bookmark = {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata}
                    await reply.line({"type": "BOOKMARK", "object": bookmark})
                seen = latest
                await changed.wait()
        await reply.end()


class _Reply:
    def __init__(self, connection, stream):
        self._connection = connection
        self._stream = stream

    async def _send(self, event):
        await self._stream.send_all(self._connection.send(event))

    async def document(self, document):
        content = json.dumps(document).encode()
        code = document.get("code", 200) if document["kind"] == "Status" else 200
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        await self._send(h11.Response(status_code=code, headers=headers))
        await self._send(h11.Data(data=content))
        await self.end()

    async def begin(self):
        headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
        await self._send(h11.Response(status_code=200, headers=headers))

    async def line(self, document):
        await self._send(h11.Data(data=json.dumps(document).encode() + b"\n"))

    async def end(self):
        await self._send(h11.EndOfMessage())


async def _request(connection, stream):
    """Return the next request; None if there is none."""
    request = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.ConnectionClosed):
            return None


@asynccontextmanager
async def stand_in_api(*, context=None, port=0):
    """Serve the API until the end of the block."""
    api = StandInApi()
    async with trio.open_nursery() as nursery:
        if context is None:
            listeners = await nursery.start(trio.serve_tcp, api.serve, port)
        else:
            listeners = await nursery.start(trio.serve_ssl_over_tcp, api.serve, port, context)
        listener = listeners[0] if context is None else listeners[0].transport_listener
        number = listener.socket.getsockname()[1]
        api.url = f"http{'s' if context else ''}://localhost:{number}"
        yield api
        nursery.cancel_scope.cancel()
