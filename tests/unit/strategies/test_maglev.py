from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh64_intdigest

from lb.model import ServerSpec
from lb.model.address import Address
from strategies.maglev import DEFAULT_SIZE, Preference, build, populate
from tests.support.strategy_driver import finish, make_specs

PAPER = [Preference(0, offset=3, skip=4), Preference(1, offset=0, skip=2), Preference(2, offset=3, skip=1)]


def envoy_table(specs, size):
    """Envoy's table, computed naively: in each round, each host that is due probes for its next free entry."""
    hosts = sorted(range(len(specs)), key=lambda index: specs[index].address.text)
    share = {host: specs[host].weight / sum(spec.weight for spec in specs) for host in hosts}
    target, step, table, iteration = dict.fromkeys(hosts, 0.0), dict.fromkeys(hosts, 0), {}, 0
    while True:
        iteration += 1
        for host in hosts:
            if iteration * share[host] < target[host]:
                continue
            target[host] += max(share.values())
            text = specs[host].address.text.encode()
            offset, skip = xxh64_intdigest(text, 0) % size, xxh64_intdigest(text, 1) % (size - 1) + 1
            while (entry := (offset + step[host] * skip) % size) in table:
                step[host] += 1
            table[entry] = host
            if len(table) == size:
                return [table[entry] for entry in range(size)]


def test_the_table_of_the_paper():
    assert finish(populate(PAPER, 7)).tolist() == [1, 0, 1, 0, 2, 2, 0]


def test_the_table_of_the_paper_after_b1_is_removed():
    assert finish(populate([PAPER[0], PAPER[2]], 7)).tolist() == [0, 0, 0, 0, 2, 2, 2]


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.sampled_from([2, 3, 7, 31, 251, 1009]))
@settings(max_examples=60, deadline=None)
def test_the_table_is_that_of_envoy(weights, size):
    specs = make_specs(*weights)
    assert finish(build(specs, size)).owners.tolist() == envoy_table(specs, size)


@pytest.mark.parametrize("weights", [(1, 10_000), (3, 7, 11, 1), (49, 98, 147), (1,) * 300])
def test_the_table_is_that_of_envoy_for_weights_that_strain_the_rounding(weights):
    specs = make_specs(*weights)
    assert finish(build(specs, 1009)).owners.tolist() == envoy_table(specs, 1009)


def test_hosts_are_ordered_by_the_text_of_the_address_not_as_in_the_file():
    specs = [ServerSpec(name=text, address=Address.parse(text)) for text in ("[::1]:80", "b:1", "unix:/a", "a:1")]
    assert finish(build(specs, 31)).owners.tolist() == envoy_table(specs, 31)
    by_name = [specs[index].name for index in finish(build(specs, 31)).owners]
    specs.reverse()
    assert [specs[index].name for index in finish(build(specs, 31)).owners] == by_name


def test_entries_of_equal_servers_differ_by_at_most_one():
    counts = Counter(finish(build(make_specs(*[1] * 7), DEFAULT_SIZE)).owners)
    assert sum(counts.values()) == DEFAULT_SIZE
    assert max(counts.values()) - min(counts.values()) <= 1


def test_entries_are_in_proportion_to_the_weights():
    counts = Counter(finish(build(make_specs(1, 2, 3), DEFAULT_SIZE)).owners)
    assert [round(counts[index] / DEFAULT_SIZE, 3) for index in range(3)] == [0.167, 0.333, 0.5]


def test_a_key_is_at_its_xxh64_modulo_the_size():
    table = finish(build(make_specs(1, 1), DEFAULT_SIZE))
    assert table.position(b"10.1.2.3") == xxh64_intdigest(b"10.1.2.3") % 65537


def test_a_removed_server_moves_few_keys_of_the_others():
    specs = make_specs(*[1] * 20)
    before = [specs[index].name for index in finish(build(specs, DEFAULT_SIZE)).owners]
    gone = specs.pop(4).name
    after = [specs[index].name for index in finish(build(specs, DEFAULT_SIZE)).owners]
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != gone)
    assert moved / DEFAULT_SIZE < 0.05


def test_no_servers_make_an_empty_table():
    assert len(finish(build([], 7)).owners) == 0


def test_a_large_table_is_built_in_many_slices():
    assert sum(1 for _ in build(make_specs(*[1] * 1000), DEFAULT_SIZE)) > 2000
