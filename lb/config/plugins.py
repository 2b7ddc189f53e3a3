"""Read strategies and probes from the configuration: validate the name and options, and construct one to test them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from lb.config.tls import pem
from lb.model import PluginSpec, Secret
from lb.model.table import Table
from lb.model.values import plain, secret

__all__ = ["RegistryModule", "read_plugin"]


class RegistryModule(Protocol):
    """The interface of ``strategies.registry`` and ``healthcheck.registry``. Both functions raise ValueError."""

    def load(self, name: str) -> Callable[..., object]:
        """Return the class of that name."""

    def create(self, spec: PluginSpec) -> object:
        """Construct a plug-in. The message of a ValueError starts with the option's name if one option is wrong."""


def read_plugin(registry: RegistryModule, name: str, named_at: str, table: Table, directory: Path) -> PluginSpec:
    """Read a plug-in; its options are the keys of ``table`` that have not been read yet.

    Options that the plug-in declares to be PEM files become a :class:`PemSpec`; paths are relative to ``directory``.
    The plug-in is constructed once, so that errors of its constructor become configuration errors.
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
    secrets = getattr(plugin, "secrets", ())
    readers = dict.fromkeys(secrets, _secret_option) | dict.fromkeys(getattr(plugin, "pem_files", ()), pem(directory))
    options = [(key, table.value(key, readers.get(key, plain))) for key in sorted(given)]
    for option, parameter in named.items():
        if parameter.default is parameter.empty and option not in given:
            table.complain(f"missing, {name!r} needs it", table.at(option))
    complete = len(table.errors) == errors_before
    table.known.update(named)
    table.finish()
    spec = PluginSpec(name, tuple((key, Secret(value) if key in secrets else value) for key, value in options))
    if complete:
        _try_out(registry, spec, table, named)
    return spec


def _secret_option(value: object) -> object:
    """A plug-in option that may hold a secret."""
    return secret(value) if isinstance(value, str) else plain(value)


def _try_out(registry: RegistryModule, spec: PluginSpec, table: Table, named: Collection[str]) -> None:
    """Construct a plug-in. A constructor reports one bad option at a time: retry without it to find the others."""
    reported = False
    while True:
        try:
            registry.create(spec)
        except ValueError as error:
            first, _, message = str(error).partition(" ")
            option = first.removesuffix(":")
            others = tuple(pair for pair in spec.options if pair[0] != option)
            if others != spec.options:
                table.complain(message, table.at(option))
                spec, reported = PluginSpec(spec.name, others), True
                continue
            if not reported and option in named:
                table.complain(message, table.at(option))
            elif not reported:
                table.complain(str(error))
        except Exception as error:  # noqa: BLE001 - a third-party constructor may raise anything
            table.complain(f"{spec.name!r} does not start: {type(error).__name__}: {error}")
        return
