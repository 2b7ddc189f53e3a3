"""These tests are about the process itself, so all run the real command."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def always(real_command):
    """See ``real_command``."""
