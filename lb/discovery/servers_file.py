"""Reading a ``servers_file``."""

from __future__ import annotations

import os
import stat

from lb.config import ConfigError
from lb.config_file.servers_file import parse_servers_file
from lb.discovery.found import FileWay, complete, sources
from lb.model import Config

__all__ = ["read", "with_servers_files"]

LARGEST = 1 << 24
"""Bytes; a guess at "this is no list of servers"."""


def read(path: str) -> bytes:
    """The whole file. Raises OSError, with a text of its own for what is no plain file or too large."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError("is not a plain file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise OSError(f"is larger than {LARGEST >> 20} MiB")
    return content


def with_servers_files(config: Config) -> Config:
    """The configuration with what its files hold now. Raises ConfigError with all that is wrong with them."""
    found = {}
    errors: list[str] = []
    for source, way in sources(config).items():
        if isinstance(way, FileWay):
            try:
                found[source], wrong = parse_servers_file(read(way.path), way.path)
            except OSError as error:
                wrong = (f"{way.path}: cannot be read: {error.strerror or error}",)
            errors += wrong
    if errors:
        raise ConfigError(errors)
    return complete(config, found)
