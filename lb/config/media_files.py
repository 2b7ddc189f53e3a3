"""Read where live streams are recorded."""

from __future__ import annotations

import string
from pathlib import Path

from lb.model.shape import shape_of, shaped
from lb.model.values import Reader, file_name, shown, text
from lb.net.files import may_write_in

__all__ = ["record_path", "writable_directory"]

_FIELDS = {None, "app", "name", "start"}
"""None: the text at the end has no field behind it."""
_END = ".mp4"


def writable_directory(start: Path) -> Reader[str]:
    """Return a reader for a directory, or "" for none. It is made when it is needed, so it need not exist."""

    @shaped(shape_of(text))
    def read(value: object) -> str:
        if value == "":
            return ""
        given = file_name(value)
        found = (start / given).absolute()
        try:
            there = next(each for each in (found, *found.parents) if each.exists())
        except OSError as error:
            raise ValueError(f"{shown(given)} cannot be read: {(error.strerror or str(error)).lower()}") from error
        if not there.is_dir():
            raise ValueError(f"{shown(str(there))} is not a directory")
        if not may_write_in(there):
            raise ValueError(f"the directory {shown(str(there))} is not writable")
        return str(found)

    return read


@shaped({"type": "string", "pattern": r"^(?:[^./][^/]*(?:/[^./][^/]*)*\.mp4)?$"})
def record_path(value: object) -> str:
    """Read the path of recordings, below the directory of [media]; "" for none."""
    given = text(value)
    if not given:
        return ""
    try:
        parts = list(string.Formatter().parse(given))
    except ValueError as error:
        raise ValueError(f"{shown(given)} is no path: {error}") from error
    if not all(field in _FIELDS and not form and not change for _, field, form, change in parts):
        raise ValueError(f"may have {{app}}, {{name}} and {{start}} in braces, and no others: {shown(given)}")
    if any(not part or part.startswith(".") for part in given.split("/")) or not given.isprintable():
        raise ValueError(f"must be a path below the directory, without hidden names, not {shown(given)}")
    if not given.endswith(_END):
        raise ValueError(f"must end with {shown(_END)}, not {shown(given)}")
    return given
