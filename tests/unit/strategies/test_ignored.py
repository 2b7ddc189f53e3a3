import pytest

from lb.model import DnsSource, PluginSpec, PoolSpec
from strategies.ignored import ignored
from tests.support.pooling import server


def pool(strategy, *weights, backup=(), **options):
    primaries = [server(f"s{number}", weight=weight) for number, weight in enumerate(weights)]
    backups = [server(f"b{number}", weight=weight, backup=True) for number, weight in enumerate(backup)]
    return PoolSpec("web", (*primaries, *backups), strategy=PluginSpec(strategy), **options)


@pytest.mark.parametrize("strategy", ["round-robin", "first"])
def test_weights_that_differ_are_ignored_where_all_count_the_same(strategy):
    assert ignored(pool(strategy, 1, 2)) == ("weight",)
    assert ignored(pool(strategy, 3, 3, 0)) == ()
    assert ignored(pool(strategy, 3, 3, backup=[1])) == ()
    assert ignored(pool(strategy, 3, 3, backup=[1, 2])) == ("weight",)
    assert ignored(pool(strategy, 2, dns=(DnsSource("web.internal", 80),))) == ("weight",)


@pytest.mark.parametrize("strategy", ["weighted", "least-conn", "random-two", "consistent-hash"])
def test_weights_are_used_by_the_others(strategy):
    assert ignored(pool(strategy, 1, 2)) == ()


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        ("weighted", ()),
        ("least-conn", ()),
        ("random-two", ()),
        ("round-robin", ("slow_start",)),
        ("first", ("slow_start",)),
        ("consistent-hash", ("slow_start",)),
    ],
)
def test_slow_start_is_ignored_with_shares(strategy, found):
    assert ignored(pool(strategy, 1, 1, slow_start=5.0)) == found
