"""The compared balancers: how each is configured, started, reloaded and stopped. No health checks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import loads
from backends import Ports
from measure import cpu_seconds, memory_bytes
from processes import ALL_CORES, BALANCER_CORES, HOST, free_port, running

import strategies.registry

__all__ = [
    "DIRECT",
    "FEW",
    "HAPROXY",
    "HAPROXY_BALANCE",
    "HAPROXY_SPLICE",
    "LB",
    "LB_COMMAND",
    "MANY",
    "NGINX",
    "STRATEGIES",
    "Running",
    "Target",
    "start",
]

LB_COMMAND = Path(sys.executable).with_name("lb")
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Path in Debian and others. If it is missing, nginx has the module built in or does not start."""
FEW, MANY = 2, 1_000
"""Number of servers behind the ports ``few`` and ``many``."""
LISTS_IMPORTS = {"PYTHONPROFILEIMPORTTIME": "1"}
IMPORT_LINE = b"import time:"
LOG_PATIENCE = 2.0
"""Seconds to wait for log lines. An estimate."""

STRATEGIES: Mapping[str, str] = {
    **{name: f'"{name}"' for name in strategies.registry.names() if name != "consistent-hash"},
    **{
        f"consistent-hash, {table}": f'{{ name = "consistent-hash", key = "source-ip-port", table = "{table}" }}'
        for table in ("maglev", "ketama")
    },
}
"""Each built-in strategy in TOML. The hash strategies get a key that differs between connections."""
HAPROXY_BALANCE = {"round-robin": "roundrobin", "least-conn": "leastconn"}
"""HAProxy's names of the strategies measured with it."""


@attrs.frozen
class Server:
    """A server: ``host:port`` and weight."""

    address: str
    weight: int = 1


@attrs.frozen
class Service:
    """A port of a balancer, and the servers behind it."""

    name: str
    port: int
    servers: Sequence[Server]


Configure = Callable[["Target", Sequence[Service], Path], tuple[str, list[str]]]
"""From a target, its services and the path of the configuration file to the text of the file and the command."""


@attrs.frozen
class Target:
    """A balancer with its options, or none: a column of the report."""

    name: str
    configure: Configure | None = attrs.field(repr=False)
    """None: no balancer."""
    logs: bool = False
    """Log a line per connection to a file."""
    splices: bool = False
    """HAProxy's option splice-auto."""
    strategy: str | None = None
    """One of :data:`STRATEGIES`, with few and with many servers; None: one server per port."""
    workers: int | None = None
    """Worker processes, which may use all cores; None: one process on its own core."""
    admin: bool = False
    """Has an admin endpoint on a Unix socket."""
    lists_imports: bool = False
    """Python prints a line per imported module."""

    def with_log(self) -> Target:
        return attrs.evolve(self, logs=True)

    def with_admin(self) -> Target:
        return attrs.evolve(self, name=f"{self.name}, scraped", admin=True)

    def with_strategy(self, strategy: str) -> Target:
        return attrs.evolve(self, strategy=strategy)

    def with_workers(self, workers: int) -> Target:
        name = f"{self.name}, {workers} worker{'s' if workers > 1 else ''}"
        return attrs.evolve(self, name=name, workers=workers)

    def listing_imports(self) -> Target:
        return attrs.evolve(self, lists_imports=True)

    def services(self, front: Ports, behind: Ports, first: int = 0) -> list[Service]:
        """Return the services; ``first`` is the number of the first of many servers."""
        if self.strategy is None:
            names = ("web", "sink", "source")
            return [Service(name, getattr(front, name), [Server(f"{HOST}:{getattr(behind, name)}")]) for name in names]
        return [
            Service("few", front.few, _servers(behind.few, 0, FEW)),
            Service("many", front.many, _servers(behind.many, first, MANY)),
        ]


def _servers(port: int, first: int, count: int) -> list[Server]:
    """Return the same server at many addresses, with weights from 1 to 3."""
    return [
        Server(f"127.1.{number >> 8}.{number & 255}:{port}", number % 3 + 1) for number in range(first, first + count)
    ]


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
        return _admin_socket(self.config)

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

    def reload(self) -> None:
        """Replace half of the many servers, or undo that, and send SIGHUP."""
        assert self.pid is not None
        self._first = MANY // 2 - self._first
        self.write_config()
        os.kill(self.pid, signal.SIGHUP)


@contextlib.contextmanager
def start(target: Target, behind: Ports, directory: Path) -> Iterator[Running]:
    """Run the target in front of ``behind``, with its files in ``directory``. Raises NotListeningError."""
    if target.configure is None:
        yield Running(target, behind, behind, directory)
        return
    front = Ports(web=free_port(), sink=free_port(), source=free_port(), few=free_port(), many=free_port())
    result = Running(target, front, behind, directory)
    command = result.write_config()
    ports = [service.port for service in target.services(front, behind)]
    cores = BALANCER_CORES if target.workers is None else ALL_CORES
    environment = LISTS_IMPORTS if target.lists_imports else None
    with running(command, ports=ports, output=result.output, cores=cores, environment=environment) as process:
        next(loads.ping_pong(front.web if target.strategy is None else front.many))
        result.start_seconds = time.perf_counter() - process.executed
        result.pid = process.pid
        yield result


def _admin_socket(config: Path) -> Path:
    return config.with_suffix(".sock")


def _lb(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    lines = ["[log]", 'format = "json"', f"connections = {str(target.logs).lower()}"]
    if target.admin:
        lines += ["[admin]", f'bind = "unix:{_admin_socket(config)}"']
    if target.workers is not None:
        lines += ["[process]", f"workers = {target.workers}"]
    for service in services:
        lines += [f"[listeners.{service.name}]", f'bind = "{HOST}:{service.port}"']
        lines += [f"[pools.{service.name}]", "health = false"]
        if target.strategy is not None:
            lines += [f"strategy = {STRATEGIES[target.strategy]}"]
        servers = [f'  {{ address = "{each.address}", weight = {each.weight} }},' for each in service.servers]
        lines += ["servers = [", *servers, "]"]
    return "\n".join(lines) + "\n", [str(LB_COMMAND), "--config", str(config)]


def _haproxy(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    lines = ["global", "  nbthread 1", "  maxconn 6000"]
    if target.logs:
        lines += ["  log stderr format raw local0"]
    lines += ["defaults", "  mode tcp", "  timeout connect 3s", "  timeout client 10m", "  timeout server 10m"]
    if target.logs:
        lines += ["  log global", "  option tcplog"]
    if target.splices:
        lines += ["  option splice-auto"]
    if target.strategy is not None:
        lines += [f"  balance {HAPROXY_BALANCE[target.strategy]}"]
    for service in services:
        lines += [f"listen {service.name}", f"  bind {HOST}:{service.port} backlog 4096"]
        for number, server in enumerate(service.servers):
            lines += [f"  server s{number} {server.address} weight {server.weight}"]
    return "\n".join(lines) + "\n", ["haproxy", "-db", "-f", str(config)]


NGINX_LOG = (
    "'$remote_addr:$remote_port [$time_iso8601] $protocol $status $bytes_received $bytes_sent $session_time "
    '"$upstream_addr" $upstream_connect_time\''
)
"""The fields of HAProxy's tcplog, as far as nginx has them."""


def _nginx(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    lines = [f"load_module {STREAM_MODULE};"] if STREAM_MODULE.exists() else []
    lines += ["daemon off;", "master_process off;", f"pid {config.with_suffix('.pid')};", "error_log stderr crit;"]
    lines += ["worker_rlimit_nofile 20000;", "events { worker_connections 16000; }", "stream {"]
    if target.logs:
        lines += [f"  log_format connection {NGINX_LOG};", "  access_log /dev/stderr connection;"]
    for service in services:
        (server,) = service.servers
        lines += [f"  server {{ listen {HOST}:{service.port} backlog=4096;"]
        lines += [f"    proxy_pass {server.address}; proxy_half_close on; }}"]
    lines += ["}"]
    return "\n".join(lines) + "\n", ["nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]


LB = Target("lb", _lb)
HAPROXY = Target("HAProxy", _haproxy)
HAPROXY_SPLICE = Target("HAProxy, splice-auto", _haproxy, splices=True)
NGINX = Target("nginx stream", _nginx)
DIRECT = Target("direct", None)
