"""Texts for network errors, as logs, status and tests show them."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Literal, TypeAlias

__all__ = [
    "ERROR_TEXTS",
    "EXHAUSTED",
    "LOCAL_ERRORS",
    "MissingSourceError",
    "UnresolvedError",
    "UnresolvedKind",
    "describe_error",
    "is_local_error",
]

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that mean this host is out of descriptors or memory. From accept(2) and pipe(2)."""

LOCAL_ERRORS = EXHAUSTED | {errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM, errno.ECANCELED}
"""Errors of a connect that this host caused, not the server: no resources, no permission, or called off. From
connect(2); EPERM is a rule of this host, such as a firewall's."""


def is_local_error(error: OSError) -> bool:
    """Return True if this host caused an error, so that it says nothing about the server.

    The numbers of TLS errors are OpenSSL's own: 1, for a failed handshake, is that of EPERM.
    """
    return error.errno in LOCAL_ERRORS and not isinstance(error, ssl.SSLError)


ERROR_TEXTS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.ETIMEDOUT: "timed out",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.EAGAIN: "backlog full",  # of a unix socket, connect(2)
    errno.ENOENT: "no such socket",
    errno.EMFILE: "out of file descriptors",
    errno.ENFILE: "out of file descriptors",
    errno.EADDRNOTAVAIL: "out of local ports",
    errno.ECANCELED: "server removed",  # by a reload, during the connect
}


class MissingSourceError(OSError):
    """A configured source address that this host does not have. The text is for people."""


UnresolvedKind: TypeAlias = Literal["not_found", "timeout", "failed"]
"""Name servers say that there is no such name or that it has no address, do not answer in time, or fail otherwise."""


class UnresolvedError(OSError):
    """A look-up of a host name that gives no answer. The text is for people."""

    def __init__(self, kind: UnresolvedKind, text: str) -> None:
        super().__init__(text)
        self.kind: UnresolvedKind = kind


def describe_error(error: OSError) -> str:
    """Return a short text without numbers, stable for each cause: ``connection refused``, ``timed out`` …"""
    if isinstance(error, ssl.SSLError):
        return _describe_tls(error)
    if isinstance(error, MissingSourceError):
        return str(error.strerror)
    if error.errno in ERROR_TEXTS:
        return ERROR_TEXTS[error.errno]
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    if isinstance(error, socket.gaierror):  # it has numbers of its own
        return str(error.strerror).lower()
    return str(error) or type(error).__name__


def _describe_tls(error: ssl.SSLError) -> str:
    """Return, for example, ``certificate verify failed: certificate has expired`` or ``TLS: wrong version number``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.removesuffix('.')}"
    if error.reason is not None:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return f"TLS: {error.strerror or error}"
