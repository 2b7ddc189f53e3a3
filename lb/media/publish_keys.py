"""Who may publish: publishers that know the key of a stream."""

from __future__ import annotations

import hmac

from lb.model import LiveSpec

__all__ = ["may_publish"]


def may_publish(app: LiveSpec, name: str, key: str) -> bool:
    """Return whether keys let a publisher in. Without any, the application's hook decides alone, if there is one."""
    return has_key(app, name, key) if app.publish else app.on_publish is not None


def has_key(app: LiveSpec, name: str, key: str) -> bool:
    """Return whether this is the key of a stream. A key for the very name goes before ``*``."""
    keys = [each for each in app.publish if each.name == name] or [each for each in app.publish if each.name == "*"]
    right = False
    for each in keys:
        assert isinstance(each.key.value, str)  # noqa: S101 - of the configuration
        right |= hmac.compare_digest(each.key.value.encode(), key.encode())
    return right
