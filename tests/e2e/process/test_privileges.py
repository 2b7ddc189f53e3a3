"""Dropping privileges after binding. Most tests need root."""

from __future__ import annotations

import os
import pwd
import signal
import site
import ssl
import subprocess
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio
import trustme

from lb.model import ProcessSpec
from lb.service.privileges import PrivilegesError, give_up
from tests.support.balancer import PATIENCE, ask, balancer, config, connect, request, run_lb
from tests.support.namespaces import machines
from tests.support.paths import ROOT
from tests.support.servers import serving

USER, GROUP = "nobody", "daemon"
AS_USER = f'[process]\nuser = "{USER}"\ngroup = "{GROUP}"'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user")
slow = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")
PRIVILEGED_PORT = 1000
"""The next port must be privileged, too."""

IMPORTS = {"PYTHONPATH": os.pathsep.join([str(ROOT), *site.getsitepackages()])}


@pytest.fixture
def python():
    """A Python that the other user can run, as workers and upgrades do: ours or the system's."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/python{version}"):
        try:
            subprocess.run(
                [path, "-c", "import lb.workers.worker"],
                check=True,
                capture_output=True,
                user=USER,
                group=GROUP,
                extra_groups=[],
                env={**os.environ, **IMPORTS},
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return path
    pytest.skip(f"{USER} may not run {sys.executable}")


@pytest.fixture
def home():
    """A directory that other users may read, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as path:
        home = Path(path)
        home.chmod(0o755)
        yield home


def as_root(home, text, python):
    return balancer(home, text, through=[python], env=IMPORTS)


def status(pid):
    """Return the user, groups and capabilities of a process."""
    lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
    return {key: lines[key].split() for key in ("Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapAmb")}


def powerless():
    user, group = pwd.getpwnam(USER).pw_uid, pwd.getpwnam(GROUP).pw_gid
    none = ["0000000000000000"]
    groups = [str(each) for each in sorted(os.getgrouplist(USER, group))]
    return {
        "Uid": 4 * [str(user)],
        "Gid": 4 * [str(group)],
        "Groups": groups,
        "CapPrm": none,
        "CapEff": none,
        "CapAmb": none,
    }


@pytest.fixture
def own_host():
    """A loopback address that only this process uses, where only root may bind the privileged ports."""
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= PRIVILEGED_PORT + 1:
        pytest.skip("every user may bind any port here")
    return str(IPv4Address("127.0.0.0") + os.getpid())


def test_without_a_user_nothing_happens():
    give_up(ProcessSpec(), ["/nowhere"])


def test_who_is_that_user_already_may_go_on():
    me = pwd.getpwuid(os.geteuid())
    give_up(ProcessSpec(user=me.pw_name), ["/nowhere"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ProcessSpec(user="no-such"), "process.user: there is no user 'no-such'"),
        (ProcessSpec(user="root", group="no-such"), "process.group: there is no group 'no-such'"),
    ],
)
def test_a_name_that_does_not_exist_is_an_error(spec, message):
    with pytest.raises(PrivilegesError, match=message):
        give_up(spec, [])


@needs_root
def test_who_may_not_become_somebody_else_does_not_go_on(python):
    imports = "from lb.model import ProcessSpec; from lb.service.privileges import give_up"
    script = f"{imports}; give_up(ProcessSpec(user='root'), [])"
    done = subprocess.run(
        [python, "-c", script],
        check=False,
        capture_output=True,
        text=True,
        user=USER,
        group=GROUP,
        extra_groups=[],
        env={**os.environ, **IMPORTS},
    )
    assert "PrivilegesError: cannot become user 'root': operation not permitted" in done.stderr


@slow
@needs_root
@one_process_or_two
async def test_it_binds_as_root_and_serves_as_somebody_without_any_right(home, python, own_host):
    (home / "run").mkdir()
    path = home / "run" / "front"
    binds = [f"{own_host}:{PRIVILEGED_PORT}", f"unix:{path}"]
    async with serving() as server, as_root(home, config(server, bind=binds, top=AS_USER), python) as lb:
        assert await ask(PRIVILEGED_PORT, host=own_host) == b"s\n"
        for pid in [lb.process.pid, *(event["pid"] for event in lb.of("worker.started"))]:
            assert status(pid) == powerless()
        owner = path.stat()
        assert (owner.st_uid, owner.st_gid) == (pwd.getpwnam(USER).pw_uid, pwd.getpwnam(GROUP).pw_gid)

        rejected = await lb.reload(config(server, bind=binds, top='[process]\nuser = "daemon"'))
        assert rejected["errors"] == [
            f"{lb.config_file}: process.user: a reload cannot change it (nobody -> daemon); restart",
            f"{lb.config_file}: process.group: a reload cannot change it (daemon -> none); restart",
        ]
        applied = await lb.reload(config(server, bind=binds, top=AS_USER, pool="retries = 0"))
        assert applied["event"] == "config.applied"
        assert await ask(PRIVILEGED_PORT, host=own_host) == b"s\n"


@slow
@needs_root
@one_process_or_two
async def test_an_upgrade_works_without_rights_as_the_sockets_are_open(home, python, own_host):
    async with serving() as server:
        text = config(server, bind=f"{own_host}:{PRIVILEGED_PORT}", top=AS_USER)
        async with as_root(home, text, python) as lb:
            pid = (await lb.upgrade())["pid"]
            await lb.event("server.stopped")
            assert status(pid) == powerless()
            assert await ask(PRIVILEGED_PORT, host=own_host) == b"s\n"
            lb.config_file.write_text(text.replace(f'user = "{USER}"', 'user = "root"'))
            assert "cannot become user 'root'" in (await lb.upgrade())["reason"]
            lb.config_file.write_text(text.replace(f":{PRIVILEGED_PORT}", f":{PRIVILEGED_PORT + 1}"))
            assert "permission denied" in (await lb.upgrade())["reason"]
            assert await ask(PRIVILEGED_PORT, host=own_host) == b"s\n"
            lb.signal(signal.SIGTERM)
            await lb.gone(pid)


@slow
@needs_root
@one_process_or_two
async def test_who_announces_addresses_keeps_one_capability(home, python):
    """The balancer alone has it, and its successor; no worker."""
    nowhere = SimpleNamespace(name="s", address="127.0.0.1:1")
    announce = '[announce]\naddresses = ["203.0.113.5"]\ninterface = "lo"\nrise = "0"'
    text = config(nowhere, health=None, top=f"{AS_USER}\n{announce}")
    net_admin = {**powerless(), "CapPrm": ["0000000000001000"], "CapEff": ["0000000000001000"]}
    with machines("user") as [machine]:
        async with balancer(home, text, through=[python], env=IMPORTS, preexec=machine.enter) as lb:
            await lb.event("announce.up")
            assert status(lb.process.pid) == net_admin
            assert all(status(event["pid"]) == powerless() for event in lb.of("worker.started"))
            pid = (await lb.upgrade())["pid"]
            assert status(pid) == net_admin
            await lb.event("server.stopped")
            assert machine.addresses("lo") >= {"203.0.113.5/32"}
            lb.signal(signal.SIGTERM)
            await lb.gone(pid)
            assert "203.0.113.5/32" not in machine.addresses("lo")


@slow
@needs_root
async def test_a_successor_that_announces_nothing_removes_what_its_predecessor_announced(home, python):
    nowhere = SimpleNamespace(name="s", address="127.0.0.1:1")
    announce = '[announce]\naddresses = ["203.0.113.5"]\ninterface = "lo"\nrise = "0"'
    text = config(nowhere, health=None, top=f"{AS_USER}\n{announce}")
    with machines("user") as [machine]:
        async with balancer(home, text, through=[python], env=IMPORTS, preexec=machine.enter) as lb:
            await lb.event("announce.up")
            lb.config_file.write_text(config(nowhere, health=None, top=AS_USER))
            pid = (await lb.upgrade())["pid"]
            assert (await lb.event("announce.down"))["reason"] == "removed"
            assert "203.0.113.5/32" not in machine.addresses("lo")
            await lb.event("server.stopped")
            lb.signal(signal.SIGTERM)
            await lb.gone(pid)
            assert machine.local_routes() == set()


def new_key(home):
    """Write a certificate, and a key and a token that only root may read. Return a context that trusts the first."""
    authority = trustme.CA()
    own = authority.issue_cert("localhost")
    own.private_key_pem.write_to_path(home / "key.pem")
    own.cert_chain_pems[0].write_to_path(home / "cert.pem")
    (home / "token").write_text("secret")
    for name in ("key.pem", "token"):
        (home / name).chmod(0o600)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def ask_tls(port, context):
    stream = trio.SSLStream(await connect(port), context, server_hostname="localhost")
    async with stream:
        return await request(stream, b"name")


@slow
@needs_root
@one_process_or_two
async def test_a_reload_and_an_upgrade_read_what_only_root_may_read(home, python):
    tls = '[listeners.web.tls]\ncertificate = "cert.pem"\nkey = "key.pem"'
    admin = '[admin]\nbind = "127.0.0.1:0"\ntoken_file = "token"'
    new_key(home)
    async with serving() as server:
        text = config(server, listener=tls, top=f"{AS_USER}\n{admin}")
        async with as_root(home, text, python) as lb:
            lb.config_file.chmod(0o600)
            port = lb.port
            context = new_key(home)
            assert (await lb.reload(text))["event"] == "config.applied"
            assert await ask_tls(port, context) == b"s"
            context = new_key(home)
            pid = (await lb.upgrade())["pid"]
            assert status(pid) == powerless()
            await lb.event("server.stopped")
            assert await ask_tls(port, context) == b"s"
            context = new_key(home)
            assert (await lb.reload(text))["event"] == "config.applied", "the successor has the opener too"
            assert await ask_tls(port, context) == b"s"
            lb.signal(signal.SIGTERM)
            await lb.gone(pid)


@slow
@needs_root
async def test_a_user_that_does_not_exist_ends_the_start_in_one_line(tmp_path):
    file = tmp_path / "lb.toml"
    file.write_text('[process]\nuser = "no-such"\n[listeners.web]\nbind = "127.0.0.1:0"\nservers = ["127.0.0.1:1"]\n')
    with trio.fail_after(PATIENCE):
        assert await run_lb("--config", file) == (1, "", "lb: process.user: there is no user 'no-such'\n")
