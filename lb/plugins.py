"""How strategies and probes are found: a built-in, an installed entry point, or ``module:Name``.

Nothing is imported before it is asked for: a balancer that uses one probe starts without the libraries of the others.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import operator
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

import attrs

from lb.model import PluginSpec, Secret

__all__ = ["Registry"]

T = TypeVar("T")


@attrs.frozen
class Registry(Generic[T]):
    """All plug-ins of one kind. Whatever is wrong with one is a ValueError that says so."""

    kind: str
    """The word for it in messages: ``probe``."""
    base: type[T]
    """What every plug-in is a subclass of."""
    group: str
    """The entry points' group: ``lb.probes``."""
    built_in: Mapping[str, str]
    """``module:Name`` by name."""

    def names(self) -> list[str]:
        """What a configuration may name without a colon: the built-ins, then the installed entry points."""
        return list(dict.fromkeys([*self.built_in, *sorted(self._installed())]))

    def load(self, name: str) -> type[T]:
        """The class of this name; of two with one name the built-in. Raises ValueError if there is no such class."""
        place = name if ":" in name else self.built_in.get(name) or self._installed().get(name)
        if place is None:
            known = self.names()
            raise ValueError(f"unknown {self.kind} {name!r}{_suggestion(name, known)}; known: {', '.join(known)}")
        found = self._import(name, place)
        if not (isinstance(found, type) and issubclass(found, self.base)):
            base = f"{self.base.__module__}.{self.base.__qualname__}"
            raise ValueError(f"{self.kind} {name!r}: {place} is not a subclass of {base}")  # noqa: TRY004
        if inspect.isabstract(found):
            missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
            raise ValueError(f"{self.kind} {name!r}: {place} does not define {missing}")
        return found

    def create(self, spec: PluginSpec) -> T:
        """Make what a configuration describes. Raises ValueError as :meth:`load` does, or for a bad option."""
        plugin = self.load(spec.name)
        options = {key: value.value if isinstance(value, Secret) else value for key, value in spec.options}
        parameters = inspect.signature(plugin).parameters.values()
        known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            for option in options:
                if option not in known:
                    having = f"it has {', '.join(known)}" if known else "it has none"
                    raise ValueError(f"{spec.name} has no option {option!r}{_suggestion(option, known)}; {having}")
        try:
            return plugin(**options)
        except TypeError as error:  # an option is missing, or the constructor minds its type
            raise ValueError(f"{spec.name}: {error}") from error

    def _installed(self) -> dict[str, str]:
        from importlib.metadata import entry_points  # noqa: PLC0415 - 12 ms that most starts need not spend

        return {plugin.name: f"{plugin.module}:{plugin.attr}" for plugin in entry_points(group=self.group)}

    def _import(self, name: str, place: str) -> object:
        module_name, _, attribute = place.partition(":")
        if not module_name or not attribute:
            raise ValueError(f"{self.kind} {name!r}: must be 'module:Name', not {place!r}")
        try:
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:  # somebody else's module: it may raise anything
            message = f"{self.kind} {name!r}: module {module_name!r} does not import: {type(error).__name__}: {error}"
            raise ValueError(message) from error
        try:
            return operator.attrgetter(attribute)(module)
        except AttributeError as error:
            hint = _suggestion(attribute, vars(module))
            raise ValueError(f"{self.kind} {name!r}: module {module_name!r} has no {attribute!r}{hint}") from error


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
