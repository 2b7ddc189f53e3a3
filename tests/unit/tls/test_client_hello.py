"""The server name (SNI) in a ClientHello: from several kinds of clients, in any pieces, and from invalid bytes."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.tls.client_hello import ClientHello, NotTlsError, usual_name
from tests.support.tls_peers import VERSIONS


def hello(name, *, version=None, alpn=()):
    """Return the ClientHello of a client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    if alpn:
        context.set_alpn_protocols(alpn)
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def server_name(*pieces):
    """Return the result for the last piece. For all pieces before it, the result is None."""
    hello = ClientHello()
    *before, last = pieces
    assert [hello.read(piece) for piece in before] == [None] * len(before)
    return hello.read(last)


def in_records(first, size):
    """Return the same message in records of at most ``size`` bytes."""
    message = first[5:]
    pieces = (message[start : start + size] for start in range(0, len(message), size))
    return b"".join(first[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("version", [None, *VERSIONS])
@pytest.mark.parametrize(("asked", "found"), [("a.example.org", "a.example.org"), ("A.Example.ORG", "a.example.org")])
def test_the_name_is_found_in_lower_case(version, asked, found):
    assert server_name(hello(asked, version=version, alpn=["h2", "http/1.1"])) == found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [None, "127.0.0.1"])
def test_a_client_that_names_no_server_is_a_tls_client_all_the_same(version, name):
    assert server_name(hello(name, version=version)) == ""


@pytest.mark.parametrize("version", VERSIONS)
def test_a_part_of_it_is_not_enough_wherever_it_is_cut(version):
    whole = hello("a.example.org", version=version)
    assert {server_name(whole[:count]) for count in range(len(whole))} == {None}
    assert server_name(whole + b"and what comes behind it") == "a.example.org"


@pytest.mark.parametrize("version", VERSIONS)
def test_it_may_come_byte_by_byte(version):
    whole = hello("a.example.org", version=version)
    assert server_name(*(bytes([byte]) for byte in whole)) == "a.example.org"


@pytest.mark.parametrize("size", [1, 7, 100])
def test_it_may_come_in_several_records(size):
    whole = in_records(hello("a.example.org"), size)
    assert server_name(whole) == "a.example.org"
    assert server_name(whole[:-1]) is None


def test_a_name_beyond_ascii_is_refused_and_nothing_is_printed(capsys):
    strange = hello("aexample.org").replace(b"aexample.org", b"\xffexample.org")
    with pytest.raises(NotTlsError):
        server_name(strange)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(16), b"PROXY TCP4 1.1.1.1 \r\n"]
)
def test_another_protocol_is_told_from_tls(first):
    with pytest.raises(NotTlsError):
        server_name(first)


@given(st.binary(max_size=600))
def test_no_bytes_do_any_harm(received):
    with suppress(NotTlsError):
        assert server_name(received) in {None, ""}


@given(st.data())
def test_a_damaged_hello_does_no_harm(data):
    damaged = bytearray(hello("a.example.org"))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(NotTlsError):
        server_name(bytes(damaged))


def name_for_openssl(received):
    """Return what OpenSSL finds. It gets the first byte alone, so that nothing is read without it."""
    hello = ClientHello()
    return hello.read(received[:1]) or hello.read(received[1:])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["a.example.org", None])
def test_a_usual_hello_is_read_without_openssl(version, name):
    whole = hello(name, version=version, alpn=["h2", "http/1.1"])
    assert usual_name(whole) == (name or "") == name_for_openssl(whole)
    assert usual_name(whole + b"more") == (name or "")
    assert {usual_name(whole[:count]) for count in range(len(whole))} == {None}


def test_what_is_unusual_is_left_to_openssl():
    usual = hello("aexample.org")
    for strange in (b"\xffexample.org", b"a\0xample.org"):
        assert usual_name(usual.replace(b"aexample.org", strange)) is None
    assert usual_name(in_records(usual, 100)) is None


@given(st.data())
def test_a_damaged_hello_has_the_name_that_openssl_finds(data):
    damaged = bytearray(hello(data.draw(st.sampled_from(["a.example.org", None]))))
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[place] = data.draw(st.integers(0, 255))
    name = usual_name(bytes(damaged))
    if name is not None:
        with suppress(NotTlsError):
            assert name_for_openssl(bytes(damaged)) == name
