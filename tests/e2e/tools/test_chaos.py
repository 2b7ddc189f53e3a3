"""A storm with the real command, and a storm with a broken one, whose defects must be found."""

from __future__ import annotations

import pytest

from chaos.ledger import Ledger
from chaos.storm import storm
from chaos.verdict import lines, table
from tests.support.effort import DEEP
from tests.support.paths import DATA

pytestmark = pytest.mark.slow
SEED = 1383
"""Seed of a plan with all kinds of actions within eight seconds, and no reload that waits for a frozen worker."""
STORM_SECONDS = 30 if DEEP else 8
SHORT_SEED = 93
"""Seed of a plan that kills a server, and makes others reset and cut replies in half, within three seconds."""
SABOTAGE = DATA / "sabotage"


async def test_a_storm():
    ledger = Ledger()
    outcome = await storm(ledger, SEED, STORM_SECONDS, lambda _action: None)
    results = lines(ledger, outcome)
    assert not any(line.wrong for line in results), f"\n{table(results)}"
    assert len(ledger.sessions) > 30 * STORM_SECONDS
    happened = ("config.applied", "config.rejected", "backend.ejected", "worker.died", "accept.paused")
    assert all(outcome.event_counts[event] for event in happened), outcome.event_counts


async def test_a_broken_balancer_is_found_out(monkeypatch):
    """Validates the test above. The defects are in ``tests/data/sabotage/sitecustomize.py``."""
    monkeypatch.setenv("PYTHONPATH", str(SABOTAGE))
    monkeypatch.setenv("LB_SABOTAGE", "byte lease descriptor record truncation failover")
    monkeypatch.setattr("chaos.balancer.CALM_PATIENCE", 1)  # leaked descriptors are never closed
    monkeypatch.setattr("chaos.clients.HOLD_PATIENCE", 1)  # nor are leaked leases returned
    monkeypatch.setattr("chaos.storm.WARM_UP", 100)
    ledger = Ledger()
    outcome = await storm(ledger, SHORT_SEED, 3, lambda _action: None)
    text = "\n".join(each for line in lines(ledger, outcome) for each in line.wrong)
    for complaint in (
        "wrong byte",
        "leases leaked",
        "has more descriptors than before",
        "2 records",
        "became an orderly end",
        "its server saw an orderly end",
        "connect_failed",
    ):
        assert complaint in text, f"not found: {complaint}"
