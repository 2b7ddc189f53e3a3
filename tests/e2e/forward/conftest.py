"""A server that forward proxies lead to."""

from __future__ import annotations

import pytest

from tests.support.servers import serving


@pytest.fixture
async def server():
    """A server of tests/support/backend.py, named ``s``."""
    async with serving() as served:
        yield served
