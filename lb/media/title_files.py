"""The files of a title: one file, or all MP4 files of a directory. They stay open while the title is served."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

import attrs

from lb.media.frames import MediaError
from lb.net.beneath import open_beneath, open_directory

__all__ = ["OpenedFile", "TitleFiles", "is_hidden", "not_found", "open_title_files", "stat_media_file"]

_MEDIA_ENDS = (".mp4", ".m4v", ".m4a", ".mov")
"""Files that are sent as they are have such a name. What else lies beside films is nobody's business."""
_FILM_ENDS = (*_MEDIA_ENDS, ".avi", ".flv", ".mkv", ".mpg", ".ts", ".webm")
"""Files of which people learn why they are no titles. Those of other kinds of film are often taken for one."""
_RENDITION_END = ".mp4"
_MAX_RENDITIONS = 16
_FORM = "1"
"""Changes whenever segments of the same files would have other bytes, for caches keep those of a tag for good."""
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # to open a pipe would wait for a writer


@attrs.frozen
class OpenedFile:
    """An open file, as it was when it was opened. ``name`` is its last name."""

    name: str
    fd: int
    size: int
    modified_ns: int

    def is_unchanged(self) -> bool:
        now = os.fstat(self.fd)
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


class TitleFiles:
    """Open files, closed as soon as nobody uses them any more: a thread that nobody waits for may be the last."""

    def __init__(self, files: tuple[OpenedFile, ...]) -> None:
        self.files = files

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close them now: nobody uses them."""
        files, self.files = self.files, ()
        for file in files:
            os.close(file.fd)

    def tag(self, segment: float) -> str:
        """Return what names this state of the files, cut into segments so long: a hash of sizes and times."""
        state = "".join(f"\n{file.name}/{file.size}/{file.modified_ns}" for file in self.files)
        return hashlib.blake2b(os.fsencode(f"{_FORM} {segment:g}{state}"), digest_size=8).hexdigest()

    def are_unchanged(self) -> bool:
        return all(file.is_unchanged() for file in self.files)


def is_hidden(path: str) -> bool:
    """Return True for paths that lead to no title: with empty names, and names that begin with a dot."""
    return any(not name or name.startswith(".") for name in path.split("/"))


def open_title_files(root: str, path: str) -> TitleFiles:
    """Open the files of a title below the directory ``root``. Raises OSError, and :class:`MediaError` for too many."""
    top = open_directory(root)
    try:
        fd = open_beneath(top, os.fsencode(path), _FLAGS)
    finally:
        os.close(top)
    status = os.fstat(fd)
    if stat.S_ISREG(status.st_mode) and path.lower().endswith(_FILM_ENDS):
        return TitleFiles((OpenedFile(path.rpartition("/")[2], fd, status.st_size, status.st_mtime_ns),))
    try:
        if not stat.S_ISDIR(status.st_mode):
            raise not_found(path)
        return _open_renditions(fd, path)
    finally:
        os.close(fd)


def _open_renditions(directory: int, path: str) -> TitleFiles:
    names = sorted(name for name in os.listdir(directory) if name.lower().endswith(_RENDITION_END) and name[0] != ".")
    if not names:
        raise not_found(path)
    if len(names) > _MAX_RENDITIONS:
        raise MediaError(
            f"the directory has more than {_MAX_RENDITIONS} MP4 files; they should be renditions of one film"
        )
    found: list[OpenedFile] = []
    try:
        for name in names:
            fd = open_beneath(directory, os.fsencode(name), _FLAGS)
            status = os.fstat(fd)
            found.append(OpenedFile(name, fd, status.st_size, status.st_mtime_ns))
            if not stat.S_ISREG(status.st_mode):
                raise not_found(f"{path}/{name}")
    except OSError:
        TitleFiles(tuple(found)).close()
        raise
    return TitleFiles(tuple(found))


def stat_media_file(root: str, path: str) -> tuple[int, int]:
    """Return size and time of modification, in nanoseconds, of a file to be sent as it is. Raises OSError."""
    if not path.lower().endswith(_MEDIA_ENDS):
        raise not_found(path)
    top = open_directory(root)
    try:
        fd = open_beneath(top, os.fsencode(path), os.O_PATH)
    finally:
        os.close(top)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISREG(status.st_mode):
        raise not_found(path)
    return status.st_size, status.st_mtime_ns


def not_found(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
