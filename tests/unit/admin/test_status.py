"""The status is built beside the traffic."""

from __future__ import annotations

from types import SimpleNamespace

from lb.admin.recent_requests import RecentRequests
from lb.admin.status import status
from lb.dataplane.stats import StatsSnapshot
from lb.model import Config
from lb.model.stream_status import MediaSnapshot
from tests.support.turns import turns_of
from tests.unit.admin.test_overview_list import pools

MANY = 200


def test_the_status_of_many_pools_of_one_server_is_built_in_turns():
    balancer = SimpleNamespace(
        bound={},
        config=Config({}, {}),
        overrides={},
        shown_pools=pools(**{str(number): ["a"] for number in range(MANY)}),
        sharing=SimpleNamespace(checked_by=lambda place: None),
        sources=lambda spec: {},
    )
    found = {}

    async def build():
        found.update(await status(balancer, StatsSnapshot(), MediaSnapshot(), RecentRequests()))

    assert turns_of(build) > MANY / 10
    assert [*found["pools"]] == [*balancer.shown_pools]
