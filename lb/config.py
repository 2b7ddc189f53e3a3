"""The configuration file: TOML in, one frozen :class:`lb.model.Config` out, or all that is wrong with it at once.

What a key may hold stands here and in :mod:`lb.config_file.pools`; what it is by default, in the model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import tomli

from lb.config_file.listeners import check_binds, pools_of_listeners, read_listener
from lb.config_file.pools import read_pool
from lb.config_file.process import read_process
from lb.config_file.table import Table
from lb.config_file.values import Reader, address, boolean, choice, secret
from lb.model import AdminSpec, Config, LogSpec, Secret

__all__ = ["ConfigError", "load", "load_admin", "parse", "read_toml"]

_LOG: Mapping[str, Reader[object]] = {
    "level": choice(LogSpec, "level"),
    "format": choice(LogSpec, "format"),
    "connections": boolean,
}


class ConfigError(Exception):
    """A configuration that cannot run. ``errors`` holds every reason, one line each, ready to be printed."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


def load(path: Path) -> Config:
    """Read a file. Raises ConfigError, also if it cannot be read.

    A strategy or probe given as ``module:Name`` may lie beside the file: its directory joins the end of ``sys.path``,
    where it hides no installed module. Python imports a module once, so an edited one takes a restart.
    """
    directory = str(path.absolute().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    return parse(_read(path), str(path))


def read_toml(path: Path) -> dict[str, object]:
    """What a file says, whatever it is about. Raises ConfigError if it cannot be read, or is no TOML."""
    return _toml(_read(path), str(path))


def load_admin(path: Path) -> AdminSpec | None:
    """What a file says of the admin endpoint, whatever may be wrong elsewhere in it. Raises ConfigError, as `load`."""
    errors: list[str] = []
    admin = _admin(Table(read_toml(path), "", errors))
    if errors:
        raise ConfigError(f"{path}: {error}" for error in errors)
    return admin


def parse(text: str, filename: str) -> Config:
    """Read the text of a file of that name; those that it names are looked for beside it. Raises ConfigError."""
    errors: list[str] = []
    directory = Path(filename).parent
    root = Table(_toml(text, filename), "", errors)
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
    except (ValueError, RecursionError) as error:  # tomli's own error, a number beyond Python's limit, deep nesting
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
        message = str(error).replace("at end of document", end)
        raise ConfigError([f"{filename}: TOML: {message}"]) from error


def _log(table: Table) -> LogSpec:
    values = table.values(_LOG)
    table.finish()
    return LogSpec(**values)
