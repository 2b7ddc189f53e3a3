"""Builders for configuration in tests."""

from __future__ import annotations

import attrs

from lb.model import ListenerSpec, TcpSettings

__all__ = ["SETTINGS", "listener_spec"]

SETTINGS = {field.name for field in attrs.fields(TcpSettings)}
"""The keys of mode tcp."""


def listener_spec(name, bind, pool, **keys):
    """Make a listener of mode tcp from flat keys, as in the configuration file."""
    settings = {key: value for key, value in keys.items() if key in SETTINGS}
    others = {key: value for key, value in keys.items() if key not in SETTINGS}
    return ListenerSpec(name, bind, TcpSettings(pool, **settings), **others)
