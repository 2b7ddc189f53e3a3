"""The lines of keys in messages, compared with tomli, which knows the keys but not their lines."""

from __future__ import annotations

import json

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from lb.config.lines import key_lines, line_of
from lb.config.load import ConfigError, parse
from lb.model.table import join


def paths(content: object, path: str = "") -> dict[str, object]:
    """Return all keys and items by path, with the leaves' values; None for tables and arrays."""
    below: list[tuple[str, object]] = []
    if isinstance(content, dict):
        below = [(join(path, key), value) for key, value in content.items()]
    elif isinstance(content, list):
        below = [(f"{path}[{index}]", value) for index, value in enumerate(content)]
    found = {where: None if isinstance(value, dict | list) else value for where, value in below}
    return found | {inner: value for where, item in below for inner, value in paths(item, where).items()}


KEYS = st.sampled_from(["a", "b-1", "1.5", "", "[x]", "é", 'say "hi"', "a = 1", "#", "it's", "\\"])
TEXTS = st.sampled_from(
    ["", "]", "}", "#", '"', "'", "a = 1\n[b]\n", "\\", '"""', "'''", "\n\n", "plain", "[[", ",", "\\n"]
)
NUMBERS = st.sampled_from(["1", "-2.5", "1e3", "inf", "true", "1979-05-27 07:32:00", "0xff", "07:32:00"])


def basic(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


@st.composite
def scalars(draw: st.DrawFn) -> str:
    text = draw(TEXTS)
    forms = [basic(text), '"""' + basic(text)[1:-1] + '"""', draw(NUMBERS)]
    if "'" not in text and "\n" not in text:
        forms.append(f"'{text}'")
    if "'" not in text:
        forms += [f"'''{text}'''", f"'''{text}''''", f"'''{text}'''''"]
    if '"' not in text and "\\" not in text:
        forms += [f'"""{text}"""', f'"""{text}""""', f'"""\n{text}"""""']
    return draw(st.sampled_from(forms))


GAPS = st.sampled_from([" ", "\n", '\n# ] } \' " """\n', "\t"])


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> str:
    kind = draw(st.sampled_from(["scalar", "scalar", "array", "table"] if depth else ["scalar"]))
    if kind == "scalar":
        return draw(scalars())
    gap = draw(GAPS)
    if kind == "array":
        items = draw(st.lists(values(depth - 1), max_size=3))
        return f"[{gap}" + f"{gap},{gap}".join(items) + (draw(st.sampled_from([gap, f",{gap}"])) if items else "") + "]"
    return "{ " + ", ".join(draw(pairs(depth - 1))) + " }"


def written(key: str) -> st.SearchStrategy[str]:
    forms = [basic(key)]
    if key.isascii() and key.replace("-", "").isalnum():
        forms.append(key)
    if "'" not in key:
        forms.append(f"'{key}'")
    return st.sampled_from(forms)


@st.composite
def pairs(draw: st.DrawFn, depth: int = 3) -> list[str]:
    """Draw the lines of a table. Dotted keys begin with a part of their own, so that none is defined twice."""
    found = []
    for key in draw(st.lists(KEYS, max_size=3, unique=True)):
        parts = [key, *draw(st.lists(KEYS, max_size=2))]
        dot = draw(st.sampled_from([".", " . "]))
        found.append(
            dot.join(draw(written(part)) for part in parts) + draw(st.sampled_from(["=", " = "])) + draw(values(depth))
        )
    return found


@st.composite
def documents(draw: st.DrawFn) -> str:
    blocks = [draw(pairs())]
    for _ in range(draw(st.integers(0, 4))):
        parts = draw(st.lists(KEYS, min_size=1, max_size=3))
        name = ".".join([draw(written(part)) for part in parts])
        blocks.append([draw(st.sampled_from([f"[{name}]", f"[[{name}]]", f"[[ {name} ]] # [x]"])), *draw(pairs())])
    newline = draw(st.sampled_from(["\n", "\n\n", "\n# a = 1\n"]))
    return newline.join(line for block in blocks for line in block) + "\n"


def tomli_paths(text: str) -> dict[str, object] | None:
    try:
        return paths(tomli.loads(text))
    except tomli.TOMLDecodeError:  # a key that is defined twice
        return None


@given(documents())
def test_every_key_that_tomli_finds_has_a_line_and_no_other(text: str) -> None:
    expected = tomli_paths(text)
    if expected is not None:
        assert key_lines(text).keys() == expected.keys()


@given(documents())
def test_a_line_is_that_of_the_key(text: str) -> None:
    """The line has the key, and moves by as many lines as are put before it."""
    if tomli_paths(text) is None:
        return
    lines = key_lines(text)
    moved = key_lines('first = """\n\n"""\n' + text)
    assert {path: line + 3 for path, line in lines.items()} | {"first": 1} == moved
    for path in lines:
        last = path.rpartition(".")[2]
        if last.isalnum():
            assert last in text.split("\n")[lines[path] - 1]


TEXT = """\
listeners.web.bind = ":80"
listeners.web.pool = "web"

[[pools.web.servers]]
address = "a:1"

[[pools.web.servers]]
name = '''
b'''
address = "b:1"
weight = 2

[pools.web]
strategy = "weighted"
[pools.web.health]
checks = [
    # the first
    { probe = "tcp" },
    { probe = "http",
      path = "/" },
]
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("listeners", 1),
        ("listeners.web.pool", 2),
        ("pools", 4),
        ("pools.web", 13),
        ("pools.web.servers", 4),
        ("pools.web.servers[0].address", 5),
        ("pools.web.servers[1]", 7),
        ("pools.web.servers[1].name", 8),
        ("pools.web.servers[1].weight", 11),
        ("pools.web.health.checks", 16),
        ("pools.web.health.checks[0]", 18),
        ("pools.web.health.checks[1].path", 20),
    ],
)
def test_each_form_of_toml_has_its_line(path: str, line: int) -> None:
    assert key_lines(TEXT)[path] == line


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("pools.web.servers[0].weight", 4),
        ("pools.web.servers[7].weight", 4),
        ("listeners.web.tls.'a.b'.key", 1),
        ("admin.bind", None),
        ("", None),
    ],
)
def test_a_key_that_is_missing_has_the_line_of_the_table_around_it(path: str, line: int | None) -> None:
    assert line_of(path, key_lines(TEXT)) == line


def test_an_error_ends_with_its_line() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(TEXT.replace("2", "-2"), "lb.toml")
    assert caught.value.errors == ("lb.toml: pools.web.servers[1].weight: must be 0 or more, not -2 (line 11)",)


def test_deep_nesting_has_lines_without_recursion() -> None:
    deep = 300
    text = "a = " + "[" * deep + "1" + "]" * deep
    assert len(key_lines(text)) == deep + 1
