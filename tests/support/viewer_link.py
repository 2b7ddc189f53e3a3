"""Links for viewers, made as the documentation says."""

from __future__ import annotations

import hashlib
import hmac

__all__ = ["viewer_link"]


def viewer_link(secret: bytes, path: str, expires: int) -> str:
    """Return what stands before the path of a route."""
    return f"/~{expires}.{hmac.new(secret, f'{expires}{path}'.encode(), hashlib.sha256).hexdigest()}"
