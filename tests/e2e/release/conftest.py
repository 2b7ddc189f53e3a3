"""Fixtures for the tests of what is released."""

from __future__ import annotations

import pytest

from tests.support.release_figures import Figures


@pytest.fixture
def figures(record_property):
    """Return a function of the name of an artefact, which returns its Figures."""
    return lambda artefact: Figures(record_property, artefact)
