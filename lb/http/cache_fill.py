"""A request of the cache to a server, and its response on its way into the zone.

A fill belongs to the cache, not to the client that began it. Those who wait for it get its response as it comes. If the
response must not be stored, the client that began the fill gets it from the server's connection, and each of the others
asks the server itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVarTuple

from lb.cache.content import IN_MEMORY, BodyWriter, Content
from lb.cache.entry import CacheEntry, Part, SliceAt, identity, slice_identity
from lb.cache.policy import StoredHead, is_for_one, revalidated, serves_stale, storing
from lb.cache.purge_match import PurgeMatch
from lb.cache.stored_fields import stored_fields, tags_of, validators_of
from lb.cache.vary import variant_key
from lb.events import Attempt, CacheFillFailed, Reason, RequestReason
from lb.http.cache_sink import CacheSink
from lb.http.cached_route import CachedRoute
from lb.http.carrier import ExchangeToServe, Upstream
from lb.http.content_part import ContentPart
from lb.http.file_flow import Body
from lb.http.header_edits import FieldChange
from lb.http.pace import Pace
from lb.http.response import Response
from lb.http.server_carrier import ServerCarrier
from lb.http.stopped_readers import StoppedReaders
from lb.http.upstream_request import UpstreamRequest
from lb.http1.body import MessageBody
from lb.http1.field import CONDITION, Field
from lb.http1.ranges import parse_content_range
from lb.http1.request_head import RequestHead
from lb.http1.response_head import ResponseHead
from lb.model.connection import LiveConnection
from lb.model.request import HeaderFields
from lb.net.deadlines import DeadlineQueue
from lb.pools.backend import Backend
from lb.relay.epoll_stream import EpollStream

__all__ = ["Fill", "FillReader"]

Ts = TypeVarTuple("Ts")

MOST_PURGES = 100
"""Purges that a fill remembers until it knows its tags. After more of them it is not stored."""

_CONDITIONS = frozenset(
    (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range")
)


class FillReader(Protocol):
    """Waits for the response of a fill."""

    @property
    def head(self) -> RequestHead: ...

    def interim(self, head: ResponseHead) -> None:
        """The server has sent an interim response (1xx)."""

    def filled(self, fill: Fill, entry: CacheEntry) -> None:
        """The response comes: its head, and as much of its body as is there."""

    def confirmed(self, entry: CacheEntry) -> None:
        """The server has confirmed what was stored."""

    def stale(self, entry: CacheEntry) -> None:
        """The server has failed, and the stale response may be served."""

    def released(self) -> None:
        """The response cannot be shared: ask the server."""

    def take(self, upstream: UpstreamRequest, server: ServerCarrier) -> UpstreamRequest | None:
        """Return the request that goes on with the server's response; None if it is not what was asked for."""

    def fill_failed(self, status: int, reason: RequestReason, fields: HeaderFields) -> None:
        """There is no response."""


class Fill:
    """Implements ExchangeToServe, for a request whose client is the cache.

    ``exchange`` is the request that it begins with; ``stale`` is what the server is asked to confirm. ``slice_at`` is
    the slice to fetch; None = the whole body.
    """

    upstream: Upstream | None = None
    """The request, until the fill has ended."""
    _request: _FillRequest | None = None
    """The same."""
    body: MessageBody | None = None
    """It has none."""
    bytes_in = bytes_out = 0
    status: int | None = None
    responded_at: float | None = None
    expects_continue = False
    is_limited = False
    ended = False
    grpc_status: int | None = None
    """None: calls are not stored."""
    cache: str | None = None
    """It is the cache."""
    entry: CacheEntry | None = None
    """The response, once its head was accepted."""
    server_name_used: str | None = None
    """The name of the server that has the request, or that has answered it, once the fill has ended."""
    attempts: tuple[Attempt, ...] = ()
    """Failed attempts, likewise."""

    def __init__(
        self,
        cached: CachedRoute,
        exchange: ExchangeToServe,
        key: bytes,
        stale: CacheEntry | None = None,
        slice_at: SliceAt | None = None,
    ) -> None:
        self.cached = cached
        self.key = key
        self._slice_at = slice_at
        self.asked = exchange.head
        """The head of the request that it began with."""
        self.stale = stale
        self.head = _plain(exchange.head)
        self.client, self.scheme, self.id = exchange.client, exchange.scheme, exchange.id
        self.told = exchange.told
        self.edits = self._edits(exchange, stale)
        self._forwarded = exchange.forwarded
        self.began = cached.loop.turn.now
        self.requested_at = cached.zone.clock()
        self.identity = self._identity(cached.zone.identity(key, exchange.head))
        self.waiting: dict[FillReader, None] = {}
        self.content = Content(None)
        self.content.unread = self._unread
        self.carrier = CacheSink(cached.loop, exchange.carrier, self.content, self._create_writer)
        self._kept = ContentPart(stale.body) if stale is not None and isinstance(stale.body, Content) else None
        """Keeps the stored body for those who wait, also if it is removed meanwhile."""
        self._idle_queue: DeadlineQueue | None = None
        self._stopped: StoppedReaders | None = None
        self._forgotten = False
        self._purges: list[PurgeMatch] = []
        """Purges since it began, which may match its tags."""
        self._open = _OpenFill(self)
        cached.context.open.add(self._open)
        cached.zone.coming.add(self)
        cached.zone.fills.setdefault(self.identity, self)

    def _identity(self, whole: bytes) -> bytes:
        return whole if self._slice_at is None else slice_identity(whole, self._slice_at)

    def _edits(self, exchange: ExchangeToServe, stale: CacheEntry | None) -> FieldChange | None:
        """Return the changes of the request: without the client's conditions, with those of the cache."""
        own = tuple(validators_of(stale.fields)) if stale is not None and self.cached.rules.revalidate else ()
        if self._slice_at is not None:
            offset, size = self._slice_at
            own = (*own, (b"Range", b"bytes=%d-%d" % (offset, offset + size - 1)))
        if not own and not exchange.head.block.meanings & CONDITION:
            return exchange.edits
        change = FieldChange(_CONDITIONS, own)
        return change if exchange.edits is None else exchange.edits.then(change)

    def start(self) -> None:
        """Ask the server."""
        self.cached.zone.fill_count += 1
        self.upstream = self._request = request = _FillRequest(self)
        request.start()

    def forget(self) -> None:
        """Its response must not be stored: what it stands for was purged."""
        self._forgotten = True
        if self.content.complete and self.entry is not None:
            self.cached.zone.leave_out(self.entry)
        self._leave_zone()

    def purge(self, matches: PurgeMatch) -> None:
        """Forget it if it matches, now or once its tags are known."""
        tags = () if self.entry is None else self.entry.tags
        if matches(self.key, tags) or len(self._purges) >= MOST_PURGES:
            self.forget()
        elif self.entry is None:
            self._purges.append(matches)

    def _leave_zone(self) -> None:
        fills = self.cached.zone.fills
        if fills.get(self.identity) is self:
            del fills[self.identity]

    # Those who wait

    def join(self, reader: FillReader) -> None:
        """Wait for the response, or begin to read it."""
        if self.entry is None:
            self.waiting[reader] = None
        else:
            reader.filled(self, self.entry)

    def leave(self, reader: FillReader) -> None:
        """A client has left."""
        self.waiting.pop(reader, None)

    @property
    def is_shared(self) -> bool:
        """Others may read its response. One that is not stored passes; one that was stored may be removed already."""
        return not (self.content.passes or self.content.dropped)

    def _tell(self, call: Callable[[FillReader], None]) -> None:
        waiting, self.waiting = self.waiting, {}
        for reader in waiting:
            try:
                call(reader)
            except Exception as exception:  # noqa: BLE001 - a bug in one request must not reach another
                self.cached.loop.fault("http", exception)

    # The response

    def may_serve_stale(self, failure: str) -> bool:
        stale = self.stale
        return stale is not None and serves_stale(self.cached.rules, stale.freshness, failure, self.cached.zone.clock())

    def serve_stale(self) -> None:
        """The server has failed: those who wait get what was stored."""
        stale = self.stale
        assert stale is not None  # noqa: S101 - may_serve_stale has said so
        self._tell(lambda reader: reader.stale(stale))

    def confirm(self, head: ResponseHead) -> None:
        """The server says that the stored response is still what it was."""
        stale, zone, rules = self.stale, self.cached.zone, self.cached.rules
        assert stale is not None  # noqa: S101 - it was asked to confirm it
        stored = StoredHead(stale.status, stale.fields, stale.freshness)
        found = revalidated(rules, self.head, stored, _fields_of(head), self.requested_at, zone.clock())
        if found is None or self._forgotten:
            zone.remove(stale.identity)
        else:
            zone.refresh(stale, found.fields, found.freshness)
        self._tell(lambda reader: reader.confirmed(stale))

    def accept(self, head: ResponseHead) -> bool:
        """Return True if the response is stored, or at least read by all who wait."""
        zone, rules, fields = self.cached.zone, self.cached.rules, _fields_of(head)
        status, part = self._part_of(head, fields)
        freshness = storing(rules, self.head, status, fields, self.requested_at, zone.clock())
        vary = self.cached.vary_of(fields)
        length = head.block.length
        if part is not None:
            length = min(part.slice_size, part.total - part.offset)
        if freshness is None or vary is None or self._is_too_long(part.total if part is not None else length):
            return False
        self.content.length = length
        self.carrier.most = self._longest if part is None else length
        zone.mark(self.key, vary, sliced=part is not None)
        variant = variant_key(vary, self.asked) if vary else b""
        self._rename(self._identity(identity(self.key, variant)))
        kept = [
            field
            for field in stored_fields(rules, fields, zone.clock())
            if part is None or field[0].lower() != b"content-range"
        ]
        tags = tags_of(fields)
        self.entry = CacheEntry(self.key, variant, status, kept, freshness, self.content, tags, part=part)
        if any(matches(self.key, tags) for matches in self._purges):
            self.forget()
        if length is not None and length > IN_MEMORY:
            self.carrier.open_file()
        return True

    def _part_of(self, head: ResponseHead, fields: HeaderFields) -> tuple[int, Part | None]:
        """Return the status to store, and the slice that the response is. A server may answer with the whole body.

        Slices of two states must be told apart: by a strong ETag, or Last-Modified.
        """
        if self._slice_at is None or head.status != 206:
            self._slice_at = None
            return head.status, None
        found = parse_content_range(head.block.get(b"content-range") or b"")
        offset, size = self._slice_at
        if found is None or found[0] != (offset, min(size, found[1] - offset)):
            return head.status, None
        if head.block.length not in (None, found[0].length):
            return head.status, None
        if all(value.startswith(b"W/") for _, value in validators_of(fields)):
            return head.status, None
        return 200, Part(offset, size, found[1])

    def _is_too_long(self, length: int | None) -> bool:
        """``length``: of the whole body in bytes; None = not known."""
        return length is not None and length > self._longest

    @property
    def _longest(self) -> int:
        """Bytes of the longest body that is stored."""
        most, longest = self.cached.rules.max_object, self.cached.zone.longest
        return min(most, longest) if most else longest

    def _create_writer(self, done: Callable[[BodyWriter | None], None]) -> None:
        assert self.entry is not None  # noqa: S101 - its body comes
        self.cached.zone.create_writer(self.entry, self.content.length, done)

    def _rename(self, identified: bytes) -> None:
        """The response names the fields by which its variants are told: it is a variant of its own."""
        fills = self.cached.zone.fills
        if identified != self.identity:
            registered = fills.get(self.identity) is self
            self._leave_zone()
            self.identity = identified
            if registered:
                fills.setdefault(identified, self)

    def begin_reading(self) -> None:
        """Let those who wait read the response. A request with other fields that Vary names asks for itself."""
        entry = self.entry
        assert entry is not None  # noqa: S101 - it was accepted
        zone = self.cached.zone

        def tell(reader: FillReader) -> None:
            if self._identity(zone.identity(self.key, reader.head)) == self.identity:
                reader.filled(self, entry)
            else:
                reader.released()

        self._tell(tell)

    def refuse(self, status: int) -> None:
        """The response must not be stored: the stored one, if any, is no longer valid.

        A response for one client, and one that says that the server has failed, mean nothing for what is stored. After
        a failure the next response may be stored again, at once: that of a stream that has just begun.
        """
        for_one = is_for_one(self.cached.rules, self.head)
        if status < 500:
            self.cached.zone.pass_on(self.identity, for_one=for_one)
        self._leave_zone()
        if self.stale is not None and not for_one and status < 500:
            self.cached.zone.remove(self.stale.identity)

    def pass_to_reader(self, request: UpstreamRequest, server: ServerCarrier) -> UpstreamRequest | None:
        """Let the first who waits go on with the server's response; return its request. The others ask themselves."""
        taken = None
        for reader in list(self.waiting):
            taken = reader.take(request, server)
            if taken is not None:
                del self.waiting[reader]
                break
        return taken

    def release_waiting(self) -> None:
        self._tell(lambda reader: reader.released())

    # Calls of the request, as ExchangeToServe

    @property
    def max_header(self) -> int:
        return self.cached.max_header

    def forwarded(self) -> HeaderFields:
        return self._forwarded()

    def interim(self, head: ResponseHead) -> None:
        """Interim responses are for those who wait now."""
        for reader in list(self.waiting):
            reader.interim(head)

    def response_begins(self, status: int) -> None:
        self.status = status
        self.responded_at = self.cached.loop.turn.now

    def response_complete(self, *, close: bool = False, trailers: Sequence[Field] = ()) -> None:  # noqa: ARG002 - there is no client's connection
        """All has come. Trailers are not stored."""
        content, entry = self.content, self.entry
        if content.length not in (None, content.size):  # a slice in chunks
            self.abort("bad_response")
            return
        content.end()
        self._watch_no_more()
        if self._forgotten or entry is None:
            self._finished(False)
            return
        if content.file is not None and not content.passes:
            self.cached.zone.keep(entry)  # at once: nobody gets what it replaces
        self.carrier.finish(self._finished)

    def _finished(self, stored: bool) -> None:
        """The body is in memory or in a file, or it could not be kept."""
        content, entry, zone = self.content, self.entry, self.cached.zone
        if entry is not None and stored and not self._forgotten:
            if content.is_in_memory:
                entry.body = bytes(content.data)
                stored = zone.store(entry)
        elif entry is not None:
            zone.take_back(entry, is_written=stored and not content.is_in_memory)
        if not stored or self._forgotten:
            content.drop()
        self._end()

    def switch(self, head: ResponseHead, server: EpollStream, rest: bytes) -> None:
        """No request of the cache offers another protocol: the request refuses it before."""

    def request_pace(self, resume: Callable[[], None]) -> Pace | None:  # noqa: ARG002 - it has no body
        return None

    def response_pace(self, resume: Callable[[], None]) -> Pace | None:  # noqa: ARG002 - clients have their own
        return None

    def send_continue(self) -> None:
        """It has no body."""

    def refuse_body(self, status: int) -> None:
        """It has none."""

    def passed(self) -> None:
        """It has no steps."""

    def set_request_field(self, name: bytes, value: bytes | None) -> None:
        """It has no steps."""

    def spawn(self, async_fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Its response is not compressed: nothing runs beside it."""

    def respond(
        self, status: int, fields: HeaderFields = (), body: Body = b"", *, reason: RequestReason = "ok"
    ) -> None:
        """Nothing answers it but the server."""
        raise NotImplementedError

    def fail_call(self, status: int, reason: RequestReason, *, by_deadline: bool = False) -> None:  # noqa: ARG002 - no call is stored
        self.fail(status, reason)

    def fail(self, status: int, reason: RequestReason, fields: HeaderFields = (), detail: str = "") -> None:  # noqa: ARG002 - those who wait are told the status
        """The server has not answered, or not well."""
        if self.ended:
            return
        if self.entry is not None and not self.waiting:
            self.abort(reason)
            return
        if self.may_serve_stale("timeout" if reason == "timeout" else "error"):
            self.serve_stale()
        else:
            self._tell(lambda reader: reader.fill_failed(status, reason, fields))
        self._fail_content()
        self._note_failure(reason)
        self._end()

    def _fail_content(self) -> None:
        self.content.fail()
        self.content.drop()

    def abort(self, reason: RequestReason) -> None:
        """The response cannot be completed: nobody may take it for the whole."""
        if self.ended:
            return
        if self.waiting and not self.content.complete:  # nobody has begun to read
            self.fail(502, reason)
            return
        if not self.content.complete:  # else it is stored already, or about to be
            self._fail_content()
            self._note_failure(reason)
        self._end()

    def client_left(self) -> None:
        """Its only client is the cache."""
        self.abort("stopped")

    def _note_failure(self, reason: RequestReason) -> None:
        path = self.asked.target.partition(b"?")[0].decode()
        self.cached.context.sink(
            CacheFillFailed(self.cached.zone.spec.name, self.asked.host.decode(), path, self._server_name, reason)
        )

    @property
    def _server_name(self) -> str | None:
        return self.upstream.server_name_used if self.upstream is not None else None

    def _unread(self) -> None:
        """Nobody reads. What will not be stored is not needed any more."""
        if self.content.passes and not self.ended:
            self.client_left()

    def end(self) -> None:
        """It has no response to bring: the requests that waited go their own ways."""
        self._end()

    def _end(self) -> None:
        if self.ended:
            return
        self.ended = True
        self.content.unread = self.content.more_wanted = None  # a stored body keeps nothing else
        self.carrier.cancel()
        self._leave_zone()
        self.cached.zone.coming.discard(self)
        if self._kept is not None:
            self._kept.release()
        self._watch_no_more()
        if self._request is not None:
            self._end_request(self._request)
        self.cached.context.closed(self._open)
        del self._open  # it knows the fill

    def _end_request(self, request: _FillRequest) -> None:
        """Let go of the request, which knows the fill."""
        if not request.done:
            request.end()
        self.server_name_used, self.attempts = request.server_name_used, request.attempts
        request.let_go_of_parts()
        self.upstream = self._request = None

    # The idle timeout

    def watch_idle(self) -> None:
        if self._idle_queue is None and not self.ended:
            self._idle_queue = self.cached.idle_queue
            self._idle_queue.enter(self, self.cached.loop.turn.now)
            self._stopped = StoppedReaders(self.content, self.cached.context.deadlines, self.cached.loop)

    def _watch_no_more(self) -> None:
        if self._idle_queue is not None:
            self._idle_queue.discard(self)
            self._idle_queue = None
        if self._stopped is not None:
            self._stopped.end()
            self._stopped = None

    @property
    def last_activity(self) -> float:
        """When something has come last, in seconds. Those who read along do not end while it waits for the disk."""
        if self.carrier.waits:
            return self.cached.loop.turn.now
        return self.upstream.last_activity if self.upstream is not None else 0.0

    def expired(self, queue: DeadlineQueue) -> None:
        """The idle timeout has passed, unless something has moved since."""
        self.cached.loop.refresh()
        now = self.cached.loop.turn.now
        active = self.upstream.last_activity if self.upstream is not None else 0.0
        if self.content.is_full:  # it waits for a reader, who has an idle timeout of its own
            active = now
        if now - active < queue.timeout:
            queue.renew(self, active)
            return
        if self.carrier.waits:  # the server would go on, but the disk does not
            queue.renew(self, now)
            self.carrier.stop_waiting()
            return
        self._idle_queue = None
        self.abort("timeout")


class _OpenFill:
    """A fill as the process lists and ends it. Implements :class:`lb.proxy.downstream.OpenConnection`."""

    bytes_in = 0

    def __init__(self, fill: Fill) -> None:
        self.id = fill.cached.context.next_id()
        self._fill = fill

    @property
    def bytes_out(self) -> int:
        return self._fill.content.size

    @property
    def backend(self) -> Backend | None:
        upstream = self._fill.upstream
        return upstream.backend if upstream is not None else None

    @property
    def server(self) -> Backend | None:
        upstream = self._fill.upstream
        return upstream.used if upstream is not None else None

    def live(self) -> LiveConnection:
        fill, backend = self._fill, self.backend
        cached = fill.cached
        return LiveConnection(
            self.id,
            cached.listener,
            cached.pool_target.pool.name,
            backend.name if backend is not None else None,
            f"cache {cached.zone.spec.name}",
            "open",
            (cached.loop.turn.now - fill.began) * 1000,
            self.bytes_in,
            self.bytes_out,
        )

    def server_removed(self) -> None:
        if self._fill.upstream is not None:
            self._fill.upstream.server_removed()

    def close(self, reason: Reason) -> None:
        """End the fill now, or let another server go on with it."""
        fill = self._fill
        fill.cached.loop.refresh()
        if reason in ("server_down", "primary_back") and fill.upstream is not None:
            fill.upstream.server_down()
        else:
            fill.abort("stopped")


class _FillRequest(UpstreamRequest):
    """The request of a fill. The response goes into the cache, or to those who wait for it."""

    def __init__(self, fill: Fill) -> None:
        super().__init__(fill, fill.cached.pool_target)
        self._fill = fill

    def let_go_of_parts(self) -> None:
        """Break the reference cycles: all has ended."""
        self.response_sent = self._connector = None

    def deliver(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        fill, status = self._fill, head.status
        if status == 304 and fill.stale is not None:
            fill.confirm(head)
            self._drop_response(head, rest)
        elif status >= 400 and fill.may_serve_stale(f"http_{status}"):
            fill.serve_stale()
            self._drop_response(head, rest)
        elif fill.accept(head):
            self.response_sent = response = Response(self, server, head, None)
            if head.fixed != len(rest):
                fill.begin_reading()  # heads go to all who wait before bytes do
            first = ContentPart(fill.content)
            try:
                response.begin(rest)
                fill.begin_reading()  # of what has come at once, head and body go together
            finally:
                first.release()
        else:
            self._pass_on(server, head, rest)

    def _drop_response(self, head: ResponseHead, rest: memoryview) -> None:
        """Its body, if there is one, is not wanted."""
        server, fill = self.server, self._fill
        assert server is not None  # noqa: S101 - it has responded
        bodiless = head.fixed == len(rest) or (head.bodiless(b"GET") and not rest)
        self.response_complete(reusable=bodiless and head.keep_alive and not server.has_more())
        fill.end()

    def _pass_on(self, server: ServerCarrier, head: ResponseHead, rest: memoryview) -> None:
        """The response is not stored: it goes to the first who waits."""
        fill = self._fill
        fill.refuse(head.status)
        taken = fill.pass_to_reader(self, server)
        fill.release_waiting()
        fill.end()
        if taken is not None:
            taken.deliver(server, head, rest)


def _plain(head: RequestHead) -> RequestHead:
    """Return the head of a request for all of the body, whatever part the client has asked for."""
    if head.method == b"GET" and head.minor == 0:
        return head
    return RequestHead(b"GET", head.target, head.host, 0, head.block, head.cookie_line, plain=False)


def _fields_of(head: ResponseHead) -> HeaderFields:
    return [(field.written_name, field.value) for field in head.block.end_to_end()]
