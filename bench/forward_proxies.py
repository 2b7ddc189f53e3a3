"""The configuration of each forward proxy, with the command that uses it. Everybody may reach everything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from processes import HOST
from target import Service, Target

__all__ = ["microsocks", "squid", "tinyproxy"]

SQUID_SETTINGS = (
    "http_access allow all",
    "cache deny all",
    "access_log none",
    "cache_store_log none",
    "pinger_enable off",
    "max_filedescriptors 20000",
    "client_lifetime 1 day",
    "shutdown_lifetime 0 seconds",
    "pid_filename none",
    "cache_log /dev/null",
    "coredump_dir none",
    "visible_hostname bench",
)
"""Nothing is stored or logged. It writes no file: started by root, it becomes another user."""


def squid(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:  # noqa: ARG001 - all alike
    """Return the configuration of squid."""
    (service,) = services
    lines = [f"http_port {HOST}:{service.port}", *SQUID_SETTINGS]
    return "\n".join([*lines, ""]), ["squid", "-N", "-n", f"bench{service.port}", "-f", str(config)]


def tinyproxy(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:  # noqa: ARG001 - all alike
    """Return the configuration of tinyproxy."""
    (service,) = services
    lines = [f"Listen {HOST}", f"Port {service.port}", "MaxClients 1000", "Timeout 600", "LogLevel Critical"]
    return "\n".join([*lines, ""]), ["tinyproxy", "-d", "-c", str(config)]


def microsocks(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:  # noqa: ARG001 - all alike
    """Return nothing and the command of microsocks, which has options only."""
    (service,) = services
    return "", ["microsocks", "-i", HOST, "-p", str(service.port)]
