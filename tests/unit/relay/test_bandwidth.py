"""Meters share a bucket: in turn, whatever the order in which they ask. On an imagined clock."""

from __future__ import annotations

import pytest

from lb.net.deadlines import DeadlineQueue
from lb.relay.bandwidth import Meter, SharedBucket
from lb.relay.token_bucket import BandwidthLimit


class World:
    def __init__(self):
        self.now = 0.0
        self.queues = [DeadlineQueue("bandwidth", wait) for wait in (0.02, 0.1)]

    def bucket(self, rate):
        return SharedBucket(BandwidthLimit(rate), lambda: self.queues, lambda: self.now)

    def run(self, sides, seconds):
        """Let time pass. Each side reads whatever it may, in each step."""
        for _ in range(round(seconds * 1000)):
            self.now += 0.001
            for queue in self.queues:
                while (wait := queue.pop_due(self.now)) is not None:
                    wait.expired(queue)
            for side in sides:
                side.read()


class Side:
    """A side of a relay with an endless stream."""

    def __init__(self, *buckets, has=10**12):
        self.meter = Meter(buckets)
        self.meter.side = self
        self.closed = False
        self.ready = True
        self.total = 0
        self.has = has

    def resume(self):
        self.ready = True

    def read(self):
        while self.ready and not self.closed:
            allowed = self.meter.allowed()
            if not allowed:
                self.ready = False
                return
            count = min(allowed, self.has, 128 * 1024)
            self.meter.take(count)
            self.total, self.has = self.total + count, self.has - count
            if not self.has:
                self.ready = False
                self.meter.release()

    def close(self):
        self.closed = True
        self.meter.release()


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("rate", [10_000, 1_000_000, 500_000_000])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_connections_share_a_bucket_evenly_and_use_all_of_it(world, rate, count):
    bucket = world.bucket(rate)
    sides = [Side(bucket) for _ in range(count)]
    world.run(sides, 30)
    totals = [side.total for side in sides]
    assert sum(totals) == pytest.approx(30 * rate, rel=0.05)
    assert max(totals) - min(totals) <= 3 * BandwidthLimit(rate).portion + rate // 500


def test_what_one_does_not_want_the_others_get(world):
    bucket = world.bucket(1_000_000)
    sides = [Side(bucket), Side(bucket, has=10_000), Side(bucket)]
    world.run(sides, 10)
    assert sides[1].total == 10_000
    assert sides[0].total == pytest.approx(5_000_000, rel=0.05)
    assert sides[2].total == pytest.approx(5_000_000, rel=0.05)


def test_the_narrowest_bucket_counts(world):
    shared = world.bucket(1_000_000)
    slow, fast = Side(world.bucket(100_000), shared), Side(shared)
    world.run([slow, fast], 10)
    assert slow.total == pytest.approx(1_000_000, rel=0.05)
    assert fast.total == pytest.approx(9_000_000, rel=0.06)


def test_who_is_closed_while_it_waits_or_after_it_was_resumed_holds_up_nobody(world):
    bucket = world.bucket(100_000)
    sides = [Side(bucket) for _ in range(6)]
    world.run(sides, 2)
    for side in sides[:3]:
        side.close()
    sides[3].read = lambda: None
    world.run(sides, 1)
    assert sides[3].ready, "it was resumed, and has not read"
    sides[3].close()
    before = [side.total for side in sides[4:]]
    world.run(sides, 10)
    gained = [side.total - total for side, total in zip(sides[4:], before, strict=True)]
    assert gained == [pytest.approx(500_000, rel=0.1)] * 2
