"""The process of the configuration file: how many, for how long, as whom."""

from __future__ import annotations

from collections.abc import Mapping

from lb.config_file.table import Table
from lb.config_file.values import Reader, duration, text, workers
from lb.model import ProcessSpec

__all__ = ["read_process"]

_PROCESS: Mapping[str, Reader[object]] = {
    "workers": workers,
    "stop_timeout": duration,
    "user": text,
    "group": text,
}


def read_process(table: Table) -> ProcessSpec:
    process = ProcessSpec(**table.values(_PROCESS))
    table.finish()
    if process.group and not process.user:
        table.complain("needs a 'user' beside it", table.at("group"))
    return process
