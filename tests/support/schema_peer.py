"""The schema of lb.toml beside the loader: where each of a file's values stands in it, and what it refuses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache

import jsonschema

from lb.model.shape import NOWHERE
from lb.model.table import join
from lb.tools.schema.document import schema

__all__ = ["accepts", "allowed_keys", "refused_places", "shape_without_words", "tables_and_values", "the_schema"]


@cache
def the_schema():
    return schema()


@cache
def _validator():
    return jsonschema.Draft7Validator(_without_false(the_schema()))


def _without_false(shape):
    """Return a shape in which no key has the schema ``false``, whose errors have no path: jsonschema 4.26."""
    if isinstance(shape, dict):
        return {
            word: NOWHERE if each is False and word != "additionalProperties" else _without_false(each)
            for word, each in shape.items()
            if word != "default"
        }
    return [_without_false(each) for each in shape] if isinstance(shape, list) else shape


def accepts(shape, value):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of "[!-" in patterns, which Python might read otherwise once
        return jsonschema.Draft7Validator(shape).is_valid(value)


def text_of(path):
    """Return a path as the loader's messages have it: ``pools.web.servers[1].weight``."""
    text = ""
    for part in path:
        text = f"{text}[{part}]" if isinstance(part, int) else join(text, part)
    return text


def refused_places(content):
    """Return the paths of all that the schema finds wrong; of a missing or unknown key, the path of the key."""
    return {text_of(path) for error in _validator().iter_errors(content) for path in _places(error)}


def _places(error):
    path = [*error.absolute_path]
    for each in error.context or ():
        yield from _places(each)
    if error.validator == "required":
        yield from ((*path, key) for key in error.validator_value if key not in error.instance)
    if error.validator == "additionalProperties":
        yield from ((*path, key) for key in error.instance if key not in error.schema["properties"])
    if "propertyNames" in error.absolute_schema_path:
        yield (*path, error.instance)
    yield tuple(path)


def tables_and_values(content, shape=None, path="") -> Iterator[tuple[str, object, dict]]:
    """Yield the path, the value and the shape of each value of a file, tables and lists too."""
    shape = the_schema() if shape is None else shape
    yield path, content, shape
    for one in [shape, *shape.get("anyOf", ())]:
        if isinstance(content, dict):
            for key, value in content.items():
                below = one.get("properties", {}).get(key, one.get("additionalProperties"))
                if isinstance(below, dict):
                    yield from tables_and_values(value, below, join(path, key))
        if isinstance(content, list) and isinstance(one.get("items"), dict):
            for index, value in enumerate(content):
                yield from tables_and_values(value, one["items"], f"{path}[{index}]")


def allowed_keys(table, shape):
    """Return the keys that a table may have, also those that have no place there but a message of their own."""
    keys = {*shape["properties"]}
    rules = [*shape.get("allOf", ())]
    while rules:
        rule = rules.pop()
        rules += rule.get("allOf", ())
        if "if" in rule:
            rules.append(rule.get("then" if accepts(rule["if"], table) else "else", {}))
        if rule.get("additionalProperties") is False:
            keys = {*rule["properties"]}
        keys -= {key for key, each in rule.get("properties", {}).items() if each is False}
    return keys


def shape_without_words(shape):
    return {word: value for word, value in shape.items() if word not in ("description", "default")}
