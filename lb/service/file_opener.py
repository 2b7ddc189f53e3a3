"""The file opener: a process that keeps the rights that the balancer gives up, and opens keys and tokens for reloads.

It opens only what the configuration names, and reads the configuration itself. It believes a configuration only if
nobody but its own user, root, may change it. So an attacker who controls the balancer gets no file that the balancer
has not read anyway.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import tomli

from lb.net.privileged_files import ERRNO
from lb.net.processes import keep_only, name_process
from lb.net.signals import SIGNALS

__all__ = ["named_files", "start_file_opener"]

CERTIFICATE_KEYS = ("ca", "certificate", "client_ca", "key")
SECRET_KEYS = ("key_file", "password_file", "secret_file", "token_file", "viewer_secret_file")
LONGEST_PATH = 4096
"""PATH_MAX of Linux."""


def start_file_opener(config: Path) -> socket.socket:
    """Fork the opener for this configuration; return the socket to it. It ends when that is closed everywhere.

    Call it before threads or trio run, and before privileges are dropped.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    config = config.absolute()
    if not os.fork():
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the whole group
            keep_only(theirs.fileno())
            name_process("lb file opener")
            serve(theirs, config)
        finally:
            os._exit(0)
    theirs.close()
    return ours


def serve(channel: socket.socket, config: Path) -> None:
    """Answer requests until the channel is closed."""
    while True:
        path, fds, _, _ = socket.recv_fds(channel, LONGEST_PATH, 1)
        if not path:
            return
        for fd in fds:
            with socket.socket(fileno=fd) as reply, suppress(OSError):  # who asked no longer waits
                _answer(reply, Path(os.fsdecode(path)), config)


def _answer(reply: socket.socket, path: Path, config: Path) -> None:
    try:
        opened = _open(path, config)
    except OSError as error:
        reply.send(ERRNO.pack(error.errno or errno.EACCES))
    else:
        socket.send_fds(reply, [ERRNO.pack(0)], [opened])
        os.close(opened)


def _open(path: Path, config: Path) -> int:
    """Open a file that the configuration names. Raises OSError."""
    if path not in named_files(config):
        raise PermissionError(errno.EACCES, "not named by the configuration")
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def named_files(config: Path) -> set[Path]:
    """Return the configuration and the files that it names. Raises OSError if others than this user may change it."""
    _check_owner(config.parent.stat())
    with config.open("rb") as file:
        _check_owner(os.fstat(file.fileno()))
        try:
            content = tomli.loads(file.read().decode("utf-8-sig"))
        except (ValueError, RecursionError):  # the balancer reports it
            content = {}
    names = [value for key, value in _strings(content) if key in (*CERTIFICATE_KEYS, *SECRET_KEYS)]
    names += (value for key, value in _strings(content.get("users", {})) if key == "file")
    return {config, *(config.parent / name for name in names)}


def _check_owner(found: os.stat_result) -> None:
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(errno.EACCES, "others may change the configuration")


def _strings(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield all strings in a value, with the key of each."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _strings(each, name)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, key)
