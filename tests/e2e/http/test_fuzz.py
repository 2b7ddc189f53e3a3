"""Garbage from clients and from a server through the real command; ``make fuzz`` runs it for longer."""

from __future__ import annotations

import random

import pytest

from chaos.http_fuzz import REQUESTS, RESPONSES, FuzzOutcome, fuzz, fuzz_lines, mutated_message
from chaos.ledger import Ledger
from chaos.verdict import table
from tests.support.effort import DEEP
from tests.support.sabotage import sabotage

SECONDS = 30 if DEEP else 5


@pytest.mark.slow
async def test_garbage_of_clients_and_servers_changes_nothing_for_others():
    ledger = Ledger()
    outcome = await fuzz(ledger, 17, SECONDS)
    results = fuzz_lines(ledger, outcome)
    assert not any(line.wrong for line in results), f"\n{table(results)}"
    assert outcome.requests > 20 * SECONDS
    assert outcome.responses > 5 * SECONDS
    assert len(ledger.sessions) > 10 * SECONDS


@pytest.mark.slow
async def test_a_response_of_another_request_is_found_out(monkeypatch):
    """Validates the test above. The defect is in ``tests/data/sabotage/sitecustomize.py``."""
    sabotage(monkeypatch, "answer")
    found = ""
    for seed in range(17, 22):  # the first is enough, but on a busy machine it has few responses
        ledger = Ledger()
        found = table(fuzz_lines(ledger, await fuzz(ledger, seed, 3)))
        if "the response of request" in found:
            break
    assert "the response of request" in found


def test_a_death_a_fault_and_a_failed_request_are_found():
    for outcome in (FuzzOutcome(exit_code=1), FuzzOutcome(exit_code=0, deaths=1)):
        assert [line.what for line in fuzz_lines(Ledger(), outcome) if line.wrong] == [
            "no process dies of mutated messages (0 from clients, 0 from the server)"
        ]
    good = FuzzOutcome(exit_code=0)
    assert not any(line.wrong for line in fuzz_lines(Ledger(), good))
    failed = Ledger()
    session = failed.begin_request("single", 1.0, connection=1, connected=1.0)
    session.ended, session.failure = 2.0, "status 502"
    for ledger in (Ledger(broken=["in the log: fault"]), failed):
        assert len([line for line in fuzz_lines(ledger, good) if line.wrong]) == 1


@pytest.mark.parametrize("messages", [REQUESTS, RESPONSES])
def test_most_messages_are_changed_and_some_are_not(messages):
    made = [mutated_message(random.Random(seed), messages) for seed in range(500)]
    assert 50 < sum(each in messages for each in made) < 250
    assert len(set(made)) > 200
