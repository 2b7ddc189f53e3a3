"""The settings of mode ``forward`` as configured: protocols, who may go where, parents; and the login at a parent."""

from __future__ import annotations

import ipaddress
from typing import Literal, TypeAlias

import attrs

from lb.model.cache import RouteCache
from lb.model.http import UsersSpec
from lb.model.plugin import Secret

__all__ = ["ForwardProtocol", "ForwardSettings", "ProxyLogin", "TargetRule"]

ForwardProtocol: TypeAlias = Literal["http", "socks5", "socks4"]


@attrs.frozen
class TargetRule:
    """An entry of ``allow_to`` or ``deny_to``: a host name or a network, and a port."""

    text: str
    """As configured."""
    host: str = ""
    """In lower case, without a dot at the end; ``*.example.com`` is a wildcard, ``*`` any target; empty: a network."""
    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None = None
    port: int = 0
    """0 = any."""

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class ForwardSettings:
    """The keys of mode ``forward``."""

    protocols: tuple[ForwardProtocol, ...] = ("http", "socks5")
    auth: UsersSpec | None = None
    connect_ports: tuple[int, ...] | None = (443,)
    """Ports that CONNECT and SOCKS may name; None = any, empty = none."""
    allow_to: tuple[TargetRule, ...] = ()
    """Empty = any target."""
    deny_to: tuple[TargetRule, ...] = ()
    private: bool = False
    """Whether addresses may be reached that are not globally reachable."""
    parents: str = ""
    """The pool of further proxies; empty = it connects itself."""
    source_address: str = ""
    """Where its connections come from; empty = the system's choice."""
    connect_timeout: float = 5.0
    """Seconds for all addresses of a name together."""
    idle_timeout: float = 600.0
    response_timeout: float = 60.0
    """Seconds from an absolute-form request until the response's head."""
    hide_client: bool = True
    cache: RouteCache | None = None
    """Of absolute-form requests."""
    keep_alive: float = 60.0
    """Seconds that an idle connection of an HTTP client stays open; 0 = one request a connection."""
    max_header: int = 32 * 1024
    max_body: int = 0
    """0 = no limit."""
    access_log: bool = True

    @property
    def pools(self) -> tuple[str, ...]:
        return (self.parents,) if self.parents else ()


@attrs.frozen
class ProxyLogin:
    """``[pools.NAME.proxy]``: who the balancer is at the proxies of a pool."""

    user: str
    password: Secret
    """The content of ``password_file``."""
