from bisect import bisect_left
from zlib import crc32

import pytest

from lb.model import ServerSpec
from lb.model.address import Address
from strategies import ketama
from tests.support.strategy_driver import finish, make_specs

KEYS = [f"10.{number // 256}.{number % 256}.9".encode() for number in range(3000)]


def nginx_ring(specs):
    """nginx's points as documented: sorted pairs (point, index); the first server in the list wins ties."""
    ring = []
    for index, spec in enumerate(specs):
        host, _, port = spec.address.text.rpartition(":")
        previous = b"\0\0\0\0"
        for _ in range(160 * spec.weight):
            point = crc32(host.encode() + b"\0" + port.encode() + previous)
            ring.append((point, index))
            previous = point.to_bytes(4, "little")
    return sorted(ring)


def homes(specs):
    table = finish(ketama.build(specs))
    return [specs[table.owners[table.position(key)]].name for key in KEYS]


def test_the_points_are_those_of_nginx():
    specs = make_specs(1, 3, 2, *[1] * 40)
    table = finish(ketama.build(specs))
    assert list(zip(table.points, table.owners, strict=True)) == nginx_ring(specs)


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("10.0.0.1:80", b"10.0.0.1\x0080"),
        ("[::1]:80", b"[::1]\x0080"),
        ("unix:/run/a:1", b"/run/a:1\x00"),
        ("cache.example:11211", b"cache.example\x0011211"),
    ],
)
def test_a_server_is_hashed_as_host_nul_port(text, hashed):
    table = finish(ketama.build([ServerSpec(name="a", address=Address.parse(text))]))
    assert crc32(hashed + bytes(4)) in table.points


@pytest.mark.parametrize("weights", [[1], [3, 1], [1] * 40])
def test_a_key_has_the_first_point_at_or_after_it_and_wraps(weights, monkeypatch):
    table = finish(ketama.build(make_specs(*weights)))
    edges = [0, (1 << 32) - 1, *table.points, *((point + 1) % (1 << 32) for point in table.points)]
    monkeypatch.setattr(ketama, "crc32", int.from_bytes)
    for number in edges:
        assert table.position(number.to_bytes(4)) == bisect_left(table.points, number) % len(table.points)


def test_of_equal_points_the_server_named_first_keeps_the_key():
    twins = [ServerSpec(name=name, address=Address.parse("10.0.0.1:80")) for name in ("first", "second")]
    assert set(homes(twins)) == {"first"}


def test_a_removed_server_moves_only_its_own_keys():
    specs = make_specs(*[1, 2, 1, 3, 1] * 2)
    before = homes(specs)
    gone = specs.pop(3).name
    after = homes(specs)
    assert gone in before
    assert all(new == old for old, new in zip(before, after, strict=True) if old != gone)


def test_a_server_that_gains_weight_takes_keys_and_the_others_swap_none():
    before = homes(make_specs(1, 1, 1, 1))
    after = homes(make_specs(1, 3, 1, 1))
    moved = {new for old, new in zip(before, after, strict=True) if old != new}
    assert moved == {"s2"}


def test_no_servers_make_an_empty_ring():
    assert len(finish(ketama.build([])).owners) == 0


def test_a_large_ring_is_built_in_many_slices():
    assert sum(1 for _ in ketama.build(make_specs(*[1] * 1000))) > 1000
