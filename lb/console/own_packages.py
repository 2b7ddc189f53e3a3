"""Why an import of ours failed: another module has the name of one of our top-level packages."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import lb

__all__ = ["name_conflict"]

OWN = ("strategies", "healthcheck")
"""Our packages beside ``lb``."""


def name_conflict() -> str | None:
    """Return which module is in the place of one of our packages, and what to do; None if none is. One line."""
    home = Path(lb.__file__).parent.parent
    for name in OWN:
        ours = home / name
        found = find_spec(name)
        places = [found.origin or "", *(found.submodule_search_locations or ())] if found else []
        if not places:
            return f"the package {name!r} of trio-lb is not in {home}: install trio-lb again"
        if str(ours) not in places:
            return (
                f"Python finds another {name!r}, {places[0] or places[-1]}, before that of trio-lb, {ours}: "
                "rename it or take it out of PYTHONPATH, or install trio-lb in a virtual environment of its own"
            )
        others = sorted({*packages_distributions().get(name, ())} - {"trio-lb"})
        if others:
            return (
                f"the package {name!r} of trio-lb is overwritten by {' and '.join(others)}: "
                "install trio-lb in a virtual environment of its own"
            )
    return None
