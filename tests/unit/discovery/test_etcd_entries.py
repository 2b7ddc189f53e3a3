"""Entries in etcd as servers, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.discovery.etcd_entries import MOST_ERRORS, EntrySet, read_entry, recalled_entry
from lb.model import ServerSpec
from lb.model.address import Address

PREFIX = "/trio-lb/pools/web/"
HERE = Path("/srv")


def entries():
    return EntrySet(PREFIX, HERE)


@pytest.mark.parametrize(
    "value",
    [
        b"10.0.0.1:80",
        b" 10.0.0.1:80\n",
        b'"10.0.0.1:80"',
        b'{"address": "10.0.0.1:80"}',
        b'\n {"address": "10.0.0.1:80"} ',
    ],
)
def test_a_value_is_an_address_as_text_or_in_json(value):
    registered, errors = read_entry(b"a", value, HERE)
    assert registered.server == ServerSpec("a", Address.parse("10.0.0.1:80"))
    assert registered.table == {"address": "10.0.0.1:80"}
    assert not errors


def test_a_table_has_the_keys_of_a_server():
    table = {"address": "unix:a.sock", "weight": 0, "backup": True, "max_connections": 9, "check_port": 81}
    registered, _ = read_entry(b"a", json.dumps({**table, "check_address": "10.0.0.9"}).encode(), HERE)
    assert registered.server == ServerSpec("a", Address.parse("unix:a.sock"), 0, True, 9, 81, "10.0.0.9")
    assert registered.server.address.path == "/srv/a.sock"


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        (b"b", b'{"address": "a:1", "weight": -1}', "b: weight: must be 0 or more, not -1"),
        (b"b", b"10.0.0.1", "b: address: '10.0.0.1' needs a port"),
        (b"b", b"", "b: address: must be 'host:port' or 'unix:/path', not ''"),
        (b"b", b"{}", "b: address: missing, as in '127.0.0.1:9001'"),
        (b"b", b'{"address": "a:1", "name": "c"}', "b: name: is the rest of the key, and cannot be set"),
        (b"b", b'{"dns": "a", "port": 1}', "b: address: missing, as in '127.0.0.1:9001'"),
        (b"b", b'{"address": ', "b: is not JSON: Expecting value: line 1 column 12 (char 11)"),
        (b"b", b'"a:1', "b: is not JSON: Unterminated string starting at: line 1 column 1 (char 0)"),
        (b"b", b"\xff", "b: is not UTF-8"),
        (b"b", b"a:1" * 4096, "b: is longer than 4096 bytes"),
        (b"", b"a:1", ": a name must not be empty"),
        (b"b/c", b"a:1", "b/c: a name must not hold '/' or control characters, like 'b/c'"),
        (b"b\n", b"a:1", "b\\n: a name must not hold '/' or control characters, like 'b\\n'"),
        (b"\xff", b"a:1", "\\xff: is not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_its_key(name, value, error):
    found = entries()
    found.put(name, value)
    assert found.servers == ()
    assert found.errors[0] == PREFIX + error


def test_a_bad_value_leaves_the_last_good_one_until_the_key_is_removed():
    found = entries()
    found.put(b"a", b"10.0.0.1:80")
    found.put(b"a", b"nonsense")
    assert [server.address.text for server in found.servers] == ["10.0.0.1:80"]
    assert len(found.errors) == 1
    found.keep({b"a"})
    assert found.servers
    found.remove(b"a")
    assert (found.servers, found.errors) == ((), ())


def test_a_new_value_ends_the_error():
    found = entries()
    found.put(b"a", b"nonsense")
    found.put(b"a", b"10.0.0.1:80")
    assert not found.errors


def test_what_a_snapshot_does_not_have_is_gone():
    found = entries()
    for name in (b"a", b"b", b"\xff"):
        found.put(name, b"10.0.0.1:80")
    found.keep({b"b"})
    assert [server.name for server in found.servers] == ["b"]
    assert not found.errors


def test_many_errors_are_told_in_a_few_lines():
    found = entries()
    for number in range(30):
        found.put(b"%02d" % number, b"{")
    assert len(found.errors) == MOST_ERRORS
    assert found.errors[-1] == f"{PREFIX}: 21 more errors"


@given(st.permutations([b"b", b"a", b"c", "é".encode(), b"Z"]))
def test_the_order_is_that_of_names_however_they_arrive(names):
    found = entries()
    for name in names:
        found.put(name, b"10.0.0.1:80")
    assert [server.name for server in found.servers] == ["Z", "a", "b", "c", "é"]


VALUES = st.binary(max_size=20) | st.from_regex(rb'\{"(address|weight|x)": ("a:1"|-?[0-9]{1,3}|null)\}', fullmatch=True)


@given(st.lists(st.tuples(st.binary(max_size=4) | st.just(b"a"), VALUES)))
def test_whatever_is_registered_is_a_server_or_an_error_of_one_line(registrations):
    found = entries()
    for name, value in registrations:
        found.put(name, value)
        before = {server.name for server in found.servers}
        found.put(name, value)
        assert {server.name for server in found.servers} == before
    for error in found.errors:
        assert error.startswith(PREFIX)
        assert error.isprintable()
    again = [recalled_entry(name, table, HERE) for name, table in found.tables.items()]
    assert tuple(each.server for each in again) == found.servers


def test_the_end_of_a_key_that_is_not_utf_8_takes_no_server_along():
    """Replaced by U+FFFD, it would have the name of a server."""
    found = entries()
    found.put("\ufffd".encode(), b"10.0.0.1:80")
    found.put(b"\xff", b"10.0.0.2:80")
    found.remove(b"\xff")
    assert [server.name for server in found.servers] == ["\ufffd"]
    found.put(b"a", b"10.0.0.3:80")
    found.keep({b"a", b"\xff"})
    assert [server.name for server in found.servers] == ["a"]
