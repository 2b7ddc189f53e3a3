"""The command ``lb``, and ``python -m lb``: what must be done before the modules of a command are imported."""

from __future__ import annotations

import sys
from pathlib import Path

from lb.net.signals import block_signals
from lb.net.standard_streams import secure_standard_streams

__all__ = ["main"]


def main() -> int:
    """Run a command and return its exit code."""
    block_signals()
    secure_standard_streams()
    from lb.cli import main as run_command  # noqa: PLC0415 - after the above

    return run_command()


def _forget_working_directory() -> None:
    """``python -m lb`` puts the working directory first in the path: a user's ``strategies.py`` would hide ours."""
    if not sys.flags.safe_path and sys.path[0] != str(Path(__file__).parent.parent):
        del sys.path[0]


if __name__ == "__main__":
    _forget_working_directory()
    sys.exit(main())
