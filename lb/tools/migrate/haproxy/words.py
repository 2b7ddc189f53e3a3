"""What is known of HAProxy's keywords: the key that each becomes, why one is not needed, what comes nearest to one."""

from __future__ import annotations

from collections.abc import Mapping

from lb.tools.migrate.word_patterns import text_about

__all__ = ["WORDS", "nearest", "why_not_needed"]

_LISTENER, _ROUTE, _POOL = "listeners.NAME", "listeners.NAME.routes", "pools.NAME"
_HEALTH, _PROBE = f"{_POOL}.health", f"{_POOL}.health.probe"

WORDS: Mapping[str, str] = {
    # sections
    "global": "process",
    "defaults": "",
    "frontend": _LISTENER,
    "backend": _POOL,
    "listen": f"{_LISTENER}, {_POOL}",
    "userlist": "users.NAME",
    "resolvers": f"{_POOL}.nameservers",
    "cache": "caches.NAME",
    # the process
    "user": "process.user",
    "group": "process.group",
    "nbthread": "process.workers",
    "nbproc": "process.workers",
    "hard-stop-after": "process.stop_timeout",
    "stats socket": "admin.bind",
    "stats enable": "admin.bind",
    "stats uri": "admin.bind",
    "stats auth": "admin.token_file",
    "ca-base": "",
    "crt-base": "",
    # listeners
    "mode": f"{_LISTENER}.mode",
    "bind": f"{_LISTENER}.bind",
    "bind accept-proxy": f"{_LISTENER}.accept_proxy",
    "bind ssl crt": f"{_LISTENER}.tls.certificate",
    "bind ca-file verify": f"{_LISTENER}.tls.client_ca",
    "bind alpn": f"{_LISTENER}.tls.alpn",
    "bind ssl-min-ver": f"{_LISTENER}.tls.min_version",
    "bind proto h2": f"{_LISTENER}.h2c",
    "bind backlog": f"{_LISTENER}.backlog",
    "maxconn": f"{_LISTENER}.max_connections",
    "backlog": f"{_LISTENER}.backlog",
    "timeout client": f"{_LISTENER}.idle_timeout",
    "timeout tunnel": f"{_LISTENER}.idle_timeout",
    "timeout client-fin": f"{_LISTENER}.half_close_timeout",
    "timeout server-fin": f"{_LISTENER}.half_close_timeout",
    "timeout http-request": f"{_LISTENER}.header_timeout",
    "timeout http-keep-alive": f"{_LISTENER}.keep_alive",
    "tcp-request inspect-delay": f"{_LISTENER}.header_timeout",
    "tcp-request connection": f"{_LISTENER}.allow, {_LISTENER}.deny",
    "tcp-request content": f"{_LISTENER}.allow, {_LISTENER}.deny",
    "option forwardfor": f"{_LISTENER}.trusted_proxies",
    "stick-table": f"{_ROUTE}.rate, {_LISTENER}.rate_per_source",
    # routes
    "acl": _ROUTE,
    "use_backend": f"{_ROUTE}.pool",
    "default_backend": f"{_LISTENER}.pool",
    "redirect": f"{_ROUTE}.redirect",
    "monitor-uri": f"{_ROUTE}.respond",
    "http-request set-header": f"{_ROUTE}.request_headers",
    "http-request redirect": f"{_ROUTE}.redirect",
    "http-request deny": f"{_ROUTE}.respond",
    "http-request return": f"{_ROUTE}.respond",
    "http-request auth": f"{_ROUTE}.auth",
    "http-request replace-path": f"{_ROUTE}.strip_prefix",
    "http-request cache-use": f"{_ROUTE}.cache",
    "http-response set-header": f"{_ROUTE}.response_headers",
    "http-response cache-store": f"{_ROUTE}.cache",
    "compression algo": f"{_ROUTE}.compress",
    # pools
    "balance": f"{_POOL}.strategy",
    "hash-type": f"{_POOL}.strategy",
    "cookie": f"{_POOL}.sticky",
    "stick on": f"{_POOL}.strategy",
    "timeout connect": f"{_POOL}.connect_timeout",
    "timeout server": f"{_POOL}.http.response_timeout",
    "timeout queue": f"{_POOL}.queue_timeout",
    "timeout check": f"{_HEALTH}.timeout",
    "retries": f"{_POOL}.retries",
    "retry-on": f"{_POOL}.http.retry_on",
    "option redispatch": f"{_POOL}.retries",
    "source": f"{_POOL}.source",
    "http-reuse": f"{_POOL}.http.keep_alive",
    "option http-server-close": f"{_POOL}.http.keep_alive",
    "option httpclose": f"{_POOL}.http.keep_alive",
    "server": f"{_POOL}.servers",
    "server-template": f"{_POOL}.servers",
    "default-server": f"{_POOL}.servers",
    "server backup": f"{_POOL}.servers.backup",
    "server check": _HEALTH,
    "server weight": f"{_POOL}.servers.weight",
    "server maxconn": f"{_POOL}.servers.max_connections",
    "server inter": f"{_HEALTH}.interval",
    "server fastinter": f"{_HEALTH}.fast_interval",
    "server downinter": f"{_HEALTH}.down_interval",
    "server rise": f"{_HEALTH}.rise",
    "server fall": f"{_HEALTH}.fall",
    "server port": f"{_POOL}.servers.check_port",
    "server addr": f"{_POOL}.servers.check_address",
    "server agent-check": f"{_HEALTH}.checks",
    "server send-proxy": f"{_POOL}.send_proxy",
    "server slowstart": f"{_POOL}.slow_start",
    "server on-marked-down": f"{_POOL}.on_down",
    "server on-marked-up": f"{_POOL}.on_return",
    "server observe": f"{_POOL}.passive",
    "server ssl": f"{_POOL}.tls",
    "server proto h2": f"{_POOL}.http.protocol",
    "server verify": f"{_POOL}.tls.verify",
    "server ca-file": f"{_POOL}.tls.ca",
    "server sni": f"{_POOL}.tls.server_name",
    "option allbackups": f"{_POOL}.servers.backup",
    "option httpchk": _PROBE,
    "option tcp-check": _PROBE,
    "option mysql-check": _PROBE,
    "option pgsql-check": _PROBE,
    "option redis-check": _PROBE,
    "option smtpchk": _PROBE,
    "option ldap-check": _PROBE,
    "option ssl-hello-chk": _PROBE,
    "option external-check": _PROBE,
    "external-check command": f"{_HEALTH}.command",
    "http-check send": f"{_HEALTH}.path",
    "http-check connect": f"{_HEALTH}.port",
    "http-check expect": f"{_HEALTH}.expect_status",
    "tcp-check connect": f"{_HEALTH}.port",
    "tcp-check send": f"{_HEALTH}.send",
    "tcp-check send-binary": f"{_HEALTH}.send",
    "tcp-check expect": f"{_HEALTH}.expect",
    # caches
    "total-max-size": "caches.NAME.memory",
    "max-object-size": f"{_ROUTE}.cache.max_object",
    "nameserver": f"{_POOL}.nameservers",
}
"""The key for each keyword that has one. NAME is that of a listener, a pool, a cache or a list of users."""

_NOT_NEEDED: Mapping[str, str] = {
    "chroot|daemon|pidfile|master-worker|no-?quic|node|description|localpeer|ulimit-n|tune\\..*|ssl-.*|busy-polling"
    "|no[a-z]+|max[a-z]*-?(rate|pipes|rss|sslconn)|maxconnrate|maxsslconn|maxsslrate|maxpipes"
    "|spread-checks|cpu-map|thread-group.*|thread-groups"
    "|profiling.*|expose-.*|unix-bind|server-state-.*|load-server-state.*|stats (timeout|maxconn|bind-process)"
    "|quiet|debug|zero-warning|insecure-.*|h1-case-.*|limited-quic|numa-cpu-mapping|pp2-.*|set-dumpable"
    "|strict-limits|grace|uid|gid|external-check|ssl-server-verify|httpclient.*|default-path"
    "|mworker-.*": "of HAProxy's own process",
    "log|log-tag|log-send-hostname|(no )?option (httplog|tcplog|dontlognull|dontlog-normal|log-separate-errors"
    "|logasap|log-health-checks|socket-stats|httpslog|contstats)|declare.*|capture.*|(http"
    "|tcp)-(request|response) .*capture"
    "|http-(request|response) set-log-level|option nolinger": "the log goes to stderr, as JSON or text ([log])",
    "(no )?(default )?option (http-keep-alive|prefer-last-server|http-buffer-request|http-use-htx|abortonclose"
    "|splice-.*|tcpka|clitcpka|srvtcpka|tcp-smart-.*|http-no-delay|http-ignore-probes"
    "|http-use-proxy-header|idle-close-on-response"
    "|accept-invalid-.*|h1-case-.*|checkcache|independent-streams|disable-h2-upgrade|forceclose|http-tunnel"
    "|http-pretend-keepalive|transparent)": "the protocol is handled without settings",
    "compression (offload|type|direction|minsize-.*)": "`compress` knows what to compress, once",
    "stats .*|bind-process|id|enabled|guid|fullconn|max-keep-alive-queue|hash-balance-factor|hash-preserve.*"
    "|unique-id-header|dispatch-.*|max-session-srv-conns|http-no-delay|force-persist|ignore-persist": "done without a "
    "setting",
    "resolve_retries|timeout (resolve|retry|tarpit|check-.*)|hold .*|hold|accepted_payload_size|parse-resolv-conf"
    "|max-age|process-vary|max-secondary-entries": "names are looked up again as their TTL says; the cache heeds what "
    "servers say",
    "(http|tcp)-(request|response|after-response) (set-(var|nice|mark|tos|priority-.*"
    "|bandwidth-limit|fc-.*|bc-.*|dst.*)"
    "|unset-var|sc-.*|wait-for-body|normalize-uri|strict-mode|disable-l7-retry|do-resolve|allow|accept|set-var-fmt)"
    "|(http|tcp)-(request|response) set-var.*": "without effect by itself",
    "tcp-request content (accept|reject)|tcp-response .*": "what is needed of a connection is read without a rule",
    "http-check (disable-on-404|set-var|unset-var|comment)|tcp-check (comment|set-var|unset-var)": "",
}
"""Patterns of keywords, and why they are not needed. An empty text: it is a gap after all."""

_NEAREST: Mapping[str, str] = {
    "errorfile|errorfiles|errorloc.*|http-error|http-errors": "errors of the balancer are a short page, and those of "
    "servers pass as they came",
    "log-format.*|unique-id-format|log-steps|error-log-format": "one JSON object a line, with fixed fields: "
    "`http.request` and `connection.closed`",
    "peers|peer|table": "tables are not shared: strategies that hash, and signed cookies, need none",
    "mailers|mailer|email-alert": "`[admin]` has metrics for alerts, and the log one event for each change of a server",
    "program|command": "a unit of the service manager",
    "ring|log-forward|log-profile|traces": "the log goes to stderr: the service manager passes it on",
    "lua-.*|filter.*|http-(request|response) (lua|send-spoe-group|use-service).*"
    "|spoe-.*": "programs cannot be run in a request: `forward_auth` asks one first",
    "fcgi-app|use-fcgi-app": "servers must speak HTTP: run a web server in front of the program",
    "stick.*|appsession|persist.*": '`sticky = { cookie = "NAME" }`, or `consistent-hash` by client, header or cookie',
    "http-(request|response) replace-.*|reqrep|reqirep|rsprep|rspirep": "`set` and `remove` of headers",
    "(req|rsp)i?(add|del|deny|allow|pass|tarpit).*"
    "|block": "`http-request` and `http-response` replaced it in HAProxy, too",
    "http-request set-src.*": "`trusted_proxies` of the listener: the client is whom they name in X-Forwarded-For",
    "http-request (set-method|set-uri|set-query|set-pathq)": "`strip_prefix` and `add_prefix` of a route",
    "http-response (deny|return|redirect|set-status|track-.*|set-timeout)": "responses of servers pass as they came",
    "http-request (early-hint|set-timeout|pause|wait-for-handshake|reject|set-bandwidth-limit)": "`limit_rate` of a "
    "route, and timeouts of listeners and pools",
    "http-(request|response) (add|del|set)-(acl|map)": "routes are in the file: reload it",
    "rate-limit sessions": "`rate_per_source` of a listener limits each client",
    "monitor fail": "/readyz of `[admin]` tells whether servers are left",
    "use-server": "a route to a pool of that server",
    "server": "`[pools.NAME.servers]`",
    "dispatch": "a pool with one server",
    "http-check.*|tcp-check.*": "checks are one request, or steps of `send` and `expect`",
    "(no )?option http_proxy": 'mode `"forward"`',
    "option .*originalto": "servers do not get the address that the client came to",
    "setenv|presetenv|resetenv|unsetenv": "`${NAME}` is not replaced: write the values",
}
"""Patterns of keywords without a counterpart, and what comes nearest."""


def why_not_needed(name: str) -> str | None:
    """Return why a keyword is not needed; None if it is not one of these."""
    return text_about(name, _NOT_NEEDED) or None


def nearest(name: str) -> str:
    """Return what comes nearest to a keyword that has no counterpart."""
    return text_about(name, _NEAREST) or "nothing comes near"
