"""The health of a server in a worker: what it reports to the supervisor, and when."""

from __future__ import annotations

import math

import pytest

from healthcheck.mirror import HealthStatus, MirroredHealth
from healthcheck.state import Health
from lb.model import HealthSpec, PassiveSpec

PASSIVE = PassiveSpec(failures=3, eject_for=10.0, statuses=((500, 599),))


class Pair:
    """The supervisor's health of a server, and that of a worker, which follows it."""

    def __init__(self):
        self.health = Health(HealthSpec(), PASSIVE, 0.0)
        self.reports = []
        self.mirror = MirroredHealth(self.status, 0.0, lambda *report: self.reports.append(report), self.worked)

    @property
    def status(self):
        return HealthStatus.of(self.health, 0.0, 0.0)

    def worked(self, what):
        self.reports.append((what,))

    def told(self):
        """Return the reports so far, and let the worker know what the supervisor knows now."""
        reports, self.reports = self.reports, []
        self.mirror.judged(self.status, 0.0)
        return reports


def test_while_nothing_fails_nothing_is_reported():
    pair = Pair()
    for _ in range(3):
        pair.mirror.connected(1.0)
        pair.mirror.request_succeeded(1.0)
    assert pair.told() == []


def test_a_success_after_a_failed_connect_is_reported_once():
    pair = Pair()
    pair.mirror.connect_failed("refused", 1.0)
    pair.health.connect_failed("refused", 1.0)
    assert pair.told() == [("connect", "refused")]
    pair.mirror.connected(2.0)
    pair.mirror.connected(3.0)
    assert pair.told() == [("connect",)]


def test_after_a_failed_request_only_a_request_is_worth_a_report():
    """Else the connect would be the one report until the next verdict, and the failures would never end."""
    pair = Pair()
    pair.mirror.request_failed("HTTP 503", 1.0)
    pair.health.request_failed("HTTP 503", 1.0)
    assert pair.told() == [("request", "HTTP 503")]
    pair.mirror.connected(2.0)
    pair.mirror.request_succeeded(3.0)
    pair.mirror.request_succeeded(4.0)
    assert pair.told() == [("request",)]


def test_a_server_that_is_out_is_not_reported_again():
    pair = Pair()
    for _ in range(3):
        pair.health.request_failed("HTTP 503", 1.0)
    pair.told()
    pair.mirror.request_failed("HTTP 503", 2.0)
    pair.mirror.connect_failed("refused", 2.0)
    assert pair.told() == []


@pytest.mark.parametrize("failed", [0, 1])
def test_when_a_success_matters_is_known_in_the_worker(failed):
    pair = Pair()
    for _ in range(failed):
        pair.health.request_failed("HTTP 503", 1.0)
    assert (pair.status.success_matters_in, pair.status.requests_failed) == (
        -math.inf if failed else math.inf,
        bool(failed),
    )
