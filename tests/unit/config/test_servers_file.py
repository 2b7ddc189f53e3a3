"""Parsing of a servers_file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.config.servers_file import parse_servers_file
from lb.model import ServerSpec
from lb.model.address import Address

GOOD = b"""\xef\xbb\xbf# written by a script
10.0.0.1:80
  10.0.0.2:80   weight=2 max_connections=100   # twice the size

[fd00::1]:80 name=six backup\r
unix:/run/app.sock backup=true
web.internal:80 weight=0 backup=false
"""


def test_a_good_file_is_understood():
    servers, errors = parse_servers_file(GOOD, "list")
    assert errors == ()
    assert servers == (
        ServerSpec("10.0.0.1:80", Address.parse("10.0.0.1:80")),
        ServerSpec("10.0.0.2:80", Address.parse("10.0.0.2:80"), weight=2, max_connections=100),
        ServerSpec("six", Address.parse("[fd00::1]:80"), backup=True),
        ServerSpec("unix:/run/app.sock", Address.parse("unix:/run/app.sock"), backup=True),
        ServerSpec("web.internal:80", Address.parse("web.internal:80"), weight=0),
    )


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        (b"10.0.0.1\n", ["list:1: '10.0.0.1' needs a port"]),
        (b"a:1\na:1\n", ["list:2: 'a:1' is already the name of a server above"]),
        (b"a:1 weight=-1\n\nb:1 weight=two\n", [
            "list:1: weight: must be 0 or more, not -1",
            "list:3: weight: must be a whole number, not 'two'",
        ]),
        (b"a:1 weight=\n", ["list:1: weight: must be a whole number, not ''"]),
        (b"a:1 weight=1 weight=2\n", ["list:1: weight: is given twice"]),
        (b"a:1 address=b:1\n", ["list:1: address: is given twice"]),
        (b"a:1 spare\n", ["list:1: spare: unknown key"]),
        (b"a:1 wieght=2\n", ["list:1: wieght: unknown key, did you mean 'weight'?"]),
        (b"a:1 name=x/y\n", ["list:1: name: a name must not hold '/' or control characters, like 'x/y'"]),
        (b"a:1 backup=yes\n", ["list:1: backup: must be true or false, not 'yes'"]),
        (b"a:1\n\xff\n", ["list:2: is not UTF-8: byte 0xff in line 2"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(text, errors):
    servers, found = parse_servers_file(text, "list")
    assert [*found] == [error.replace(" in line 2", "") for error in errors]
    assert not servers or found


def test_a_file_of_the_wrong_kind_is_told_in_ten_lines():
    _, errors = parse_servers_file(b"<br>\n" * 100_000, "list")
    assert len(errors) == 10
    assert errors[8] == "list:9: address: must be 'host:port' or 'unix:/path', not '<br>'"
    assert errors[9] == "list: 99991 more errors"
    assert len(parse_servers_file(b"<br>\n" * 10, "list")[1]) == 10


def test_a_word_of_any_length_is_told_in_a_short_line():
    _, errors = parse_servers_file(b"a:1 " + b"x" * 100_000 + b"\n" + b"y" * 100_000, "list")
    assert len(errors) == 2
    assert max(map(len, errors)) <= 500


def test_a_name_may_be_a_number():
    servers, errors = parse_servers_file(b"a:1 name=7\n", "list")
    assert ([server.name for server in servers], errors) == (["7"], ())


WORDS = st.sampled_from(
    [
        b"10.0.0.1:80",
        b"a:1",
        b"[::1]:1",
        b"weight=2",
        b"backup",
        b"name=x",
        b"=",
        b"weight",
        b"#",
        b"\n",
        b"\r",
        b" ",
        b"\xff",
    ]
)


@given(st.lists(WORDS | st.binary(max_size=6)).map(b" ".join))
def test_any_bytes_are_servers_or_errors_one_line_each(content):
    servers, errors = parse_servers_file(content, "list")
    assert len({server.name for server in servers}) == len(servers)
    for error in errors:
        assert error.startswith("list:")
        assert len(error.splitlines()) == 1
