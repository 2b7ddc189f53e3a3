"""A zygote: a process that has imported the product, and forks a process for each command of the tests.

Such a process runs ``lb.cli.main()`` as the real command does, in a tenth of the CPU time: it starts no interpreter and
imports nothing. It has the arguments, environment, directory, outputs, signals and exit code of the real command.
The protocol, one JSON value per packet of a socket pair:

=====================================================  =====================================
request                                                reply
=====================================================  =====================================
``{"module": …, "argv": …, "env": …, "cwd": …}``,      process id of the new process
with descriptors of its stdout and stderr
a process id, once that process has ended              exit code as :mod:`subprocess` has it
=====================================================  =====================================
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

import trio

ENVIRONMENT = {**os.environ}  # before any test changes it
INTERPRETER_VARIABLES = ("PYTHON", "LANG", "LC_")
"""Prefixes of environment variables that an interpreter reads at its start."""
LARGEST_PACKET = 100_000


class ForkedCommand:
    """A running command, with the part of :class:`trio.Process` that tests use."""

    def __init__(self, pid, exit_code, stdout, stderr):
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self._exit_code = exit_code
        self._pidfd = os.pidfd_open(pid)  # of no other process: the zygote reaps it when it is asked for the exit code
        self._returncode = None

    @property
    def returncode(self):
        if self._returncode is None and select.select([self._pidfd], [], [], 0)[0]:
            self._returncode = self._exit_code(self.pid)
            os.close(self._pidfd)
        return self._returncode

    async def wait(self):
        """Wait until it has ended; return its exit code."""
        if self.returncode is None:
            await trio.lowlevel.wait_readable(self._pidfd)
        return self.returncode

    def send_signal(self, number):
        if self.returncode is None:
            signal.pidfd_send_signal(self._pidfd, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Zygote:
    """The tests' end."""

    def __init__(self):
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=ENVIRONMENT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C ends the tests, and they end their commands
            )

    def start(self, module, argv, env, *, stdout=None, stderr=None, cwd=None):
        """Run ``main()`` of a module. Each output may be None, which is inherited, or ``PIPE``; the input is empty."""
        pipes = {number: os.pipe() for number, output in ((1, stdout), (2, stderr)) if output == subprocess.PIPE}
        outputs = [pipes[number][1] if number in pipes else number for number in (1, 2)]
        request = {"module": module, "argv": [*map(str, argv)], "env": {**env}, "cwd": str(cwd or Path.cwd())}
        socket.send_fds(self._socket, [json.dumps(request).encode()], outputs)
        pid = self._reply()
        for _, writing in pipes.values():
            os.close(writing)
        streams = {number: trio.lowlevel.FdStream(reading) for number, (reading, _) in pipes.items()}
        return ForkedCommand(pid, self._exit_code, streams.get(1), streams.get(2))

    def close(self):
        self._socket.close()
        self._process.wait()

    def _exit_code(self, pid):
        self._socket.send(json.dumps(pid).encode())
        return self._reply()

    def _reply(self):
        return json.loads(self._socket.recv(LARGEST_PACKET))


def may_fork(env):
    """Return whether a new interpreter in this environment would be like the zygote's."""
    return _interpreter_variables(env) == _interpreter_variables(ENVIRONMENT)


@cache
def zygote():
    """Return the zygote of this process of the tests."""
    running = Zygote()
    atexit.register(running.close)
    return running


def _interpreter_variables(env):
    return {name: value for name, value in env.items() if name.startswith(INTERPRETER_VARIABLES)}


def _preload():
    """Import all that a command may import: libraries that the product imports late, the tests' server, the product."""
    for name in ("cryptography.x509", "encodings.utf_8_sig", "tests.support.backend", "tests.support.http_origin"):
        importlib.import_module(name)
    for package in map(importlib.import_module, ("lb", "strategies", "healthcheck")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # a collection would copy the memory that the processes share


def _serve(channel):
    """Fork for each request; return in each new process the module to run. Exit when the tests have ended."""
    running = set()
    while True:
        packet, outputs, _, _ = socket.recv_fds(channel, LARGEST_PACKET, 2)
        if not packet:
            break
        request = json.loads(packet)
        if isinstance(request, int):
            reply = os.waitstatus_to_exitcode(os.waitpid(request, 0)[1])
            running.remove(request)
        else:
            reply = os.fork()
            if not reply:
                channel.detach()
                _become(request, outputs)
                return request["module"]
            running.add(reply)
            for fd in outputs:
                os.close(fd)
        channel.send(json.dumps(reply).encode())
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    sys.exit()


def _become(request, outputs):
    """Make this process what it would be after an exec of the command."""
    for number, fd in enumerate(outputs, start=1):
        os.dup2(fd, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.orig_argv = [sys.executable, *sys.argv]
    sys.path[0] = str(Path(sys.argv[0]).parent)


def _run(module):
    """Run the function ``main`` of a module and exit with its code."""
    try:
        code = importlib.import_module(module).main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    os._exit(code or 0)  # the end of an interpreter writes to all its memory, and would copy what is shared


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for commands in the background
    _preload()
    _run(_serve(socket.socket(fileno=int(sys.argv[1]))))
