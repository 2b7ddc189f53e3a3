"""Texts for what HTTP clients of the balancer raise."""

from __future__ import annotations

import ssl

from lb.net.errors import describe_error

__all__ = ["http_failure_text"]


def http_failure_text(failure: BaseException) -> str:
    """Return a short text without the URL, which may hold a login: that of the system's error behind it, if any."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, OSError) and (cause.errno is not None or isinstance(cause, ssl.SSLError)):
            return describe_error(cause)
        attempts = cause.exceptions if isinstance(cause, BaseExceptionGroup) else ()  # one for each address
        cause = attempts[0] if attempts else cause.__cause__ or cause.__context__
    name = type(failure).__name__
    return {"RemoteProtocolError": "no answer of HTTP", "ConnectError": "cannot connect"}.get(name, name)
