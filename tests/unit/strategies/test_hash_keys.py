"""What consistent hashing hashes of clients with a request, and of those without."""

from __future__ import annotations

import pytest

from lb.http1.request_head import RequestHeads
from lb.model.address import Client
from lb.model.request import client_with
from strategies.consistent_hash import ConsistentHash
from tests.support.strategy_driver import make_servers, start

CLIENT = Client("10.1.2.3", 5555)
FIELDS = b"Host: Shop.example\r\nX-User: u1\r\nX-Empty:\r\nCookie: a=1; session=s1; empty=\r\n"


def asking(target=b"/a/./b?id=%37&empty=", fields=FIELDS, minor=b"1"):
    return client_with(CLIENT, RequestHeads().read(b"GET " + target + b" HTTP/1." + minor + b"\r\n" + fields + b"\r\n"))


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("source-ip", b"10.1.2.3"),
        ("source-ip-port", b"10.1.2.3:5555"),
        ("uri", b"/a/./b?id=%37&empty="),
        ("path", b"/a/b"),
        ("host", b"shop.example"),
        ("header:X-User", b"u1"),
        ("header:x-user", b"u1"),
        ("header:cookie", b"a=1; session=s1; empty="),
        ("cookie:session", b"s1"),
        ("query:id", b"7"),
    ],
)
def test_the_key_is_the_part_of_the_request(key, hashed):
    assert ConsistentHash(key=key).key(asking()) == hashed


@pytest.mark.parametrize(
    "key",
    [
        "header:X-None",
        "header:X-Empty",
        "cookie:none",
        "cookie:empty",
        "cookie:Session",
        "query:none",
        "query:empty",
        "query:ID",
    ],
)
def test_a_request_without_that_part_is_hashed_by_its_client(key):
    strategy = start(ConsistentHash(key=key, size=1009), make_servers(1, 1, 1))
    assert strategy.key(asking()) == b"10.1.2.3"
    assert strategy.explain(asking(), strategy.available).decides == "client"


def test_a_request_without_a_host_is_hashed_by_its_client():
    assert ConsistentHash(key="host").key(asking(b"/", b"", b"0")) == b"10.1.2.3"


@pytest.mark.parametrize("key", ["uri", "path", "host", "header:a", "cookie:a", "query:a"])
@pytest.mark.parametrize(("client", "hashed"), [(CLIENT, b"10.1.2.3"), (Client("", 0), b"unix:")])
def test_clients_of_mode_tcp_are_hashed_by_their_address(key, client, hashed):
    strategy = ConsistentHash(key=key)
    assert strategy.reads_requests
    assert strategy.key(client) == hashed


@pytest.mark.parametrize("key", ["source-ip", "source-ip-port"])
def test_keys_of_the_address_need_no_request(key):
    assert not ConsistentHash(key=key).reads_requests


def test_requests_for_one_uri_get_one_server_whoever_asks():
    strategy = start(ConsistentHash(key="uri"), make_servers(*[1] * 20))
    request = asking().request
    assert len({strategy.pick(client_with(Client(f"10.0.0.{n}", n), request), ()) for n in range(100)}) == 1
    assert len({strategy.pick(asking(b"/%d" % n), ()) for n in range(100)}) > 10


def test_an_explanation_has_the_key_of_the_request_as_text():
    strategy = start(ConsistentHash(key="header:X", size=1009), make_servers(1, 1, 1))
    client = asking(fields=b"Host: a\r\nX: caf\xe9\r\n")
    view = strategy.explain(client, strategy.available)
    assert (view.decides, view.key["key"]) == ("request", "caf\\xe9")
    assert view.order[0][0] is strategy.pick(client, ())


@pytest.mark.parametrize(
    "key",
    [
        "cookie",
        "uri:x",
        "header:",
        "header:a b",
        "header:a:b",
        "cookie:a=b",
        "cookie:a;b",
        "query:",
        "Uri",
        "",
        None,
        1,
        ["uri"],
    ],
)
def test_what_is_no_key_is_refused(key):
    with pytest.raises(ValueError, match=r"^key must be 'source-ip', .* or 'query:NAME', not "):
        ConsistentHash(key=key)
