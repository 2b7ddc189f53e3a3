"""A slow server, end to end: reported in a dry run, then ejected, then restored."""

from __future__ import annotations

from datetime import datetime

import pytest
import trio

import tests.support.backend
from tests.support.balancer import balancer, config
from tests.support.load import load
from tests.support.servers import serving

pytestmark = pytest.mark.slow

OUTLIER = """
[pools.web.outlier]
interval = "250ms"
min_difference = "60ms"
min_samples = 3
eject_for = "500ms"
"""


async def late(stream):
    await trio.sleep(0.15)
    await tests.support.backend.serve("c", stream)


def moment(event):
    return datetime.fromisoformat(event["timestamp"])


@pytest.mark.usefixtures("worker_count")
async def test_a_server_that_answers_late_gets_no_traffic_for_a_while(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        serving(late, name="c") as c,
        balancer(tmp_path, config(a, b, c, pool=OUTLIER + "dry_run = true")) as lb,
        load(lb.port, [a, b, c], clients=3) as sessions,
    ):
        slow = await lb.event("backend.slow")
        assert slow["server"] == "c"
        assert slow["reason"].startswith("first byte ")
        await sessions.until_seen(b"c\n")
        assert not lb.of("backend.ejected")
        await lb.reload(config(a, b, c, pool=OUTLIER))
        ejected = await lb.event("backend.ejected")
        assert (ejected["server"], ejected["source"]) == ("c", "outlier")
        restored = await lb.event("backend.restored")
        assert (moment(restored) - moment(ejected)).total_seconds() > 0.4, "checks pass all the while"
        await sessions.until_seen(b"c\n")
        assert not sessions.failures
