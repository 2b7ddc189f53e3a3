"""Breaks the balancers of a test on purpose, to see whether a check finds out; see ``tests/data/sabotage``."""

from __future__ import annotations

import os

from tests.support.paths import DATA, ROOT


def sabotage(monkeypatch, *ways):
    """Break the balancers that are started from now on."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(DATA / "sabotage"), str(ROOT))))
    monkeypatch.setenv("LB_SABOTAGE", " ".join(ways))
