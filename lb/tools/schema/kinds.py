"""Tables whose keys depend on one of them: ``mode`` of a listener, ``probe`` of a check, ``name`` of a strategy.

All keys stand in one ``properties``, so that editors offer them; a rule for each kind forbids those of the others.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from lb.model import PemSpec
from lb.model.shape import NOWHERE, Keys, Shape, given, table_of, when

__all__ = ["kind_name", "of_kinds", "options_table"]

_PLAIN: Mapping[object, Shape] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    PemSpec: {"type": "string"},
    object: {},
    Any: {},
}


def kind_name(names: Iterable[str]) -> Shape:
    """Return the shape of the name of a kind: one of these, or a class as ``module:Name``."""
    return {"anyOf": [{"enum": list(names)}, {"type": "string", "pattern": ":"}]}


def of_kinds(key: str, default: str | None, common: Shape, kinds: Mapping[str, Shape | None]) -> Shape:
    """Return the shape of a table with ``common`` keys, and those of its kind, which ``key`` names.

    None as a kind takes any keys. ``default`` is the kind of a table without the key.
    """
    own = {name: _properties(kind) for name, kind in kinds.items() if kind is not None}
    shared = _properties(common)
    everything: dict[str, Any] = {}
    for properties in own.values():
        for option, shape in properties.items():
            if shape is not NOWHERE and option not in shared:
                everything[option] = shape if everything.get(option, shape) == shape else {}
    closed: Mapping[str, object] = dict.fromkeys((*shared, *everything), True)
    rules = [_rule(key, name, name == default, kind, [*shared]) for name, kind in kinds.items() if kind is not None]
    open_table = {word: value for word, value in common.items() if word != "additionalProperties"}
    return {
        **open_table,
        "properties": {**everything, **shared},
        "allOf": [*_rules(common), *rules, _of_no_kind(key, kinds, closed)],
    }


def _rule(key: str, name: str, is_default: bool, kind: Shape, shared: Sequence[str]) -> Shape:
    named = given(**{key: {"const": name}})
    without: Shape = {"type": "object", "properties": {key: False}}
    rest = {word: value for word, value in kind.items() if word != "properties"}
    return when(
        {"anyOf": [named, without]} if is_default else named,
        {**rest, "properties": {**dict.fromkeys(shared, True), **_properties(kind)}},
    )


def _of_no_kind(key: str, kinds: Mapping[str, object], closed: Mapping[str, object]) -> Shape:
    """Return the rule for a table whose kind is a mistake: else none of its keys would be looked at."""
    mistaken: Shape = {"type": "string", "not": {"anyOf": [{"enum": list(kinds)}, {"pattern": ":"}]}}
    return when(given(**{key: mistaken}), {"properties": closed, "additionalProperties": False})


def _properties(table: Shape) -> Mapping[str, Shape | bool]:
    found = table["properties"]
    assert isinstance(found, Mapping)  # noqa: S101 - of table_of
    return found


def _rules(table: Shape) -> Sequence[Shape]:
    found = table.get("allOf", [])
    assert isinstance(found, Sequence)  # noqa: S101 - of table_of
    return found


def options_table(plugin: Callable[..., object]) -> Shape | None:
    """Return the shape of a plug-in's options, by the annotations of its constructor; None if it takes any."""
    try:
        parameters = inspect.signature(plugin, eval_str=True).parameters.values()
    except NameError:  # of a name that a plug-in imports for the type checker alone
        parameters = inspect.signature(plugin).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    keys: Keys = {each.name: _annotated(each.annotation) for each in parameters}
    return table_of(keys, required=[each.name for each in parameters if each.default is each.empty])


def _annotated(hint: object) -> Shape:
    """Return the shape of an annotation. ``Annotated[str, {"minLength": 1}]`` says what the type does not."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_annotated(arguments[0]), **arguments[1]}
    if origin in (Union, UnionType):
        found = [_annotated(each) for each in arguments if each is not NoneType]
        return found[0] if len(found) == 1 else {"anyOf": found}
    if origin is Literal:
        return {"enum": list(arguments)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _annotated(arguments[1])}
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return {"type": "array", "items": _annotated(arguments[0])}
    return _PLAIN.get(hint, {})
