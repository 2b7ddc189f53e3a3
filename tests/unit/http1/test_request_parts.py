"""Parts of a request that choose a server: cookies, parameters, headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.http1.cookies import cookie_value
from lb.http1.request_head import RequestHead, RequestHeads
from lb.http1.target import query_value
from lb.model.address import Client
from lb.model.request import Request, client_with


def head_of(line=b"GET /a/../b%20c?x=1&y=%41%26 HTTP/1.1", fields=b""):
    return RequestHeads().read(line + b"\r\nHost: A.example:80\r\n" + fields + b"\r\n")


@pytest.mark.parametrize(
    ("cookies", "value"),
    [
        (b"lb=1", b"1"),
        (b"a=b; lb=1; c=d", b"1"),
        (b"a=b;lb=1;c=d", b"1"),
        (b"a=b; \t lb= 1 \t; c=d", b"1"),
        (b"lb=1; lb=2", b"1"),
        (b"lb=", b""),
        (b"lb=a=b", b"a=b"),
        (b'lb="1"', b'"1"'),
        (b"xlb=2; lb=1", b"1"),
        (b"x=lb=2; lb=1", b"1"),
        (b"x=y lb=2; lb=1", b"1"),
        (b"lb", None),
        (b"LB=1", None),
        (b"xlb=1", None),
        (b"lbx=1", None),
        (b"x=lb=1", None),
        (b"", None),
        (b";;=;lb=1", b"1"),
    ],
)
def test_the_first_cookie_of_a_name_counts(cookies, value):
    assert cookie_value(cookies, b"lb") == value


@given(st.lists(st.sampled_from([b"lb", b"b", b"l", b"=", b";", b" ", b"\t", b"x"]), max_size=16).map(b"".join))
def test_cookies_are_what_stands_between_semicolons(cookies):
    pairs = [pair.strip(b" \t").partition(b"=") for pair in cookies.split(b";")]
    expected = next((value.strip(b" \t") for name, equals, value in pairs if equals and name == b"lb"), None)
    assert cookie_value(cookies, b"lb") == expected


@pytest.mark.parametrize(
    ("target", "value"),
    [
        (b"/?id=1", b"1"),
        (b"/?a=b&id=1&c", b"1"),
        (b"/?id=1&id=2", b"1"),
        (b"/?id=a%20b%26+c%zz", b"a b&+c%zz"),
        (b"/?i%64=1", b"1"),
        (b"/?id", b""),
        (b"/?id=", b""),
        (b"/?id=a=b?c", b"a=b?c"),
        (b"/id=1", None),
        (b"/?xid=1", None),
        (b"/?ID=1", None),
        (b"/?", None),
        (b"*", None),
    ],
)
def test_the_first_parameter_of_a_name_counts_decoded(target, value):
    assert query_value(target, b"id") == value


def test_a_head_is_a_request_as_strategies_see_it():
    head = head_of(fields=b"X-User: u1\r\nCookie: s=1\r\nx-user: u2\r\n")
    request: Request = head
    assert (request.uri, request.path, request.host) == (b"/a/../b%20c?x=1&y=%41%26", b"/b c", b"a.example:80")
    assert (request.query(b"x"), request.query(b"y"), request.query(b"z")) == (b"1", b"A&", None)
    assert (request.header(b"X-User"), request.header(b"x-none")) == (b"u1", None)
    assert (request.header(b"Cookie"), request.cookie(b"s"), request.cookie(b"t")) == (b"s=1", b"1", None)
    assert head_of().cookie(b"s") is None


def test_a_client_with_a_request_is_the_same_client():
    client = Client("::1", 5555)
    asking = client_with(client, head_of())
    assert isinstance(asking, Client)
    assert (asking, hash(asking), str(asking)) == (client, hash(client), "[::1]:5555")
    assert isinstance(asking.request, RequestHead)
    host, port = asking
    assert (host, port) == ("::1", 5555)
