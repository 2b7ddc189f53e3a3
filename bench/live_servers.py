"""The configurations for live streams: publishers at the port ``rtmp``, viewers at the port ``web``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configurations import LB_COMMAND, NGINX_HTTP_SETTINGS
from processes import HOST
from target import Service, Target

__all__ = ["VIEWED", "lb_media", "nginx_rtmp"]

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
VIEWED = {"v0.m3u8": 950, "a0.m3u8": 900, "video.m4s": 750_000, "audio.m4s": 33_000}
"""What a viewer gets in each two seconds, and its bytes: files of nginx, which has no such playlists of its own."""


def lb_media(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:  # noqa: ARG001 - all alike
    """Return the configuration of the balancer: an application for streams of 2-second segments, through the cache."""
    ports = {service.name: service.port for service in services}
    text = f"""\
[log]
format = "json"
[caches.bench]
memory = "256MiB"
[listeners.rtmp]
bind = "{HOST}:{ports["rtmp"]}"
mode = "rtmp"
[listeners.web]
bind = "{HOST}:{ports["web"]}"
mode = "http"
access_log = false
routes = [
    {{ path = "/live/", media = "live", cache = {{ zone = "bench" }} }},
    {{ path = "/", respond = "ok" }},
]
[media.live.live]
publish = [{{ name = "*", key = "bench" }}]
"""
    return text, [str(LB_COMMAND), "--config", str(config)]


def nginx_rtmp(target: Target, services: Sequence[Service], config: Path) -> tuple[str, list[str]]:  # noqa: ARG001 - all alike
    """Return the configuration of nginx with its RTMP module, which writes HLS and DASH into files."""
    ports = {service.name: service.port for service in services}
    home = config.with_suffix(".home")
    files = home / "viewed"
    files.mkdir(parents=True, exist_ok=True)
    for name, size in VIEWED.items():
        (files / name).write_bytes(b"#" * size)
    settings = "".join(f"    {setting};\n" for setting in NGINX_HTTP_SETTINGS)
    text = f"""\
load_module {RTMP_MODULE};
daemon off;
master_process off;
pid {config.with_suffix(".pid")};
error_log stderr crit;
events {{ worker_connections 4000; }}
rtmp {{
    access_log off;
    server {{
        listen {HOST}:{ports["rtmp"]};
        application live {{
            live on;
            hls on; hls_path {home}/hls; hls_fragment 2s; hls_playlist_length 12s;
            dash on; dash_path {home}/dash; dash_fragment 2s; dash_playlist_length 12s;
        }}
    }}
}}
http {{
{settings}\
    sendfile on;
    tcp_nopush on;
    open_file_cache max=100 inactive=1h;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{
        listen {HOST}:{ports["web"]} backlog=4096;
        location /live/ {{ alias {home}/hls/; }}
        location /viewed/ {{ alias {files}/; }}
        location / {{ return 200 "ok"; }}
    }}
}}
"""
    return text, ["nginx", "-c", str(config), "-p", str(config.parent), "-e", "stderr"]
