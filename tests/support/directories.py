"""Directories whose files come and go while a test looks at them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def all_within(path):
    """Return the status of each file and directory below a path, by its path. What goes meanwhile is passed by."""
    found = {}
    for home, directories, files in os.walk(path):
        for name in (*directories, *files):
            each = Path(home, name)
            with suppress(FileNotFoundError):
                found[each] = each.lstat()
    return found
