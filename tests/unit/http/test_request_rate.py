"""``rate``: how many requests of a client pass, over workers and beside any number of other clients."""

from __future__ import annotations

from types import SimpleNamespace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lb.http.request_rate import RequestRate
from lb.model.address import Client
from lb.proxy.source_limits import SourceLimits
from tests.support.exchanges import FakeExchange


class Route:
    """A route with a rate, in one or more workers, and a clock."""

    def __init__(self, rate, burst, workers=1, key="www\0all"):
        memory = memoryview(bytearray(SourceLimits.size(workers)))
        SourceLimits.prepare(memory)
        self.now = 1000.0
        self.steps = [
            RequestRate(key, rate, burst, SourceLimits(memory, workers, each), lambda: self.now)
            for each in range(workers)
        ]

    def ask(self, client="192.0.2.1", worker=0):
        """Return None if a request passes, else its answer."""
        exchange = FakeExchange(client=client)
        passes = self.steps[worker].begin(exchange)
        assert passes == (exchange.answer is None)
        return exchange.answer


def test_a_burst_passes_then_one_each_interval_and_the_rest_is_told_when_to_come_again():
    route = Route(rate=0.5, burst=3)
    assert [route.ask() for _ in range(3)] == [None] * 3
    refused = route.ask()
    assert (refused.status, refused.reason, refused.fields) == (429, "rate", {b"Retry-After": b"2"})
    route.now += 0.5
    assert route.ask().fields == {b"Retry-After": b"2"}
    route.now += 0.6
    assert route.ask().fields == {b"Retry-After": b"1"}
    route.now += 0.9
    assert route.ask() is None
    assert route.ask().fields == {b"Retry-After": b"2"}


@pytest.mark.parametrize("rate", [0.01, 1, 7, 20, 3333.3])
def test_who_waits_as_long_as_told_passes(rate):
    route = Route(rate, burst=1)
    assert route.ask() is None
    for _ in range(10):
        route.now += int(route.ask().fields[b"Retry-After"])
        assert route.ask() is None


@given(
    st.floats(0.1, 50),
    st.integers(1, 30),
    st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 1)), min_size=20, max_size=50),
)
def test_never_more_than_the_burst_and_the_rate_in_any_span_over_both_workers(rate, burst, requests):
    route = Route(rate, burst, workers=2)
    passed = []
    for pause, worker in requests:
        route.now += pause
        if route.ask(worker=worker) is None:
            passed.append(route.now)
    for first, begin in enumerate(passed):
        for last, end in enumerate(passed[first:], 1):
            assert last <= burst + rate * (end - begin) + 1e-3


def test_a_flood_of_addresses_frees_nobody_from_the_limit():
    route = Route(rate=1, burst=5)
    assert [route.ask() for _ in range(5)] == [None] * 5
    for number in range(20_000):
        address = Client(f"10.0.{number >> 8}.{number & 255}", 50_000)
        assert route.steps[0].begin(SimpleNamespace(client=address))
    assert route.ask().status == 429


def test_clients_and_routes_count_for_themselves():
    route = Route(rate=1, burst=1)
    assert route.ask("192.0.2.1") is None
    assert route.ask("192.0.2.2") is None
    assert route.ask("192.0.2.1").status == 429
    other = RequestRate("www\0other", 1, 1, route.steps[0]._sources, lambda: route.now)
    assert other.begin(FakeExchange(client="192.0.2.1"))


def test_all_addresses_of_an_ipv6_network_are_one_client():
    route = Route(rate=1, burst=1)
    assert route.ask("2001:db8::1") is None
    assert route.ask("2001:db8::ffff:1").status == 429
    assert route.ask("2001:db8:0:1::1") is None


def test_clients_of_a_unix_socket_are_not_limited():
    route = Route(rate=1, burst=1)
    assert [route.ask("") for _ in range(3)] == [None] * 3
