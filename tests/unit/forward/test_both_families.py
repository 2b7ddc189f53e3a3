"""A look-up of both families: what is told, and when."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
import trio

from lb.forward import both_families
from lb.forward.both_families import BothFamilies, FoundAddresses
from lb.net.errors import UnresolvedError

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
NO_NAME = UnresolvedError("not_found", "no such name")
SERVFAIL = UnresolvedError("failed", "SERVFAIL")
NEVER = FoundAddresses((), 0)


@pytest.fixture(autouse=True)
def routes(monkeypatch):
    """The families that this host has a route for."""
    found = {4, 6}
    monkeypatch.setattr(
        both_families, "_has_route", lambda addresses: bool(addresses) and addresses[0].version in found
    )
    return found


async def told(a, aaaa, *, within=60):
    """Return what is told and when. Each family is the seconds until its answer, and the answer."""
    start = trio.current_time()
    tellings = []

    async def ask(kind):
        delay, answer = aaaa if kind == "AAAA" else a
        await trio.sleep(delay)
        if isinstance(answer, UnresolvedError):
            raise answer
        return answer

    def found(each):
        tellings.append((round(trio.current_time() - start, 3), set(each.addresses), each.ttl))

    with trio.move_on_after(within):
        await BothFamilies(ask, found).run()
    return tellings, round(trio.current_time() - start, 3)


HAS_4, HAS_6, EMPTY = FoundAddresses((V4,), 30.0), FoundAddresses((V6,), 20.0), FoundAddresses((), 5.0)


async def test_all_addresses_come_at_once_if_both_answers_do(autojump_clock):
    assert await told((0.01, HAS_4), (0.02, HAS_6)) == ([(0.02, {V4, V6}, 20.0)], 0.02)


async def test_ipv6_comes_first(autojump_clock):
    addresses = []

    async def ask(kind):
        return HAS_6 if kind == "AAAA" else HAS_4

    await BothFamilies(ask, lambda found: addresses.extend(found.addresses)).run()
    assert addresses == [V6, V4]


@pytest.mark.parametrize("late", ["A", "AAAA"])
async def test_a_late_family_is_waited_for_50_ms_and_told_when_it_comes(autojump_clock, late):
    a, aaaa = ((1, HAS_4), (0.1, HAS_6)) if late == "A" else ((0.1, HAS_4), (1, HAS_6))
    first = V6 if late == "A" else V4
    assert await told(a, aaaa) == ([(0.15, {first}, 20.0 if late == "A" else 30.0), (1.0, {V4, V6}, 20.0)], 1.0)


@pytest.mark.parametrize("late", ["A", "AAAA"])
async def test_without_a_route_addresses_wait_for_the_other_family(autojump_clock, routes, late):
    """Else a host without IPv6 fails to reach a name whose A record came a moment late."""
    routes.discard(6 if late == "A" else 4)
    a, aaaa = ((1, HAS_4), (0.1, HAS_6)) if late == "A" else ((0.1, HAS_4), (1, HAS_6))
    assert await told(a, aaaa) == ([(1.0, {V4, V6}, 20.0)], 1.0)


@pytest.mark.parametrize("answer", [EMPTY, NO_NAME, SERVFAIL])
async def test_addresses_come_though_there_are_none_of_the_other_family(autojump_clock, answer):
    assert await told((0.3, HAS_4), (0.1, answer)) == ([(0.3, {V4}, 30.0)], 0.3)
    assert await told((0.1, answer), (0.08, HAS_6)) == ([(0.1, {V6}, 20.0)], 0.1)


async def test_a_family_that_stays_silent_does_not_delay_the_other(autojump_clock):
    assert await told((0.1, HAS_4), (99, NEVER), within=5) == ([(0.15, {V4}, 30.0)], 5.0)


async def test_a_name_that_is_not_there_needs_no_second_answer(autojump_clock):
    with pytest.raises(UnresolvedError, match="no such name"):
        await told((0.1, NO_NAME), (99, NEVER), within=5)


@pytest.mark.parametrize(
    ("a", "aaaa", "kind", "text"),
    [
        (EMPTY, EMPTY, "not_found", "it has no address"),
        (NO_NAME, SERVFAIL, "not_found", "no such name"),
        (SERVFAIL, EMPTY, "failed", "SERVFAIL"),
        (EMPTY, SERVFAIL, "failed", "SERVFAIL"),
        (SERVFAIL, NO_NAME, "failed", "SERVFAIL"),
    ],
)
async def test_without_an_address_the_error_says_why(autojump_clock, a, aaaa, kind, text):
    with pytest.raises(UnresolvedError, match=text) as raised:
        await told((0.1, a), (0.2, aaaa))
    assert raised.value.kind == kind


def test_a_route_is_looked_for_without_a_packet(monkeypatch):
    monkeypatch.undo()
    assert both_families._has_route((ip_address("127.0.0.1"),))
    assert not both_families._has_route(())
    assert not both_families._has_route((ip_address("255.255.255.255"),))
