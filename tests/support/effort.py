"""Tests that have a long form run the short one, unless ``HYPOTHESIS_PROFILE`` is ``deep``."""

from __future__ import annotations

import os

DEEP = os.environ.get("HYPOTHESIS_PROFILE") == "deep"
