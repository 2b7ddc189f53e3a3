"""CAP_NET_ADMIN of this process: keep it beside a change of the user, hand it to one child, or drop it.

Capabilities belong to threads: capabilities(7). Call these functions in the main thread, the first two before others
run: threads have what the thread has that starts them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

__all__ = ["drop_net_admin", "keep_net_admin_of_root", "lower_net_admin", "net_admin_for_children"]

CAP_NET_ADMIN = 12
VERSION_3 = 0x20080522
"""``_LINUX_CAPABILITY_VERSION_3``: sets of 64 bits, in two halves."""
PR_SET_KEEPCAPS, PR_CAP_AMBIENT = 8, 47
PR_CAP_AMBIENT_RAISE, PR_CAP_AMBIENT_LOWER = 2, 3

_library = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    """``cap_user_header_t``; process 0 is this thread."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Half(ctypes.Structure):
    """``cap_user_data_t``: 32 capabilities."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@attrs.frozen
class _Sets:
    """The capabilities of a thread, as bits."""

    effective: int
    permitted: int
    inheritable: int

    def without(self, bits: int) -> _Sets:
        return _Sets(self.effective & ~bits, self.permitted & ~bits, self.inheritable & ~bits)


NET_ADMIN = 1 << CAP_NET_ADMIN


@contextmanager
def keep_net_admin_of_root() -> Iterator[None]:
    """Within the block, root may become another user: this process then has CAP_NET_ADMIN, and nothing else of root.

    Raises OSError.
    """
    _prctl(PR_SET_KEEPCAPS, 1)
    try:
        yield
        if os.geteuid():
            _set(_Sets(NET_ADMIN, NET_ADMIN, 0))
    finally:
        _prctl(PR_SET_KEEPCAPS, 0)


def lower_net_admin() -> None:
    """Keep CAP_NET_ADMIN from children of a process that is not root. Raises OSError."""
    if os.geteuid():
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_NET_ADMIN)


def drop_net_admin() -> None:
    """Give CAP_NET_ADMIN up for good, unless this process is root. Raises OSError."""
    before = _get()
    if os.geteuid() and (before.permitted | before.inheritable) & NET_ADMIN:
        _set(before.without(NET_ADMIN))  # the kernel lowers it in the ambient set as well


@contextmanager
def net_admin_for_children() -> Iterator[None]:
    """Programs that this thread starts within the block have CAP_NET_ADMIN, if this process has it. Raises OSError."""
    before = _get()
    if not os.geteuid() or not before.permitted & NET_ADMIN:
        yield
        return
    if not before.inheritable & NET_ADMIN:  # a service manager that grants it has made it inheritable
        _set(attrs.evolve(before, inheritable=before.inheritable | NET_ADMIN))
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_ADMIN)
    try:
        yield
    finally:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, CAP_NET_ADMIN)


def _get() -> _Sets:
    header, halves = _Header(VERSION_3, 0), (_Half * 2)()
    _check(_library.capget(ctypes.byref(header), halves))
    low, high = halves
    return _Sets(
        low.effective | high.effective << 32,
        low.permitted | high.permitted << 32,
        low.inheritable | high.inheritable << 32,
    )


def _set(sets: _Sets) -> None:
    header, halves = _Header(VERSION_3, 0), (_Half * 2)()
    for shift, half in zip((0, 32), halves, strict=True):
        half.effective = sets.effective >> shift & 0xFFFFFFFF
        half.permitted = sets.permitted >> shift & 0xFFFFFFFF
        half.inheritable = sets.inheritable >> shift & 0xFFFFFFFF
    _check(_library.capset(ctypes.byref(header), halves))


def _prctl(option: int, *arguments: int) -> None:
    rest = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_library.prctl(ctypes.c_int(option), *rest))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
