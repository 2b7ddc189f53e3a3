"""Queries to workers: the sum of their answers."""

from __future__ import annotations

from lb.dataplane.stats import Counters, StatsSnapshot
from lb.workers.process import Reply
from lb.workers.queries import Queries
from tests.unit.log.test_request_line import request


class Replying:
    """A worker that replies to every order."""

    def __init__(self, answer):
        self.ended = ""
        self._answer = answer

    def order(self, _kind, _message):
        reply = Reply()
        reply.come("", self._answer)
        return reply


def stats_of(kept, requests):
    figures = Counters()
    for _ in range(requests):
        figures.note_request(request())
    return StatsSnapshot(figures, {"www": requests}, handshakes_waiting=kept, kept_connections={"backend": kept})


async def test_what_workers_count_and_have_adds_up_and_of_one_that_ended_its_counters_remain():
    """A worker that ended with TLS handshakes waiting was said to have them for ever."""
    first, second = Replying(stats_of(5, 20)), Replying(stats_of(3, 10))
    serving = {0: first, 1: second}
    queries = Queries(serving)
    total = await queries.stats()
    assert (total.handshakes_waiting, total.kept_connections, total.accepted) == (8, {"backend": 8}, {"www": 30})
    del serving[0]
    first.ended = "killed by SIGKILL"
    queries.worker_ended(first)
    total = await queries.stats()
    assert (total.handshakes_waiting, total.kept_connections, total.accepted) == (3, {"backend": 3}, {"www": 30})
    assert total.figures.requests["www", "videos"].total == 30
    assert total.figures.request_retries == {"backend": 0}
