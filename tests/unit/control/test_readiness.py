"""What keeps a balancer from being ready."""

from __future__ import annotations

from lb.control.readiness import Readiness, out_of_service, unproven, without_server
from lb.model import HealthSpec
from tests.support.pooling import Harness, server


def test_a_pool_is_ready_while_one_of_its_servers_is():
    pool = Harness(server("a"), server("b"), health=HealthSpec(fall=1))
    pools = {"web": pool.pool}
    assert without_server(pools) == out_of_service(pools) == []
    pool.check("a", False)
    assert without_server(pools) == out_of_service(pools) == []
    pool.check("b", False)
    assert without_server(pools) == out_of_service(pools) == ["web"]


def test_a_full_pool_is_busy_and_not_out_of_service():
    pool = Harness(server("a", max_connections=1))
    pools = {"web": pool.pool}
    pool.pick()
    assert without_server(pools) == ["web"]
    assert out_of_service(pools) == []


def test_a_pool_that_drains_is_out_of_service():
    pool = Harness(server("a", weight=0))
    assert out_of_service({"web": pool.pool}) == ["web"]


def test_only_a_check_that_has_passed_proves_a_server():
    pool = Harness(server("a"), server("b"))
    unchecked = Harness(server("a"), health=None)
    pools = {"web": pool.pool, "unchecked": unchecked.pool}
    assert unproven(pools) == ["web"]
    pool.check("b", False)
    assert unproven(pools) == ["web"]
    pool.check("b", True)
    pool.check("b", False)
    assert unproven(pools) == []


async def test_who_waits_is_woken_by_the_next_change():
    readiness = Readiness()
    before = readiness.next_change
    readiness.changed()
    await before.wait()
    assert not readiness.next_change.is_set()
