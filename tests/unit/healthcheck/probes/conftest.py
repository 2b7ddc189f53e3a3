"""Every probe is tested over both carriers of its bytes: a stream of trio, and the epoll runner."""

import sys

import pytest

from healthcheck.conversation_probe import ConversationProbe
from tests.support.checking import by_epoll

WITHOUT_CHOICE = {"worker_count", "scene", "from_elsewhere"}
"""Fixtures of tests that start a balancer, which chooses the carrier itself, and of those that need a stream."""


def pytest_generate_tests(metafunc):
    both = sys.platform == "linux" and not WITHOUT_CHOICE & set(metafunc.fixturenames)
    metafunc.parametrize("carrier", ["stream", "epoll"] if both else ["stream"], indirect=True)


@pytest.fixture(autouse=True)
def carrier(request, monkeypatch):
    if request.param == "epoll":
        monkeypatch.setattr(ConversationProbe, "check", by_epoll)
