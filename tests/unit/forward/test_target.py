"""Targets as clients name them: what they mean, and that no disguise of a private address passes."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lb.forward.rules import Rules
from lb.forward.target import ForwardTarget, parse_authority, target_of_address, target_of_name
from lb.http1.grammar import MalformedError
from lb.model.forward import ForwardSettings
from tests.support.disguises import ADDRESSES, MALFORMED

RULES = Rules(ForwardSettings(connect_ports=None))
"""The defaults, at any port."""


LOOKED_UP = ["-1", "1e9", "127.0.0.1_", "0x7g", "localhost", "127.0.0.1.example.com", "xn--fsq", "a_b.example.com"]
"""Names, for the system too: their addresses are judged after the look-up."""


@pytest.mark.parametrize("disguise", ADDRESSES)
def test_a_private_address_is_refused_however_it_is_spelled(disguise):
    target = parse_authority(f"{disguise}:80".encode())
    assert target.address is not None
    refusal = RULES.judge_target(target.address, target.port, tunnel=True)
    assert refusal is not None
    assert refusal.kind == "private"


@pytest.mark.parametrize("disguise", MALFORMED)
def test_what_others_may_read_as_an_address_is_no_target(disguise):
    with pytest.raises(MalformedError):
        parse_authority(f"{disguise}:80".encode())


def test_there_are_sixty_disguises_of_each_kind():
    assert len(set(ADDRESSES)) > 60
    assert len(set(MALFORMED)) > 60


@pytest.mark.parametrize("name", LOOKED_UP)
def test_a_name_is_a_name(name):
    target = parse_authority(f"{name}:80".encode())
    assert (target.host, target.address, target.port) == (name, None, 80)


PARTS = st.integers(0, 2**33).flatmap(
    lambda number: st.sampled_from(["{}", "0{:o}", "0x{:x}", "0X{:X}", "000{:o}"]).map(lambda form: form.format(number))
)
SMALL_PARTS = st.sampled_from(["0", "1", "127", "0177", "0x7f", "255", "256", "0377", "08", "0x", "a", ""])


@given(st.lists(PARTS | SMALL_PARTS, min_size=1, max_size=5).map(".".join))
@example("0x7f.1")
@example("4294967295")
def test_numbers_are_the_address_that_the_system_reads(text):
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(text.removesuffix(".")))
    except OSError:
        address = None
    try:
        target = target_of_name(text.encode(), 80)
    except MalformedError:
        assert address is None
    else:
        assert target.address == address


@given(st.text("0123456789abcdefxX.-_", min_size=1, max_size=30))
def test_no_name_is_an_address_for_the_system(text):
    try:
        target = target_of_name(text.encode(), 80)
    except MalformedError:
        return
    if target.address is None:
        with pytest.raises(OSError, match="illegal IP address"):
            socket.inet_aton(target.host)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(1, 65535))
def test_a_target_is_read_again_from_its_text(address, port):
    target = target_of_address(address, port)
    assert parse_authority(target.text.encode()) == target
    assert ipaddress.ip_address(target.host) == target.address


@given(st.binary(max_size=300) | st.text(max_size=80).map(str.encode))
def test_any_bytes_are_a_target_or_malformed(data):
    for read in (parse_authority, lambda name: target_of_name(name, 443)):
        try:
            target = read(data)
        except MalformedError:
            continue
        assert target.host == target.host.lower()
        assert target.host.isascii()
        assert not target.host.endswith(".")
        assert 0 < target.port <= 65535
        assert parse_authority(target.text.encode()) == target


def test_names_are_compared_in_lower_case_and_without_a_dot_at_the_end():
    assert parse_authority(b"WWW.Example.COM.:443") == ForwardTarget("www.example.com", 443)
    assert str(parse_authority(b"www.example.com:443")) == "www.example.com:443"


def test_a_mapped_address_is_the_address_it_stands_for():
    target = parse_authority(b"[::ffff:8.8.8.8]:443")
    assert (target.text, target.address) == ("8.8.8.8:443", ipaddress.IPv4Address("8.8.8.8"))


def test_brackets_are_shown_again():
    assert parse_authority(b"[2001:DB8::0:1]:443").text == "[2001:db8::1]:443"
    assert target_of_name(b"2001:db8::1", 443).text == "[2001:db8::1]:443"


@pytest.mark.parametrize("port", [b"", b":", b":0", b":65536", b":99999", b":-1", b":+1", b":0x50", b": 80", b":443 "])
def test_connect_needs_a_port_from_1_to_65535(port):
    for host in (b"example.com", b"[2001:db8::1]", b"8.8.8.8"):
        with pytest.raises(MalformedError):
            parse_authority(host + port)


def test_a_url_may_leave_the_port_out():
    assert parse_authority(b"example.com", 80).port == 80
    assert parse_authority(b"[2001:db8::1]", 80).port == 80
    assert parse_authority(b"example.com:8080", 80).port == 8080
    with pytest.raises(MalformedError):
        parse_authority(b"example.com:0", 80)


def test_a_name_has_the_limits_of_dns():
    longest = b".".join([b"a" * 63] * 3 + [b"a" * 61])
    assert len(target_of_name(longest, 443).host) == 253
    assert target_of_name(longest + b".", 443).host == longest.decode()
    for name in (longest + b"a", b"a" * 64 + b".com"):
        with pytest.raises(MalformedError):
            target_of_name(name, 443)
