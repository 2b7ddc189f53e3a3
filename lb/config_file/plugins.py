"""Strategies and probes as the configuration names them: known, with options that they know, and willing to start."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Protocol

from lb.config_file.table import Table
from lb.config_file.values import plain
from lb.model import PluginSpec, Secret

__all__ = ["Registry", "read_plugin"]


class Registry(Protocol):
    """What ``strategies.registry`` and ``healthcheck.registry`` have in common. Both functions raise ValueError."""

    def load(self, name: str) -> Callable[..., object]:
        """The class of that name."""

    def create(self, spec: PluginSpec) -> object:
        """An object of it, or what is wrong with the options (its name comes first where one is to blame)."""


def read_plugin(registry: Registry, name: str, named_at: str, table: Table) -> PluginSpec:
    """The plug-in of that name, with the keys of ``table`` that nobody else has asked for as its options.

    They are tried out by making one, so whatever its constructor minds is a complaint about the configuration.
    """
    try:
        plugin = registry.load(name)
        parameters = inspect.signature(plugin).parameters.values()
    except ValueError as error:
        table.complain(str(error), named_at)
        return PluginSpec(name)
    named = {each.name: each for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters)
    errors_before = len(table.errors)
    given = [key for key in table.unknown() if takes_any or key in named]
    options = [(key, table.value(key, plain)) for key in sorted(given)]
    for option, parameter in named.items():
        if parameter.default is parameter.empty and option not in given:
            table.complain(f"missing, {name!r} needs it", table.at(option))
    complete = len(table.errors) == errors_before
    table.known.update(named)
    table.finish()
    secrets = getattr(plugin, "secrets", ())
    spec = PluginSpec(name, tuple((key, Secret(value) if key in secrets else value) for key, value in options))
    if complete:
        _try_out(registry, spec, table, named)
    return spec


def _try_out(registry: Registry, spec: PluginSpec, table: Table, named: Collection[str]) -> None:
    """Make one. A constructor complains of one option at a time: so again without that one, for what else is wrong."""
    complained = False
    while True:
        try:
            registry.create(spec)
        except ValueError as error:
            word, _, message = str(error).partition(" ")
            option = word.removesuffix(":")
            others = tuple(pair for pair in spec.options if pair[0] != option)
            if others != spec.options:
                table.complain(message, table.at(option))
                spec, complained = PluginSpec(spec.name, others), True
                continue
            if not complained and option in named:
                table.complain(message, table.at(option))
            elif not complained:
                table.complain(str(error))
        except Exception as error:  # noqa: BLE001  somebody else's constructor: it may raise anything
            table.complain(f"{spec.name!r} does not start: {type(error).__name__}: {error}")
        return
