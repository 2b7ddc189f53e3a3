"""Load the configuration file: return a frozen :class:`lb.model.Config`, or report all errors at once.

This package validates values. Defaults are in :mod:`lb.model`.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import tomli

from lb.config.listeners import check_binds, pools_of_listeners, read_listener
from lb.config.pools import read_pool
from lb.model import AdminSpec, Config, LogSpec, ProcessSpec, Secret
from lb.model.table import Table
from lb.model.values import Reader, address, boolean, choice, duration, secret, text, workers

__all__ = ["ConfigError", "load", "load_admin", "parse", "read_process", "read_toml"]

_LOG: Mapping[str, Reader[object]] = {
    "level": choice(LogSpec, "level"),
    "format": choice(LogSpec, "format"),
    "connections": boolean,
}


class ConfigError(Exception):
    """An invalid configuration. ``errors`` holds all errors, one printable line each."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


def load(path: Path, *, beside_traffic: bool = False) -> Config:
    """Load a file. Raises ConfigError if it is invalid or unreadable.

    ``beside_traffic``: the caller is a thread beside the traffic. The load takes longer, but never holds the
    interpreter for long.

    A strategy or probe given as ``module:Name`` may be in the directory of the file: the directory is appended to
    ``sys.path``, where it hides no installed module. Python imports a module once, so an edited one needs a restart.
    """
    directory = str(path.absolute().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    return parse(_read(path), str(path), beside_traffic=beside_traffic)


def read_toml(path: Path) -> dict[str, object]:
    """Read any TOML file. Raises ConfigError if it is unreadable or not TOML."""
    return _toml(_read(path), str(path))


def load_admin(path: Path) -> AdminSpec | None:
    """Load the admin endpoint only, ignoring errors elsewhere in the file. Raises ConfigError like `load`."""
    errors: list[str] = []
    admin = _admin(Table(read_toml(path), "", errors))
    if errors:
        raise ConfigError(f"{path}: {error}" for error in errors)
    return admin


def parse(text: str, filename: str, *, beside_traffic: bool = False) -> Config:
    """Parse the text of a configuration file. Relative paths start at the directory of ``filename``.

    ``beside_traffic`` as for :func:`load`. Raises ConfigError.
    """
    errors: list[str] = []
    directory = Path(filename).parent
    root = Table(_toml_beside_traffic(text, filename) if beside_traffic else _toml(text, filename), "", errors)
    pools = {name: read_pool(name, table, directory) for name, table in root.tables("pools")}
    listener_tables = dict(root.tables("listeners"))
    pools |= pools_of_listeners(listener_tables, pools)
    config = Config(
        listeners={name: read_listener(name, table, pools, directory) for name, table in listener_tables.items()},
        pools=pools,
        process=read_process(root.table("process")),
        log=_log(root.table("log")),
        admin=_admin(root),
    )
    check_binds(config.listeners.values(), root)
    if not root.content.get("listeners"):
        root.complain("at least one is needed, as in [listeners.web]", "listeners")
    root.finish()
    if errors:
        raise ConfigError(f"{filename}: {error}" for error in errors)
    return config


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([f"{path}: is not UTF-8: byte 0x{content[error.start]:02x} in line {line}"]) from error


def _admin(root: Table) -> AdminSpec | None:
    if not root.has("admin"):
        return None
    table = root.table("admin")
    bind = table.value("bind", address)
    token = table.value("token", secret)
    if not table.has("bind"):
        table.complain('missing, as in bind = "127.0.0.1:9900"', table.at("bind"))
    elif bind is not None and not token and not bind.is_local:
        table.complain(f"{bind.text!r} can be reached from elsewhere, so a 'token' is needed", table.at("bind"))
    table.finish()
    return AdminSpec(bind, Secret(token) if token else None) if bind is not None else None


def _toml(text: str, filename: str) -> dict[str, object]:
    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:  # TOML error, number beyond Python's limit, deep nesting
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
        message = str(error).replace("at end of document", end)
        raise ConfigError([f"{filename}: TOML: {message}"]) from error


def _toml_beside_traffic(text: str, filename: str) -> dict[str, object]:
    """Parse TOML without holding the interpreter: tomli is compiled and holds it for 6 ms with 1,000 servers.

    tomllib is interpreted. It reads TOML 1.0, of which tomli's TOML 1.1 is a superset.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError):
        return _toml(text, filename)


def _log(table: Table) -> LogSpec:
    values = table.values(_LOG)
    table.finish()
    return LogSpec(**values)


_PROCESS: Mapping[str, Reader[object]] = {
    "workers": workers,
    "stop_delay": duration,
    "stop_timeout": duration,
    "user": text,
    "group": text,
}


def read_process(table: Table) -> ProcessSpec:
    process = ProcessSpec(**table.values(_PROCESS))
    table.finish()
    if process.group and not process.user:
        table.complain("requires 'user'", table.at("group"))
    return process
