"""Watch the files of the configuration: reload once they hold something else, and have settled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeAlias

import attrs
import trio

from lb.net.files import mark_of_file
from lb.net.threads import Threads

if TYPE_CHECKING:
    from lb.net.path_watch import PathWatch

__all__ = ["ConfigWatch", "FileMarks", "LoadedFile", "differing"]

FileMarks: TypeAlias = Mapping[str, bytes]
"""What files hold, by path: :func:`lb.net.files.mark_of_file`."""

UNCHANGED_FOR = 0.25
"""Seconds that all files must stay unchanged: a certificate and its key are written one after the other. A guess."""
MOST_SETTLING = 10.0
"""Seconds after which files are read as they are, though they still change or somebody still writes. A guess."""
LOOK_AFTER = 60.0
"""Seconds until files are read again without an event, as of network file systems, where others' writes make none."""
LOOK_AFTER_BLIND = 5.0
"""The same where something cannot be watched: a directory that only root may read, or a kernel that has no room."""


@attrs.frozen
class LoadedFile:
    """The configuration as a start has loaded it."""

    path: Path
    marks: FileMarks
    """Of this file and of all that it names."""
    always_watch: bool = False
    """Watch them, whatever the configuration says."""


def differing(read: FileMarks, found: FileMarks) -> tuple[str, ...]:
    """Return the paths of files that hold something else than was read."""
    return tuple(path for path, mark in read.items() if found.get(path, mark) != mark)


class ConfigWatch:
    """Watches the files that the last load has read, while it is on, with a task in ``nursery``.

    ``read`` returns their marks as of that load. ``reload`` takes the marks that differ and have settled.
    """

    def __init__(
        self, nursery: trio.Nursery, read: Callable[[], FileMarks], reload: Callable[[FileMarks], Awaitable[None]]
    ) -> None:
        self._nursery = nursery
        self._read = read
        self._reload = reload
        self._thread = Threads(1)  # a file system that does not answer holds one thread, and delays this watch alone
        self._scope: trio.CancelScope | None = None
        self._news = trio.Event()

    def turn(self, *, on: bool) -> None:
        """Begin or stop to watch. While it is on, look at the files now: a load may have read others."""
        if on and self._scope is None:
            self._scope = trio.CancelScope()
            self._nursery.start_soon(self._run, self._scope)
        elif not on and self._scope is not None:
            self._scope.cancel()
            self._scope = None
        self._news.set()

    async def _run(self, scope: trio.CancelScope) -> None:
        with scope, closing(await self._thread.run(_new_watch)) as watch:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, watch)
                while True:
                    self._news = trio.Event()
                    await self._reload_if_changed(watch)
                    with trio.move_on_after(LOOK_AFTER if watch.is_complete else LOOK_AFTER_BLIND):
                        await self._news.wait()

    async def _listen(self, watch: PathWatch) -> NoReturn:
        while True:
            await watch.changed()
            self._news.set()

    async def _reload_if_changed(self, watch: PathWatch) -> None:
        found = await self._look(watch)
        if differing(self._read(), found):
            found = await self._settled(watch, found)
            if differing(self._read(), found):
                await self._reload(found)

    async def _settled(self, watch: PathWatch, found: FileMarks) -> FileMarks:
        """Return what the files hold once that stays the same and nobody writes."""
        with trio.move_on_after(MOST_SETTLING):
            while True:
                await trio.sleep(UNCHANGED_FOR)
                before, found = found, await self._look(watch)
                if found == before and not watch.is_being_written:
                    break
        return found

    async def _look(self, watch: PathWatch) -> FileMarks:
        return await self._thread.run(_look, watch, [*self._read()])


def _new_watch() -> PathWatch:
    from lb.net.path_watch import PathWatch  # noqa: PLC0415 - most balancers do not watch

    return PathWatch()


def _look(watch: PathWatch, paths: list[str]) -> FileMarks:
    watch.follow(paths)
    return {path: mark_of_file(path) for path in paths}
