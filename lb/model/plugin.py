"""Plug-ins (strategies, probes, modes) as configured, and the registry that finds them by name."""

from __future__ import annotations

import importlib
import inspect
import operator
from collections.abc import Mapping
from typing import Generic, TypeVar

import attrs

from lb.model.plugin_modules import import_plugin
from lb.model.suggestion import did_you_mean

__all__ = ["PluginSpec", "Registry", "Secret"]


@attrs.frozen(repr=False)
class Secret:
    """A secret value. A printed configuration shows ``(hidden)`` in its place."""

    value: object

    def __repr__(self) -> str:
        return "(hidden)"


@attrs.frozen
class PluginSpec:
    """A strategy or a probe: its name (built-in, entry point or ``module:Name``) and its constructor options."""

    name: str
    options: tuple[tuple[str, object], ...] = ()
    """Options that the plug-in declares secret are wrapped in :class:`Secret`; :meth:`Registry.create` unwraps them."""

    def __str__(self) -> str:
        return self.name


T = TypeVar("T")


@attrs.frozen
class Registry(Generic[T]):
    """All plug-ins of one kind. Every error is a ValueError with the reason."""

    kind: str
    """The kind in messages, such as ``probe``."""
    base: type[T]
    """The base class of every plug-in."""
    group: str
    """The group of the entry points, such as ``lb.probes``."""
    built_in: Mapping[str, str]
    """``module:Name`` by name."""

    def names(self) -> list[str]:
        """Return the names that need no colon: the built-ins, then the installed entry points."""
        return list(dict.fromkeys([*self.built_in, *sorted(self._installed())]))

    def load(self, name: str) -> type[T]:
        """Return the class with this name; a built-in has precedence. Raises ValueError if there is no such class."""
        place = name if ":" in name else self.built_in.get(name) or self._installed().get(name)
        if place is None:
            known = self.names()
            raise ValueError(f"unknown {self.kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known)}")
        found = self._import(name, place)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__qualname__}"
            raise ValueError(f"{self.kind} {name!r}: {place} is not a subclass of {base}")  # noqa: TRY004
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise ValueError(f"{self.kind} {name!r}: {place} does not define {missing}")
        return found

    def create(self, spec: PluginSpec) -> T:
        """Create the plug-in object. Raises ValueError as :meth:`load` does, or for an invalid option."""
        plugin = self.load(spec.name)
        options = {key: value.value if isinstance(value, Secret) else value for key, value in spec.options}
        parameters = inspect.signature(plugin).parameters.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            for option in options:
                if option not in known:
                    having = f"it has {', '.join(known)}" if known else "it has none"
                    raise ValueError(f"{spec.name} has no option {option!r}{did_you_mean(option, known)}; {having}")
        try:
            return plugin(**options)
        except TypeError as error:  # a missing option, or one of the wrong type
            raise ValueError(f"{spec.name}: {error}") from error

    def _installed(self) -> dict[str, str]:
        from importlib.metadata import entry_points  # noqa: PLC0415 - the import costs 12 ms; most starts do not need it

        return {plugin.name: f"{plugin.module}:{plugin.attr}" for plugin in entry_points(group=self.group)}

    def _import(self, name: str, place: str) -> object:
        module_name, _, attribute = place.partition(":")
        if not module_name or not attribute:
            raise ValueError(f"{self.kind} {name!r}: must be 'module:Name', not {place!r}")
        try:
            module = import_plugin(module_name) if name == place else importlib.import_module(module_name)
        except (Exception, SystemExit) as error:  # third-party code may raise anything
            message = f"{self.kind} {name!r}: module {module_name!r} does not import: {type(error).__name__}: {error}"
            raise ValueError(message) from error
        try:
            return operator.attrgetter(attribute)(module)
        except AttributeError as error:
            hint = did_you_mean(attribute, vars(module))
            raise ValueError(f"{self.kind} {name!r}: module {module_name!r} has no {attribute!r}{hint}") from error
