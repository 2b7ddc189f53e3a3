"""A real etcd of one member, in a process of its own, that can be killed, frozen and emptied."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from tests.e2e.traffic.test_real_peers import program, until_accepts
from tests.support.balancer import PATIENCE
from tests.support.servers import free_port

PREFIX = "/trio-lb/pools/web/"


class Etcd:
    """``etcd`` on a port of its own. ``through`` is a command that runs it, ``secured`` options of TLS."""

    def __init__(self, home, *, host="127.0.0.1", through=(), secured=(), options=()):
        self.home = Path(home)
        self.host, self.port, self.peer_port = host, free_port(), free_port()
        self.process = None
        self._through = [*through]
        self._secured = [*secured]
        self._options = [*options]
        self._ctl_options = []

    @property
    def url(self):
        return f"http{'s' if self._secured else ''}://{self.host}:{self.port}"

    def authenticated(self, *options):
        """Give ``etcdctl`` these options from now on."""
        self._ctl_options = [*options]

    async def start(self, *options):
        """(Re)start with the same data; returns when it answers."""
        peer = f"http://{self.host}:{self.peer_port}"
        command = [program("etcd"), "--name=one", f"--data-dir={self.home / 'data'}", "--log-level=error"]
        command += [f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        command += [f"--initial-cluster=one={peer}", *self._secured, *self._options, *options]
        with (self.home / "log").open("ab") as log:
            self.process = await trio.lowlevel.open_process(
                [*self._through, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home
            )
        with trio.fail_after(PATIENCE):
            if not self._through:
                await until_accepts(self.port, self.host)
            while (await self._ctl("endpoint", "health")).returncode:
                assert self.process.poll() is None, (self.home / "log").read_text()

    async def kill(self):
        self.process.kill()
        await self.process.wait()

    def freeze(self):
        """Let it answer nothing, with its connections open."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def empty(self):
        """Remove its data, while it does not run. It is another cluster then."""
        shutil.rmtree(self.home / "data")

    async def _ctl(self, *arguments, text=None):
        command = [*self._through, program("etcdctl"), f"--endpoints={self.url}", *self._ctl_options, *arguments]
        return await trio.run_process(
            command,
            stdin=(text or "").encode(),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env={**os.environ, "ETCDCTL_API": "3"},
        )

    async def ctl(self, *arguments, text=None):
        """Run ``etcdctl`` and return its output. It must succeed."""
        done = await self._ctl(*arguments, text=text)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.decode()

    async def put(self, name, value, *options, prefix=PREFIX):
        """Register a server. The value is text, or a table."""
        text = json.dumps(value) if isinstance(value, dict) else value
        await self.ctl("put", *options, prefix + name, "--", text)

    async def delete(self, name, prefix=PREFIX):
        await self.ctl("del", prefix + name)

    async def delete_all(self, prefix=PREFIX):
        await self.ctl("del", "--prefix", prefix)

    async def revision(self):
        (status,) = json.loads(await self.ctl("endpoint", "status", "--write-out=json"))
        return status["Status"]["header"]["revision"]

    async def compact(self):
        await self.ctl("compact", str(await self.revision()))


@asynccontextmanager
async def etcd(**options):
    """A running etcd, until the end of the block."""
    program("etcd")
    home = Path(tempfile.mkdtemp(prefix="lb-etcd-"))
    server = Etcd(home, **options)
    try:
        await server.start()
        yield server
    finally:
        with trio.CancelScope(shield=True):
            if server.process is not None:
                await server.kill()
        shutil.rmtree(home)
