"""What the system tells of a process: proc(5). What ends while it is looked at is passed by."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import trio

from tests.support.balancer import PATIENCE

_CPUCLOCK_SCHED = 2


def children(pid):
    """Return the children of a process, whichever thread has started them."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found += map(int, (task / "children").read_text().split())
    return found


def children_by_name(pid):
    """Return the children of a process by their names; of several with one name, the newest."""
    found = {}
    for child in sorted(children(pid)):
        with suppress(FileNotFoundError, ProcessLookupError):
            found[process_name(child)] = child
    return found


def process_name(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


def cpu_seconds(pid):
    """Return the CPU time of a process so far, user and system, by its clock, which counts nanoseconds.

    The id of the clock is computed as in clock_getcpuclockid(3).
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def open_files(pid="self"):
    """Return what the descriptors of a process are, by their numbers: ``/a/path``, ``socket:[123]``, ``pipe:[123]``."""
    found = {}
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found[int(each.name)] = str(each.readlink())
    return found


def socket_inodes(pid):
    """Return the inodes of the sockets of a process, as /proc/net has them."""
    links = open_files(pid).values()
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


async def media_process(lb, kind="live"):
    """Wait for a media process of a balancer. Return its id."""
    with trio.fail_after(PATIENCE):
        while (pid := children_by_name(lb.process.pid).get(f"lb media {kind}")) is None:  # noqa: ASYNC110 - not told
            await trio.sleep(0.02)
    return pid
