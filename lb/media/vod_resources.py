"""What viewers ask of titles: playlists, segments, and the files as they are."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from functools import partial

import trio

from lb.media.frames import MediaError
from lb.media.responses import (
    FOREVER,
    INIT,
    MANIFEST,
    NO_STORE,
    PLAYLIST,
    SEGMENT,
    TEXT,
    MediaFile,
    MediaResponse,
    text_response,
)
from lb.media.title_files import is_hidden, not_found, stat_media_file
from lb.media.vod_playlists import title_master, title_mpd, title_playlist
from lb.media.vod_titles import OpenTitle, TitleRefusedError, TooManyWaitError, VodTitles

__all__ = ["VodResources", "no_such_title"]

_PLAYLIST = re.compile(r"(?P<title>.+)/(?P<name>master\.m3u8|manifest\.mpd|(?:v[0-9]{1,2}|a0)\.m3u8)")
_SEGMENT = re.compile(
    r"(?P<title>.+)/(?P<tag>[0-9a-f]{16})/(?P<track>v[0-9]{1,2}|a0)/(?:init\.mp4|(?P<number>0|[1-9][0-9]{0,6})\.m4s)"
)
_FOR_A_SECOND = "max-age=1"
_FOR_A_MINUTE = "max-age=60"
_FOR_AN_HOUR = "max-age=3600"
_NOT_THERE = frozenset((
    errno.EACCES, errno.EINVAL, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR, errno.EPERM, errno.EXDEV,
))  # fmt: skip
"""Of a path that leads nowhere, or nowhere that is served."""


class VodResources:
    """Answers requests for the titles of a ``[media.vod]``.

    ``packaged(seconds)`` is called with how long it took to make a segment.
    """

    def __init__(self, titles: VodTitles, packaged: Callable[[float], None]) -> None:
        self._titles = titles
        self._packaged = packaged

    async def resource(self, path: str) -> MediaResponse:
        """Return the response to a GET. ``path`` is decoded, without its route's beginning, and without a query."""
        try:
            return await self._resource(path.removeprefix("/"))
        except TitleRefusedError as error:
            return _failure(404, f"This title cannot be played: {error}.\n", _FOR_A_SECOND)
        except TooManyWaitError:
            return _failure(503, "Too many requests wait.\n", NO_STORE)
        except TimeoutError:
            return _failure(503, "The disk does not answer.\n", NO_STORE)
        except UnicodeEncodeError:  # no name of a file
            return no_such_title()
        except OSError as error:
            if error.errno in _NOT_THERE:
                return no_such_title()
            return _failure(503, "The disk has an error.\n", NO_STORE)

    async def _resource(self, path: str) -> MediaResponse:
        if is_hidden(path):
            raise not_found(path)
        if (match := _PLAYLIST.fullmatch(path)) is not None:
            return await self._playlist(match["title"], match["name"])
        if (match := _SEGMENT.fullmatch(path)) is not None:
            return await self._segment(match["title"], match["tag"], match["track"], match["number"])
        root = self._titles.root
        size, modified_ns = await self._titles.run(stat_media_file, root, path)
        file = MediaFile(root, path, size, modified_ns)
        return MediaResponse(200, INIT, _FOR_AN_HOUR, etag=f'"{modified_ns:x}-{size:x}"', file=file)

    async def _playlist(self, path: str, name: str) -> MediaResponse:
        opened = await self._titles.current(path)
        response = opened.playlists.get(name)
        if response is None:
            response = opened.playlists[name] = await self._titles.run(_written, opened, name)
        return response

    async def _segment(self, path: str, tag: str, name: str, number: str | None) -> MediaResponse:
        opened = await self._titles.tagged(path, tag)
        track = opened.title.tracks.get(name)
        if track is None or (number is not None and int(number) >= track.count):
            raise not_found(path)
        began = trio.current_time()
        make = track.init if number is None else partial(track.segment, int(number))
        try:
            content = await self._titles.run(_unchanged, opened, make)
        except _ChangedError:
            self._titles.forget(opened)
            return no_such_title()
        except MediaError as error:
            raise self._titles.refuse(opened, str(error)) from error
        self._packaged(trio.current_time() - began)
        return MediaResponse(200, INIT if number is None else SEGMENT, FOREVER, (content,))


class _ChangedError(Exception):
    """A file of a title was changed in place."""


def _unchanged(opened: OpenTitle, make: Callable[[], bytes]) -> bytes:
    """Return what is made of files that do not change meanwhile.

    Raises OSError, and :class:`_ChangedError`, or else :class:`MediaError` if it cannot be made.
    """
    try:
        return make()
    finally:
        if not opened.files.are_unchanged():
            raise _ChangedError


def _written(opened: OpenTitle, name: str) -> MediaResponse:
    """Return a playlist or MPD. Raises FileNotFoundError if there is no such track."""
    title, tag = opened.title, opened.tag
    if name == "manifest.mpd":
        return text_response(title_mpd(title, tag), MANIFEST, _FOR_A_MINUTE)
    if name == "master.m3u8":
        return text_response(title_master(title), PLAYLIST, _FOR_A_MINUTE)
    its_name = name.removesuffix(".m3u8")
    track = title.tracks.get(its_name)
    if track is None:
        raise not_found(name)
    return text_response(title_playlist(track, f"{tag}/{its_name}/"), PLAYLIST, _FOR_A_MINUTE)


def no_such_title() -> MediaResponse:
    """Return the answer for a path that leads to no title, or to nothing of it."""
    return _failure(404, "There is no such title.\n", _FOR_A_SECOND)


def _failure(status: int, text: str, cache_control: str) -> MediaResponse:
    return MediaResponse(status, TEXT, cache_control, (text.encode(errors="replace"),))
