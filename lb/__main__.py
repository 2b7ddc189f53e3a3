"""The command ``lb``, and ``python -m lb``: what must be done before the modules of a command are imported."""

from __future__ import annotations

import sys

from lb.net.signals import block_signals
from lb.net.standard_streams import secure_standard_streams

__all__ = ["main"]


def main() -> int:
    """Run a command and return its exit code."""
    block_signals()
    secure_standard_streams()
    from lb.cli import main as run_command  # noqa: PLC0415 - after the above

    return run_command()


if __name__ == "__main__":
    sys.exit(main())
