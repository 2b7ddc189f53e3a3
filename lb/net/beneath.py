"""Open files below a directory, and never above it, whatever the path or a link says.

Linux resolves such a path itself: openat2(2) with RESOLVE_BENEATH, since 5.6. Links that lead to a place below the
directory are followed; those that leave it, on the way too, and absolute ones are errors. Where the kernel lacks the
call, or a filter of system calls refuses it, the path is walked one name at a time, and no link is followed.
"""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = ["open_beneath"]

OPENAT2 = 437
"""The number of the system call, the same on all architectures of Linux but Alpha."""
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_BENEATH = 0x08
RETRIES = 16
"""Tries while somebody renames directories at the same time, for which the kernel answers EAGAIN."""
_UNAVAILABLE = frozenset((errno.ENOSYS, errno.EPERM))
"""EPERM: what older filters of containers answer to a call that they do not know."""
_AGAIN = frozenset((errno.EAGAIN, errno.EINTR))


class _How(ctypes.Structure):
    """``struct open_how``."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_library = ctypes.CDLL(None, use_errno=True)


def open_beneath(root: int, path: bytes, flags: int) -> int:
    """Open ``path`` below the directory that ``root`` is a descriptor of. Raises OSError; EXDEV if it leads out.

    The path is relative, and has no empty names.
    """
    number = errno.EINVAL
    if b"\0" in path:
        raise OSError(number, os.strerror(number))
    for _ in range(RETRIES):
        fd, number = _openat2(root, path, flags | os.O_CLOEXEC)
        if fd >= 0:
            return fd
        if number not in _AGAIN:
            break
    if number in _UNAVAILABLE:
        return _walk(root, path, flags | os.O_CLOEXEC)
    raise OSError(number, os.strerror(number), os.fsdecode(path))


def _openat2(root: int, path: bytes, flags: int) -> tuple[int, int]:
    """Return the descriptor, and the errno if that is negative."""
    how = _How(flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    size = ctypes.c_size_t(ctypes.sizeof(how))
    fd = _library.syscall(ctypes.c_long(OPENAT2), ctypes.c_int(root), path, ctypes.byref(how), size)
    return fd, ctypes.get_errno() if fd < 0 else 0


def _walk(root: int, path: bytes, flags: int) -> int:
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
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=at)
    finally:
        if at != root:
            os.close(at)
