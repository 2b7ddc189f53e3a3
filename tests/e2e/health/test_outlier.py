"""A slow server, end to end: reported in a dry run, then ejected, then restored."""

from __future__ import annotations

from datetime import datetime
from functools import partial

import pytest
import trio

import tests.support.backend
from tests.support.balancer import balancer, config
from tests.support.load import load
from tests.support.servers import serving

pytestmark = pytest.mark.slow

OUTLIER = """
[pools.web.outlier]
interval = "500ms"
min_difference = "60ms"
min_samples = 3
eject_for = "500ms"
"""


class Late:
    """Serves six times later than the other servers do at the moment: a busy machine makes those slow as well."""

    def __init__(self):
        self.records = list
        """Returns the records of the connections so far."""

    async def __call__(self, stream):
        others = [record["duration_ms"] / 1000 for record in self.records() if record["server"] != "c"]
        await trio.sleep(6 * max(others[-10:], default=0) + 0.15)
        await tests.support.backend.serve("c", stream)


def moment(event):
    return datetime.fromisoformat(event["timestamp"])


@pytest.mark.usefixtures("worker_count")
async def test_a_server_that_answers_late_gets_no_traffic_for_a_while(tmp_path):
    late = Late()
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        serving(late, name="c") as c,
        balancer(tmp_path, config(a, b, c, pool=OUTLIER + "dry_run = true")) as lb,
        load(lb.port, [a, b, c], clients=8) as sessions,
    ):
        late.records = partial(lb.of, "connection.closed")
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
