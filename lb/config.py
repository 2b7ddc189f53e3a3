"""The configuration file: TOML in, one frozen :class:`lb.model.Config` out, or all that is wrong with it at once.

What a key may hold stands here and in :mod:`lb.config_pools`; what it is by default, in the model.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import tomli

from lb.config_pools import read_pool, read_servers
from lb.config_table import Table, join
from lb.config_values import (
    Reader,
    address,
    boolean,
    choice,
    did_you_mean,
    duration,
    duration_or_never,
    name,
    shown,
    text,
    whole_number,
    workers,
)
from lb.model import (
    Address,
    Config,
    ListenerSpec,
    LogSpec,
    PoolSpec,
    ProcessSpec,
)

__all__ = ["ConfigError", "load", "parse"]

_PROCESS: Mapping[str, Reader[object]] = {"workers": workers, "stop_timeout": duration}
_LOG: Mapping[str, Reader[object]] = {
    "level": choice(LogSpec, "level"),
    "format": choice(LogSpec, "format"),
    "connections": boolean,
}
_LISTENER: Mapping[str, Reader[object]] = {
    "idle_timeout": duration_or_never,
    "half_close_timeout": duration_or_never,
    "max_connections": whole_number(),
    "backlog": whole_number(least=1),
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


def parse(text: str, filename: str) -> Config:
    """Read the text of a file whose name the messages shall give. Raises ConfigError."""
    errors: list[str] = []
    root = Table(_toml(text, filename), "", errors)
    pools = {name: read_pool(name, table) for name, table in root.tables("pools")}
    listener_tables = dict(root.tables("listeners"))
    pools |= _pools_of_listeners(listener_tables, pools)
    config = Config(
        listeners={name: _listener(name, table, pools) for name, table in listener_tables.items()},
        pools=pools,
        process=_process(root.table("process")),
        log=_log(root.table("log")),
    )
    _check_binds(config.listeners.values(), root)
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


def _toml(text: str, filename: str) -> dict[str, object]:
    try:
        return tomli.loads(text)
    except (ValueError, RecursionError) as error:  # tomli's own error, a number beyond Python's limit, deep nesting
        lines = text.split("\n")
        end = f"at line {len(lines)}, column {len(lines[-1]) + 1}, the end of the file"
        message = str(error).replace("at end of document", end)
        raise ConfigError([f"{filename}: TOML: {message}"]) from error


def _process(table: Table) -> ProcessSpec:
    values = table.values(_PROCESS)
    table.finish()
    return ProcessSpec(**values)


def _log(table: Table) -> LogSpec:
    values = table.values(_LOG)
    table.finish()
    return LogSpec(**values)


def _pools_of_listeners(listeners: Mapping[str, Table], pools: Mapping[str, PoolSpec]) -> dict[str, PoolSpec]:
    """The pools that listeners spell out as ``servers``."""
    made = {}
    for listener, table in listeners.items():
        if not table.has("servers"):
            continue
        if listener in pools:
            table.complain(f"the pool {listener!r} is configured as well, list them there", table.at("servers"))
        else:
            made[listener] = PoolSpec(listener, read_servers(table))
    return made


def _listener(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> ListenerSpec:
    table.convert(listener, name, table.path)
    binds = _binds(table)
    pool = _pool_of(listener, table, pools)
    values = table.values(_LISTENER)
    table.finish()
    return ListenerSpec(listener, binds, pool, **values)


def _pool_of(listener: str, table: Table, pools: Mapping[str, PoolSpec]) -> str:
    """Whom the listener serves: ``pool``, or the pool of its own name, spelt out as ``servers`` or not."""
    if not table.has("pool"):
        if listener not in pools and not table.has("servers"):
            table.complain(f"needs a 'pool' or 'servers': there is no pool of its own name, {listener!r}")
        return listener
    pool = table.value("pool", text)
    if table.has("servers"):
        table.complain("has both 'pool' and 'servers', one of them must go")
    elif pool is not None and pool not in pools:
        table.complain(f"there is no pool {shown(pool)}{did_you_mean(pool, pools)}", table.at("pool"))
    return pool or listener


def _binds(table: Table) -> tuple[Address, ...]:
    """``bind``, one address or a list of them."""
    if not table.has("bind"):
        table.complain('missing, as in bind = "127.0.0.1:8080"', table.at("bind"))
        return ()
    given = table.content["bind"]
    if given == []:
        table.complain("must name at least one address", table.at("bind"))
    places = table.items("bind") if isinstance(given, list) else [(table.at("bind"), given)]
    found = (table.convert(value, address, path) for path, value in places)
    return tuple(bind for bind in found if bind)


def _check_binds(listeners: Iterable[ListenerSpec], root: Table) -> None:
    """No address twice. Port 0 is another port for each listener, but one listener must tell its own binds apart."""
    owners: dict[tuple[str, str], str] = {}
    for listener in listeners:
        for bind in listener.bind:
            chosen_by_system = not bind.is_unix and not bind.port
            place = (_place(bind), listener.name if chosen_by_system else "")
            if place in owners:
                at = join(join("listeners", listener.name), "bind")
                root.complain(f"{bind.text!r} is taken already by the listener {owners[place]!r}", at)
            owners.setdefault(place, listener.name)


def _place(bind: Address) -> str:
    """The address in one spelling, to compare."""
    if bind.is_unix:
        return bind.text
    host = bind.host.lower()
    if not bind.is_name and host:
        host = ipaddress.ip_address(host).compressed
    return f"[{host}]:{bind.port}"
