"""Sets of networks, compared with the standard library's networks."""

from __future__ import annotations

import ipaddress
import pickle

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lb.model.address import Networks, address_of

addresses = st.ip_addresses(v=4, network="10.0.0.0/28") | st.ip_addresses(v=6, network="2001:db8::/124")


def network(address, length):
    """Return the network of this address with the given number of host bits."""
    return ipaddress.ip_network(f"{address}/{address.max_prefixlen - length}", strict=False)


@given(st.lists(st.builds(network, addresses, st.integers(0, 32))), addresses)
def test_an_address_is_in_a_set_if_it_is_in_one_of_its_networks(networks, address):
    found = address in Networks(tuple(map(str, networks)))
    assert found == any(address in each for each in networks if each.version == address.version)


def test_a_bare_address_is_a_network_of_one():
    networks = Networks(("10.1.2.3", "::1"))
    assert address_of("10.1.2.3") in networks
    assert address_of("::1") in networks
    assert address_of("10.1.2.4") not in networks


def test_the_whole_of_a_version_says_nothing_about_the_other():
    assert address_of("10.1.2.3") in Networks(("0.0.0.0/0",))
    assert address_of("::1") not in Networks(("0.0.0.0/0",))
    assert address_of("10.1.2.3") not in Networks(("::/0",))


def test_a_unix_client_is_in_no_network():
    assert address_of("") is None
    assert address_of("") not in Networks(("0.0.0.0/0", "::/0"))


def test_a_scope_does_not_count():
    assert address_of("fe80::1%eth0") in Networks(("fe80::/10",))


def test_what_is_no_network_is_an_error():
    with pytest.raises(ValueError, match=r"10\.0\.0\.1/8"):
        Networks(("10.0.0.1/8",))


def test_sets_are_equal_by_their_text_and_travel_to_other_processes():
    networks = Networks(("10.0.0.0/8", "::1"))
    copy = pickle.loads(pickle.dumps(networks))
    assert copy == networks != Networks(("10.0.0.0/8",))
    assert address_of("10.1.2.3") in copy
    assert (str(networks), str(Networks())) == ("10.0.0.0/8, ::1", "none")


def test_a_long_list_costs_no_more_than_a_short_one():
    """One lookup per prefix length."""
    networks = Networks(tuple(f"10.{high}.{low}.0/24" for high in range(100) for low in range(200)))
    assert [len(widths) for widths in networks._prefixes.values()] == [1, 0]
    assert address_of("10.99.199.7") in networks
    assert address_of("10.99.200.7") not in networks
