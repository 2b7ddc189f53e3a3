"""The live streams of a process: who may publish and play them, and what their viewers get."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeAlias, get_args

import attrs
import trio

from lb.events import Event, RefusalReason, StreamJumped, StreamRefused
from lb.media.fragment import open_track
from lb.media.hooks import HookCall, Hooks
from lb.media.known_numbers import MOST_STREAMS
from lb.media.ladder import Ladder
from lb.media.live_disk import LiveDisk
from lb.media.live_resources import clock_response, missing, not_known_yet
from lb.media.live_stream import LiveStream
from lb.media.live_tracks import LiveSegment, SegmentMemory
from lb.media.messages import NumbersUsed
from lb.media.player import Player
from lb.media.publish_keys import may_publish
from lb.media.pull_waits import PullWaits
from lb.media.pulls import Pulls
from lb.media.push import Push
from lb.media.responses import MediaResponse
from lb.media.rtmp.server_session import PlayRequested, PublishRequested
from lb.media.rtmp_dialer import RtmpDialer
from lb.media.rtmp_server import Publication
from lb.media.served_stream import LivePublication, ServedStream
from lb.media.stream_timelines import StreamTimelines
from lb.model import LiveSpec, MediaSpec
from lb.model.address import Client
from lb.model.media_figures import MediaFigures, StreamFigures
from lb.model.stream_status import MediaSnapshot, StreamStatus, ladder_status

__all__ = ["LiveApps"]

MOST_SHOWN = 1_000
"""Streams that operators see. More would hold the loop for longer than 10 ms."""
FORGET_EVERY = 5.0
"""Seconds between two looks for streams that have ended."""
FORGOTTEN_AFTER = 300.0
"""Seconds that a stream is still shown after it has ended; with ``dvr``, at least as long as that."""

StreamKey: TypeAlias = tuple[str, str]
"""Application and name."""


class LiveApps:
    """Implements :class:`lb.media.rtmp_server.RtmpApps`. ``now()`` is Unix time by a clock that is never set.

    ``failed`` reports a bug in a task.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        tell: Callable[[NumbersUsed], None],
        failed: Callable[[Exception], None],
        now: Callable[[], float],
    ) -> None:
        self._emit = emit
        self._tell = tell
        self._failed = failed
        self._figures = MediaFigures(refused=dict.fromkeys(get_args(RefusalReason), 0))
        self._now = now
        self._began = now()
        self._apps: dict[str, LiveSpec] = {}
        self._disk = LiveDisk(emit)
        self._memory = SegmentMemory(MediaSpec().memory)
        self._streams: dict[StreamKey, ServedStream] = {}
        self._timelines = StreamTimelines(self._used_numbers)
        self._stopping = False
        self._dialer = RtmpDialer()
        self._hooks = Hooks(self._note)
        self._pulls = Pulls(self, self._dialer, self._note, self._spawn)
        self._waits = PullWaits(self._pulls, self._find, now)
        self._nursery: trio.Nursery | None = None

    def recall(self, used: Iterable[NumbersUsed]) -> None:
        """Learn of the streams of the processes before this one."""
        self._timelines.recall(used)

    def configure(self, spec: MediaSpec) -> None:
        """Apply a configuration. Publishers whose application or key is gone are sent away; all others stay."""
        self._apps = {app.name: app for app in spec.live}
        self._timelines.configure(self._apps)
        self._disk.configure(spec.directory)
        self._memory.limit = spec.memory
        for (app_name, name), served in list(self._streams.items()):
            app = self._apps.get(app_name)
            publication = served.publication
            if app is None or (publication is not None and not _may_stay(app, name, publication)):
                served.send_away("removed")
            if app is not None:
                served.stream.change(app, self._now())
                self._disk.apply(app, served.name, served.stream, served.recorder)
                self._push(app, served)
        self._pulls.configure(self._apps)

    def stop(self) -> None:
        """Let nobody in any more, and send all publishers and players away."""
        self._stopping = True
        for served in self._streams.values():
            served.send_away("stopped")

    async def finish(self) -> None:
        """Stop, complete all recordings, and remove the segments on disk."""
        self.stop()
        await self._disk.finish()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write recordings, push and pull, call hooks, and forget streams that have ended, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._disk.run)
                task_status.started()
                await self._forget()
        finally:
            self._nursery = None

    def _spawn(self, step: Callable[[], Awaitable[None]]) -> None:
        """Run a task beside all others, which a bug of it does not end. Nothing begins at the end of the process."""

        async def contained() -> None:
            try:
                await step()
            except Exception as exception:  # noqa: BLE001 - see above
                self._failed(exception)

        if self._nursery is not None:
            self._nursery.start_soon(contained)

    async def _forget(self) -> None:
        while True:
            await trio.sleep(FORGET_EVERY)
            now = self._now()
            for key, served in list(self._streams.items()):
                if served.publication is None and now - served.left_at > _kept_after(served.stream.settings):
                    served.stream.close()
                    del self._streams[key]
                    self._figures.streams.pop(served.name, None)
                    self._timelines.forgotten(served.used_numbers, now / served.stream.settings.segment)

    # RTMP

    async def publish(
        self, asked: PublishRequested, client: Client, scope: trio.CancelScope
    ) -> Publication | RefusalReason:
        if self._refusal(asked) == "busy":
            await self._streams[asked.app, asked.name].left_or_goes_on()
        refusal = self._refusal(asked)
        if refusal is not None:
            return refusal
        app = self._apps[asked.app]
        call = HookCall(asked.app, asked.name, str(client), asked.key)
        if app.on_publish is not None:
            if not await self._hooks.allow(app.on_publish, call):
                return "hook"
            refusal = self._refusal(asked)  # much may have happened meanwhile
            if refusal is not None:
                return refusal
            app = self._apps[asked.app]
        served = self._streams.get((asked.app, asked.name)) or self._new_stream(app, asked.name)
        served.send_away("replaced")

        def told_end() -> None:
            spec = self._apps.get(asked.app, app)
            if spec.on_publish_done is not None:
                url = spec.on_publish_done
                self._spawn(lambda: self._hooks.tell_end(url, call))

        self._set_timeline(app, served)
        publication = LivePublication(served, client, scope, key=asked.key, told_end=told_end)
        self._push(app, served)
        return publication

    def _refusal(self, asked: PublishRequested) -> RefusalReason | None:
        """Return why a publisher may not come in, apart from its hook."""
        app = self._apps.get(asked.app)
        if app is None or self._stopping or not may_publish(app, asked.name, asked.key):
            return "key"
        served = self._streams.get((asked.app, asked.name))
        if served is None:
            return "limit" if len(self._streams) >= MOST_STREAMS else None
        publication = served.publication
        if publication is not None and not publication.origin and app.second_publisher == "refuse":
            return "busy"
        return None

    def _set_timeline(self, app: LiveSpec, served: ServedStream) -> None:
        """Let a stream that is about to begin have its ladder's, which may have been configured since it last did."""
        ladder = self._timelines.of_ladder(app, served.stream.name)
        if ladder is not None:
            served.stream.timeline = ladder

    def _push(self, app: LiveSpec, served: ServedStream) -> None:
        """Push a stream to where it is to be pushed, from now on, and no longer to elsewhere."""
        if served.publication is None:
            return
        targets = [target.of_stream(app.name, served.stream.name) for target in app.push]
        for target in [each for each in served.pushes if each not in targets]:
            served.pushes.pop(target).stop()
        for target in targets:
            if target not in served.pushes:
                push = served.pushes[target] = Push(target, served, self._dialer, self._note)
                self._spawn(push.run)

    async def play(self, asked: PlayRequested, player: Player) -> ServedStream | None:
        app = self._apps.get(asked.app)
        if app is None or not app.play:
            return None
        if app.pull is not None:
            await self._waits.started(app, asked.name)
        served = self._streams.get((asked.app, asked.name))
        if served is None or served.publication is None:
            return None
        served.join(player)
        return served

    def refused(self, event: StreamRefused) -> None:
        self._note(event)

    def _new_stream(self, app: LiveSpec, name: str) -> ServedStream:
        figures, full_name = self._figures, f"{app.name}/{name}"
        of_stream = figures.streams.setdefault(full_name, StreamFigures())
        served = ServedStream(full_name, self._note, self._tell, self._now, of_stream)

        def changed() -> None:
            served.changed()
            if served.publication is not None and served.publication.origin:
                self.pulls_changed()

        def segment_done(track: str, segment: LiveSegment) -> None:
            figures.segment_done(full_name, track, segment.seconds)

        recorder = served.recorder = self._disk.recorder(full_name)
        served.stream = LiveStream(
            name, app, self._timelines.new(app, name), self._memory, open_track, changed, recorder.take, segment_done
        )
        self._disk.apply(app, full_name, served.stream, recorder)
        self._streams[app.name, name] = served
        return served

    def _find(self, app: str, name: str) -> ServedStream | None:
        return self._streams.get((app, name))

    def _stream(self, app: str, name: str) -> LiveStream | None:
        served = self._find(app, name)
        return None if served is None else served.stream

    def _used_numbers(self, app: str, name: str) -> NumbersUsed | None:
        served = self._find(app, name)
        return None if served is None else served.used_numbers

    # Viewers

    async def resource(self, path: str, query: Mapping[str, str]) -> MediaResponse:
        """Return the response for ``/app/name/…``, as soon as it is there."""
        app_name, _, rest = path.removeprefix("/").partition("/")
        app = self._apps.get(app_name)
        if app is None:
            return missing()
        if rest == "time":
            return clock_response(self._now())
        name, _, file = rest.partition("/")
        members = dict(app.ladder).get(name)
        streams = (name,) if members is None else members
        if app.pull is not None and not await self._waits.fetched(app, streams, file):
            return not_known_yet()
        if not any((app_name, each) in self._streams for each in streams):
            return not_known_yet() if self._is_awaited(app, streams) else missing()
        if members is not None:
            return Ladder(name, members, lambda member: self._stream(app_name, member)).resource(file, self._now())
        return await self._streams[app_name, name].resource(file, query)

    def _is_awaited(self, app: LiveSpec, streams: Iterable[str]) -> bool:
        """Return whether a process before this one had any of the streams, so that its publisher may come back."""
        is_young = self._now() - self._began < app.linger
        return is_young and any(self._timelines.was_there(f"{app.name}/{each}") for each in streams)

    # A stream that is fetched: lb.media.pulls.PulledStreams

    def begin_pull(self, app: str, name: str, origin: Client, scope: trio.CancelScope) -> LivePublication | None:
        spec, served = self._apps.get(app), self._streams.get((app, name))
        if spec is None or spec.pull is None or self._stopping:
            return None
        if served is None:
            if len(self._streams) >= MOST_STREAMS:
                return None
            served = self._new_stream(spec, name)
        if served.publication is not None:
            return None
        self._set_timeline(spec, served)
        publication = LivePublication(served, origin, scope, origin=spec.pull.of_stream(app, name).app_url)
        self._push(spec, served)
        return publication

    def count_players(self, app: str, name: str) -> int:
        served = self._streams.get((app, name))
        return 0 if served is None else len(served.players)

    def pulls_changed(self) -> None:
        self._waits.changed()

    # Operators

    def snapshot(self) -> MediaSnapshot:
        """Return what there is and what was counted: at most MOST_SHOWN streams, those with a publisher first."""
        served = sorted(self._streams.values(), key=lambda each: each.publication is None)[:MOST_SHOWN]
        streams = {each.name: each.status() for each in served}
        publishers = dict.fromkeys(self._apps, 0)
        for (app, _), each in self._streams.items():
            publishers[app] = publishers.get(app, 0) + (each.publication is not None)
        figures = attrs.evolve(self._figures, streams={name: self._figures.streams[name] for name in streams})
        return MediaSnapshot({**streams, **dict(self._ladders(streams))}, publishers, figures)

    def _ladders(self, streams: Mapping[str, StreamStatus]) -> Iterator[tuple[str, StreamStatus]]:
        """Yield the ladders of which there are streams."""
        for app in self._apps.values():
            for ladder, members in app.ladder:
                known = [streams[f"{app.name}/{member}"] for member in members if f"{app.name}/{member}" in streams]
                if known:
                    yield f"{app.name}/{ladder}", ladder_status(members, known)

    def _note(self, event: Event) -> None:
        """Count an event, and emit it."""
        if isinstance(event, StreamRefused):
            self._figures.refused[event.reason] += 1
        elif isinstance(event, StreamJumped):
            self._figures.jumps += 1
        self._emit(event)


def _kept_after(settings: LiveSpec) -> float:
    """Return for how many seconds a stream is shown after its publisher has left."""
    return settings.linger + max(FORGOTTEN_AFTER, settings.dvr)


def _may_stay(app: LiveSpec, name: str, publication: LivePublication) -> bool:
    """Return whether a publisher is still one who may be let in. What is fetched is not asked for a key."""
    return bool(publication.origin) or may_publish(app, name, publication.key)
