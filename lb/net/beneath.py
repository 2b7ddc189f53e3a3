"""Open files below a directory, and never above it, whatever the path or a link says.

Linux resolves such a path itself: openat2(2) with RESOLVE_BENEATH, since 5.6. Links that lead to a place below the
directory are followed; those that leave it, on the way too, and absolute ones are errors. Where the kernel lacks the
call, or a filter of system calls refuses it, the path is walked one name at a time, and no link is followed.

With ``wait=False``, a path is opened only if the kernel has all of it in memory (RESOLVE_CACHED, since Linux 5.12).
"""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = ["open_beneath", "open_cached", "open_directory"]

OPENAT2 = 437
"""The number of the system call, the same on all architectures of Linux but Alpha."""
AT_FDCWD = -100
RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
RESOLVE_CACHED = 0x20
RETRIES = 16
"""Tries while somebody renames directories at the same time, for which the kernel answers EAGAIN."""
_UNAVAILABLE = frozenset((errno.ENOSYS, errno.EPERM))
"""EPERM: what older filters of containers answer to a call that they do not know."""
_AGAIN = frozenset((errno.EAGAIN, errno.EINTR))


class _How(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_UNKNOWN = frozenset((errno.EXDEV, errno.EINVAL)) | _UNAVAILABLE | _AGAIN
"""What a path that is not all in memory, leads to another file system, or to an older kernel, gets without waiting."""

_library = ctypes.CDLL(None, use_errno=True)
_CALL = ctypes.c_long(OPENAT2)
_HOW_SIZE = ctypes.c_size_t(ctypes.sizeof(_How))


def open_directory(path: str, *, wait: bool = True) -> int:
    """Return a descriptor of a directory for :func:`open_beneath`. Raises OSError; BlockingIOError: see ``wait``."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    if wait:
        return os.open(path, flags)
    return _without_wait(*_openat2(AT_FDCWD, os.fsencode(path), flags, RESOLVE_CACHED))


def open_cached(path: str, flags: int) -> int:
    """Open a file. Raises OSError; BlockingIOError where the kernel would have to read the disk."""
    return _without_wait(*_openat2(AT_FDCWD, os.fsencode(path), flags | os.O_CLOEXEC, RESOLVE_CACHED))


def open_beneath(root: int, path: bytes, flags: int, *, wait: bool = True, mode: int = 0) -> int:
    """Open ``path`` below the directory that ``root`` is a descriptor of. Raises OSError; EXDEV if it leads out.

    The path is relative, and has no empty names. Unless ``wait``, BlockingIOError is raised where the kernel would have
    to read the disk, and for other file systems than the directory's: ask again, in a thread. ``mode`` has the
    permissions of a file that is made.
    """
    if b"\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    flags |= os.O_CLOEXEC
    beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    if not wait:
        return _without_wait(*_openat2(root, path, flags, beneath | RESOLVE_CACHED | RESOLVE_NO_XDEV))
    number = 0
    for _ in range(RETRIES):
        fd, number = _openat2(root, path, flags, beneath, mode)
        if fd >= 0:
            return fd
        if number not in _AGAIN:
            break
    if number in _UNAVAILABLE:
        return _walk(root, path, flags, mode)
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def _without_wait(fd: int, number: int) -> int:
    if fd >= 0:
        return fd
    if number in _UNKNOWN:
        number = errno.EAGAIN
    raise OSError(number, os.strerror(number))


def _openat2(root: int, path: bytes, flags: int, resolve: int, mode: int = 0) -> tuple[int, int]:
    """Return the descriptor, and the errno if that is negative."""
    how = _How(flags, mode, resolve)
    fd = _library.syscall(_CALL, root, path, ctypes.byref(how), _HOW_SIZE)
    return fd, ctypes.get_errno() if fd < 0 else 0


def _walk(root: int, path: bytes, flags: int, mode: int) -> int:
    *directories, name = path.split(b"/")
    if b".." in (*directories, name):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(path))
    at = root
    try:
        for directory in directories:
            below = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
            if at != root:
                os.close(at)
            at = below
        return os.open(name, flags | os.O_NOFOLLOW, mode, dir_fd=at)
    finally:
        if at != root:
            os.close(at)
