"""What is known of Squid's directives: the key that each becomes, why one is not needed, what comes nearest to one."""

from __future__ import annotations

from collections.abc import Mapping

from lb.tools.migrate.word_patterns import text_about

__all__ = ["WORDS", "nearest", "why_not_needed"]

_LISTENER, _POOL = "listeners.NAME", "pools.NAME"
_CACHE = f"{_LISTENER}.cache"

WORDS: Mapping[str, str] = {
    "http_port": f"{_LISTENER}.bind",
    "https_port": f"{_LISTENER}.tls",
    "acl": f"{_LISTENER}.allow, deny, allow_to, deny_to, connect_ports, auth",
    "http_access": f"{_LISTENER}.allow, deny, allow_to, deny_to, connect_ports, auth",
    "auth_param": "users.NAME",
    "cache_peer": _POOL,
    "never_direct": f"{_LISTENER}.parents",
    "cache_mem": "caches.NAME.memory",
    "cache_dir": "caches.NAME.path, max_size",
    "maximum_object_size": f"{_CACHE}.max_object",
    "refresh_pattern": f"{_CACHE}.valid",
    "cache": f"{_LISTENER}.cache",
    "collapsed_forwarding": f"{_CACHE}.collapse",
    "forwarded_for": f"{_LISTENER}.hide_client",
    "tcp_outgoing_address": f"{_LISTENER}.source_address",
    "connect_timeout": f"{_LISTENER}.connect_timeout",
    "read_timeout": f"{_LISTENER}.response_timeout, idle_timeout",
    "request_timeout": f"{_LISTENER}.header_timeout",
    "client_idle_pconn_timeout": f"{_LISTENER}.keep_alive",
    "request_header_max_size": f"{_LISTENER}.max_header",
    "request_body_max_size": f"{_LISTENER}.max_body",
    "client_ip_max_connections": f"{_LISTENER}.max_per_source",
    "access_log": f"{_LISTENER}.access_log",
    "delay_pools": f"{_LISTENER}.bandwidth",
    "delay_class": f"{_LISTENER}.bandwidth",
    "delay_parameters": f"{_LISTENER}.bandwidth",
    "delay_access": f"{_LISTENER}.bandwidth",
    "cache_effective_user": "process.user",
    "cache_effective_group": "process.group",
    "workers": "process.workers",
    "shutdown_lifetime": "process.stop_timeout",
}
"""The key for each directive that has one. NAME is that of a listener, a pool or a cache."""

_NOT_NEEDED: Mapping[str, str] = {
    "coredump_dir|pid_filename|visible_hostname|unique_hostname|hostname_aliases|chroot|cache_mgr"
    "|mail_.*|umask|max_filedescriptors"
    "|announce_.*|debug_options|cache_log|logfile_rotate|mime_table|log_.*|logformat|strip_query_terms|netdb_filename"
    "|cpu_affinity_map|error_directory|err_.*|email_err_data|icon_directory|httpd_suppress_version_string|buffered_logs"
    "|cache_store_log|cache_swap_log|unlinkd_program|pinger_.*|diskd_program|visible_.*"
    "|service_name|dead_peer_timeout": "of Squid's own process, its files and pages",
    "icp_.*|htcp_.*|snmp_.*|udp_.*|mcast_.*|digest_.*|query_icmp|test_reachability|peer_connect_timeout|minimum_icp.*"
    "|maximum_icp.*|half_closed_clients|client_db|pconn_.*|server_.*pconn.*|client_persistent.*"
    "|server_persistent.*|pipeline_.*"
    "|dns_.*|hosts_file|ipcache_.*|fqdncache_.*|append_domain|ignore_unknown_nameservers"
    "|positive_dns_ttl|negative_dns_ttl"
    "|detect_broken_pconn|tcp_recv_bufsize|forward_timeout|forward_max_tries|cache_swap_low|cache_swap_high|memory_.*"
    "|cache_replacement_policy|maximum_object_size_in_memory|store_.*|max_open_disk_fds"
    "|quick_abort_.*|range_offset_limit"
    "|read_ahead_gap|negative_ttl|reload_into_ims|refresh_all_ims|vary_ignore_expire|max_stale"
    "|offline_mode|via|shared_.*"
    "|client_lifetime|persistent_.*|client_request_buffer_max_size|eui_lookup|relaxed_header_parser"
    "|nonhierarchical_direct"
    "|hierarchy_stoplist|prefer_direct|request_entities|host_verify_strict|client_dst_passthru"
    "|sslproxy_.*|tls_outgoing_.*"
    "|balance_on_multiple_ip|retry_on_error|as_whois_server|uri_whitespace|high_.*|reply_header_max_size|write_timeout"
    "|pconn_timeout|minimum_expiry_time|buffered_.*|check_hostnames|allow_underscore"
    "|minimum_object_size": "done without a setting",
    "log_access|stats_collection|log_icp_queries": "the log has a line for each request and tunnel",
}
"""Patterns of directives, and why they are not needed."""

_NEAREST: Mapping[str, str] = {
    "ssl_bump|sslcrtd_.*|ssl_.*|sslpassword_.*|sslproxy_cert.*|on_unsupported_protocol": "TLS in tunnels is not opened",
    "url_rewrite_.*|redirect_.*|store_id_.*|location_rewrite_.*|redirector_.*": "URLs are passed on as they came",
    "icap_.*|ecap_.*|adaptation_.*|loadable_modules": "bodies pass as they came",
    "external_acl_type|ident_.*|authenticate_.*|basic_.*": "`auth` with a file of users",
    "always_direct|cache_peer_access|cache_peer_domain|miss_access|neighbor_type_domain": "all connections go through "
    "`parents`, or none: a listener for each",
    "request_header_access|reply_header_access|request_header_replace|reply_header_replace|request_header_add"
    "|reply_header_add|header_.*|follow_x_forwarded_for": "`hide_client`; other fields pass as they came",
    "reply_body_max_size|http_reply_access|icp_access|htcp_access|snmp_access"
    "|ident_lookup_access": "responses are not judged",
    "deny_info": "refusals are a short page, and `Proxy-Status` says why",
    "tcp_outgoing_.*|qos_.*|clientside_.*|mark_.*": "`source_address` is one for all",
    "ftp_.*|gopher_.*|wccp.*|esi_.*|wais_.*": "HTTP, CONNECT and SOCKS alone",
    "include": "write what it includes into the file",
    "max_stale.*|cache_miss_revalidate|acl_uses_indirect_client|send_hit|store_miss": "`[listeners.NAME.cache]`",
    "delay_.*|client_delay_.*|response_delay_.*": "`bandwidth` of a listener: of a connection, a source, or all",
    "cachemgr_passwd": "`token_file` of `[admin]`",
}
"""Patterns of directives without a counterpart, and what comes nearest."""


def why_not_needed(name: str) -> str | None:
    """Return why a directive is not needed; None if it is not one of these."""
    return text_about(name, _NOT_NEEDED)


def nearest(name: str) -> str:
    """Return what comes nearest to a directive that has no counterpart."""
    return text_about(name, _NEAREST) or "nothing comes near"
