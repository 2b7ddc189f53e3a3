"""Description of the machine and the versions of a run, for its report."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

__all__ = ["description"]


def description() -> str:
    """Return a Markdown list: processor, kernel, versions."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    peers = [f"{name} {_version_of(name.lower(), '-v')}" for name in ("HAProxy", "nginx", "squid", "tinyproxy", "wrk")]
    lines = [
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {platform.system()} {platform.release()}",
        f"lb {version('trio-lb')} ({_commit()}) on {python}, trio {version('trio')}",
        ", ".join(peers),
    ]
    return "".join(f"- {line}\n" for line in lines)


def _processor() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


def _commit() -> str:
    """Return the commit of the measured tree; a plus sign marks uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty=+"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "not a git tree"


def _version_of(command: str, option: str) -> str:
    """Return the first dotted number that a command prints; wrk prints it with exit code 1."""
    done = subprocess.run([command, option], capture_output=True, text=True, check=False)
    match = re.search(r"\d+(\.\d+)+\S*", done.stdout + done.stderr)
    return match[0] if match else "of unknown version"
