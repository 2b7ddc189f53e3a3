"""What is known of nginx's directives: the key that each becomes, why one is not needed, what comes nearest to one."""

from __future__ import annotations

from collections.abc import Mapping

from lb.tools.migrate.word_patterns import text_about

__all__ = ["WORDS", "nearest", "why_not_needed"]

_LISTENER, _ROUTE, _POOL = "listeners.NAME", "listeners.NAME.routes", "pools.NAME"
_CACHE, _LIVE = f"{_ROUTE}.cache", "media.live.NAME"

WORDS: Mapping[str, str] = {
    # the process
    "user": "process.user",
    "worker_processes": "process.workers",
    # blocks
    "http": "listeners",
    "stream": "listeners",
    "rtmp": "listeners",
    "server": _LISTENER,
    "location": _ROUTE,
    "upstream": _POOL,
    "application": _LIVE,
    "if": _ROUTE,
    "map": f"{_LISTENER}.sni",
    "limit_except": f"{_ROUTE}.methods",
    "types": "",
    "events": "",
    # listeners
    "listen": f"{_LISTENER}.bind",
    "server_name": f"{_ROUTE}.host",
    "ssl": f"{_LISTENER}.tls",
    "http2": f"{_LISTENER}.h2c",
    "ssl_certificate": f"{_LISTENER}.tls.certificate",
    "ssl_certificate_key": f"{_LISTENER}.tls.key",
    "ssl_protocols": f"{_LISTENER}.tls.min_version",
    "ssl_client_certificate": f"{_LISTENER}.tls.client_ca",
    "ssl_verify_client": f"{_LISTENER}.tls.client_certificate",
    "ssl_alpn": f"{_LISTENER}.tls.alpn",
    "ssl_preread": f"{_LISTENER}.sni",
    "allow": f"{_LISTENER}.allow",
    "deny": f"{_LISTENER}.deny",
    "limit_conn": f"{_LISTENER}.max_per_source",
    "limit_conn_zone": f"{_LISTENER}.max_per_source",
    "set_real_ip_from": f"{_LISTENER}.trusted_proxies",
    "real_ip_header": f"{_LISTENER}.trusted_proxies",
    "client_max_body_size": f"{_LISTENER}.max_body",
    "keepalive_timeout": f"{_LISTENER}.keep_alive",
    "client_header_timeout": f"{_LISTENER}.header_timeout",
    "client_body_timeout": f"{_LISTENER}.idle_timeout",
    "send_timeout": f"{_LISTENER}.idle_timeout",
    "large_client_header_buffers": f"{_LISTENER}.max_header",
    "access_log": f"{_LISTENER}.access_log",
    "preread_timeout": f"{_LISTENER}.header_timeout",
    "proxy_protocol_timeout": f"{_LISTENER}.header_timeout",
    "proxy_timeout": f"{_LISTENER}.idle_timeout",
    "proxy_upload_rate": f"{_LISTENER}.bandwidth",
    "proxy_download_rate": f"{_LISTENER}.bandwidth",
    # routes
    "proxy_pass": f"{_ROUTE}.pool",
    "grpc_pass": f"{_ROUTE}.pool",
    "root": f"{_ROUTE}.files",
    "alias": f"{_ROUTE}.files",
    "index": f"{_ROUTE}.files",
    "try_files": f"{_ROUTE}.files",
    "return": f"{_ROUTE}.redirect",
    "rewrite": f"{_ROUTE}.strip_prefix",
    "proxy_set_header": f"{_ROUTE}.request_headers",
    "grpc_set_header": f"{_ROUTE}.request_headers",
    "add_header": f"{_ROUTE}.response_headers",
    "proxy_hide_header": f"{_ROUTE}.response_headers",
    "expires": f"{_ROUTE}.response_headers",
    "default_type": f"{_ROUTE}.response_headers",
    "set": "",
    "gzip": f"{_ROUTE}.compress",
    "brotli": f"{_ROUTE}.compress",
    "zstd": f"{_ROUTE}.compress",
    "limit_req_zone": f"{_ROUTE}.rate",
    "limit_req": f"{_ROUTE}.rate",
    "limit_rate": f"{_ROUTE}.limit_rate",
    "limit_rate_after": f"{_ROUTE}.limit_rate_after",
    "auth_basic": "users.NAME.realm",
    "auth_basic_user_file": "users.NAME.file",
    "auth_request": f"{_ROUTE}.forward_auth",
    "auth_request_set": f"{_ROUTE}.auth_headers",
    # caches
    "proxy_cache_path": "caches.NAME",
    "proxy_cache": f"{_CACHE}.zone",
    "proxy_cache_valid": f"{_CACHE}.valid",
    "proxy_cache_key": f"{_CACHE}.key",
    "proxy_cache_use_stale": f"{_CACHE}.use_stale",
    "proxy_cache_background_update": f"{_CACHE}.background_update",
    "proxy_cache_revalidate": f"{_CACHE}.revalidate",
    "proxy_cache_lock": f"{_CACHE}.collapse",
    "proxy_cache_min_uses": f"{_CACHE}.min_uses",
    "proxy_cache_bypass": f"{_CACHE}.bypass",
    "proxy_no_cache": f"{_CACHE}.no_store",
    "proxy_ignore_headers": f"{_CACHE}.ignore",
    "slice": f"{_CACHE}.slice",
    # pools
    "proxy_connect_timeout": f"{_POOL}.connect_timeout",
    "grpc_connect_timeout": f"{_POOL}.connect_timeout",
    "proxy_read_timeout": f"{_POOL}.http.response_timeout",
    "grpc_read_timeout": f"{_POOL}.http.response_timeout",
    "proxy_send_timeout": f"{_LISTENER}.idle_timeout",
    "grpc_send_timeout": f"{_LISTENER}.idle_timeout",
    "proxy_next_upstream": f"{_POOL}.http.retry_on",
    "proxy_next_upstream_tries": f"{_POOL}.retries",
    "proxy_bind": f"{_POOL}.source",
    "proxy_protocol": f"{_POOL}.send_proxy",
    "proxy_ssl": f"{_POOL}.tls",
    "proxy_ssl_verify": f"{_POOL}.tls.verify",
    "proxy_ssl_trusted_certificate": f"{_POOL}.tls.ca",
    "proxy_ssl_name": f"{_POOL}.tls.server_name",
    "proxy_ssl_server_name": f"{_POOL}.tls.server_name",
    "proxy_ssl_certificate": f"{_POOL}.tls.certificate",
    "proxy_ssl_certificate_key": f"{_POOL}.tls.key",
    "least_conn": f"{_POOL}.strategy",
    "ip_hash": f"{_POOL}.strategy",
    "hash": f"{_POOL}.strategy",
    "random": f"{_POOL}.strategy",
    "sticky": f"{_POOL}.sticky",
    "queue": f"{_POOL}.queue",
    "keepalive": f"{_POOL}.http.keep_alive",
    # live streams
    "live": _LIVE,
    "hls": f"{_ROUTE}.media",
    "dash": f"{_ROUTE}.media",
    "hls_path": f"{_ROUTE}.media",
    "dash_path": f"{_ROUTE}.media",
    "hls_fragment": f"{_LIVE}.segment",
    "dash_fragment": f"{_LIVE}.segment",
    "hls_playlist_length": f"{_LIVE}.window",
    "dash_playlist_length": f"{_LIVE}.window",
    "push": f"{_LIVE}.push",
    "pull": f"{_LIVE}.pull",
    "on_publish": f"{_LIVE}.on_publish",
    "on_publish_done": f"{_LIVE}.on_publish_done",
    "record": f"{_LIVE}.record",
}
"""The key for each directive that has one. NAME is that of a listener, a pool, a cache or an application."""

_NOT_NEEDED: Mapping[str, str] = {
    "worker_connections|worker_rlimit_.*|worker_cpu_affinity|worker_priority|worker_aio_requests|use|multi_accept"
    "|accept_mutex.*|timer_resolution|pcre_jit|thread_pool|daemon|master_process|pid|lock_file|working_directory"
    "|load_module|env|debug_.*|ssl_engine|worker_shutdown_timeout": "of nginx's own process",
    ".*_hash_(max|bucket)_size|.*_buffers?|.*_buffer_size|.*_buffers_size|.*_pool_size|.*_temp_path|.*_temp_file.*"
    "|client_body_in_.*|output_buffers|.*_zone_sync.*|proxy_(request_)?buffering|grpc_buffer.*": "memory is bounded "
    "without settings; bodies pass as they come",
    "sendfile.*|tcp_nopush|tcp_nodelay|aio.*|directio.*|read_ahead|open_file_cache.*|send_lowat|postpone_output"
    "|lingering_.*|reset_timedout_connection|proxy_socket_keepalive|grpc_socket_keepalive": "how bytes are moved",
    "log_format|error_log|log_not_found|log_subrequest|open_log_file_cache|rewrite_log|.*_log_level": "the log goes to "
    "stderr, as JSON or text ([log])",
    "ssl_ciphers|ssl_prefer_server_ciphers|ssl_session_.*|ssl_dhparam|ssl_ecdh_curve|ssl_buffer_size|ssl_verify_depth"
    "|ssl_early_data|ssl_trusted_certificate|ssl_handshake_timeout|proxy_ssl_(protocols|ciphers|session_reuse"
    "|verify_depth|conf_command)|grpc_ssl_.*": "OpenSSL's defaults for TLS 1.2 and 1.3",
    "types|types_hash.*|charset|charset_types|source_charset|override_charset": "types follow from the names of files",
    "gzip_.*|brotli_.*|zstd_.*": "`compress` knows what to compress; files that are compressed already are found",
    "proxy_http_version|http2_.*|chunked_transfer_encoding|keepalive_requests|keepalive_disable|keepalive_time"
    "|client_header_buffer_size|ignore_invalid_headers|underscores_in_headers|merge_slashes|msie_.*|http3.*"
    "|max_ranges|proxy_pass_header|proxy_force_ranges|proxy_headers_hash.*|port_in_redirect|absolute_redirect"
    "|server_name_in_redirect|max_errors|early_hints|connection_pool_size|proxy_ignore_client_abort": "the protocol is "
    "handled without settings",
    "server_tokens|etag|if_modified_since": "done without a setting",
    "resolver|resolver_timeout|zone": "names are looked up again by themselves; the state of servers is shared",
    "proxy_cache_lock_.*|proxy_cache_methods|proxy_cache_convert_head|proxy_cache_max_range_offset": "readers of an "
    "object that is being fetched read along; HEAD and ranges are answered from the cache",
    "real_ip_recursive": "the client is the last address that is not trusted",
    "proxy_half_close|preread_buffer_size|proxy_requests|proxy_responses": "done without a setting",
    "limit_req_status|limit_conn_status": "",
    "(fastcgi|uwsgi|scgi|memcached)_.*": "a part of the directive that ends in `_pass`",
    "internal": "not reachable for clients",
    "disable_symlinks": "links out of the directory are never followed",
    "proxy_next_upstream_timeout": "each attempt has its own limit",
    "hls_cleanup|hls_nested|dash_cleanup|dash_nested|hls_continuous|hls_sync|chunk_size|max_message|wait_key|wait_video"
    "|interleave|idle_streams|drop_idle_publisher|publish_notify|sync|meta|gop_cache|ping|ping_timeout|buflen"
    "|hls_type|timeout|out_queue|out_cork|ack_window|max_streams|hls_fragment_naming|hls_fragment_slicing": "how "
    "nginx-rtmp makes its files and moves its frames",
}
"""Patterns of directives, and why they are not needed."""

_NEAREST: Mapping[str, str] = {
    "(fastcgi|uwsgi|scgi|memcached)_pass": "servers must speak HTTP: run the program behind one, such as gunicorn or "
    "php-fpm's own web server, and name it as a pool",
    "sub_filter.*|ssi.*|addition_.*|add_before_body|add_after_body|image_filter.*|xslt_.*|xml_entities|gunzip"
    "|proxy_set_body|proxy_method|add_trailer|body_filter.*": "bodies are not changed: the server must do it",
    "proxy_redirect": "Location is passed on as it came: let the servers see the client's Host (`host_header`), or "
    "make relative ones",
    "proxy_cookie_.*": "Set-Cookie is passed on as it came: the server must set it",
    "error_page|proxy_intercept_errors|recursive_error_pages": "errors of servers are passed on as they came, and "
    "those of the balancer are a short page; `use_stale` of a cache serves the last good response",
    "autoindex.*|random_index": "directories are not listed",
    "stub_status|status|api|status_zone|rtmp_stat|rtmp_control|rtmp_.*": "`[admin]` has a dashboard, metrics and JSON",
    "secure_link.*": "`viewer_secret_file` of a route has links of another form",
    "mirror.*": "requests are not copied",
    "split_clients": "weights of servers in one pool",
    "geo|geoip.*": "`allow` and `deny` of listeners know networks",
    "map": "routes choose by host, path and method",
    "(js|perl|lua|njs).*|.*_by_lua.*": "programs cannot be run in a request: `forward_auth` asks one first",
    "dav_.*|create_full_put_path|min_delete_depth": "files are read only: a pool with a server for WebDAV",
    "mp4.*|flv|f4f.*|hls.*|vod.*": "`[media.vod]` serves films as HLS and DASH",
    "ssl_stapling.*|ssl_ocsp.*": "answers of OCSP are not attached: clients look up what they need",
    "ssl_crl|ssl_password_file|ssl_conf_command|ssl_reject_handshake|ssl_certificate_cache": "keys have no password; "
    "`client_ca` alone judges certificates of clients",
    "auth_jwt.*|auth_delay|satisfy|auth_oidc.*": "`auth` and `forward_auth` must both pass",
    "proxy_store.*": "`cache` of a route",
    "proxy_cache_purge": "`purge` of a cache, and `lb ctl cache purge`",
    "proxy_pass_request_.*": "requests are passed on as a whole",
    "userid.*|referer_.*|valid_referers|empty_gif|ancient_browser|modern_browser": "the server must do it",
    "health_check|match|check|check_.*": "`[pools.NAME.health]`",
    "least_time|fair|sticky_.*|ntlm|state": "`least-conn`, `sticky`, and `lb ctl`",
    "mail|imap_.*|pop3_.*|smtp_.*": "mode `tcp`",
    "exec.*|on_.*|notify_.*|play.*|hls_variant|dash_clock.*": "`on_publish` asks a program, `ladder` joins renditions",
    "more_.*": "`request_headers` and `response_headers` of a route",
    "break": "requests take one route",
    "limit_.*_dry_run": "limits apply or do not",
}
"""Patterns of directives without a counterpart, and what comes nearest."""


def why_not_needed(name: str) -> str | None:
    """Return why a directive is not needed; None if it is not one of these."""
    return None if name.endswith("_pass") else text_about(name, _NOT_NEEDED)


def nearest(name: str) -> str:
    """Return what comes nearest to a directive that has no counterpart."""
    return text_about(name, _NEAREST) or "nothing comes near"
