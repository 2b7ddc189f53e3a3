"""Half a minute of storm over the real command, and a storm over one that is broken, which has to be found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.ledger import Ledger
from chaos.storm import storm
from chaos.verdict import lines, table

pytestmark = pytest.mark.slow
SEED = 20261125
SHORT_SEED = 93
"""Of a plan that in three seconds kills a server, and has others reset and cut answers in half."""
SABOTAGE = Path(__file__).parent / "sabotage"


async def test_half_a_minute_of_storm():
    ledger = Ledger()
    outcome = await storm(ledger, SEED, 30, lambda _action: None)
    results = lines(ledger, outcome)
    assert not any(line.wrong for line in results), f"\n{table(results)}"
    assert len(ledger.sessions) > 1000
    happened = ("config.applied", "config.rejected", "backend.ejected", "worker.died", "accept.paused")
    assert all(outcome.said[event] for event in happened), outcome.said


async def test_a_broken_balancer_is_found_out(monkeypatch):
    """So that the storm above says something; how it is broken is in ``tests/sabotage/sitecustomize.py``."""
    monkeypatch.setenv("PYTHONPATH", str(SABOTAGE))
    monkeypatch.setenv("LB_SABOTAGE", "byte lease descriptor record truncation failover")
    monkeypatch.setattr("chaos.balancer.CALM_PATIENCE", 1)  # what is lost does not come back
    monkeypatch.setattr("chaos.clients.HOLD_PATIENCE", 3)
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
