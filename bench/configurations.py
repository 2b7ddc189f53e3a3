"""The configuration of each balancer, with the command that uses it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from certificate import SERVER_NAME, certificate_path
from processes import HOST
from target import STRATEGIES, Features, Service, Target

__all__ = [
    "FILMS",
    "HAPROXY_BALANCE",
    "LB_COMMAND",
    "NGINX_HTTP_SETTINGS",
    "admin_socket",
    "haproxy",
    "lb",
    "nginx",
    "nginx_http",
]

LB_COMMAND = Path(sys.executable).with_name("lb")
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
"""Path in Debian and others. If it is missing, nginx has the module built in or does not start."""
HAPROXY_BALANCE = {"round-robin": "roundrobin", "least-conn": "leastconn"}
"""HAProxy's names of the strategies measured with it."""
LB_CHECKS = {
    "": "false",
    "tcp": '{ probe = "tcp", interval = "2s" }',
    "http": '{ probe = "http", path = "/small", interval = "2s" }',
}
NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8")
"""The allowed networks; clients are in the last one."""
FILMS = "films"
"""The directory of films, beside the configuration."""
OTHER = "other"
"""The pool of clients with another server name."""


def admin_socket(config: Path) -> Path:
    """Return the path of the socket of the admin endpoint."""
    return config.with_suffix(".sock")


def lb(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    lines = ["[log]", 'format = "json"', f"connections = {str(target.logs).lower()}"]
    if target.admin:
        lines += ["[admin]", f'bind = "unix:{admin_socket(config)}"']
    if target.workers is not None:
        lines += ["[process]", f"workers = {target.workers}"]
    if target.features.cache:
        lines += ["[caches.bench]", f'path = "{config.with_suffix(".cache")}"', 'memory = "256MiB"']
    if target.features.films:
        lines += ["[media.vod.films]", f'root = "{config.parent / FILMS}"']
    for service in services:
        lines += _lb_listener(target.features, service, config)
        if not target.features.forward:
            lines += _lb_pool(target, service, service.name)
        if target.features.sni:
            lines += _lb_pool(target, service, OTHER)
    return "\n".join(lines) + "\n", [str(LB_COMMAND), "--config", str(config)]


def _lb_listener(features: Features, service: Service, config: Path) -> list[str]:
    lines = [f"[listeners.{service.name}]", f'bind = "{HOST}:{service.port}"']
    if features.http:
        lines += ['mode = "http"', f'pool = "{service.name}"', "access_log = false", 'header_timeout = "10m"']
    if features.http2 and not features.tls:
        lines += ["h2c = true"]
    if features.forward:
        lines += ['mode = "forward"', 'connect_ports = "any"', "private = true", "access_log = false"]
    if features.cache:
        route = f'pool = "{service.name}", cache = {{ zone = "bench", valid = {{ 200 = "1h" }} }}'
        lines += [f"routes = [{{ {route} }}]"]
    if features.films:
        (config.parent / FILMS).mkdir(exist_ok=True)
        lines.remove(f'pool = "{service.name}"')
        lines += [f'routes = [{{ pool = "{service.name}" }}, {{ path = "/films/", media = "films" }}]']
    if features.accept_proxy:
        lines += ["accept_proxy = true"]
    if features.allow:
        lines += [f"allow = {[*NETWORKS]}"]
    if features.tls:
        lines += [f'tls = {{ certificate = "{certificate_path(config.parent)}", min_version = "1.3" }}']
    if features.sni:
        lines += [f'sni = {{ "{SERVER_NAME}" = "{service.name}", default = "{OTHER}" }}']
    return lines


def _lb_pool(target: Target, service: Service, name: str) -> list[str]:
    lines = [f"[pools.{name}]", f"health = {LB_CHECKS[target.features.check]}"]
    if target.features.grpc:
        lines += ['http = { protocol = "h2" }']
    elif target.features.http2:
        lines += [f"http = {{ keep_alive = {KEPT} }}"]
    if target.features.send_proxy:
        lines += ['send_proxy = "v2"']
    if target.features.server_tls:
        lines += ["tls = { verify = false }"]
    if target.strategy is not None:
        lines += [f"strategy = {STRATEGIES[target.strategy]}"]
    servers = [f'  {{ address = "{each.address}", weight = {each.weight} }},' for each in service.servers]
    return [*lines, "servers = [", *servers, "]"]


def haproxy(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    lines = ["global", f"  nbthread {target.workers or 1}", "  maxconn 6000"]
    if target.logs:
        lines += ["  log stderr format raw local0"]
    mode = "http" if target.features.http else "tcp"
    lines += ["defaults", f"  mode {mode}", "  timeout connect 3s", "  timeout client 10m", "  timeout server 10m"]
    if target.logs:
        lines += ["  log global", "  option tcplog"]
    if target.splices:
        lines += ["  option splice-auto"]
    if target.strategy is not None:
        lines += [f"  balance {HAPROXY_BALANCE[target.strategy]}"]
    if target.features.check == "http":
        lines += ["  option httpchk GET /small"]
    for service in services:
        lines += _haproxy_frontend(target.features, service, config)
        lines += _haproxy_backend(target.features, service, service.name)
        if target.features.sni:
            lines += _haproxy_backend(target.features, service, OTHER)
    return "\n".join(lines) + "\n", ["haproxy", "-db", "-f", str(config)]


def _haproxy_frontend(features: Features, service: Service, config: Path) -> list[str]:
    accept = " accept-proxy" if features.accept_proxy else ""
    tls = f" ssl crt {certificate_path(config.parent)} ssl-min-ver TLSv1.3" if features.tls else ""
    lines = [f"frontend {service.name}", f"  bind {HOST}:{service.port} backlog 4096{accept}{tls}"]
    if features.allow:
        lines += [f"  tcp-request connection reject unless {{ src {' '.join(NETWORKS)} }}"]
    if features.sni:
        lines += ["  tcp-request inspect-delay 10s", "  tcp-request content accept if { req.ssl_hello_type 1 }"]
        lines += [f"  use_backend {service.name} if {{ req.ssl_sni -i {SERVER_NAME} }}"]
    return [*lines, f"  default_backend {OTHER if features.sni else service.name}"]


def _haproxy_backend(features: Features, service: Service, name: str) -> list[str]:
    options = " check inter 2s" if features.check else ""
    options += " send-proxy-v2" if features.send_proxy else ""
    options += " ssl verify none" if features.server_tls else ""
    servers = [
        f"  server s{number} {server.address} weight {server.weight}{options}"
        for number, server in enumerate(service.servers)
    ]
    return [f"backend {name}", *servers]


NGINX_LOG = (
    "'$remote_addr:$remote_port [$time_iso8601] $protocol $status $bytes_received $bytes_sent $session_time "
    '"$upstream_addr" $upstream_connect_time\''
)
"""The fields of HAProxy's tcplog, as far as nginx has them."""


def nginx(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    """Write the configuration of nginx, which has no active health checks and sends no PROXY header of version 2."""
    lines = [f"load_module {STREAM_MODULE};"] if STREAM_MODULE.exists() else []
    workers = "master_process off" if target.workers is None else f"worker_processes {target.workers}"
    lines += ["daemon off;", f"{workers};", f"pid {config.with_suffix('.pid')};", "error_log stderr crit;"]
    lines += ["worker_rlimit_nofile 20000;", "events { worker_connections 16000; }", "stream {"]
    if target.logs:
        lines += [f"  log_format connection {NGINX_LOG};", "  access_log /dev/stderr connection;"]
    for service in services:
        (server,) = service.servers
        lines += _nginx_server(target.features, service, server.address, config)
    return "\n".join([*lines, "}", ""]), ["nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]


def nginx_http(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:
    """Write the configuration of nginx as a reverse proxy with kept connections to its servers, and no header set."""
    home = config.with_suffix(".home")
    home.mkdir(exist_ok=True)
    lines = ["daemon off;", "master_process off;", f"pid {config.with_suffix('.pid')};", "error_log stderr crit;"]
    lines += ["worker_rlimit_nofile 20000;", "events { worker_connections 16000; }", "http {"]
    lines += [f"  {kind}_temp_path {home};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    lines += [f"  {setting};" for setting in NGINX_HTTP_SETTINGS]
    if target.features.cache:
        lines += [f"  proxy_cache_path {home}/cache levels=1:2 keys_zone=bench:10m inactive=60m max_size=1g;"]
        lines += ["  proxy_cache bench;", "  proxy_cache_valid 200 1h;", "  sendfile on;", "  tcp_nopush on;"]
    for service in services:
        (server,) = service.servers
        lines += [f"  upstream {service.name} {{ server {server.address}; {KEPT_BY_NGINX} }}"]
        lines += [
            "  server {",
            f"    listen {HOST}:{service.port} backlog=4096{_nginx_options(target.features)};",
        ]
        lines += _nginx_tls(target.features, config)
        passed = "grpc_pass grpc" if target.features.grpc else "proxy_pass http"
        lines += [f"    location / {{ {passed}://{service.name}; }}", "  }"]
    return "\n".join([*lines, "}", ""]), ["nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]


KEPT = 512
"""Idle connections to a server: those of 32 clients with ten streams each."""
KEPT_BY_NGINX = f"keepalive {KEPT}; keepalive_requests 1000000000;"
"""Without the second one, it ends a connection to a server after 1000 requests."""
NGINX_HTTP_SETTINGS = (
    "access_log off",
    "keepalive_requests 1000000000",
    "keepalive_timeout 1h",
    "client_header_timeout 10m",
    "client_max_body_size 0",
    "proxy_http_version 1.1",
    'proxy_set_header Connection ""',
    "proxy_max_temp_file_size 0",
    "proxy_request_buffering off",
)
"""Kept connections on both sides, and bodies that stream, as those of the others do."""


def _nginx_options(features: Features) -> str:
    return f"{' ssl' if features.tls else ''}{' http2' if features.http2 else ''}"


def _nginx_tls(features: Features, config: Path) -> list[str]:
    if not features.tls:
        return []
    path = certificate_path(config.parent)
    return [f"    ssl_certificate {path};", f"    ssl_certificate_key {path};", "    ssl_protocols TLSv1.3;"]


def _nginx_server(features: Features, service: Service, address: str, config: Path) -> list[str]:
    accept, tls = " proxy_protocol" if features.accept_proxy else "", " ssl" if features.tls else ""
    lines = ["  server {", f"    listen {HOST}:{service.port} backlog=4096{accept}{tls};", "    proxy_half_close on;"]
    if features.allow:
        lines += [f"    allow {network};" for network in NETWORKS] + ["    deny all;"]
    lines += _nginx_tls(features, config)
    if features.server_tls:
        lines += ["    proxy_ssl on;", "    proxy_ssl_protocols TLSv1.3;"]
    if not features.sni:
        return [*lines, f"    proxy_pass {address};", "  }"]
    upstreams = [f"  upstream {name} {{ server {address}; }}" for name in (service.name, OTHER)]
    by_name = f"  map $ssl_preread_server_name $by_name {{ {SERVER_NAME} {service.name}; default {OTHER}; }}"
    return [*upstreams, by_name, *lines, "    ssl_preread on;", "    proxy_pass $by_name;", "  }"]
