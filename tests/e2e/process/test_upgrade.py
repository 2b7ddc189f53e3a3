"""SIGUSR2: an upgrade, successful or not, interrupts no client."""

from __future__ import annotations

import signal
from functools import partial

import pytest
import trio

from tests.support.balancer import (
    PATIENCE,
    QUICK_CHECKS,
    ask,
    balancer,
    config,
    connect,
    read_all,
    request,
    with_workers,
)
from tests.support.effort import DEEP
from tests.support.etcd import PREFIX, etcd
from tests.support.load import load
from tests.support.name_server import name_server
from tests.support.operating import ADMIN, operated
from tests.support.servers import backends, refusing, serving
from tests.support.tls_peers import client_context, connect_tls, write_certificate

pytestmark = pytest.mark.slow
every_kind = pytest.mark.usefixtures("balancer_kind")
one_process_or_two = pytest.mark.usefixtures("worker_count")


async def ended_well(lb):
    """Wait until the first process has drained and exited with 0."""
    with trio.fail_after(PATIENCE):
        assert await lb.process.wait() == 0


UPGRADES = 10 if DEEP else 3


@every_kind
async def test_upgrades_in_a_row_under_load_lose_no_session(tmp_path):
    async with (
        backends("a", "b") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        load(lb.port, servers, clients=20) as sessions,
    ):
        port = lb.port
        for number in range(1, UPGRADES + 1):
            assert (await lb.upgrade())["event"] == "upgrade.done", lb.events[-20:]
            await lb.event("server.started", count=number + 1)
            await sessions.sessions(100)
        await lb.event("server.stopped", count=UPGRADES)
        assert not sessions.failures
        assert lb.port == port
    await ended_well(lb)
    assert not lb.of("upgrade.failed")


@every_kind
async def test_who_connects_at_any_moment_of_an_upgrade_is_served(tmp_path):
    """One client at a time: no later client would wake a process that has missed one."""
    async with (
        backends("a") as servers,
        balancer(tmp_path, config(*servers)) as lb,
        load(lb.port, servers, clients=1) as sessions,
    ):
        for _ in range(3):
            assert (await lb.upgrade())["event"] == "upgrade.done"
            await sessions.sessions(20)
        assert not sessions.failures


@every_kind
async def test_open_connections_go_on_with_the_old_process_until_they_end(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        port = lb.port
        async with await connect(port) as stream:
            assert await request(stream, b"name") == b"s"
            done = await lb.upgrade()
            assert (await lb.event("server.started", count=2))["pid"] == done["pid"] != lb.process.pid
            stopping = await lb.event("server.stopping")
            assert (stopping["signal"], stopping["open_connections"]) == ("SIGUSR2", 1)
            assert await ask(port) == b"s\n"
            assert await request(stream, b"echo still here") == b"still here"
            assert lb.process.poll() is None
        await ended_well(lb)
        await lb.event("connection.closed", count=2)
    assert [record["reason"] for record in lb.of("connection.closed")] == ["eof", "eof"]


@every_kind
async def test_after_the_stop_timeout_the_old_process_closes_what_is_open(tmp_path):
    async with serving() as server:
        text = config(server, top='[process]\nstop_timeout = "200ms"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as stream:
            port = lb.port
            assert await request(stream, b"name") == b"s"
            assert (await lb.upgrade())["event"] == "upgrade.done"
            with pytest.raises(trio.BrokenResourceError):
                await read_all(stream)
            await ended_well(lb)
            assert await ask(port) == b"s\n"
    assert lb.of("connection.closed")[0]["reason"] == "stopped"


@one_process_or_two
async def test_the_new_process_follows_the_file_as_it_is_now(tmp_path):
    binds = ["127.0.0.1:0", "127.0.0.2:0"]
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a, bind=binds)) as lb:
        kept, closed = lb.binds["web"]
        lb.config_file.write_text(config(b, bind=["127.0.0.3:0", "127.0.0.1:0"]))
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.started", count=2)
        await lb.event("listener.stopped", count=2)
        assert set(lb.binds["web"]) >= {kept}
        assert await ask(int(kept.rpartition(":")[2])) == b"b\n"
        new = next(bind for bind in lb.binds["web"] if bind.startswith("127.0.0.3"))
        assert await ask(int(new.rpartition(":")[2]), host="127.0.0.3") == b"b\n"
        await ended_well(lb)
        with pytest.raises(OSError, match="all attempts to connect"):
            await connect(int(closed.rpartition(":")[2]), "127.0.0.2")


@every_kind
async def test_the_secret_is_handed_over_so_clients_resume_their_tls_sessions(tmp_path):
    tls = "[listeners.web.tls]\n" + write_certificate(tmp_path, "a", "a.example.org")
    context, session = client_context(), None
    async with serving() as server, balancer(tmp_path, config(server, listener=tls)) as lb:
        port = lb.port
        for number in range(3):
            end = await connect_tls(port, context=context, session=session)
            assert end.object.session_reused == (number > 0)
            assert await request(end, b"name") == b"s"
            session = end.object.session
            await end.aclose()
            if number < 2:
                assert (await lb.upgrade())["event"] == "upgrade.done"
                await lb.event("server.started", count=number + 2)
        await lb.event("server.stopped", count=2)
    await ended_well(lb)


async def test_a_listener_may_get_another_name_and_keeps_its_socket(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        port = lb.port
        lb.config_file.write_text(config(server).replace("[listeners.web]", "[listeners.front]"))
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await ended_well(lb)
        assert await ask(port) == b"s\n"
        await lb.event("listener.started", listener="front", bind=f"127.0.0.1:{port}")


async def test_the_number_of_workers_may_change(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server, top="[process]\nworkers = 1")) as lb:
        port = lb.port
        for workers in (2, 1):
            lb.config_file.write_text(config(server, top=f"[process]\nworkers = {workers}"))
            assert (await lb.upgrade())["event"] == "upgrade.done"
            assert await ask(port) == b"s\n"
        await lb.event("worker.started", count=2)
        await lb.event("server.stopped", count=2)
    assert not lb.of("worker.died")


@one_process_or_two
async def test_the_file_of_a_unix_socket_survives_and_is_removed_by_who_serves_last(tmp_path):
    path = tmp_path / "front"
    async with serving() as server, balancer(tmp_path, config(server, bind=f"unix:{path}")) as lb:
        inode = path.stat().st_ino
        pid = (await lb.upgrade())["pid"]
        await ended_well(lb)
        assert path.stat().st_ino == inode
        async with await trio.open_unix_socket(path) as stream:
            assert await request(stream, b"name") == b"s"
        lb.signal(signal.SIGTERM)
        await lb.gone(pid)
        assert not path.exists()


async def test_the_file_of_a_unix_socket_that_is_not_wanted_any_more_is_removed(tmp_path):
    path = tmp_path / "front"
    async with serving() as server, balancer(tmp_path, config(server, bind=["127.0.0.1:0", f"unix:{path}"])) as lb:
        lb.config_file.write_text(config(server))
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await ended_well(lb)
        assert not path.exists()


@one_process_or_two
async def test_a_server_known_to_be_down_gets_nothing_from_the_new_process(tmp_path):
    async with (
        serving(name="a") as a,
        refusing("dead") as dead,
        balancer(tmp_path, config(dead, a, pool="[pools.web.passive]\nfailures = 0")) as lb,
    ):
        await lb.event("backend.ejected", server="dead")
        port = lb.port
        lb.config_file.write_text(config(dead, a, health='interval = "1h"\nfast_interval = "1h"'))
        pid = (await lb.upgrade())["pid"]
        await ended_well(lb)
        assert {await ask(port) for _ in range(8)} == {b"a\n"}
        lb.signal(signal.SIGTERM)
        await lb.gone(pid)
        await lb.event("server.stopped", count=2)
    assert {len(record["attempts"]) for record in lb.of("connection.closed")} == {0}


@one_process_or_two
async def test_an_ejection_ends_when_it_would_have_in_the_old_process(tmp_path):
    ejects = 'retries = 1\n[pools.web.passive]\nfailures = 1\neject_for = "1s"'
    async with (
        serving(name="a") as a,
        refusing("dead") as dead,
        balancer(tmp_path, config(dead, a, pool=ejects, health=None)) as lb,
    ):
        assert {await ask(lb.port) for _ in range(4)} == {b"a\n"}
        await lb.event("backend.ejected", server="dead", source="passive")
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await ended_well(lb)
        await lb.event("backend.restored", server="dead")


FOUND = """
[listeners.web]
bind = "127.0.0.1:0"
[pools.web]
servers = [{ dns = "web.internal", port = PORT }]
nameservers = ["NAMESERVER"]
servers_file = "web.servers"
[pools.web.health]
QUICK_CHECKS
[pools.web.etcd]
endpoints = ["ETCD"]
prefix = "PREFIX"
"""


async def states_of(operator):
    return {name: (each["state"], each["weight"]) for name, each in (await operator.servers()).items()}


@one_process_or_two
async def test_servers_that_were_found_are_there_though_nobody_can_be_asked_any_more(tmp_path):
    """etcd and the name server are away, the file is gone, and the last set from etcd could not be written."""
    (tmp_path / "lb-etcd-web.json").mkdir()
    async with (
        etcd() as store,
        name_server() as names,
        backends("dns", "etcd", "file", "drained") as (in_dns, in_etcd, in_file, drained),
        refusing("dead") as dead,
    ):
        host, _, port = in_dns.address.rpartition(":")
        names.has("web.internal", "A", host)
        (tmp_path / "web.servers").write_text(f"{in_file.address} name=file\n{dead.address} name=dead\n")
        await store.put("etcd", in_etcd.address)
        await store.put("drained", drained.address)
        text = with_workers(FOUND)
        for word, value in (
            ("QUICK_CHECKS", QUICK_CHECKS),
            ("PORT", port),
            ("NAMESERVER", names.address),
            ("ETCD", store.url),
            ("PREFIX", PREFIX),
        ):
            text = text.replace(word, value)
        async with operated(tmp_path, f"{ADMIN}\n{text}") as (lb, operator):
            await operator.do("drained", "drain")
            states = {
                in_dns.address: ("up", 1),
                "file": ("up", 1),
                "dead": ("down", 1),
                "etcd": ("up", 1),
                "drained": ("draining", 0),
            }
            await operator.until(partial(states_of, operator), states.__eq__)
            await store.kill()
            names.is_silent("web.internal", "A")
            (tmp_path / "web.servers").unlink()
            async with load(lb.port, [in_dns, in_etcd, in_file], clients=4) as sessions:
                assert (await lb.upgrade())["event"] == "upgrade.done"
                await lb.event("server.started", count=2)
                sessions.seen.clear()
                await sessions.sessions(60)
                assert {name.decode().strip() for name in sessions.seen} == {"dns", "etcd", "file"}
                assert not sessions.failures
            assert await states_of(operator) == states
            assert not [event for event in lb.of("config.applied") if event["removed"]]
            await store.start()
            await store.delete("etcd")
            await lb.event("config.applied", removed=["web/etcd"])


async def test_a_newly_installed_version_is_taken(tmp_path, monkeypatch):
    """The version is that of the code on the path, which is replaced while the old process runs."""
    for version in ("1.0", "2.0"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "sitecustomize.py").write_text(f'import lb\n\nlb.__version__ = "{version}"\n')
    current = tmp_path / "current"
    current.symlink_to("1.0")
    monkeypatch.setenv("PYTHONPATH", str(current))
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        current.unlink()
        current.symlink_to("2.0")
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.started", count=2)
    assert [event["version"] for event in lb.of("server.started")] == ["1.0", "2.0"]
