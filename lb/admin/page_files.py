"""The files of the dashboard, by the path under which they are served."""

from __future__ import annotations

from importlib.resources import files
from types import MappingProxyType

__all__ = ["PAGE_FILES"]

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
PAGE_FILES = MappingProxyType(
    {
        "/" if file.name == "index.html" else f"/{file.name}": (
            file.name,
            f"{_TYPES[file.name.rpartition('.')[2]]}; charset=utf-8",
        )
        for file in files("lb.admin").joinpath("page").iterdir()
    }
)
"""Path -> the file's name in the folder ``page``, and its content type."""
