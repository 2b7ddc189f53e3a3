"""A short soak test, and one with a balancer that leaks memory, which must be found."""

from __future__ import annotations

import pytest

from chaos.http_clients import HTTP_KINDS
from chaos.judge import judge
from chaos.ledger import Ledger
from chaos.outside import ProcessStats
from chaos.soak import CLIENTS, FLAT_KIB, Sample, grown, judge_samples, soak
from tests.support.effort import DEEP
from tests.support.sabotage import sabotage

CONNECTIONS = 5_000 if DEEP else 1_000


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_every_session_is_answered_and_nothing_grows(workers):
    ledger = Ledger()
    samples = await soak(ledger, CONNECTIONS, workers)
    assert judge(ledger) == []
    assert {session.kind for session in ledger.sessions.values()} >= {"short", "kept", "half-closed", "bulk", "rude"}
    assert not any(line.wrong for line in judge_samples(samples)), judge_samples(samples)


@pytest.mark.slow
async def test_every_request_is_answered_and_nothing_grows():
    ledger = Ledger()
    samples = await soak(ledger, CONNECTIONS, 2, http=True)
    assert judge(ledger) == []
    assert {session.kind for session in ledger.sessions.values()} == HTTP_KINDS.keys()
    assert not any(line.wrong for line in judge_samples(samples)), judge_samples(samples)


@pytest.mark.slow
async def test_memory_that_is_kept_for_each_connection_is_found_out(monkeypatch):
    """Validates the test above. The leak is 4 KiB per connection, see ``tests/data/sabotage/sitecustomize.py``."""
    sabotage(monkeypatch, "memory")
    memory, _ = judge_samples(await soak(Ledger(), CONNECTIONS, 1))
    assert len(memory.wrong) == 1
    assert "has grown by" in memory.wrong[0]


# The verdict


def samples_of(kib, descriptors):
    """Return samples of one process, one per value."""
    figures = zip(kib, descriptors, strict=True)
    return [Sample(number, {"supervisor": ProcessStats(fds, 2, each, 1)}) for number, (each, fds) in enumerate(figures)]


def wrong(samples):
    return [text for line in judge_samples(samples) for text in line.wrong]


def test_growth_in_the_first_half_and_a_peak_in_the_second_are_no_matter():
    rising = [30_000 + 1_000 * number for number in range(10)]
    flat = [40_000] * 5 + [44_000] + [40_000] * 5
    assert wrong(samples_of([*rising, *flat], [10] * 21)) == []


def test_growth_in_the_second_half_is_found():
    step = FLAT_KIB // 8
    assert wrong(samples_of([30_000 + step * number for number in range(21)], [10] * 21)) == [
        f"supervisor has grown by {9 * step} KiB"
    ]


@pytest.mark.parametrize(
    "descriptors",
    [[10] * 20 + [11], [10] * 15 + [11 + CLIENTS] + [10] * 5],
    ids=["more at the end", "more and more on the way"],
)
def test_descriptors_that_do_not_come_back_are_found(descriptors):
    assert wrong(samples_of([30_000] * 21, descriptors)) == ["supervisor has more descriptors than before"]


def test_growth_is_that_of_the_line_through_all_values():
    assert grown([5, 5, 5]) == 0
    assert grown([0, 1, 2, 3]) == pytest.approx(3)
