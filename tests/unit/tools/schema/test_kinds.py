"""Options of plug-ins by their annotations, and tables whose keys depend on their kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import pytest

from lb.model.shape import NOWHERE, shape_of, table_of
from lb.tools.schema.kinds import kind_name, of_kinds, options_table
from tests.support.schema_peer import accepts

if TYPE_CHECKING:
    from somewhere import Elsewhere


class Plug:
    def __init__(
        self,
        word: Annotated[str, {"minLength": 1}],
        count: int | None = None,
        kind: Literal["a", "b"] = "a",
        names: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        either: str | int = 1,
    ) -> None:
        pass


class OfOthers:
    def __init__(self, one: Elsewhere, two=2) -> None:
        pass


class TakesAny:
    def __init__(self, **options: object) -> None:
        pass


@pytest.mark.parametrize(
    ("options", "good"),
    [
        ({"word": "a"}, True),
        ({}, False),
        ({"word": ""}, False),
        ({"word": "a", "count": "1"}, False),
        ({"word": "a", "count": 1, "kind": "b", "names": ["x"], "headers": {"A": "b"}, "either": "c"}, True),
        ({"word": "a", "kind": "c"}, False),
        ({"word": "a", "names": [1]}, False),
        ({"word": "a", "headers": {"A": 1}}, False),
        ({"word": "a", "either": []}, False),
        ({"word": "a", "other": 1}, False),
    ],
)
def test_annotations_of_a_constructor_say_what_it_takes(options, good):
    assert accepts(options_table(Plug), options) == good


def test_annotations_that_only_the_type_checker_knows_say_nothing():
    shape = options_table(OfOthers)
    assert accepts(shape, {"one": [], "two": {}})
    assert not accepts(shape, {"two": 1})


def test_a_plug_in_may_take_any_options():
    assert options_table(TakesAny) is None


COMMON = table_of({"kind": kind_name(["small", "large"]), "size": {"type": "integer"}})
KINDS = {"small": table_of({"thin": {}}), "large": table_of({"size": {"minimum": 10}, "thin": NOWHERE, "wide": {}})}
TABLE = of_kinds("kind", "small", COMMON, KINDS)


@pytest.mark.parametrize(
    ("table", "good"),
    [
        ({"size": 1, "thin": 1}, True),
        ({"wide": 1}, False),
        ({"kind": "large", "size": 1}, False),
        ({"kind": "large", "size": 10, "wide": 1}, True),
        ({"kind": "large", "thin": 1}, False),
        ({"kind": "my:Own", "anything": 1}, True),
        ({"kind": "lagre", "wide": 1}, False),
        ({"kind": "lagre", "anything": 1}, False),
    ],
)
def test_keys_depend_on_the_kind(table, good):
    assert accepts(TABLE, table) == good


def test_all_keys_are_offered():
    assert TABLE["properties"].keys() == {"kind", "size", "thin", "wide"}


def test_a_reader_without_a_shape_says_what_to_do():
    def read(value):
        return value

    with pytest.raises(LookupError, match=r"read has no shape: decorate it with lb\.model\.shape\.shaped"):
        shape_of(read)
