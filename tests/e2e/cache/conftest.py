"""Where a cache keeps what it stores."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["memory", "disk"])
def tier(request, tmp_path, monkeypatch):
    """Run a test with a cache in memory, and with one on disk."""
    if request.param == "disk":
        monkeypatch.setenv("LB_TEST_CACHE", str(tmp_path / "cache"))
    return request.param
