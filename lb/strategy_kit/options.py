"""A strategy as a command line names it: ``NAME KEY=VALUE ...``, the values as in the configuration file."""

from __future__ import annotations

from collections.abc import Sequence

import tomli

from lb.config_file.values import plain
from lb.model import PluginSpec

__all__ = ["strategy_spec"]


def strategy_spec(name: str, options: Sequence[str]) -> PluginSpec:
    """Raises ValueError for an option that is none."""
    return PluginSpec(name, tuple(map(_option, options)))


def _option(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option must be KEY=VALUE, not {text!r}")
    try:
        return key, plain(tomli.loads(f"value = {value}")["value"])
    except tomli.TOMLDecodeError:
        hint = f"; a string needs its quotes, as in '{key}=\"{value}\"'" if value.isidentifier() else ""
        raise ValueError(f"{key}: {value!r} is no TOML value{hint}") from None
