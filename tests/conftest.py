"""What several test files share."""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("fast", max_examples=50, deadline=None)
hypothesis.settings.register_profile("deep", max_examples=1000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(params=["epoll", "portable"])
def splicer_kind(request, monkeypatch):
    """Both splicers; the name is in the environment, for a balancer in this process or in a child."""
    monkeypatch.setenv("LB_SPLICER", request.param)
    return request.param
