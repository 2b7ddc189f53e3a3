"""The shared memory of tests lies below their own directories."""

from __future__ import annotations

import pytest

from lb.cache import disk_changes, disk_store, shared_cells


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    memory = tmp_path / "shared memory"
    memory.mkdir()
    monkeypatch.setattr(shared_cells, "MEMORY", memory)
    return memory


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def busy_upkeep(monkeypatch):
    """Upkeep, and whatever is tried again, comes at once; small objects are written at once."""
    monkeypatch.setattr(disk_changes, "GATHER_STORES", 0.001)
    monkeypatch.setattr(disk_store, "UPKEEP_EVERY", 0.01)
    monkeypatch.setattr(disk_store, "RETRY_DIRECTORY", 0.01)
