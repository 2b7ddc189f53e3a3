"""Errors of the network in the words that logs, status and tests use."""

from __future__ import annotations

import errno
import os
import ssl

__all__ = ["EXHAUSTED", "describe_error"]

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say that this host is short of descriptors or memory now, for whatever. From accept(2) and pipe(2)."""

WORDS = {
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
    errno.ECANCELED: "server removed",  # by a reload, while it was connected to
}


def describe_error(error: OSError) -> str:
    """A short text without numbers, the same for the same cause: ``connection refused``, ``timed out`` …"""
    if isinstance(error, ssl.SSLError):
        return _describe_tls(error)
    if error.errno in WORDS:
        return WORDS[error.errno]
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error) or type(error).__name__


def _describe_tls(error: ssl.SSLError) -> str:
    """``certificate verify failed: certificate has expired``, ``TLS: wrong version number``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message.removesuffix('.')}"
    if error.reason is not None:
        return f"TLS: {error.reason.lower().replace('_', ' ')}"
    return f"TLS: {error.strerror or error}"
