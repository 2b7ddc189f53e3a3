"""Tests that have a long form run the short one, unless ``HYPOTHESIS_PROFILE`` is ``deep``."""

from __future__ import annotations

import os

import pytest

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"

LONG_FORM = pytest.mark.skipif(not DEEP, reason="takes long, with browsers: HYPOTHESIS_PROFILE=deep runs it")
"""For tests that have no short form; others hold the same with less."""
