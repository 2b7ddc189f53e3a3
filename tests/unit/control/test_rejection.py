"""Events for a failed change."""

from __future__ import annotations

import errno

import pytest

from lb.control.balancer import why_rejected
from lb.dataplane.plane import DataPlaneError
from lb.events import ConfigRejected, Fault


@pytest.mark.parametrize(
    ("exception", "reason"),
    [
        (OSError(errno.EADDRINUSE, "127.0.0.1:80: address already in use"), "127.0.0.1:80: address already in use"),
        (OSError("is not a plain file"), "is not a plain file"),
        (DataPlaneError("worker 1: too late"), "worker 1: too late"),
    ],
)
def test_what_was_to_be_expected_is_its_own_reason(exception, reason):
    assert [*why_rejected("reload", exception)] == [ConfigRejected((reason,))]


def test_what_was_not_is_a_fault_as_well():
    bug = ZeroDivisionError("in a strategy")
    assert [*why_rejected("reload", bug)] == [
        Fault("reload", bug),
        ConfigRejected(("ZeroDivisionError: in a strategy",)),
    ]
