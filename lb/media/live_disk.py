"""What live streams write to disk: recordings, and the segments that viewers may go back to."""

from __future__ import annotations

from collections.abc import Callable

from lb.events import Event, StreamRecordFailed
from lb.media.disk import Disk, DiskQueue
from lb.media.dvr import StreamDvr
from lb.media.dvr_home import DvrHome
from lb.media.live_stream import LiveStream
from lb.media.stream_recorder import RecordTarget, StreamRecorder
from lb.model import LiveSpec

__all__ = ["LiveDisk"]


class LiveDisk:
    """The directory of all streams, and the threads that write there while :meth:`run` runs."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._disk = Disk()
        self._directory = ""
        self._home: DvrHome | None = None

    async def run(self) -> None:
        """Write, until cancelled."""
        await self._disk.run()

    async def finish(self) -> None:
        """Complete the recordings of streams that have ended, and remove all segments."""
        await self._disk.idle()
        if self._home is not None:
            DiskQueue(self._disk).put(self._home.close, self._removed)
            await self._disk.idle()

    def configure(self, directory: str) -> None:
        """Write to this directory from now on; "" is none. What processes before this one have left there is removed:
        segments, not recordings.
        """
        if directory == self._directory:
            return
        self._directory = directory
        self._home = DvrHome(directory) if directory else None
        if self._home is not None:
            DiskQueue(self._disk).put(self._home.remove_left, self._removed)

    def recorder(self, name: str) -> StreamRecorder:
        """Return the recorder of a stream, ``app/name``."""
        return StreamRecorder(name, self._emit, self._disk)

    def apply(self, app: LiveSpec, name: str, stream: LiveStream, recorder: StreamRecorder) -> None:
        """Record a stream and keep its segments, or not, as its application says. After an error, try again."""
        recorder.configure(RecordTarget(self._directory, app.record) if app.record else None)
        home, archive = self._home, stream.archive
        if not app.dvr or home is None:
            stream.keep_in(None)
        elif isinstance(archive, StreamDvr) and archive.home is home:
            archive.resume()
        else:
            stream.keep_in(StreamDvr(name, self._emit, self._disk, home))

    def _removed(self, result: OSError | None) -> None:
        if result is not None:
            self._emit(StreamRecordFailed("", f"dvr: {result.strerror or result}"))
