"""``stop_delay``: a load balancer in front learns of the stop before the listeners close."""

from __future__ import annotations

import signal
from datetime import datetime

import pytest

from tests.support.balancer import ask, config
from tests.support.operating import ADMIN, operated
from tests.support.servers import serving

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("worker_count")]


def with_delay(delay):
    return f'[process]\nstop_delay = "{delay}"\n{ADMIN}'


def at(event):
    return datetime.fromisoformat(event["timestamp"]).timestamp()


async def test_from_the_signal_on_it_is_not_ready_but_serves(tmp_path):
    async with serving() as server, operated(tmp_path, config(server, top=with_delay("1m"))) as (lb, operator):
        assert (await operator.client.get("/readyz")).status_code == 200
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        assert (await operator.client.get("/readyz")).status_code == 503
        assert (await operator.client.get("/healthz")).status_code == 200
        assert await ask(lb.port) == b"s\n"
        assert not lb.of("listener.stopped")
        lb.signal(signal.SIGTERM)  # a second one does not wait
        assert await lb.exit_code() == 0
    assert at(lb.of("server.stopped")[0]) - at(lb.of("server.stopping")[0]) < 30
    assert len(lb.of("server.stopping")) == 1


async def test_after_the_delay_the_listeners_close(tmp_path):
    async with serving() as server, operated(tmp_path, config(server, top=with_delay("300ms"))) as (lb, _):
        lb.signal(signal.SIGTERM)
        assert await lb.exit_code() == 0
    assert at(lb.of("listener.stopped")[0]) - at(lb.of("server.stopping")[0]) >= 0.3


async def test_a_reload_or_an_upgrade_during_the_delay_changes_nothing(tmp_path):
    async with serving() as server, operated(tmp_path, config(server, top=with_delay("1m"))) as (lb, operator):
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        assert (await operator.client.post("/api/v1/reload")).status_code == 422
        lb.signal(signal.SIGUSR2)
        await lb.event("upgrade.ignored")
        lb.signal(signal.SIGINT)
        assert await lb.exit_code() == 0
    assert not lb.of("config.applied", "upgrade.started")
