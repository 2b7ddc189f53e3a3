"""A storm with the real command, and a storm with a broken one, whose defects must be found."""

from __future__ import annotations

import pytest

from chaos.http_clients import HTTP_KINDS
from chaos.ledger import Ledger, RequestSession
from chaos.storm import storm
from chaos.verdict import lines, table
from tests.support.effort import DEEP
from tests.support.sabotage import sabotage

pytestmark = pytest.mark.slow
SEED = 2525
"""Seed of a plan with all kinds of actions within eight seconds, and no reload that waits for a frozen worker."""
STORM_SECONDS = 30 if DEEP else 8
SHORT_SEED = 47
"""Seed of a plan that kills a server, and makes others reset and cut replies in half, within three seconds."""
STORMS = 5
"""Storms in which each defect must be found. One is enough, but on a busy machine it has few sessions."""
COMPLAINTS = (
    "wrong byte",
    "leases leaked",
    "has more descriptors than before",
    "2 records: [{'event': 'connection.closed'",
    "2 records: [{'event': 'http.request'",
    "the response of request",
    "became an orderly end",
    "its server saw an orderly end",
    "connect_failed",
)


async def test_a_storm():
    ledger = Ledger()
    outcome = await storm(ledger, SEED, STORM_SECONDS, lambda _action: None)
    results = lines(ledger, outcome)
    assert not any(line.wrong for line in results), f"\n{table(results)}"
    assert len(ledger.sessions) > 30 * STORM_SECONDS
    requests = [session for session in ledger.sessions.values() if isinstance(session, RequestSession)]
    assert len(requests) > 15 * STORM_SECONDS
    assert {request.kind for request in requests} == HTTP_KINDS.keys()
    assert ledger.busy
    happened = ("config.applied", "config.rejected", "backend.ejected", "worker.died", "accept.paused")
    assert all(outcome.event_counts[event] for event in happened), outcome.event_counts


async def test_a_broken_balancer_is_found_out(monkeypatch):
    """Validates the test above. The defects are in ``tests/data/sabotage/sitecustomize.py``."""
    ways = ("byte", "lease", "descriptor", "record", "request-record", "answer", "truncation", "failover")
    sabotage(monkeypatch, *ways)
    monkeypatch.setattr("chaos.balancer.CALM_PATIENCE", 1)  # leaked descriptors are never closed
    monkeypatch.setattr("chaos.clients.HOLD_PATIENCE", 1)  # nor are leaked leases returned
    monkeypatch.setattr("chaos.storm.WARM_UP", 100)
    missing = set(COMPLAINTS)
    for _ in range(STORMS):
        ledger = Ledger()
        outcome = await storm(ledger, SHORT_SEED, 3, lambda _action: None)
        text = "\n".join(each for line in lines(ledger, outcome) for each in line.wrong)
        missing = {complaint for complaint in missing if complaint not in text}
        if not missing:
            break
    assert not missing
