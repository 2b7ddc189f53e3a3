"""The schema of lb.toml is that of the loader: its keys, what they take, what they refuse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import tomli

from lb import __version__
from lb.cli import main
from lb.config.load import ConfigError, parse
from lb.model import table as config_table
from lb.model.shape import shape_of
from lb.tools.schema import sentences
from lb.tools.schema.document import schema
from tests.support.language_server import editor
from tests.support.paths import DATA, EXAMPLES, ROOT
from tests.support.schema_peer import (
    accepts,
    allowed_keys,
    refused_places,
    shape_without_words,
    tables_and_values,
    the_schema,
)
from tests.support.tls_peers import write_certificate

GOOD = sorted((DATA / "config" / "good").glob("*.toml"))
BAD = [path for path in sorted((DATA / "config" / "bad").glob("*.toml")) if not path.stem.startswith("syntax")]
SHIPPED = [path for path in sorted(EXAMPLES.rglob("*.toml")) if "listeners" in tomli.loads(path.read_text())]
"""Without the scenarios of rehearsals."""
EVERY = [*GOOD, *SHIPPED, *BAD]


def content(path):
    return tomli.loads(path.read_text())


def named(path):
    return str(path.relative_to(ROOT))


@pytest.fixture
def loaded(monkeypatch):
    """Return a function that loads a file, with all that the loader asks for: keys of tables, readers of values."""
    keys, readers = {}, []
    finish, convert = config_table.Table.finish, config_table.Table.convert

    def finished(table):
        keys.setdefault(table.path, set()).update(table.known)
        finish(table)

    def converted(table, value, reader, path):
        readers.append((path, reader, value))
        return convert(table, value, reader, path)

    monkeypatch.setattr(config_table.Table, "finish", finished)
    monkeypatch.setattr(config_table.Table, "convert", converted)

    def load(path):
        keys.clear()
        readers.clear()
        try:
            parse(path.read_text(), str(path))
        except ConfigError:
            assert path not in GOOD
        return dict(keys), list(readers)

    return load


def test_it_is_a_schema_of_draft_7():
    jsonschema.Draft7Validator.check_schema(the_schema())


def test_it_says_of_which_version_it_is():
    assert the_schema()["$id"] == f"urn:trio-lb:lb.toml:{__version__}"


@pytest.mark.parametrize("path", [*GOOD, *SHIPPED], ids=named)
def test_it_takes_every_good_file_and_every_example(path):
    assert refused_places(content(path)) == set()


OTHER_PARTS = (
    "there is no (pool|cache)|there are no users|needs a 'pool' or 'servers'|is configured too|has 'tls', but",
    "is taken already|is already|duplicate of|takes the same requests|has no port|and no port|needs check_address",
)
"""What only a look at several parts of the file tells."""
OTHER_THAN_TEXT = (
    "bits set beyond its length|below 68 years|has no effect: the pool has",  # arithmetic
    "cannot be read|does not import",  # files
    "Host is set by the probe|needs two hexadecimal digits",  # the probe's own rules
    "like 'unix:/a'",  # a name that is no address of its own server
    "must be the name in its ASCII form",  # a name beyond ASCII: servers may have such names
    "is about the connection or the length",  # the balancer's table of header fields
    "must be a whole number, not 1.0",  # a whole number for JSON Schema
)
"""What a schema has no words for."""
UNKNOWABLE = re.compile("|".join([*OTHER_PARTS, *OTHER_THAN_TEXT]))


@pytest.mark.parametrize("path", BAD, ids=named)
def test_it_refuses_what_the_loader_refuses(path):
    refused = refused_places(content(path))
    for line in path.with_suffix(".txt").read_text().splitlines():
        at, message = re.fullmatch(r"lb\.toml: (.*?): (.*?)(?: \(line \d+\))?", line).groups()
        found = {each for each in refused if each == at or each.startswith(f"{at}[")}
        rule_of_its_table = at.rpartition(".")[0] in refused
        told = "a shape should refuse this; if none can, UNKNOWABLE has it"
        assert found or rule_of_its_table or UNKNOWABLE.search(message), f"{line}: {told}"


WITH_CERTIFICATES = """
[listeners.front]
bind = ":443"
servers = ["10.0.0.1"]
tls.certificates = [{ certificate = "any.pem", key = "any.key" }]
[pools.checked]
servers = ["10.0.0.1:1"]
health.tls = { verify = false }
proxy = { user = "", password_file = "" }
[pools.several]
servers = ["10.0.0.1:1"]
health.checks = [{ tls = { verify = false } }]
"""


def test_its_keys_are_those_that_the_loader_asks_for(loaded, tmp_path):
    """If this fails for a new key: say its shape where the table of its keys is (lb/model/shape.py).

    A new table needs an example in tests/data/config/good or examples/.
    """
    write_certificate(tmp_path, "any", "any.example.org")
    more = tmp_path / "lb.toml"
    more.write_text(WITH_CERTIFICATES)
    compared = set()
    for path in [*GOOD, *SHIPPED, more]:
        known, _ = loaded(path)
        for at, table, shape in tables_and_values(content(path)):
            if at in known and isinstance(table, dict) and "properties" in shape:
                assert allowed_keys(table, shape) == known[at], (path, at)
                compared.add(id(shape["properties"]))
    missing = [path for path, _, each in tables(the_schema()) if id(each) not in compared]
    assert missing == []


def tables(shape, path=()):
    """Yield the path, the shape and the keys of all tables of the schema."""
    if isinstance(shape, dict):
        if "properties" in shape:
            yield path, shape, shape["properties"]
        for key, each in shape.get("properties", {}).items():
            yield from tables(each, (*path, key))
        yield from tables(shape.get("additionalProperties"), (*path, "*"))
        yield from tables(shape.get("items"), (*path, "[]"))


OF_PLUG_INS = {"lb.config.plugins", "lb.config.tls"}
"""Modules whose readers take options: their shapes come from constructors."""


@pytest.mark.parametrize("path", [*GOOD, *SHIPPED], ids=named)
def test_each_key_has_the_shape_of_its_reader(path, loaded):
    _, readers = loaded(path)
    assert readers
    shapes = {at: (value, shape_without_words(shape)) for at, value, shape in tables_and_values(content(path))}
    for at, reader, value in readers:
        if at not in shapes or reader.__module__ in OF_PLUG_INS or reader.__qualname__ == "plain":
            continue
        there, shape = shapes[at]
        if there == value:  # else the name of a table was read
            assert is_part(shape_of(reader), shape), (at, shape)


def is_part(one, shape):
    """Return whether a shape is the other one, or stands for a part of what that takes."""
    parts = [*shape.get("anyOf", ())]
    of_text = one.get("type") == "string" and one.get("pattern") == shape.get("pattern")
    return one == shape or of_text or one.items() <= shape.items() or any(is_part(one, each) for each in parts)


OF_TWO = {"_each_port"}
"""Readers whose result another reader reads: the shape is that of both."""


def test_a_shape_takes_what_its_reader_takes(loaded):
    """All values of all files are offered to all readers of values."""
    offered, readers = {}, {}
    for path in EVERY:
        for at, reader, value in loaded(path)[1]:
            offered[repr(value)] = value
            if reader.__module__ not in OF_PLUG_INS and reader.__qualname__ not in OF_TWO:
                readers.setdefault(json.dumps(shape_of(reader), sort_keys=True, default=str), (at, reader))
    for at, reader in readers.values():
        validator = jsonschema.Draft7Validator(shape_of(reader))
        for value in offered.values():
            try:
                reader(value)
            except ValueError:
                continue
            assert validator.is_valid(value), (at, value)


def test_every_key_has_a_sentence():
    said = [(path, key, each) for path, _, keys in tables(the_schema()) for key, each in keys.items()]
    assert {f"{path}.{key}" for path, key, each in said if not describes(each)} == set()


def describes(shape):
    return not isinstance(shape, dict) or bool(shape.get("description"))


def test_a_key_without_a_row_in_the_reference_is_an_error(monkeypatch):
    rows = sentences.rows
    sentences._sources.cache_clear()
    monkeypatch.setattr(sentences, "rows", lambda text: {k: v for k, v in rows(text).items() if k != "drain_timeout"})
    with pytest.raises(LookupError, match=r"no sentence for the key pools.*drain_timeout"):
        schema()
    sentences._sources.cache_clear()


def test_the_command_prints_it(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(the_schema()))


def test_an_editor_offers_keys_and_says_what_they_mean(in_editors):
    text = """#:schema ./lb.schema.json
[listeners.web]
bind = ":80"
pool = "web"
[pools.web]
retr
servers = ["127.0.0.1:9001"]
"""
    with editor([tool("tombi"), "lsp", "--offline"], in_editors) as tombi:
        tombi.open("lb.toml", text)
        offered = tombi.completions("lb.toml", 5, 4)
        assert [*offered] == ["retries"]
        assert "Number of further servers to try when a connect fails" in offered["retries"]
        assert "Default: `2`" in offered["retries"]
        assert "The pool that serves the clients." in tombi.hover("lb.toml", 3, 1)


def test_descriptions_have_no_links_and_defaults_are_values():
    pool = the_schema()["properties"]["pools"]["additionalProperties"]["properties"]
    assert pool["strategy"]["description"] == "The load-balancing algorithm, see strategies.\n\nType: name or table"
    assert pool["drain_timeout"]["description"].endswith("\n\nType: duration")
    assert "Type: " not in pool["send_proxy"]["description"] + pool["on_down"]["description"], (
        "editors offer the values"
    )
    assert pool["servers"]["description"].startswith("Addresses, tables as in `[[pools.NAME.servers]]`, or DNS names")
    assert (pool["retries"]["default"], pool["drain_timeout"]["default"]) == (2, "5m")


@pytest.mark.parametrize(
    ("listener", "refused"),
    [
        ({"mode": "htpp", "keep_alive": "1m"}, {"mode"}),
        ({"mode": "my:Mode", "anything": 1}, set()),
        ({"keep_alive": "1m"}, {"keep_alive"}),
        ({"mode": "http", "h2c": True, "tls": {"certificate": "a.pem"}}, {"h2c"}),
        ({"mode": "rtmp", "pool": "x"}, {"pool"}),
    ],
)
def test_keys_depend_on_the_mode(listener, refused):
    found = refused_places({"listeners": {"a": {"bind": ":1", **listener}}})
    assert {each.removeprefix("listeners.a.") for each in found} - {"listeners.a"} == refused


def tool(name):
    """Return the path of a program of the extra ``dev``."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        assert not os.environ.get("CI"), f"{name} is not installed"
        pytest.skip(f"there is no {name}")
    return found


@pytest.fixture
def in_editors(tmp_path):
    """Return a directory with the schema, and copies of the good files that name it."""
    (tmp_path / "lb.schema.json").write_text(json.dumps(the_schema()))
    for path in [*GOOD, *SHIPPED]:
        copy = tmp_path / f"{path.parent.name}-{path.name}"
        copy.write_text(f"#:schema ./lb.schema.json\n{path.read_text()}")
    return tmp_path


@pytest.mark.parametrize("program", [["taplo", "lint"], ["tombi", "lint", "--offline"]], ids=lambda each: each[0])
def test_editors_take_the_good_files_and_refuse_a_misspelt_key(program, in_editors):
    command = [tool(program[0]), *program[1:]]
    taken = subprocess.run(
        [*command, *in_editors.glob("*.toml")], cwd=in_editors, check=False, capture_output=True, text=True
    )
    assert taken.returncode == 0, taken.stdout + taken.stderr
    bad = in_editors / "bad.toml"
    bad.write_text('#:schema ./lb.schema.json\n[listeners.web]\nbind = ":1"\nidle_timout = "1m"\n')
    refused = subprocess.run([*command, bad], cwd=in_editors, check=False, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "idle_timout" in refused.stdout + refused.stderr


def test_accepting_says_what_a_shape_takes():
    assert accepts({"type": "string"}, "a")
    assert not accepts({"type": "string"}, 1)
