"""Where things of the project are, for tests that read them."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DATA", "DOCS", "EXAMPLES", "ROOT"]

ROOT = Path(__file__).parent.parent.parent
DATA = ROOT / "tests" / "data"
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
