"""The only list of built-in strategies, and the way to anybody else's: by entry point or by ``module:Name``."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from lb.model import PluginSpec
from strategies.base import Strategy
from strategies.consistent_hash import ConsistentHash
from strategies.least_conn import LeastConn
from strategies.random_two import RandomTwo
from strategies.round_robin import RoundRobin
from strategies.weighted import Weighted

__all__ = ["ENTRY_POINT_GROUP", "create", "load", "names"]

ENTRY_POINT_GROUP = "lb.strategies"

_BUILT_IN: dict[str, type[Strategy]] = {
    "round-robin": RoundRobin,
    "weighted": Weighted,
    "least-conn": LeastConn,
    "random-two": RandomTwo,
    "consistent-hash": ConsistentHash,
}


def names() -> list[str]:
    """What a configuration may name without a colon: the built-ins, then the installed entry points."""
    return list(dict.fromkeys([*_BUILT_IN, *sorted(_plugins())]))


def load(name: str) -> type[Strategy]:
    """The strategy of this name: a built-in, an entry point of the group ``lb.strategies``, or ``module:Name``.

    Raises ValueError saying what is wrong: an unknown name, a module that does not import, a name that it does not
    have or that is not a strategy.
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    plugin = _plugins().get(name)
    found = _load_plugin(plugin) if plugin is not None else _import(name)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        message = f"strategy {name!r}: {found!r} is not a subclass of strategies.base.Strategy"
        raise ValueError(message)  # noqa: TRY004 - the configuration's value is bad, not this function's argument
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"strategy {name!r}: {found.__name__} does not define {missing}")
    return found


def create(spec: PluginSpec) -> Strategy:
    """Make the strategy that a configuration describes. Raises ValueError as :func:`load` does, or for a bad option."""
    strategy = load(spec.name)
    options = dict(spec.options)
    parameters = inspect.signature(strategy).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        for option in options:
            if option not in known:
                having = f"it has {', '.join(known)}" if known else "it has none"
                raise ValueError(f"{spec.name} has no option {option!r}{_suggestion(option, known)}; {having}")
    try:
        return strategy(**options)
    except TypeError as error:
        raise ValueError(f"{spec.name}: {error}") from error


def _plugins() -> dict[str, EntryPoint]:
    return {plugin.name: plugin for plugin in entry_points(group=ENTRY_POINT_GROUP)}


def _load_plugin(plugin: EntryPoint) -> object:
    try:
        return plugin.load()
    except Exception as error:  # somebody else's module: it may raise anything
        raise ValueError(f"strategy {plugin.name!r}: {plugin.value} does not load: {_text(error)}") from error


def _import(name: str) -> object:
    module_name, colon, attribute = name.partition(":")
    if not colon:
        known = names()
        raise ValueError(f"unknown strategy {name!r}{_suggestion(name, known)}; known: {', '.join(known)}")
    if not module_name or not attribute:
        raise ValueError(f"strategy {name!r}: must be 'module:Name'")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # somebody else's module: it may raise anything
        raise ValueError(f"strategy {name!r}: module {module_name!r} does not import: {_text(error)}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        hint = _suggestion(attribute, vars(module))
        raise ValueError(f"strategy {name!r}: module {module_name!r} has no {attribute!r}{hint}") from error


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
