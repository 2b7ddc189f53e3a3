"""The fork server: a process that forks workers. Modules are preloaded, so a worker starts in milliseconds.

It is forked from the supervisor before trio or a thread runs there: a process with threads cannot be forked safely. It
has one thread and only forks. If it was not started in time (a program that embeds the balancer), or is gone, the
supervisor starts another one as a separate program.

The protocol, one message per packet of a socket pair:

===============  ==========================  =========================================================
sender           message                     content
===============  ==========================  =========================================================
the supervisor   the worker's number         the worker's end of its channel
the fork server  ``started``, process id     a descriptor of the process (pidfd)
the fork server  ``failed``, errno           nothing: no worker was forked
the fork server  ``ended``, process id,      nothing
                 status as of waitpid(2)
===============  ==========================  =========================================================
"""

from __future__ import annotations

import array
import errno
import gc
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import trio

from lb.model.plugin_modules import plugin_directories, search_beside
from lb.net.capabilities import drop_net_admin
from lb.net.processes import exit_text, keep_only, name_process, wait_for_exit
from lb.net.signals import SIGNALS

__all__ = ["ForkServer", "ForkedProcess", "begin"]

NUMBER = struct.Struct("=i")
NEWS = struct.Struct("=7sii")
"""``started``, ``ended`` or ``failed``; process id; status, or the errno of a failure."""
STARTED, ENDED, FAILED = b"started", b"ended\0\0", b"failed\0"
KILL_TIMEOUT = 2.0
"""Seconds that a fork server has to end before it is killed."""
PRELOADED = (
    "lb.relay.epoll_loop",
    "lb.relay.epoll_splicer",
    "lb.tcp.mode",
    "lb.workers.worker",
)
"""Modules that workers import by name or lazily."""

_begun: socket.socket | None = None


def begin() -> None:
    """Fork the server. Call before threads or trio run, and after privileges are dropped: workers inherit them."""
    global _begun  # noqa: PLW0603 - a fact about the process
    ours, theirs = _socket_pair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pid = os.fork()
    if not pid:
        keep_only(theirs.fileno())
        drop_net_admin()
        _serve_and_exit(theirs)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    theirs.close()
    _begun = ours


class ForkedProcess:
    """A worker's process. As it is a child of the fork server, that reports its exit status."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """As :class:`subprocess.Popen` has it; None while it runs, or if the fork server was gone before it."""
        self._pidfd = pidfd
        self._told = trio.Event()

    def kill(self) -> None:
        """Send SIGKILL. Does nothing if the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def exited(self) -> None:
        """Wait until the process has ended and ``returncode`` is set."""
        await trio.lowlevel.wait_readable(self._pidfd)
        await self._told.wait()

    @property
    def ended_text(self) -> str:
        """Describe how it ended: exit code or signal."""
        return "ended" if self.returncode is None else exit_text(self.returncode)

    def ended(self, returncode: int | None) -> None:
        self.returncode = returncode
        self._told.set()

    def close(self) -> None:
        os.close(self._pidfd)


class ForkServer:
    """The supervisor's end. :meth:`run` must be running."""

    def __init__(self) -> None:
        self._processes: dict[int, ForkedProcess] = {}
        self._unsent: deque[_Request] = deque()
        self._sent: deque[_Request] = deque()
        """Requests without a reply yet, in order."""
        self._wanted = trio.Event()
        """There are unsent requests."""

    async def fork(self, index: int, channel: int) -> ForkedProcess:
        """Start a worker process. Raises OSError."""
        request = _Request(index, channel)
        self._unsent.append(request)
        self._wanted.set()
        try:
            await request.answered.wait()
        except trio.Cancelled:
            request.cancelled = True
            if request in self._unsent:
                self._unsent.remove(request)
            raise
        if request.process is None:
            raise request.error
        return request.process

    async def run(self) -> NoReturn:
        """Serve requests. Another fork server is started when one is requested and none is there."""
        global _begun
        begun, _begun = _begun, None
        if begun is not None:
            await self._use(begun)
        while True:
            await self._wanted.wait()
            try:
                sock, program = _started()
            except OSError as error:  # say, out of descriptors: who asked tries again after a pause
                self._fail(self._unsent, error)
                self._wanted = trio.Event()
                continue
            try:
                await self._use(sock)
            finally:
                await _reap(program)

    async def _use(self, sock: socket.socket) -> None:
        """Serve requests with this fork server until it is gone."""
        with trio.socket.from_stdlib_socket(sock) as server:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._send, server)
                    await self._receive(server)
                    nursery.cancel_scope.cancel()
            finally:
                for process in self._processes.values():
                    process.ended(None)  # it continues, and nobody reports its exit status
                self._processes.clear()
                self._fail(self._sent, OSError("the fork server is gone"))

    async def _send(self, server: trio.socket.SocketType) -> None:
        """Send requests until the fork server is gone."""
        while True:
            await self._wanted.wait()
            while self._unsent:
                request = self._unsent.popleft()
                self._sent.append(request)
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [request.channel]))]
                try:
                    await server.sendmsg([NUMBER.pack(request.index)], rights)
                except (BrokenPipeError, ConnectionResetError):  # the next fork server gets the request
                    self._requeue(request)
                    return
                except trio.Cancelled:  # the same, noticed where messages are received
                    self._requeue(request)
                    raise
                except OSError as error:  # say, too many descriptors are in flight
                    self._sent.remove(request)
                    request.fail(error)
            self._wanted = trio.Event()

    def _requeue(self, request: _Request) -> None:
        self._sent.remove(request)
        self._unsent.appendleft(request)
        self._wanted.set()

    async def _receive(self, server: trio.socket.SocketType) -> None:
        """Receive messages until the fork server is gone."""
        space = socket.CMSG_SPACE(array.array("i").itemsize)
        while True:
            try:
                message, ancillary, _, _ = await server.recvmsg(NEWS.size, space, socket.MSG_CMSG_CLOEXEC)
            except ConnectionResetError:
                return
            if not message:
                return
            what, pid, status = NEWS.unpack(message)
            if what == ENDED:
                if pid in self._processes:
                    self._processes.pop(pid).ended(os.waitstatus_to_exitcode(status))
            elif what == STARTED and ancillary:
                (pidfd,) = array.array("i", ancillary[0][2])
                process = self._processes[pid] = ForkedProcess(pid, pidfd)
                self._sent.popleft().answer(process)
            else:  # without the descriptor, this process has none free; the worker ends with its channel
                number = status or errno.EMFILE
                self._sent.popleft().fail(OSError(number, os.strerror(number)))

    @staticmethod
    def _fail(requests: deque[_Request], error: OSError) -> None:
        while requests:
            requests.popleft().fail(error)


class _Request:
    """A request for a worker, and its reply."""

    def __init__(self, index: int, channel: int) -> None:
        self.index = index
        self.channel = channel
        self.process: ForkedProcess | None = None
        self.error = OSError()
        self.answered = trio.Event()
        self.cancelled = False
        """Nobody waits for the reply."""

    def answer(self, process: ForkedProcess) -> None:
        if self.cancelled:
            process.kill()
            process.close()
        self.process = process
        self.answered.set()

    def fail(self, error: OSError) -> None:
        self.error = error
        self.answered.set()


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _started() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a fork server as a program, with our search path: it finds the same plug-ins, and nothing else."""
    ours, theirs = _socket_pair()
    command = [sys.executable, "-P", "-m", "lb.workers.fork_server", str(theirs.fileno()), *plugin_directories()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with theirs:
            program = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=[theirs.fileno()])  # noqa: S603 - our own program
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return ours, program


async def _reap(program: subprocess.Popen[bytes]) -> None:
    """Wait for a fork server that ends because its socket is closed; kill it if it does not."""
    with trio.CancelScope(shield=True):
        with trio.move_on_after(KILL_TIMEOUT), suppress(OSError):  # no descriptor is free: it is killed at once
            await wait_for_exit(program.pid)
        program.kill()
        program.wait()  # which takes no time after SIGKILL


# In the fork server


def _serve_and_exit(channel: socket.socket) -> NoReturn:
    """Run a forked fork server. Never returns to the frames of the caller."""
    code = 1
    try:
        _serve(channel)
        code = 0
    except BaseException:  # noqa: BLE001 - no caller handles it
        traceback.print_exc()
    finally:
        os._exit(code)


def _serve(channel: socket.socket) -> None:
    """Fork workers on request and report ended ones, until the supervisor is gone."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    name_process("lb fork server")
    for module in PRELOADED:
        __import__(module)
    gc.freeze()  # workers share these objects until one writes to them
    with suppress(ConnectionResetError, BrokenPipeError):  # the supervisor was killed, with messages unread
        _handle_requests(channel)


def _handle_requests(channel: socket.socket) -> None:
    children: dict[int, int] = {}
    ready = select.poll()
    ready.register(channel, select.POLLIN)
    while True:
        for fd, _ in ready.poll():
            if fd == channel.fileno():
                message, fds, _, _ = socket.recv_fds(channel, NUMBER.size, 1)
                if not message:
                    return
                try:
                    if not fds:
                        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))  # noqa: TRY301 - like a failed fork
                    pid, pidfd = _fork(NUMBER.unpack(message)[0], fds[0])
                except OSError as error:
                    channel.send(NEWS.pack(FAILED, 0, error.errno or 0))
                else:
                    children[pidfd] = pid
                    ready.register(pidfd, select.POLLIN)
                    socket.send_fds(channel, [NEWS.pack(STARTED, pid, 0)], [pidfd])
            else:
                ready.unregister(fd)
                pid, status = os.waitpid(children.pop(fd), 0)
                os.close(fd)
                channel.send(NEWS.pack(ENDED, pid, status))


def _fork(index: int, channel: int) -> tuple[int, int]:
    """Fork a worker. Returns its process id and pidfd."""
    try:
        pid = os.fork()
        if not pid:
            _work_and_exit(index, channel)
        try:
            return pid, os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    finally:
        os.close(channel)


def _work_and_exit(index: int, channel: int) -> NoReturn:
    code = 1
    try:
        from lb.workers.worker import run_worker  # noqa: PLC0415 - preloaded before the fork

        keep_only(channel)
        name_process(f"lb worker {index}")
        code = run_worker(channel)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # noqa: BLE001 - no caller handles it
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    for beside in reversed(sys.argv[2:]):
        search_beside(Path(beside))
    _serve_and_exit(socket.socket(fileno=int(sys.argv[1])))
