"""Values of the cluster's keys: JSON, which anybody may have written. No I/O."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["json_object"]


def json_object(content: bytes) -> dict[str, Any]:
    """Read a value. Raises ValueError."""
    try:
        read = json.loads(content)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    if not isinstance(read, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 - a value of the wrong type is an invalid value here
    return read
