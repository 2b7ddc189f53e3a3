"""Parse a strategy on a command line: ``NAME KEY=VALUE ...``, with values as in the configuration file."""

from __future__ import annotations

from collections.abc import Sequence

import tomli

from lb.model import PluginSpec
from lb.model.values import plain

__all__ = ["strategy_spec"]


def strategy_spec(name: str, options: Sequence[str]) -> PluginSpec:
    """Return the strategy with its options. Raises ValueError for an invalid option."""
    return PluginSpec(name, tuple(map(_option, options)))


def _option(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError(f"an option must be KEY=VALUE, not {text!r}")
    try:
        return key, plain(tomli.loads(f"value = {value}")["value"])
    except tomli.TOMLDecodeError:
        hint = f"; a string needs its quotes, as in '{key}=\"{value}\"'" if value.isidentifier() else ""
        raise ValueError(f"{key}: {value!r} is not a TOML value{hint}") from None
