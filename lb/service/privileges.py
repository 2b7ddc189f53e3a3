"""Becoming another user, for good: what has to be root to listen need not stay root."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable

from lb.errors import describe_error
from lb.model import ProcessSpec

__all__ = ["PrivilegesError", "give_up"]


class PrivilegesError(Exception):
    """The process cannot become who it should be, and must not go on; the text says why, in one line."""


def give_up(spec: ProcessSpec, files: Iterable[str]) -> None:
    """Become the configured user and group. ``files``, which this process has made, come along.

    Does nothing if no user is configured, or if it is this one already. Raises PrivilegesError.
    """
    if not spec.user:
        return
    uid, gid = _ids(spec)
    if {*os.getresuid()} == {uid} and {*os.getresgid()} == {gid}:
        return
    try:
        for path in files:
            os.chown(path, uid, gid, follow_symlinks=False)  # it may have been exchanged
        os.initgroups(spec.user, gid)  # first the groups, as the user has no right to change them any more
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)  # that of all threads, nptl(7)
    except OSError as error:
        raise PrivilegesError(f"cannot become user {spec.user!r}: {describe_error(error)}") from error
    if uid and _can_return():
        raise PrivilegesError(f"user {spec.user!r} can become root again")


def _ids(spec: ProcessSpec) -> tuple[int, int]:
    try:
        user = pwd.getpwnam(spec.user)
    except KeyError as error:
        raise PrivilegesError(f"process.user: there is no user {spec.user!r}") from error
    if not spec.group:
        return user.pw_uid, user.pw_gid
    try:
        return user.pw_uid, grp.getgrnam(spec.group).gr_gid
    except KeyError as error:
        raise PrivilegesError(f"process.group: there is no group {spec.group!r}") from error


def _can_return() -> bool:
    """It was given up for good, or not: somebody who may have it again may be made to."""
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True
