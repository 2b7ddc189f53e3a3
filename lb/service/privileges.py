"""Drop root privileges permanently after binding."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable
from contextlib import nullcontext

from lb.model import ProcessSpec
from lb.net.capabilities import keep_net_admin_of_root
from lb.net.errors import describe_error

__all__ = ["PrivilegesError", "changes_user", "give_up"]


class PrivilegesError(Exception):
    """Privileges cannot be dropped, and the process must exit. The message is one line."""


def give_up(spec: ProcessSpec, files: Iterable[str], *, keep_net_admin: bool = False) -> None:
    """Switch to the configured user and group, and give them ``files``, which this process has created.

    ``keep_net_admin``: without the other rights of root, keep CAP_NET_ADMIN. Does nothing without a configured user, or
    if it is the current one. Raises PrivilegesError.
    """
    if not changes_user(spec):
        return
    uid, gid = _ids(spec)
    try:
        for path in files:
            os.chown(path, uid, gid, follow_symlinks=False)  # it may have been replaced by a link
        os.initgroups(spec.user, gid)  # groups first: the user has no right to change them
        os.setresgid(gid, gid, gid)
        with keep_net_admin_of_root() if keep_net_admin and not os.geteuid() else nullcontext():
            os.setresuid(uid, uid, uid)  # of all threads, nptl(7)
    except OSError as error:
        raise PrivilegesError(f"cannot become user {spec.user!r}: {describe_error(error)}") from error
    if uid and _can_return():
        raise PrivilegesError(f"user {spec.user!r} can regain root privileges")


def changes_user(spec: ProcessSpec) -> bool:
    """Return whether the configured user or group is another than the current one. Raises PrivilegesError."""
    if not spec.user:
        return False
    uid, gid = _ids(spec)
    return {*os.getresuid()} != {uid} or {*os.getresgid()} != {gid}


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
    """Return whether the process can regain root, so that an attacker could, too."""
    try:
        os.setuid(0)
    except PermissionError:
        return False
    return True
