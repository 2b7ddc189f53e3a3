"""Bodies whose pace is limited: what a flow holds while it waits."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lb.http.flow import Flow
from lb.http.pace import Pace
from lb.http1.body import LengthBody
from lb.relay.bandwidth import Meter, SharedBucket
from lb.relay.token_bucket import BandwidthLimit


@pytest.mark.parametrize("waits_for", ["source", "sink"])
def test_a_flow_that_waits_for_a_side_leaves_what_its_limit_has_granted_to_others(waits_for):
    now = 0.0
    queue = SimpleNamespace(timeout=1.0, touch=lambda *_: None)
    bucket = SharedBucket(BandwidthLimit(10_000), lambda: [queue], lambda: now)
    sink = SimpleNamespace(unsent=b"", writable=True, write=lambda _data: None)
    source = SimpleNamespace(has_input=True, queued=False, turn=SimpleNamespace(budget=1 << 20), streak=0)
    flow = Flow(source, sink, LengthBody(10_000), SimpleNamespace())
    flow.pace = Pace([bucket], 0, flow.pump)
    source.read = lambda most: memoryview(bytes(min(most, 100)))
    flow.pump()  # until the bucket is empty

    def read_a_little(_most):
        if waits_for == "source":
            source.has_input = False
        else:
            sink.unsent = b"rest"
        return memoryview(bytes(100))

    source.read = read_a_little
    now = 1.0
    bucket.expired(queue)  # grants a portion
    assert flow.moved == 200
    now = 2.0
    assert bucket.allowed(Meter([bucket])) > 0
