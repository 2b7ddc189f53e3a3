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

from lb.etcd.client import EtcdClient
from lb.model import EtcdSpec
from tests.e2e.traffic.test_real_peers import program, until_accepts
from tests.support.balancer import PATIENCE
from tests.support.servers import free_port

PREFIX = "/trio-lb/pools/web/"


class Etcd:
    """``etcd`` on a port of its own.

    ``through`` is a command that runs it and ``etcdctl``. ``secured`` are its options of TLS, ``ctl`` those of
    ``etcdctl``.
    """

    def __init__(self, home, *, host="127.0.0.1", through=(), secured=(), options=(), ctl=()):
        self.home = Path(home)
        self.host, self.port, self.peer_port = host, free_port(), free_port()
        self.process = None
        self._through = [*through]
        self._secured = [*secured]
        self._options = [*options]
        self._ctl_options = [*ctl]

    @property
    def url(self):
        return f"http{'s' if self._secured else ''}://{self.host}:{self.port}"

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
            while (await self.try_ctl("endpoint", "health")).returncode:
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

    async def restore(self, backup):
        """Take the data of a backup (``etcdctl snapshot save``), while it does not run."""
        peer = f"http://{self.host}:{self.peer_port}"
        cluster = [f"--initial-cluster=one={peer}", f"--initial-advertise-peer-urls={peer}", "--name=one"]
        await self.ctl("snapshot", "restore", str(backup), f"--data-dir={self.home / 'data'}", *cluster)

    async def demand_login(self, user, password):
        """Let it serve only who logs in: this user below the prefix of the pool, and root."""
        for name in ("root", user):
            await self.ctl("user", "add", f"{name}:{password}")
        await self.ctl("role", "add", "pools")
        await self.ctl("role", "grant-permission", "pools", "--prefix=true", "readwrite", PREFIX)
        await self.ctl("user", "grant-role", user, "pools")
        await self.ctl("user", "grant-role", "root", "root")
        await self.ctl("auth", "enable")
        self._ctl_options = [f"--user=root:{password}"]

    async def try_ctl(self, *arguments, text=None):
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
        """Run ``etcdctl``, which must succeed, and return its output."""
        done = await self.try_ctl(*arguments, text=text)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout.decode()

    async def put(self, name, value, *options, prefix=PREFIX):
        """Register a server. The value is text, or a table."""
        text = json.dumps(value) if isinstance(value, dict) else value
        await self.ctl("put", *options, prefix + name, "--", text)

    def client(self):
        """Return a client of our own, for what etcdctl, a process for each call, is too slow for."""
        return EtcdClient(EtcdSpec((self.url,), PREFIX))

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
