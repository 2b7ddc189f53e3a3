"""Fixtures for several test files."""

from __future__ import annotations

import gc
import os
import signal

import hypothesis
import pytest

from tests.support.release_figures import table

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a balancer starts in half the time from compiled files
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for commands in the background
hypothesis.settings.register_profile("fast", max_examples=50, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


def pytest_collection_finish():
    """Leave the tests themselves out of garbage collections, which took 0.1 s each: many tests make one."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    """Show sizes and times of what is released, if tests of it have run."""
    for line in table(terminalreporter.getreports("passed")):
        terminalreporter.write_line(line)


def pytest_runtest_teardown():
    """Fail if a library has given this thread real-time priority, which all programs started from here would inherit.

    The AV1 encoder in PyAV does: a program in a loop then takes all time of a machine.
    """
    assert os.sched_getscheduler(0) not in (os.SCHED_FIFO, os.SCHED_RR)


@pytest.fixture(params=["epoll", "portable"])
def splicer_kind(request, monkeypatch):
    """Both splicers; the name is in the environment, for a balancer in this process or in a child."""
    monkeypatch.setenv("LB_SPLICER", request.param)
    return request.param


@pytest.fixture(params=["epoll", "portable", "two workers"])
def balancer_kind(request, monkeypatch):
    """Both splicers, and several processes, for a balancer in a child process."""
    if request.param == "two workers":
        monkeypatch.setenv("LB_TEST_WORKERS", "2")
    else:
        monkeypatch.setenv("LB_SPLICER", request.param)
    return request.param


@pytest.fixture
def real_command(monkeypatch):
    """Start ``lb`` as users do, not forked from the zygote of the tests."""
    monkeypatch.setenv("LB_TEST_EXEC", "1")


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def worker_count(request, monkeypatch):
    """How many processes carry the traffic of a balancer in a child process."""
    monkeypatch.setenv("LB_TEST_WORKERS", str(request.param))
    return request.param
