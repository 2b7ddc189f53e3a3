"""The compared balancers: how each is started, reloaded and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import loads
from backends import Ports
from clients import Client
from configurations import admin_socket, haproxy, lb, nginx, nginx_http
from forward_proxies import microsocks, squid, tinyproxy
from live_servers import lb_media, nginx_rtmp
from measure import cpu_seconds, memory_bytes
from processes import ALL_CORES, BALANCER_CORES, running
from target import Features, Target

__all__ = [
    "BALANCERS",
    "DIRECT",
    "HAPROXY",
    "HAPROXY_SPLICE",
    "LB",
    "LB_MEDIA",
    "MICROSOCKS",
    "NGINX",
    "NGINX_HTTP",
    "NGINX_RTMP",
    "SQUID",
    "TINYPROXY",
    "Running",
    "start",
]

LISTS_IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}
IMPORT_LINE = b"import time:"
LOG_PATIENCE = 2.0
"""Seconds to wait for log lines. An estimate."""


@attrs.define
class Running:
    """A running target."""

    target: Target
    ports: Ports
    behind: Ports
    directory: Path
    """Directory of all files."""
    pid: int | None = None
    """None without a balancer."""
    start_seconds: float = 0.0
    """Seconds from the start to the first served request."""
    _first: int = 0

    @property
    def config(self) -> Path:
        return self.directory / f"front-{self.ports.web}.conf"

    @property
    def output(self) -> Path:
        """File with its output and log lines."""
        return self.config.with_suffix(".log")

    @property
    def admin(self) -> Path:
        """Socket of the admin endpoint, if it has one."""
        return admin_socket(self.config)

    @property
    def client(self) -> Client:
        """Its clients. If they ask it for tunnels, these lead to the web server."""
        return attrs.evolve(self.target.client, server=self.behind.web)

    def cpu(self) -> float:
        """Return the CPU seconds of the balancer so far."""
        return 0.0 if self.pid is None else cpu_seconds(self.pid)

    def memory(self) -> int:
        """Return the resident memory of the balancer in bytes."""
        return 0 if self.pid is None else memory_bytes(self.pid)

    def log_lines(self, awaited: int = 0) -> int:
        """Return the number of log lines; wait up to LOG_PATIENCE for ``awaited`` lines."""
        deadline = time.perf_counter() + LOG_PATIENCE
        with self.output.open("rb") as file:
            count = file.read().count(b"\n")
            while count < awaited and time.perf_counter() < deadline:
                time.sleep(0.01)  # noqa: TID251 - polls the size of a file
                count += file.read().count(b"\n")
        return count

    def imports(self) -> int:
        """Return the number of imported modules, if it lists them."""
        with self.output.open("rb") as file:
            return sum(line.startswith(IMPORT_LINE) for line in file) - 1  # the first one is a heading

    def write_config(self) -> list[str]:
        """Write the configuration file; return the command that uses it."""
        assert self.target.configure is not None
        services = self.target.services(self.ports, self.behind, self._first)
        text, command = self.target.configure(self.target, services, self.config)
        self.config.write_text(text)
        return command

    def reload(self, replaced: int) -> None:
        """Replace this number of the many servers, or undo that, and send SIGHUP."""
        assert self.pid is not None
        self._first = replaced - self._first
        self.write_config()
        os.kill(self.pid, signal.SIGHUP)


@contextlib.contextmanager
def start(target: Target, behind: Ports, directory: Path) -> Iterator[Running]:
    """Run the target in front of ``behind``, with its files in ``directory``. Raises NotListeningError."""
    if target.configure is None:
        yield Running(target, behind, behind, directory)
        return
    front = Ports()
    result = Running(target, front, behind, directory)
    command = result.write_config()
    ports = [service.port for service in target.services(front, behind)]
    cores = BALANCER_CORES if target.workers is None else ALL_CORES
    environment = LISTS_IMPORTS if target.lists_imports else None
    with running(command, ports=ports, output=result.output, cores=cores, environment=environment) as process:
        if target.features.http2:
            loads.h2load(front.web, "/small", tls=target.features.tls, requests=1)
        else:
            next(loads.ping_pong(front.web if target.strategy is None else front.many, result.client))
        result.start_seconds = time.perf_counter() - process.executed
        result.pid = process.pid
        yield result


LB = Target("lb", lb)
HAPROXY = Target("HAProxy", haproxy)
HAPROXY_SPLICE = Target("HAProxy, splice-auto", haproxy, splices=True)
NGINX = Target("nginx stream", nginx)
NGINX_HTTP = Target("nginx", nginx_http)
LB_MEDIA = Target("lb", lb_media, features=Features(media=True))
NGINX_RTMP = Target("nginx-rtmp", nginx_rtmp, features=Features(media=True))
SQUID = Target("squid", squid)
TINYPROXY = Target("tinyproxy", tinyproxy)
MICROSOCKS = Target("microsocks", microsocks)
DIRECT = Target("direct", None)
BALANCERS = (LB, HAPROXY, NGINX)
"""They relay connections."""
