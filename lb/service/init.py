"""Process 1 of a container: it reaps processes without a parent, and passes signals on to the balancer.

The kernel makes process 1 the parent of every process of the container whose own parent has ended, such as background
processes of exec probes. Each stays a zombie until its parent asks for its exit status. The balancer cannot ask for
that of any process: it would take the exit status of its own from trio and subprocess.
"""

from __future__ import annotations

import os
import signal

from lb.net.signals import SIGNALS, block_signals

__all__ = ["leave_process_1"]


def leave_process_1() -> None:
    """If this is process 1, return in a child of it, and let process 1 end with that child.

    Call it before other modules are imported and before threads run: process 1 keeps what this one has.
    """
    if os.getpid() != 1:
        return
    block_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    child = os.fork()
    if child:
        os._exit(reap_until_exit(child))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for variable in ("LISTEN_PID", "WATCHDOG_PID"):  # what a service manager has told process 1 is for the balancer
        if os.environ.get(variable) == "1":
            os.environ[variable] = str(os.getpid())


def reap_until_exit(child: int) -> int:
    """Reap all children until this one has ended; return its exit code as a shell has it. SIGCHLD must be blocked."""
    while True:
        number = signal.sigwait([*SIGNALS, signal.SIGCHLD])
        if number != signal.SIGCHLD:
            os.kill(child, number)
            continue
        for pid, status in iter(_reaped, (0, 0)):
            if pid == child:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def _reaped() -> tuple[int, int]:
    """Reap a child that has ended; return its process id and status, zeros if there is none."""
    try:
        return os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0, 0
