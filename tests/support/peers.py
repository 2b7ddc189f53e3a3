"""Marks for tests that need a program of another project."""

from __future__ import annotations

import os
import shutil

import pytest

__all__ = ["needs_program"]


def needs_program(name):
    """Skip the test without this program; in CI, let it fail: ``.ci/run`` installs what tests need."""
    return pytest.mark.skipif(
        shutil.which(name) is None and not os.environ.get("CI"), reason=f"{name} is not installed"
    )
