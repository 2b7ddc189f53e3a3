"""What is compared: how each balancer is configured, started and stopped. One thread each, no health checks."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs
from backends import Ports
from measure import cpu_seconds, memory_bytes
from processes import BALANCER_CORES, HOST, free_port, running

__all__ = ["DIRECT", "HAPROXY", "HAPROXY_SPLICE", "LB", "LB_COMMAND", "NGINX", "Running", "Target", "start"]

LB_COMMAND = Path(sys.executable).with_name("lb")
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Where Debian and others keep it; where it is missing, nginx has it built in or does not start."""


@attrs.frozen
class Target:
    """A way from the load to the backends: a column of the report."""

    name: str
    configure: Callable[[Target, Ports, Ports, Path], tuple[str, list[str]]] | None = attrs.field(repr=False)
    """From the target, the ports to listen on, the ports to forward to and the config file's path: the file's text
    and the command. None: there is no balancer in between."""
    logs: bool = False
    """A log line for each connection, into a file."""
    splices: bool = False
    """HAProxy's option splice-auto; the others have no such choice."""

    def with_log(self) -> Target:
        return attrs.evolve(self, logs=True)


@attrs.frozen
class Running:
    """A target that takes connections."""

    ports: Ports
    pid: int | None
    """None if there is no balancer in between."""
    output: Path

    def cpu(self) -> float:
        """Seconds of CPU that the balancer has used so far."""
        return 0.0 if self.pid is None else cpu_seconds(self.pid)

    def memory(self) -> int:
        """Bytes that the balancer holds."""
        return 0 if self.pid is None else memory_bytes(self.pid)

    def log_lines(self) -> int:
        with self.output.open("rb") as file:
            return sum(1 for _ in file)


@contextlib.contextmanager
def start(target: Target, behind: Ports, directory: Path) -> Iterator[Running]:
    """Run the target in front of ``behind``, with its files in ``directory``."""
    if target.configure is None:
        yield Running(behind, None, directory / "none.log")
        return
    front = Ports(web=free_port(), sink=free_port())
    config = directory / f"front-{front.web}.conf"
    output = config.with_suffix(".log")
    text, command = target.configure(target, front, behind, config)
    config.write_text(text)
    with running(command, ports=[front.web, front.sink], output=output, cores=BALANCER_CORES) as pid:
        yield Running(front, pid, output)


def _pairs(front: Ports, behind: Ports) -> Mapping[str, tuple[str, str]]:
    """By name: where to listen, and the server."""
    return {
        "web": (f"{HOST}:{front.web}", f"{HOST}:{behind.web}"),
        "sink": (f"{HOST}:{front.sink}", f"{HOST}:{behind.sink}"),
    }


def _lb(target: Target, front: Ports, behind: Ports, config: Path) -> tuple[str, list[str]]:
    lines = ["[log]", 'format = "json"', f"connections = {str(target.logs).lower()}"]
    for name, (bind, server) in _pairs(front, behind).items():
        lines += [f"[listeners.{name}]", f'bind = "{bind}"']
        lines += [f"[pools.{name}]", "health = false", f'servers = ["{server}"]']
    return "\n".join(lines) + "\n", [str(LB_COMMAND), "--config", str(config)]


def _haproxy(target: Target, front: Ports, behind: Ports, config: Path) -> tuple[str, list[str]]:
    lines = ["global", "  nbthread 1", "  maxconn 6000"]
    if target.logs:
        lines += ["  log stderr format raw local0"]
    lines += ["defaults", "  mode tcp", "  timeout connect 3s", "  timeout client 10m", "  timeout server 10m"]
    if target.logs:
        lines += ["  log global", "  option tcplog"]
    if target.splices:
        lines += ["  option splice-auto"]
    for name, (bind, server) in _pairs(front, behind).items():
        lines += [f"listen {name}", f"  bind {bind} backlog 4096", f"  server a {server}"]
    return "\n".join(lines) + "\n", ["haproxy", "-db", "-f", str(config)]


NGINX_LOG = (
    "'$remote_addr:$remote_port [$time_iso8601] $protocol $status $bytes_received $bytes_sent $session_time "
    '"$upstream_addr" $upstream_connect_time\''
)
"""What HAProxy's tcplog tells, as far as nginx knows it."""


def _nginx(target: Target, front: Ports, behind: Ports, config: Path) -> tuple[str, list[str]]:
    lines = [f"load_module {STREAM_MODULE};"] if STREAM_MODULE.exists() else []
    lines += ["daemon off;", "master_process off;", f"pid {config.with_suffix('.pid')};", "error_log stderr crit;"]
    lines += ["worker_rlimit_nofile 20000;", "events { worker_connections 16000; }", "stream {"]
    if target.logs:
        lines += [f"  log_format connection {NGINX_LOG};", "  access_log /dev/stderr connection;"]
    for bind, server in _pairs(front, behind).values():
        lines += [f"  server {{ listen {bind} backlog=4096; proxy_pass {server}; proxy_half_close on; }}"]
    lines += ["}"]
    return "\n".join(lines) + "\n", ["nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]


LB = Target("lb", _lb)
HAPROXY = Target("HAProxy", _haproxy)
HAPROXY_SPLICE = Target("HAProxy, splice-auto", _haproxy, splices=True)
NGINX = Target("nginx stream", _nginx)
DIRECT = Target("direct", None)
