"""Links for viewers: what stands before the path of a route that has a ``viewer_secret_file``. Pure."""

from __future__ import annotations

import hmac

from lb.model.plugin import Secret

__all__ = ["link_signature", "viewer_link"]


def link_signature(secret: Secret, expires: bytes, path: bytes) -> str:
    """Return the signature of a link to a route's path."""
    assert isinstance(secret.value, bytes)  # noqa: S101 - of the configuration
    return hmac.new(secret.value, expires + path, "sha256").hexdigest()


def viewer_link(secret: Secret, path: str, expires: int) -> str:
    """Return ``/~<expires>.<hmac>``. ``expires`` is in seconds since 1970."""
    return f"/~{expires}.{link_signature(secret, str(expires).encode(), path.encode())}"
