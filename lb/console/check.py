"""``lb check``: validate a configuration, print a summary of it, and warn of what is hardly intended."""

from __future__ import annotations

import grp
import pwd
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lb.config.describe import describe
from lb.config.load import ConfigError, config_of
from lb.config.toml_file import read_toml
from lb.config.warnings import Written, warnings
from lb.discovery.sources import with_servers_files
from lb.model import AnnounceSpec, ProcessSpec
from lb.model.table import Complaint

__all__ = ["check_command"]

OK, BAD_USAGE = 0, 2


def check_command(path: Path, *, strict: bool, resolve: bool) -> int:
    """Run ``lb check`` and return the exit code: 2 for errors, and for warnings if ``strict``.

    Opens no socket, except to look names up if ``resolve``.
    """
    try:
        file = read_toml(path)
        config = with_servers_files(config_of(file))
    except ConfigError as error:
        print("\n".join(error.errors), file=sys.stderr)
        return BAD_USAGE
    print(describe(config))
    written = Written(config, file.content, datetime.now(UTC).date())
    found = [*warnings(written), *_unknown_users(config.process), *_missing_interface(config.announce)]
    if resolve:
        from lb.console.resolve import unresolved  # noqa: PLC0415 - needs trio

        found += unresolved(written)
    for line in file.located(Complaint(path, f"warning: {message}") for path, message in found):
        print(line, file=sys.stderr)
    return BAD_USAGE if strict and found else OK


def _unknown_users(spec: ProcessSpec) -> Iterator[Complaint]:
    for key, name, look_up in (("user", spec.user, pwd.getpwnam), ("group", spec.group, grp.getgrnam)):
        if name:
            try:
                look_up(name)
            except KeyError:
                yield Complaint(f"process.{key}", f"this machine has no {key} {name!r}")


def _missing_interface(spec: AnnounceSpec | None) -> Iterator[Complaint]:
    if spec is not None and spec.interface not in (name for _, name in socket.if_nameindex()):
        yield Complaint("announce.interface", f"this machine has no interface {spec.interface!r}")
