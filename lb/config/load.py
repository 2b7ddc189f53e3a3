"""Load the configuration file: return a frozen :class:`lb.model.Config`, or report all errors at once.

This package validates values. Defaults are in :mod:`lb.model`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lb.config.announce import read_announce, with_freebind
from lb.config.caches import check_cache_paths, check_shared_caches, read_cache
from lb.config.cluster import read_cluster
from lb.config.health import check_shared
from lb.config.listeners import (
    check_binds,
    check_ports_of_listeners,
    check_same_ports,
    pool_path,
    pools_of_listeners,
    read_listener,
)
from lb.config.media import media_pools, read_media
from lb.config.pools import read_pool
from lb.config.secret_file import secret_in_file
from lb.config.toml_file import ConfigError, TomlFile, read_toml
from lb.config.users import read_users
from lb.model import AdminSpec, Config, LogSpec, ProcessSpec, Secret
from lb.model.modes import References
from lb.model.plugin_modules import search_beside
from lb.model.shape import LOCAL_PATTERN, given, other_than, table_of, when, whole
from lb.model.table import Complaint, Table
from lb.model.values import (
    Reader,
    account,
    address,
    boolean,
    choice,
    duration,
    file_mode,
    file_name,
    owner,
    secret,
    workers,
)

__all__ = [
    "ADMIN_TABLE",
    "LOG_TABLE",
    "PROCESS_TABLE",
    "ConfigError",
    "config_of",
    "load",
    "load_admin",
    "parse",
    "read_process",
]

LOG_KEYS: Mapping[str, Reader[object]] = {
    "level": choice(LogSpec, "level"),
    "format": choice(LogSpec, "format"),
    "connections": boolean,
}


def load(path: Path, *, beside_traffic: bool = False) -> Config:
    """Load a file, or standard input for ``-``. Raises ConfigError if it is invalid or unreadable.

    ``beside_traffic``: the caller is a thread beside the traffic. The load takes longer, but never holds the
    interpreter for long.
    """
    return config_of(read_toml(path, beside_traffic=beside_traffic))


def parse(text: str, filename: str) -> Config:
    """Parse the text of a configuration file. Relative paths start at the directory of ``filename``.

    Raises ConfigError.
    """
    return config_of(TomlFile.parse(text, filename))


def config_of(file: TomlFile) -> Config:
    """Return the configuration that a file has. Raises ConfigError with all its errors.

    A strategy, probe or mode given as ``module:Name`` is looked for in the directory of the file first.
    """
    search_beside(file.directory)
    errors: list[Complaint] = []
    root = Table(file.content, "", errors)
    pools = {name: read_pool(name, table, file.directory) for name, table in root.tables("pools")}
    listener_tables = dict(root.tables("listeners"))
    pools |= pools_of_listeners(listener_tables, pools, file.directory)
    users = {name: read_users(name, table, file.directory) for name, table in root.tables("users")}
    caches = {name: read_cache(name, table, file.directory) for name, table in root.tables("caches")}
    media = read_media(root, file.directory)
    references = References(pools, users, file.directory, caches, media)
    listeners = {name: read_listener(name, table, references) for name, table in listener_tables.items()}
    announce = read_announce(root)
    listeners = with_freebind(listeners, listener_tables, announce)
    for name in pools.keys() & set(media.pools):
        root.complain("is the name of a pool that [media] needs: choose another one", pool_path(name, file.content))
    pools |= media_pools(media)
    config = Config(
        listeners=listeners,
        pools=check_ports_of_listeners(pools, listeners, root),
        process=read_process(root.table("process")),
        log=_log(root.table("log")),
        admin=_admin(root, file.directory),
        announce=announce,
        users=users,
        caches=caches,
        media=media,
        cluster=read_cluster(root, file.directory),
        hash=file.hash,
    )
    _check_together(config, root)
    root.finish()
    if errors:
        raise ConfigError(file.located(errors))
    return config


def _check_together(config: Config, root: Table) -> None:
    """Report what is wrong between parts of a configuration."""
    listeners = config.listeners.values()
    check_cache_paths(config.caches.values(), root)
    check_shared_caches(listeners, root)
    check_shared(config.pools.values(), root)
    check_binds(listeners, root)
    check_same_ports(listeners, config.pools, root)
    if not root.content.get("listeners"):
        root.complain("at least one is needed, as in [listeners.web]", "listeners")


def load_admin(path: Path) -> AdminSpec | None:
    """Load the admin endpoint only, ignoring errors elsewhere in the file. Raises ConfigError like `load`."""
    file = read_toml(path)
    root = Table(file.content, "", [])
    admin = _admin(root, file.directory)
    if root.errors:
        raise ConfigError(file.located(root.errors))
    return admin


ADMIN_KEYS: Mapping[str, Reader[object]] = {
    "socket_mode": file_mode,
    "socket_owner": owner,
    "server_metrics": boolean,
}


def _admin(root: Table, directory: Path) -> AdminSpec | None:
    if not root.has("admin"):
        return None
    table = root.table("admin")
    bind = table.value("bind", address(directory))
    token = table.value("token", secret)
    if table.has("token_file"):
        if token:
            table.complain("cannot be combined with 'token'", table.at("token_file"))
        token = table.value("token_file", secret_in_file(directory)) or "unreadable"
    values = table.values(ADMIN_KEYS)
    if not table.has("bind"):
        table.complain('missing, as in bind = "127.0.0.1:9900"', table.at("bind"))
    elif bind is not None and not token and not bind.is_local:
        table.complain(f"{bind.text!r} can be reached from elsewhere, so a 'token' is needed", table.at("bind"))
    table.finish()
    return AdminSpec(bind, Secret(token) if token else None, **values) if bind is not None else None


def _log(table: Table) -> LogSpec:
    values = table.values(LOG_KEYS)
    table.finish()
    return LogSpec(**values)


PROCESS_KEYS: Mapping[str, Reader[object]] = {
    "workers": workers,
    "stop_delay": duration,
    "stop_timeout": duration,
    "user": account,
    "group": account,
    "watch": boolean,
}


def read_process(table: Table) -> ProcessSpec:
    process = ProcessSpec(**table.values(PROCESS_KEYS))
    table.finish()
    if process.group and not process.user:
        table.complain("requires 'user'", table.at("group"))
    return process


PROCESS_TABLE = table_of(PROCESS_KEYS, rules=[when(given(group=other_than("")), given(user=other_than("")))])
LOG_TABLE = table_of(LOG_KEYS)
ADMIN_TABLE = table_of(
    {"bind": address(None), "token": secret, "token_file": file_name, **ADMIN_KEYS},
    required=["bind"],
    rules=[
        {"not": {"required": ["token", "token_file"]}},
        when(
            given(bind={"type": "string", "not": {"pattern": whole(LOCAL_PATTERN)}}),
            {"anyOf": [given(token=other_than("")), {"required": ["token_file"]}]},
        ),
    ],
)
