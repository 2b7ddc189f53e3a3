"""Which addresses are globally reachable: compared with IANA's registries, and with Python's own table."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lb.model.reachability import embedded_ipv4, globally_reachable, has_none_reachable, plain_address


def words(text):
    return text.split()


NOT_REACHABLE = words("""
0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.0.0/29
192.0.0.8/32 192.0.0.170/32 192.0.0.171/32 192.0.2.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
240.0.0.0/4 255.255.255.255/32
::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/32 2001:2::/48 2001:db8::/32 3fff::/20 5f00::/16 fc00::/7
fe80::/10
""")
"""The blocks of IANA's two registries that are not globally reachable, and Teredo, for which it says N/A."""
REACHABLE = words("""
192.0.0.9/32 192.0.0.10/32 192.31.196.0/24 192.52.193.0/24 192.175.48.0/24
2001:1::1/128 2001:1::2/128 2001:1::3/128 2001:3::/32 2001:4:112::/48 2001:20::/28 2001:30::/28 2620:4f:8000::/48
""")
"""The blocks that are, apart from NAT64."""
OTHERS = words("""
224.0.0.1 239.255.255.250 192.88.99.1 168.63.129.16 169.254.169.254 100.100.100.200 192.0.0.192
fd00:ec2::254 fd20:ce::254 ff02::1 ff0e::1 fec0::1 fe80::1%eth0 2001:4860:4860::8888%eth0 ::8.8.8.8 ::127.0.0.1
::ffff:0:8.8.8.8 4000::1 200::1
""")
"""Multicast, relays, metadata of clouds, site-local and scoped addresses, reserved space."""
PUBLIC = words("""
8.8.8.8 1.1.1.1 93.184.215.14 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 192.0.1.0 198.17.255.255 198.20.0.0
223.255.255.255 168.63.129.15 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 2001:200::1 3ffe::1 2001:db9::1
""")


def around(network):
    """The first, the last and one other address of a network."""
    found = ipaddress.ip_network(network)
    return {found[0], found[-1], found[found.num_addresses // 3]}


@pytest.mark.parametrize("network", NOT_REACHABLE)
def test_what_iana_calls_not_reachable_is_not(network):
    exceptions = [ipaddress.ip_network(each) for each in REACHABLE]
    addresses = {each for each in around(network) if not any(each in exception for exception in exceptions)}
    assert not any(map(globally_reachable, addresses))
    assert has_none_reachable(ipaddress.ip_network(network))


@pytest.mark.parametrize("network", REACHABLE)
def test_what_iana_calls_reachable_is(network):
    assert all(map(globally_reachable, around(network)))
    assert not has_none_reachable(ipaddress.ip_network(network))


@pytest.mark.parametrize("address", OTHERS)
def test_other_addresses_that_lead_into_a_network_of_ones_own(address):
    assert not globally_reachable(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reachable(address):
    assert globally_reachable(ipaddress.ip_address(address))


NOT_COMPARED = [*map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "224.0.0.0/4"))]
"""The first differs between versions of Python; with the others this table is stricter."""
IPV4 = st.integers(0, 2**32 - 1).map(IPv4Address)
NEAR_A_BLOCK = st.sampled_from(
    [address for block in [*NOT_REACHABLE, *REACHABLE] for address in around(block)]
).flatmap(
    lambda address: st.integers(-2, 2).map(
        lambda step: type(address)(max(0, int(address) + step) % 2**address.max_prefixlen)
    )
)


@given(IPV4 | NEAR_A_BLOCK)
def test_of_ipv4_the_same_is_reachable_as_for_python(address):
    assume(address.version == 4 and not any(address in network for network in NOT_COMPARED))
    assert globally_reachable(address) is address.is_global


@given(st.integers(1 << 125, (1 << 126) - 1).map(IPv6Address) | NEAR_A_BLOCK)
def test_no_ipv6_address_is_reachable_that_python_calls_private(address):
    assume(address.version == 6 and globally_reachable(address))
    iana_says_so = any(address in ipaddress.ip_network(block) for block in REACHABLE)
    assert address.is_global or iana_says_so or embedded_ipv4(address)
    assert not any((address.is_multicast, address.is_link_local, address.is_site_local, address.is_loopback))


def carriers(number):
    """All IPv6 addresses of known kinds that carry an IPv4 address."""
    return [
        IPv6Address(value)
        for value in (
            0xFFFF << 32 | number,
            0x0064_FF9B << 96 | number,
            0x0064_FF9B_0001 << 80 | number,
            0xFFFF << 48 | number,
            number,
            0x2002 << 112 | number << 80 | 1,
            0x2A00 << 112 | 0x5EFE << 32 | number,
            0x2A00 << 112 | 0x0200_5EFE << 32 | number,
            0x2001 << 112 | number << 64,
            0x2001 << 112 | 0x0808_0808 << 64 | number ^ 0xFFFF_FFFF,
        )
    ]


@given(IPV4)
@example(IPv4Address("127.0.0.1"))
@example(IPv4Address("0.0.0.1"))
def test_a_carried_address_is_found_and_judged(inner):
    for address in carriers(int(inner)):
        assert inner in embedded_ipv4(address), address
        if not globally_reachable(inner):
            assert not globally_reachable(address), address


@pytest.mark.parametrize("address", ["::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2a00::5efe:8.8.8.8"])
def test_an_address_that_carries_a_public_one_is_reachable(address):
    assert globally_reachable(ipaddress.ip_address(address))


def test_an_address_of_ipv4_carries_none():
    assert embedded_ipv4(IPv4Address("10.0.0.1")) == ()
    assert embedded_ipv4(IPv6Address("2a00::1")) == ()


def test_packets_to_a_mapped_address_go_to_ipv4():
    assert plain_address(IPv6Address("::ffff:10.0.0.1")) == IPv4Address("10.0.0.1")
    for address in (IPv4Address("10.0.0.1"), IPv6Address("64:ff9b::a00:1")):
        assert plain_address(address) is address


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "::/0", "8.0.0.0/8", "2000::/3", "64:ff9b::/96", "0.0.0.0/1", "192.0.0.9/32"]
)
def test_networks_with_a_reachable_address(network):
    assert not has_none_reachable(ipaddress.ip_network(network))


@pytest.mark.parametrize(
    "network", ["10.1.0.0/16", "127.0.0.1", "fd00::/8", "fe80::/10", "2001:db8:1::/48", "ff00::/8"]
)
def test_networks_without_a_reachable_address(network):
    assert has_none_reachable(ipaddress.ip_network(network))
