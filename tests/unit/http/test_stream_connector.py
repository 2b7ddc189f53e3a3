"""Connectors whose connects serve several exchanges."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lb.http.shared_connections import PendingConnect
from lb.http.stream_connector import StreamConnector


@pytest.mark.parametrize(("waits", "told"), [(True, []), (False, [("lb", "hold_timeout")])])
def test_a_connect_of_another_exchange_is_an_attempt_that_outlasts_the_hold(waits, told):
    found = []
    owner = SimpleNamespace(no_server=lambda *args: found.append(args))
    connector = StreamConnector(None, None, SimpleNamespace(pool=None), owner, 0.0)
    if waits:
        connector._waits_for = PendingConnect(None, 1)
    connector.hold_timed_out()
    assert found == told
