"""Real servers from Debian for the tests of probes: each on its own port, with a readable log."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

import attrs
import trio

from tests.e2e.traffic.test_real_peers import program, until_accepts
from tests.support.balancer import PATIENCE
from tests.support.servers import free_port

UNPRIVILEGED = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
"""PostgreSQL and MariaDB refuse to run as root."""


READY = re.compile("ready to accept|entering standby mode")
"""PostgreSQL's log message when it is ready; it listens earlier."""


@attrs.define
class Running:
    process: trio.Process
    port: int
    home: Path
    log: str = ""
    """The whole log, after the block has ended."""

    def log_between(self, start, end):
        """Return the lines between the first line with ``start`` and the next line with ``end``."""
        assert start in self.log, self.log
        lines = self.log.partition(start)[2].splitlines()[1:]
        return list(itertools.takewhile(lambda line: end not in line, lines))


def home():
    """An empty directory that the server's user may use: pytest's own are only for the user that runs it."""
    directory = Path(tempfile.mkdtemp(prefix="lb-test-"))
    if UNPRIVILEGED:
        shutil.chown(directory, "nobody", "nogroup")
    return directory


@asynccontextmanager
async def running(command, *, port, directory, host="127.0.0.1", stop=signal.SIGTERM):
    """A server whose output is its log, from when its port accepts until the end of the block."""
    with (directory / "log").open("wb") as log:
        process = await trio.lowlevel.open_process(
            [*UNPRIVILEGED, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory
        )
    server = Running(process, port, directory)
    try:
        await until_accepts(port, host)
        yield server
    finally:
        with trio.CancelScope(shield=True):
            process.send_signal(stop)
            with trio.move_on_after(PATIENCE) as patience:
                await process.wait()
            if patience.cancelled_caught:
                process.kill()
                await process.wait()
        server.log = (directory / "log").read_text()
        shutil.rmtree(directory)


# Redis


def redis(*options, host="127.0.0.1", port=None):
    port, directory = port or free_port(), home()
    command = [program("redis-server"), "--port", str(port), "--bind", host, "--save", "", *options]
    return running(command, port=port, directory=directory, host=host)


def sentinel(host, port, master, master_port):
    """A Sentinel of the master ``mymaster``, whose word alone is enough for a failover."""
    directory = home()
    (directory / "sentinel.conf").write_text(
        f"port {port}\nbind {host}\nsentinel announce-ip {host}\nsentinel monitor mymaster {master} {master_port} 1\n"
    )
    if UNPRIVILEGED:
        shutil.chown(directory / "sentinel.conf", "nobody", "nogroup")
    command = [program("redis-server"), str(directory / "sentinel.conf"), "--sentinel"]
    return running(command, port=port, directory=directory, host=host)


# PostgreSQL


def postgres_program(name):
    """Debian keeps these programs out of PATH, in one directory per version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else program(name)


@cache
def _postgres_template():
    """A new cluster, created once: ``trusted`` logs in without a password, other users need one."""
    directory = home()
    _run([postgres_program("initdb"), "-D", directory / "data", "-U", "postgres", "-A", "trust", "--no-sync"])
    (directory / "data" / "pg_hba.conf").write_text(
        "host all,replication trusted 127.0.0.1/32 trust\n"
        "host all rejected 127.0.0.1/32 reject\n"
        "host all all 127.0.0.1/32 scram-sha-256\n"
        "local all postgres trust\n"
    )
    return directory


@asynccontextmanager
async def postgres(*options, standby=False):
    directory, port = home(), free_port()
    _copy(_postgres_template(), directory)
    if standby:
        (directory / "data" / "standby.signal").touch()
    settings = [f"port={port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={directory}", "fsync=off"]
    arguments = [word for setting in (*settings, *options) for word in ("-c", setting)]
    command = [postgres_program("postgres"), "-D", directory / "data", *arguments]
    async with running(command, port=port, directory=directory, stop=signal.SIGINT) as server:
        with trio.fail_after(PATIENCE):
            while not READY.search((directory / "log").read_text()):  # noqa: ASYNC110 - it has no other way to report it
                await trio.sleep(0.01)
        yield server


async def psql(server, statement):
    """Run as the superuser, through the unix socket."""
    command = [postgres_program("psql"), "-h", server.home, "-p", str(server.port), "-U", "postgres"]
    done = await trio.run_process([*command, "-Atc", statement], capture_stdout=True)
    return done.stdout.decode().strip()


# MariaDB


@cache
def _mariadb_template():
    directory = home()
    install = [program("mariadb-install-db"), "--no-defaults", f"--datadir={directory}/data", "--skip-test-db"]
    _run([*install, "--auth-root-authentication-method=normal"])
    return directory


def mariadb(*options):
    directory, port = home(), free_port()
    _copy(_mariadb_template(), directory)
    command = [program("mariadbd"), "--no-defaults", f"--datadir={directory}/data", f"--port={port}"]
    command += ["--bind-address=127.0.0.1", f"--socket={directory}/socket", "--performance-schema=on", *options]
    return running(command, port=port, directory=directory)


async def sql(server, statement):
    """Run as root, through the unix socket; returns one line per row, with tabs between values."""
    command = [program("mariadb"), "--no-defaults", f"--socket={server.home}/socket", "--user=root"]
    done = await trio.run_process([*command, "--batch", "--skip-column-names", "-e", statement], capture_stdout=True)
    return done.stdout.decode().strip()


def _run(command):
    subprocess.run([*UNPRIVILEGED, *command], check=True, capture_output=True, cwd="/")


def _copy(template, directory):
    _run(["cp", "-a", f"{template}/data", directory])
