"""Why a target was not reached: what clients, records and metrics are told of it."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from lb.events import Attempt, Reason
from lb.forward.parent_handshake import ASKS_FOR_LOGIN
from lb.forward.rules import RefusalKind, TargetRefusal
from lb.forward.socks import SocksReply
from lb.net.errors import ERROR_TEXTS
from lb.proxy.connector import OWN_LISTENER

__all__ = ["LOOP", "FailureReason", "ForwardFailure", "of_attempts", "of_connect", "of_parents", "of_refusal"]

FailureReason: TypeAlias = Literal["denied_target", "resolve_failed", "connect_failed", "no_server"]
"""Reasons that records of connections and of requests have in common."""


@attrs.frozen
class ForwardFailure:
    """A target that was not reached."""

    reason: FailureReason
    status: int
    """Of the HTTP response."""
    error: str
    """The error type of Proxy-Status (RFC 9209)."""
    socks: SocksReply
    text: str
    """For the client: it says neither rules nor addresses."""

    @property
    def result(self) -> str:
        """For metrics: the reason, or what a connect failed with."""
        return self.reason if self.reason != "connect_failed" else _RESULTS.get(self.error, self.reason)


_RESULTS = {
    "connection_refused": "refused",
    "destination_ip_unroutable": "unreachable",
    "connection_timeout": "timeout",
}

LOOP = ForwardFailure(
    "denied_target", 508, "proxy_loop_detected", SocksReply.NOT_ALLOWED, "the request would go round in a circle"
)

_REFUSALS: Mapping[RefusalKind, tuple[str, str]] = {
    "port": ("http_request_denied", "the proxy does not allow this port"),
    "deny_to": ("http_request_denied", "the proxy denies this target"),
    "private": ("destination_ip_prohibited", "the target's address is private"),
    "allow_to": ("http_request_denied", "the proxy allows other targets only"),
}


def of_refusal(refusal: TargetRefusal) -> ForwardFailure:
    """Return the failure of a target that the rules refuse."""
    error, text = _REFUSALS[refusal.kind]
    return ForwardFailure("denied_target", 403, error, SocksReply.NOT_ALLOWED, text)


def of_connect(error: OSError) -> ForwardFailure:
    """Return the failure of a connect to the last of a target's addresses."""
    return _CONNECTS.get(error.errno or 0, _CONNECT)


_CONNECT = ForwardFailure(
    "connect_failed", 502, "destination_unavailable", SocksReply.GENERAL, "cannot connect to the target"
)
_REFUSED = ForwardFailure(
    "connect_failed", 502, "connection_refused", SocksReply.REFUSED, "the target refused the connection"
)
_TIMEOUT = ForwardFailure(
    "connect_failed", 504, "connection_timeout", SocksReply.TTL_EXPIRED, "the target did not answer in time"
)
_NO_NETWORK = ForwardFailure(
    "connect_failed", 502, "destination_ip_unroutable", SocksReply.NETWORK_UNREACHABLE, "the target is unreachable"
)
_NO_HOST = attrs.evolve(_NO_NETWORK, socks=SocksReply.HOST_UNREACHABLE)
_CONNECTS = {
    errno.ECONNREFUSED: _REFUSED,
    errno.ECONNRESET: _REFUSED,
    errno.ETIMEDOUT: _TIMEOUT,
    errno.ENETUNREACH: _NO_NETWORK,
    errno.EADDRNOTAVAIL: _NO_NETWORK,
    errno.EHOSTUNREACH: _NO_HOST,
    errno.EHOSTDOWN: _NO_HOST,
}
_BY_TEXT = {ERROR_TEXTS[code]: failure for code, failure in _CONNECTS.items() if code in ERROR_TEXTS}
_BY_TEXT[OWN_LISTENER] = LOOP


def of_attempts(attempts: Sequence[Attempt]) -> ForwardFailure:
    """Return the failure of a request whose connects have failed."""
    return _BY_TEXT.get(attempts[-1].error, _CONNECT) if attempts else _CONNECT


def of_parents(reason: Reason, attempts: Sequence[Attempt]) -> ForwardFailure:
    """Return the failure of a target that was not reached through any parent."""
    if reason != "connect_failed" or not attempts:
        return _NO_PARENT
    error = attempts[-1].error
    return _PARENT_ASKS if error == ASKS_FOR_LOGIN else _BY_TEXT.get(error, _PARENT)


_NO_PARENT = ForwardFailure(
    "no_server", 503, "destination_unavailable", SocksReply.GENERAL, "no parent proxy is available"
)
_PARENT = ForwardFailure(
    "connect_failed", 502, "destination_unavailable", SocksReply.GENERAL, "the parent proxy cannot connect"
)
_PARENT_ASKS = ForwardFailure(
    "connect_failed", 502, "proxy_configuration_error", SocksReply.GENERAL, "the parent proxy refuses this proxy"
)
