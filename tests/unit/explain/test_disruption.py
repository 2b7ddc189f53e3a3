import pytest

from lb.explain.disruption import keys_moved
from lb.model import PluginSpec, PoolSpec, ServerSpec
from lb.model.address import Address


def server(number: int, weight: int = 1, backup: bool = False) -> ServerSpec:
    return ServerSpec(f"s{number}", Address.parse(f"10.0.0.{number}:80"), weight, backup)


def pool(*servers: ServerSpec, table: str = "maglev") -> PoolSpec:
    return PoolSpec("web", servers, PluginSpec("consistent-hash", (("table", table),)))


FOUR = [server(number) for number in range(1, 5)]


@pytest.mark.parametrize("table", ["maglev", "ketama"])
def test_one_server_of_four_takes_its_own_share_of_the_keys_along(table: str) -> None:
    moved = keys_moved(pool(*FOUR, table=table), pool(*FOUR[:3], table=table))
    assert moved == pytest.approx(0.25, abs=0.08)


def test_the_way_back_moves_as_many() -> None:
    assert keys_moved(pool(*FOUR[:3]), pool(*FOUR)) == keys_moved(pool(*FOUR), pool(*FOUR[:3]))


def test_backups_and_servers_without_weight_have_no_keys_to_move() -> None:
    assert keys_moved(pool(*FOUR), pool(*FOUR, server(5, weight=0), server(6, backup=True))) == 0


def test_where_there_is_no_server_there_is_no_other_one() -> None:
    nobody = pool(server(1, weight=0))
    assert keys_moved(pool(*FOUR), nobody) is None
    assert keys_moved(nobody, pool(*FOUR)) is None


def test_without_primaries_the_backups_have_the_keys() -> None:
    backups = [server(number, backup=True) for number in (5, 6)]
    assert keys_moved(pool(*FOUR, *backups), pool(*backups)) == 1
    assert keys_moved(pool(*backups), pool(backups[0])) == pytest.approx(0.5, abs=0.1)


def test_the_other_table_is_another_place_for_most_keys() -> None:
    moved = keys_moved(pool(*FOUR), pool(*FOUR, table="ketama"))
    assert moved is not None
    assert moved > 0.5


def keyed(*servers: ServerSpec, key: str) -> PoolSpec:
    return PoolSpec("web", servers, PluginSpec("consistent-hash", (("key", key),)))


@pytest.mark.parametrize("key", ["uri", "path", "host", "header:X-User", "cookie:session", "query:id"])
def test_keys_of_requests_are_counted_as_those_of_addresses(key: str) -> None:
    moved = keys_moved(keyed(*FOUR, key=key), keyed(*FOUR[:3], key=key))
    assert moved == pytest.approx(0.25, abs=0.08)
    other = keys_moved(keyed(*FOUR, key="source-ip"), keyed(*FOUR, key=key))
    assert other == pytest.approx(0.75, abs=0.08), "another key is another place"


def test_there_is_no_share_without_two_tables_or_a_difference() -> None:
    assert keys_moved(pool(*FOUR), pool(*FOUR)) is None
    assert keys_moved(pool(*FOUR), PoolSpec("web", tuple(FOUR))) is None
    assert keys_moved(PoolSpec("web", tuple(FOUR)), PoolSpec("web", tuple(FOUR[:2]))) is None
