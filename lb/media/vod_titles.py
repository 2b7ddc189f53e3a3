"""The titles of a directory, opened when they are asked for, and kept open while they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

import attrs

from lb.media.frames import MediaError
from lb.media.responses import MediaResponse
from lb.media.title import Title, TitleFile, open_title
from lb.media.title_files import TitleFiles, not_found, open_title_files
from lb.net.shared_calls import SharedCalls
from lb.net.threads import Threads

__all__ = ["OpenTitle", "TitleRefusedError", "TooManyWaitError", "VodTitles"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_THREADS = 4
"""Threads that open titles and make segments. Most of their time is Python's or the processor's."""
_MAX_WAITING = 1024
"""Maximum requests that wait for a thread or its work."""
_MAX_REFUSED = 1024
"""Maximum titles whose refusal is remembered: the others are tried again."""
_CALL_TIMEOUT = 30.0
"""Seconds that one call may take: of a disk that hangs."""


class TooManyWaitError(Exception):
    """More requests wait than may."""


class TitleRefusedError(MediaError):
    """A title that cannot be served, in the state that it is in. The text says why."""


@attrs.frozen(eq=False)
class OpenTitle:
    """One state of a title."""

    path: str
    tag: str
    title: Title
    files: TitleFiles
    playlists: dict[str, MediaResponse] = attrs.field(factory=dict)
    """By name: those that were made, for the next who ask."""


class VodTitles:
    """The titles below the directory ``root``, in segments of ``segment`` seconds.

    ``refused(path, reason)`` is called when a title is refused, once for each state of its files. The least recently
    used are closed when more than ``most`` are open. A title whose files are replaced is opened anew; who watches the
    one before goes on with it, unless a file itself was changed.
    """

    def __init__(self, root: str, segment: float, most: int, refused: Callable[[str, str], None]) -> None:
        self.root = root
        self._segment = segment
        self._most = most
        self._refused_title = refused
        self._open: OrderedDict[tuple[str, str], OpenTitle] = OrderedDict()
        self._refused: OrderedDict[str, tuple[str, str]] = OrderedDict()
        """Path -> tag and reason."""
        self._opening: SharedCalls[str, OpenTitle] = SharedCalls()
        self._threads = Threads(_THREADS, _CALL_TIMEOUT)
        self._waiting = 0

    async def current(self, path: str) -> OpenTitle:
        """Return a title in the state that its files are in now.

        Raises OSError if it cannot be found or read, :class:`TitleRefusedError`, :class:`TooManyWaitError`.
        """
        return self._use(await self._opening.run(path, partial(self._look, path)))

    async def tagged(self, path: str, tag: str) -> OpenTitle:
        """Return a title in the state that has this tag. Raises as :meth:`current`; OSError also if it is gone."""
        found = self._open.get((path, tag))
        if found is None:
            found = await self.current(path)
            if found.tag != tag:
                raise not_found(path)
        return self._use(found)

    def _use(self, opened: OpenTitle) -> OpenTitle:
        """Make it the most recently used."""
        key = opened.path, opened.tag
        if key in self._open:
            self._open.move_to_end(key)
        return opened

    async def run(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function in a thread. Raises :class:`TooManyWaitError`, TimeoutError, and what the function raises."""
        if self._waiting >= _MAX_WAITING:
            raise TooManyWaitError
        self._waiting += 1
        try:
            return await self._threads.run(function, *args)
        finally:
            self._waiting -= 1

    def forget(self, opened: OpenTitle) -> None:
        """Do not serve this state of a title any more: a file was changed in place."""
        self._open.pop((opened.path, opened.tag), None)

    def refuse(self, opened: OpenTitle, reason: str) -> TitleRefusedError:
        """Do not serve this state of a title: a segment cannot be made. Return the error to raise."""
        self.forget(opened)
        return self._refuse(opened.path, opened.tag, reason)

    async def _look(self, path: str) -> OpenTitle:
        """See what state the files are in, and open the title if that is not open."""
        try:
            files = await self.run(open_title_files, self.root, path)
        except MediaError as error:
            raise self._refuse(path, "", str(error)) from error
        tag = files.tag(self._segment)
        refused = self._refused.get(path)
        if refused is not None and refused[0] == tag:
            files.close()
            raise TitleRefusedError(refused[1])
        found = self._open.get((path, tag))
        if found is None:
            found = await self._open_title(path, tag, files)
        return found

    async def _open_title(self, path: str, tag: str, files: TitleFiles) -> OpenTitle:
        try:
            title = await self.run(_open, files, self._segment)
        except MediaError as error:
            files.close()
            raise self._refuse(path, tag, str(error)) from error
        self._refused.pop(path, None)
        opened = self._open[path, tag] = OpenTitle(path, tag, title, files)
        while len(self._open) > self._most:
            self._open.popitem(last=False)
        return opened

    def _refuse(self, path: str, tag: str, reason: str) -> TitleRefusedError:
        if self._refused.pop(path, None) != (tag, reason):
            self._refused_title(path, reason)
        self._refused[path] = (tag, reason)
        while len(self._refused) > _MAX_REFUSED:
            self._refused.popitem(last=False)
        return TitleRefusedError(reason)


def _open(files: TitleFiles, segment: float) -> Title:
    title = open_title([TitleFile(file.name, file.fd) for file in files.files], segment)
    if not files.are_unchanged():
        raise MediaError("it is still being written")
    return title
