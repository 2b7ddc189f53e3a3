"""The hash by which balancers and people see whether two configuration files are the same."""

from __future__ import annotations

import hashlib

__all__ = ["config_hash"]

HASH_DIGITS = 12


def config_hash(content: bytes) -> str:
    """Return the first 12 hexadecimal digits of a file's SHA-256: those that ``sha256sum`` prints first."""
    return hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
