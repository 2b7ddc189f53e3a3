"""What workers report of connects and requests, and what the supervisor makes of it."""

from __future__ import annotations

import os
import pickle

import pytest

from lb.events import BackendEjected
from lb.model import PassiveSpec
from lb.net.channel import encode
from lb.net.sockets import ListeningSockets
from lb.pools.pool_set import Pools
from lb.workers.messages import ServerFailed, ServerWorked
from lb.workers.workers import Workers
from tests.support.pooling import Harness, servers


@pytest.fixture
async def supervisor():
    """A supervisor without a worker, and the harness of its pool."""
    harness = Harness(*servers("ab"), passive=PassiveSpec(failures=3, statuses=((500, 599),)))
    pools = Pools(pytest.fail)
    pools.by_name = {"web": harness.pool}
    workers = Workers(2, pools, harness.events.append, pytest.fail, ListeningSockets(), b"secret", 0.0)
    yield workers, harness
    for fd in (workers._counters_fd, *workers._wakeups):
        os.close(fd)


def report(workers, message):
    workers.received(pickle.loads(encode(message)))


@pytest.mark.parametrize(
    ("second", "ejected"),
    [
        (ServerWorked("web", "a", "connect"), True),
        (ServerWorked("web", "a", "request"), False),
        (ServerFailed("web", "a", "connect", "refused"), True),
    ],
)
async def test_failed_requests_of_all_workers_are_one_row(supervisor, second, ejected):
    workers, harness = supervisor
    failed = ServerFailed("web", "a", "request", "HTTP 503")
    for message in (failed, failed, second, failed):
        report(workers, message)
    assert [event.server for event in harness.of(BackendEjected)] == ["a"] * ejected
    assert harness["a"].failed_connects == (second == ServerFailed("web", "a", "connect", "refused"))


async def test_reports_about_servers_that_have_left_mean_nothing(supervisor):
    workers, harness = supervisor
    for name in ("x", "a"):
        harness.reload(*servers("b"))
        report(workers, ServerFailed("web", name, "request", "HTTP 503"))
        report(workers, ServerWorked("gone", name, "request"))
    assert harness.events == []
