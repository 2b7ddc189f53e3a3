"""Streams that are fetched from an origin while somebody wants them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol, TypeAlias

import attrs
import trio

from lb.events import Event, StreamPullFailed, UnpublishReason
from lb.media.rtmp.client_session import ClientEvent, StreamDenied, StreamFinished, StreamStarted
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.tracks import RtmpFrame, StreamMetadata, TrackConfig
from lb.media.rtmp_client import RelayError, RtmpClient, pause_after, rtmp_client
from lb.media.rtmp_dialer import RtmpDialer
from lb.media.rtmp_server import Publication, feed
from lb.model import LiveSpec
from lb.model.address import Client
from lb.model.rtmp_address import RtmpAddress

__all__ = ["PullState", "PulledStreams", "Pulls"]

PullState: TypeAlias = Literal["starting", "live", "missing", "failed", "busy"]
"""``missing``: the origin has no such stream. ``failed``: it cannot be reached. ``busy``: too many are starting."""

MOST_STARTING = 64
"""Streams that are asked for at a time, of which nothing has come yet: whoever asks for names that nobody has, has
no more connections."""
_START_TIMEOUT = 5.0
"""Seconds until the first of a stream. Origins tell its codecs at once; some say nothing if there is no such stream."""
_PAUSES = (1.0, 2.0, 4.0, 5.0)
"""Seconds before an origin is asked again: after the first failure, the second, and so on; half of it up to all."""
_LONG_LIFE = 10.0
"""Seconds after which a stream that ends does not count as a failure."""
_MOST_REMEMBERED = 10_000
_LEAST_LINGER_SEGMENTS = 3
"""A stream is kept for so many segments at least: its viewers ask for a list in each."""

_Key: TypeAlias = tuple[str, str]
"""Application and name; without a name, the origin itself."""


class PulledStreams(Protocol):
    """Where streams go that are fetched."""

    def begin_pull(self, app: str, name: str, origin: Client, scope: trio.CancelScope) -> Publication | None:
        """Take a stream, if nobody has begun to publish it. ``scope`` is cancelled to end it."""

    def count_players(self, app: str, name: str) -> int:
        """Return how many play it by RTMP."""

    def pulls_changed(self) -> None:
        """The state of one is another now."""


@attrs.define(eq=False)
class _Pull:
    address: RtmpAddress
    linger: float
    wanted_at: float
    is_starting: bool = True
    reason: UnpublishReason = "reset"
    """Why it ends, if it is cut."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.frozen
class _Failure:
    """An attempt that has failed: nothing is asked again before ``until``."""

    state: Literal["missing", "failed"]
    failures: int
    until: float


class Pulls:
    """One connection a stream, however many want it. ``spawn`` runs a task."""

    def __init__(
        self,
        streams: PulledStreams,
        dialer: RtmpDialer,
        emit: Callable[[Event], None],
        spawn: Callable[[Callable[[], Awaitable[None]]], None],
    ) -> None:
        self._streams = streams
        self._dialer = dialer
        self._emit = emit
        self._spawn = spawn
        self._running: dict[_Key, _Pull] = {}
        self._starting = 0
        self._failures: OrderedDict[_Key, _Failure] = OrderedDict()
        """What has failed lately."""
        self._failing: set[str] = set()
        """Applications whose origin has failed since the last stream came from there."""

    def want(self, app: LiveSpec, name: str) -> PullState:
        """Somebody wants a stream that nobody publishes: fetch it, unless that has failed just before."""
        assert app.pull is not None  # noqa: S101 - the caller has seen it
        key, now = (app.name, name), trio.current_time()
        pull = self._running.get(key)
        if pull is not None:
            pull.wanted_at = now
            return "starting" if pull.is_starting else "live"
        for remembered in (self._failures.get(key), self._failures.get((app.name, ""))):
            if remembered is not None and now < remembered.until:
                return remembered.state
        if self._starting >= MOST_STARTING:
            return "busy"
        pull = self._running[key] = _Pull(app.pull.of_stream(app.name, name), _linger(app), now)
        self._starting += 1
        self._spawn(lambda: self._fetch(key, pull))
        return "starting"

    def touch(self, app: str, name: str) -> None:
        """Somebody wants more of a stream."""
        pull = self._running.get((app, name))
        if pull is not None:
            pull.wanted_at = trio.current_time()

    def configure(self, apps: dict[str, LiveSpec]) -> None:
        """Apply a configuration: what is fetched from elsewhere now is let go; who wants it asks again."""
        self._failures.clear()
        for (app, name), pull in self._running.items():
            spec = apps.get(app)
            if spec is None or spec.pull is None or spec.pull.of_stream(app, name) != pull.address:
                pull.reason = "removed"
                pull.scope.cancel()
            else:
                pull.linger = _linger(spec)

    async def _fetch(self, key: _Key, pull: _Pull) -> None:
        began = trio.current_time()
        try:
            with pull.scope:
                await self._play(key, pull)
            self._remember(key, "missing", long=trio.current_time() - began > _LONG_LIFE)
        except RelayError as error:
            self._failed(key, pull, error)
        finally:
            self._begun(pull)
            del self._running[key]
            self._streams.pulls_changed()

    def _begun(self, pull: _Pull) -> None:
        """The stream has come, or does not."""
        if pull.is_starting:
            pull.is_starting = False
            self._starting -= 1

    def _failed(self, key: _Key, pull: _Pull, error: RelayError) -> None:
        app = key[0]
        if error.denied or not pull.is_starting:
            self._remember(key, "missing", long=False)
            return
        self._remember((app, ""), "failed", long=False)
        if app not in self._failing:
            self._failing.add(app)
            self._emit(StreamPullFailed(f"{app}/{key[1]}", pull.address.app_url, str(error)))

    def _remember(self, key: _Key, state: Literal["missing", "failed"], *, long: bool) -> None:
        before = self._failures.pop(key, None)
        failures = 1 if before is None or long else before.failures + 1
        self._failures[key] = _Failure(state, failures, trio.current_time() + pause_after(failures, _PAUSES))
        if len(self._failures) > _MOST_REMEMBERED:
            self._failures.popitem(last=False)

    async def _play(self, key: _Key, pull: _Pull) -> None:
        """Fetch a stream until it ends, if there is one. Raises RelayError."""
        publication: Publication | None = None
        try:
            async with rtmp_client(self._dialer, pull.address, "play") as client:
                events = await _first_events(client)
                if events:
                    publication = self._streams.begin_pull(*key, client.peer, pull.scope)
                if publication is not None:
                    self._begun(pull)
                    self._failing.discard(key[0])
                    self._streams.pulls_changed()
                    pull.reason = await self._pass_on(key, pull, client, publication, events)
        finally:
            if publication is not None:
                publication.ended(pull.reason)

    async def _pass_on(
        self, key: _Key, pull: _Pull, client: RtmpClient, publication: Publication, events: list[ClientEvent]
    ) -> UnpublishReason:
        """Pass on what comes until the stream ends, or nobody wants it any more. Return why."""
        while True:
            for event in events:
                if isinstance(event, RtmpFrame | TrackConfig | StreamMetadata):
                    feed(publication, event)
                elif isinstance(event, ProtocolError):
                    return "bad_stream"
                elif not isinstance(event, StreamStarted):
                    return "idle" if client.is_silent else "left"
            if self._streams.count_players(*key):
                pull.wanted_at = trio.current_time()
            if trio.current_time() - pull.wanted_at > pull.linger:
                client.session.leave()
                await client.flush()
                return "unwatched"
            await client.flush()
            events = await client.receive_gathered()


async def _first_events(client: RtmpClient) -> list[ClientEvent]:
    """Return the first of a stream; nothing if the origin has no such stream. Raises RelayError."""
    is_let_in = False
    with trio.move_on_after(_START_TIMEOUT):
        events = await client.start()
        is_let_in = True
        while not events:
            await client.flush()
            events = await client.receive()
        return [] if isinstance(events[0], StreamDenied | StreamFinished | ProtocolError) else events
    if not is_let_in:
        raise RelayError("the origin does not answer")
    return []


def _linger(app: LiveSpec) -> float:
    return max(app.linger, _LEAST_LINGER_SEGMENTS * app.segment)
