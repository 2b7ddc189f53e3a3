"""Deadlines of calls, each of its own."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import trio

from lb.http.grpc_deadlines import GrpcDeadlines


class Call:
    def __init__(self, ended, name, *, fails=False):
        self._ended, self._name, self._fails = ended, name, fails

    def expired(self, _queue):
        self._ended.append((self._name, round(trio.current_time() - START[0], 3)))
        if self._fails:
            raise RuntimeError


START = [0.0]


async def test_each_call_ends_at_its_own_time(autojump_clock, nursery):
    faults, ended = [], []
    loop = SimpleNamespace(spawn=nursery.start_soon, fault=lambda *what: faults.append(what))
    deadlines = GrpcDeadlines(loop)
    START[0] = now = trio.current_time()
    call = partial(Call, ended)
    late, left = call("late"), call("left")
    deadlines.enter(late, now + 5)
    deadlines.enter(left, now + 2)
    deadlines.enter(call("soon", fails=True), now + 1)
    deadlines.enter(call("then"), now + 3)
    await trio.sleep(1.5)
    deadlines.discard(left)
    await trio.sleep(10)
    assert ended == [("soon", 1), ("then", 3), ("late", 5)]
    assert len(faults) == 1
    deadlines.enter(call("again"), trio.current_time() + 1)
    await trio.sleep(2)
    assert ended[-1][0] == "again"
