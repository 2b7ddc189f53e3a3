"""An operator's override takes effect at once, whatever a reload is waiting for."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from lb.config.load import parse
from lb.control.balancer import Balancer
from lb.control.overrides import Override
from lb.events import BackendOverridden, ConfigApplied
from lb.net.resolver import FIRST_LOOK_UP, name_service
from tests.support.balancer import PATIENCE


def configuration(*servers):
    listed = ", ".join(f'{{ name = "{name}", address = "{address}" }}' for name, address in servers)
    return parse(
        f"""
        [listeners.web]
        bind = "127.0.0.1:0"
        pool = "web"
        [pools.web]
        health = false
        strategy = "consistent-hash"
        servers = [{listed}]
        """,
        "lb.toml",
    )


A, B, SILENT = ("a", "127.0.0.1:1"), ("b", "127.0.0.1:2"), ("s", "silent.test:80")


@pytest.fixture
async def world(nursery):
    """A running balancer, with a DNS that does not answer."""

    async def silent(address, family):
        await trio.sleep_forever()

    name_service.set(silent)
    events = []
    balancer = Balancer(events.append)
    await nursery.start(balancer.run, configuration(A, B))
    yield balancer, events
    balancer.stop_now()


async def test_a_drain_waits_for_no_reload_and_stays(world, nursery, mock_clock):
    balancer, events = world
    nursery.start_soon(balancer.reload, configuration(A, B, SILENT))
    await trio.testing.wait_all_tasks_blocked()
    await balancer.override("web", "b", {"drained": True})
    assert balancer.pools["web"].backends["b"].state == "draining"
    assert balancer.config.pools["web"].servers[1].drained
    assert not [event for event in events if isinstance(event, ConfigApplied)], "the reload is over"
    mock_clock.jump(FIRST_LOOK_UP)
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert [event for event in events if isinstance(event, ConfigApplied)] == [ConfigApplied(("web/s",), (), ())]
    assert balancer.pools["web"].backends["b"].state == "draining"
    assert balancer.overrides == {("web", "b"): Override(drained=True)}
    assert [event.server for event in events if isinstance(event, BackendOverridden)] == ["b"]


async def test_a_weight_of_a_server_whose_name_has_no_answer_is_set_at_once(world, nursery, mock_clock):
    balancer, _ = world
    nursery.start_soon(balancer.reload, configuration(A, SILENT))
    await trio.testing.wait_all_tasks_blocked()
    mock_clock.jump(FIRST_LOOK_UP)
    await trio.testing.wait_all_tasks_blocked(0.05)
    before = trio.current_time()
    await balancer.override("web", "s", {"weight": 7})
    assert trio.current_time() == before
    assert balancer.pools["web"].backends["s"].spec.weight == 7


async def test_the_table_is_built_beside_and_in_use_in_the_end(world):
    balancer, _ = world
    await balancer.override("web", "b", {"weight": 0})
    pool = balancer.pools["web"]
    assert pool.needs_build
    with trio.fail_after(PATIENCE):
        while pool.needs_build:
            await trio.lowlevel.checkpoint()
    assert pool.groups[0].strategy.servers == (pool.backends["a"],)


async def test_an_unknown_server_is_an_error(world):
    balancer, _ = world
    with pytest.raises(KeyError):
        await balancer.override("web", "x", {"drained": True})
