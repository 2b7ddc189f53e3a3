import contextlib
import ipaddress
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.model import PluginSpec, Server, ServerSpec
from lb.model.address import Address, Client

PORTS = st.integers(min_value=0, max_value=65535)


@given(st.ip_addresses(v=4), PORTS)
def test_an_ipv4_address_round_trips(host: object, port: int) -> None:
    address = Address.parse(f"{host}:{port}")
    assert (address.host, address.port, str(address)) == (str(host), port, f"{host}:{port}")
    assert not address.is_name
    assert not address.is_unix


@given(st.ip_addresses(v=6), PORTS)
def test_an_ipv6_address_round_trips(host: object, port: int) -> None:
    address = Address.parse(f"[{host}]:{port}")
    assert (address.host, address.port, str(address)) == (str(host), port, f"[{host}]:{port}")
    assert not address.is_name


@given(st.from_regex(r"(?:[a-z]([a-z0-9-]{0,20}[a-z0-9])?\.){0,3}[a-z]{1,20}", fullmatch=True), PORTS)
def test_a_host_name_round_trips(host: str, port: int) -> None:
    address = Address.parse(f"{host}:{port}")
    assert (address.host, address.port, str(address)) == (host, port, f"{host}:{port}")
    assert address.is_name


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(Address.parse(text)) == text


@given(st.text(max_size=12) | st.ip_addresses().map(str) | st.from_regex(r"[a-z0-9.-]{1,12}", fullmatch=True))
def test_a_host_is_a_name_unless_it_is_an_ip_address(host: str) -> None:
    try:
        address = Address.parse(f"[{host}]:80" if ":" in host else f"{host}:80")
    except ValueError:
        return
    if not address.host:
        return
    try:
        ipaddress.ip_address(address.host)
    except ValueError:
        assert address.is_name
    else:
        assert not address.is_name


def test_no_host_means_all_addresses() -> None:
    address = Address.parse(":8080")
    assert (address.host, address.port, address.is_name) == ("", 8080, False)


def test_a_unix_path_is_kept_whole() -> None:
    address = Address.parse("unix:/run/a:b.sock")
    assert (address.path, address.is_unix, address.is_name) == ("/run/a:b.sock", True, False)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be 'host:port'"),
        ("8080", "must be 'host:port'"),
        ("a:", "the port must be a number"),
        ("a:-1", "the port must be a number"),
        ("a:65536", "the port must be a number"),
        ("a:" + "9" * 5000, "the port must be a number"),
        ("a:\u0661", "the port must be a number"),
        ("::1:80", r"an IPv6 address needs brackets: '\[::1\]:80'"),
        ("[::g]:80", "'::g' is not an IPv6 address"),
        ("[]:80", "'' is not an IPv6 address"),
        ("a b:80", "not a host name"),
        ("http://a:80", r"without a scheme, did you mean 'a:80'\?"),
        ("*:80", "all addresses has ':80'"),
        ("a:80-81", "must have one port"),
        ("a..b:80", "not a host name"),
        ("1.2.3.400:80", "not a host name or an address"),
        ("1.2.3:80", "not a host name or an address"),
        ("a" * 64 + ":80", "not a host name"),
        ("unix:", "a path must follow"),
        ("unix:/" + "a" * 107, "at most 107 bytes, .* has 108"),
        ("unix:/\0", "control characters"),
        ("a\n:80", "control characters"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Address.parse(text)


def test_an_address_is_the_text_that_the_user_wrote() -> None:
    assert Address.parse("[::1]:80") != Address.parse("[0::1]:80")
    assert Address.parse("a:80") == Address("a:80")


@pytest.mark.parametrize(
    ("client", "text"),
    [(Client("10.1.2.3", 5555), "10.1.2.3:5555"), (Client("::1", 5555), "[::1]:5555"), (Client("", 0), "unix:")],
)
def test_a_client_is_shown_as_in_the_log(client: Client, text: str) -> None:
    assert str(client) == text


def test_load_counts_by_weight() -> None:
    server = Server(ServerSpec("a", Address.parse("a:1"), weight=4))
    server.leases.add(2)
    assert (server.name, server.weight, server.load) == ("a", 4, 0.5)
    assert Server(ServerSpec("a", Address.parse("a:1"), weight=0)).load == math.inf


def test_servers_are_told_apart_by_identity() -> None:
    spec = ServerSpec("a", Address.parse("a:1"))
    assert Server(spec) != Server(spec)
    assert len({Server(spec), Server(spec)}) == 2


def test_a_plugin_is_shown_by_its_name() -> None:
    assert str(PluginSpec("http", (("path", "/"),))) == "http"
