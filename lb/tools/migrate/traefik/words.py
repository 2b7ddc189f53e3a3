"""What is known of Traefik's keys: the key that each becomes, why one is not needed, what comes nearest to one."""

from __future__ import annotations

from collections.abc import Mapping

from lb.tools.migrate.word_patterns import text_about

__all__ = ["WORDS", "nearest", "why_not_needed"]

_LISTENER, _ROUTE, _POOL = "listeners.NAME", "listeners.NAME.routes", "pools.NAME"
_HEALTH, _HTTP = f"{_POOL}.health", f"{_POOL}.http"

WORDS: Mapping[str, str] = {
    "entryPoints": _LISTENER,
    "address": f"{_LISTENER}.bind",
    "redirections": f"{_ROUTE}.redirect",
    "forwardedHeaders": f"{_LISTENER}.trusted_proxies",
    "trustedIPs": f"{_LISTENER}.trusted_proxies",
    "proxyProtocol": f"{_LISTENER}.accept_proxy, {_POOL}.send_proxy",
    "readTimeout": f"{_LISTENER}.header_timeout",
    "writeTimeout": f"{_LISTENER}.idle_timeout",
    "idleTimeout": f"{_LISTENER}.keep_alive",
    "graceTimeOut": "process.stop_timeout",
    "requestAcceptGraceTimeout": "process.stop_delay",
    "routers": _ROUTE,
    "rule": f"{_ROUTE}.host, path, methods",
    "priority": "",
    "service": f"{_ROUTE}.pool",
    "middlewares": _ROUTE,
    "stripPrefix": f"{_ROUTE}.strip_prefix",
    "addPrefix": f"{_ROUTE}.add_prefix",
    "replacePathRegex": f"{_ROUTE}.strip_prefix, add_prefix",
    "redirectScheme": f"{_ROUTE}.redirect",
    "redirectRegex": f"{_ROUTE}.redirect",
    "basicAuth": f"{_ROUTE}.auth",
    "usersFile": "users.NAME.file",
    "realm": "users.NAME.realm",
    "forwardAuth": f"{_ROUTE}.forward_auth",
    "authResponseHeaders": f"{_ROUTE}.auth_headers",
    "headers": f"{_ROUTE}.request_headers, response_headers",
    "compress": f"{_ROUTE}.compress",
    "rateLimit": f"{_ROUTE}.rate",
    "ipAllowList": f"{_LISTENER}.allow",
    "retry": f"{_POOL}.retries",
    "services": _POOL,
    "loadBalancer": _POOL,
    "servers": f"{_POOL}.servers",
    "url": f"{_POOL}.servers",
    "weighted": f"{_POOL}.servers.weight",
    "weight": f"{_POOL}.servers.weight",
    "failover": f"{_POOL}.servers.backup",
    "sticky": f"{_POOL}.sticky",
    "strategy": f"{_POOL}.strategy",
    "passHostHeader": f"{_ROUTE}.host_header",
    "healthCheck": _HEALTH,
    "path": f"{_HEALTH}.path",
    "interval": f"{_HEALTH}.interval",
    "timeout": f"{_HEALTH}.timeout",
    "hostname": f"{_HEALTH}.host",
    "status": f"{_HEALTH}.expect_status",
    "serversTransports": f"{_POOL}.tls",
    "insecureSkipVerify": f"{_POOL}.tls.verify",
    "rootCAs": f"{_POOL}.tls.ca",
    "serverName": f"{_POOL}.tls.server_name",
    "dialTimeout": f"{_POOL}.connect_timeout",
    "responseHeaderTimeout": f"{_HTTP}.response_timeout",
    "idleConnTimeout": f"{_HTTP}.keep_alive_timeout",
    "maxIdleConnsPerHost": f"{_HTTP}.keep_alive",
    "tls": f"{_LISTENER}.tls",
    "passthrough": f"{_LISTENER}.sni",
    "certificates": f"{_LISTENER}.tls.certificates",
    "certFile": f"{_LISTENER}.tls.certificate",
    "keyFile": f"{_LISTENER}.tls.key",
    "minVersion": f"{_LISTENER}.tls.min_version",
    "clientAuth": f"{_LISTENER}.tls.client_certificate",
    "caFiles": f"{_LISTENER}.tls.client_ca",
    "api": "admin.bind",
}
"""The key for each key of Traefik that has one. NAME is that of a listener, a pool or a list of users."""

_NOT_NEEDED: Mapping[str, str] = {
    "accesslog|log|global|serverstransport": "the log goes to stderr, as JSON or text ([log])",
    "metrics|ping|prometheus": "/metrics and /livez of `[admin]`",
    "file|directory|filename|watch|providersthrottleduration": "the file is read again with SIGHUP or `lb ctl reload`",
    "http2|http3|asdefault|reuseport|ciphersuites|curvepreferences|alpnprotocols|disablehttp2|flushinterval"
    "|responseforwarding|encodequerysemicolons|maxconcurrentstreams|rulesyntax|observability"
    "|sni_?strict|allowacmebypass"
    "|preferservercipher.*|followredirects|domains|main|sans|servername.*|keepalivemax.*"
    "|preservepath": "done without a setting",
}
_NEAREST: Mapping[str, str] = {
    "certresolver|certificatesresolvers|acme": "certbot, and `certificate` with the files that it makes",
    "docker|swarm|kubernetes.*|consul.*|nomad|ecs|marathon|rancher|etcd|redis|zookeeper|rest"
    "|providers|knative": "servers from DNS, or from a file that another program writes (`servers_file`)",
    "udp": "UDP is not relayed",
    "tracing|instana|jaeger|zipkin|otlp": "X-Request-Id leads through logs",
    "experimental|plugins|hub|pilot|spiffe": "`forward_auth` asks a program first",
    "inflightconn": "`max_per_source` of a listener",
    "options|store": "TLS of a listener is the same for all of its names",
}


def why_not_needed(name: str) -> str | None:
    """Return why a key is not needed; None if it is not one of these."""
    return text_about(name.lower(), _NOT_NEEDED)


def nearest(name: str) -> str:
    """Return what comes nearest to a key that has no counterpart."""
    return text_about(name.lower(), _NEAREST) or "this key is not known here"
