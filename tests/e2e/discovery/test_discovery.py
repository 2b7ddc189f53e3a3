"""Discovery with the real command, under load: DNS and files."""

from __future__ import annotations

import itertools
from contextlib import AsyncExitStack
from random import Random

import pytest
import trio

from tests.support.balancer import QUICK_CHECKS, ask, balancer, connect, read_all, request, run_lb, with_workers
from tests.support.load import load
from tests.support.name_server import name_server
from tests.support.operating import ADMIN, operated
from tests.support.sabotage import sabotage
from tests.support.servers import backends, free_port, serving

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")


def found_in(source, *, pool="", top=""):
    """Return a configuration whose pool has this line of TOML as its source of servers."""
    front = f'{top}\n[listeners.web]\nbind = "127.0.0.1:0"'
    return with_workers(f"{front}\n[pools.web]\n{source}\n{pool}\n[pools.web.health]\n{QUICK_CHECKS}\n")


def in_dns(server, *entries, **more):
    return found_in(f'servers = [{", ".join(entries)}]\nnameservers = ["{server.address}"]', **more)


def port_of(server):
    return int(server.address.rpartition(":")[2])


def srv(*servers):
    """Return SRV records, each with its own target name."""
    return [f"0 0 {port_of(server)} {server.name}.internal." for server in servers]


PATIENT = 'when_all_down = "hold"\nhold_timeout = "1m"'
"""Clients wait for the first answer, which may come after the start on a busy machine."""
LATE = "no answer in 2 s, still waiting"
"""The failure of a first answer that comes after the start."""
HTTP = '{ dns = "_http._tcp.web.internal", hold = "0" }'
"""A server leaves at once when its record vanishes."""


HELD = '{ dns = "_http._tcp.web.internal", hold = "1m" }'


async def until_applied(lb, before, present):
    """Wait until the servers are these. An answer that comes late is applied by itself, so events do not count."""
    wanted = {f"web/{server.address}" for server in present}
    while True:
        found = {f"web/{server.address}" for server in before}
        for event in lb.of("config.applied"):
            found = (found | {*event["added"]}) - {*event["removed"]}
            assert not event["changed"]
        if found == wanted:
            return
        await lb.event("config.applied", count=len(lb.of("config.applied")) + 1)


@one_process_or_two
@pytest.mark.usefixtures("real_command")
async def test_servers_come_and_go_in_dns_under_load_and_no_session_fails(tmp_path):
    async with name_server() as names, backends("a", "b", "c") as servers:
        a, b, c = servers
        for server in servers:
            names.has(f"{server.name}.internal", "A", "127.0.0.1")
        names.has("_http._tcp.web.internal", "SRV", *srv(a))
        text = in_dns(names, HTTP, pool=PATIENT)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as before_all:
            assert await request(before_all, b"name") == b"a"
            async with load(lb.port, servers, clients=10) as sessions:
                for present in [(a, b, c), (b, c), (c,), (a, c), (a, b, c)]:
                    names.has("_http._tcp.web.internal", "SRV", *srv(*present))
                    await until_applied(lb, (a,), present)
                    await sessions.sessions(60)  # sessions that began before the change may still end
                    sessions.seen.clear()
                    await sessions.sessions(60)
                    assert sessions.seen == {f"{server.name}\n".encode() for server in present}
            assert not sessions.failures
            assert await request(before_all, b"echo still here") == b"still here"
    assert {error for event in lb.of("discovery.failed") for error in event["errors"]} <= {LATE}


@one_process_or_two
async def test_a_file_is_replaced_under_load_and_no_session_fails(tmp_path):
    file = tmp_path / "web.servers"

    def write(*servers):
        new = tmp_path / "new"
        new.write_text("".join(f"{server.address} name={server.name}\n" for server in servers))
        new.rename(file)

    async with backends("a", "b", "c") as servers:
        a, b, c = servers
        write(a)
        text = found_in('servers_file = "web.servers"')
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as before_all:
            assert await request(before_all, b"name") == b"a"
            async with load(lb.port, servers, clients=10) as sessions:
                for number, present in enumerate([(a, b, c), (b,), (c, a)], 1):
                    write(*present)
                    await lb.event("config.applied", count=number)
                    await sessions.sessions(60)  # sessions that began before the change may still end
                    sessions.seen.clear()
                    await sessions.sessions(60)
                    assert sessions.seen == {f"{server.name}\n".encode() for server in present}
            assert not sessions.failures
            assert await request(before_all, b"echo still here") == b"still here"
    assert lb.of("config.applied")[1]["removed"] == ["web/a", "web/c"]
    assert not lb.of("discovery.failed")


async def test_every_address_is_a_server_and_an_answer_too_long_for_a_datagram_is_asked_for_again(tmp_path):
    port = free_port()
    async with (
        name_server() as names,
        serving(name="a", address=("127.0.0.1", port)),
        serving(name="b", address=("127.0.0.2", port)),
        serving(name="c", address=("::1", port)),
    ):
        names.has("web.internal", "A", "127.0.0.2", "127.0.0.1", *(f"10.9.8.{last}" for last in range(200)))
        names.has("web.internal", "AAAA", "::1")
        text = in_dns(names, f'{{ dns = "web.internal", port = {port}, hold = "0" }}', pool="retries = 300")
        async with balancer(tmp_path, text) as lb:
            while "web.internal A tcp" not in names.asked:  # the answer may come after the start
                await names.questions(1)
            names.has("web.internal", "A", "127.0.0.2", "127.0.0.1")
            applied = await lb.event("config.applied", added=[])
            assert len(applied["removed"]) == 200
            assert [await ask(lb.port) for _ in range(3)] == [b"a\n", b"b\n", b"c\n"]
            assert await lb.stop() == 0
        assert [record["server"] for record in lb.of("connection.closed")] == [
            f"127.0.0.1:{port}",
            f"127.0.0.2:{port}",
            f"[::1]:{port}",
        ]


@one_process_or_two
async def test_records_that_vanish_and_come_back_cut_no_session_and_are_no_news(tmp_path):
    """A name server that answers with 3 of 10 records, other ones each time, with a TTL of 1."""
    port, random = free_port(), Random(1)
    hosts = [f"127.0.0.{number}" for number in range(1, 11)]
    async with name_server() as names, AsyncExitStack() as stack:
        for host in hosts:
            await stack.enter_async_context(serving(name=host, address=(host, port)))
        names.has("web.internal", "A", *hosts)
        text = in_dns(names, f'{{ dns = "web.internal", port = {port} }}', pool='on_remove = "close"', top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator), AsyncExitStack() as clients:
            sessions = [await clients.enter_async_context(await connect(lb.port)) for _ in range(3 * len(hosts))]
            before = [await request(session, b"name") for session in sessions]
            assert len(set(before)) == len(hosts)
            for _ in range(4):
                present = random.sample(hosts, 3)
                names.has("web.internal", "A", *present)

                def others_drain(servers, present=present):
                    states = {name.rpartition(":")[0]: server["state"] for name, server in servers.items()}
                    return states == {host: "up" if host in present else "draining" for host in hosts}

                await operator.until(operator.servers, others_drain)
                await operator.all_know()
                assert await ask(lb.port) in {f"{host}\n".encode() for host in present}
                assert [await request(session, b"name") for session in sessions] == before
            assert not lb.of("config.applied", "backend.ejected")


async def test_a_family_without_an_answer_does_not_delay_the_start(tmp_path):
    """A firewall that drops queries for AAAA cost six seconds."""
    async with name_server() as names, serving(name="a") as a:
        names.has("a.internal", "A", "127.0.0.1")
        names.is_silent("a.internal", "AAAA")
        text = in_dns(names, f'{{ dns = "a.internal", port = {port_of(a)} }}')
        async with balancer(tmp_path, text) as lb:
            assert await ask(lb.port) == b"a\n"
            assert not lb.of("discovery.failed"), "the start waited for the lost answer"
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == ["a.internal AAAA: no answer in 5 s"]
            assert await ask(lb.port) == b"a\n"
        assert not lb.of("discovery.restored", "config.applied")


def broken(names):
    names.fails("_http._tcp.web.internal", "SRV")


def empty(names):
    names.has("_http._tcp.web.internal", "SRV")


@one_process_or_two
@pytest.mark.parametrize("break_it", [broken, empty, lambda names: names.forget("_http._tcp.web.internal")])
async def test_a_failed_answer_keeps_the_last_good_set_as_an_empty_one_does_for_its_time(tmp_path, break_it):
    async with name_server() as names, serving(name="a") as a, serving(name="b") as b:
        names.has("a.internal", "A", "127.0.0.1")
        names.has("b.internal", "A", "127.0.0.1")
        names.has("_http._tcp.web.internal", "SRV", *srv(a))
        async with balancer(tmp_path, in_dns(names, HELD if break_it is empty else HTTP)) as lb:
            break_it(names)
            failed = await lb.event("discovery.failed")
            assert (failed["pool"], failed["source"]) == ("web", "dns _http._tcp.web.internal")
            assert failed["servers"] == 1
            assert await ask(lb.port) == b"a\n"
            await names.questions(2)
            assert await ask(lb.port) == b"a\n"
            names.has("_http._tcp.web.internal", "SRV", *srv(b))
            restored = await lb.event("discovery.restored")
            assert restored["failures"] >= 2
            await lb.event("config.applied")
            assert await ask(lb.port) == b"b\n"
        assert len(lb.of("discovery.failed")) == len(lb.of("discovery.restored")) == 1


@one_process_or_two
async def test_who_comes_before_the_first_answer_waits_if_the_pool_holds(tmp_path):
    async with name_server() as names, serving(name="a") as a:
        names.is_silent("_http._tcp.web.internal", "SRV")
        names.has("a.internal", "A", "127.0.0.1")
        text = in_dns(names, HTTP, pool=PATIENT)
        async with balancer(tmp_path, text) as lb:
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [LATE]
            async with trio.open_nursery() as nursery:

                async def client():
                    assert await ask(lb.port) == b"a\n"

                nursery.start_soon(client)
                names.has("_http._tcp.web.internal", "SRV", *srv(a))
                await lb.event("discovery.restored")


async def test_an_empty_pool_turns_clients_away_and_a_stop_does_not_wait_for_the_name_server(tmp_path, monkeypatch):
    sabotage(monkeypatch, "question")
    async with name_server() as names:
        names.is_silent("_http._tcp.web.internal", "SRV")
        async with balancer(tmp_path, in_dns(names, HTTP)) as lb:
            async with await connect(lb.port) as stream:
                assert await read_all(stream) == b""
            record = await lb.only_record()
    assert (record["reason"], record["server"]) == ("no_server", None)


@one_process_or_two
async def test_what_was_found_outlasts_reloads_that_keep_its_source(tmp_path):
    async with name_server() as names, serving(name="a") as a, serving(name="b") as b:
        names.has("a.internal", "A", "127.0.0.1")
        names.has("_http._tcp.web.internal", "SRV", *srv(a), ttl=300)
        async with balancer(tmp_path, in_dns(names, HTTP)) as lb:
            broken(names)
            applied = await lb.reload(in_dns(names, f'"{b.address}"', HTTP, pool='strategy = "least-conn"'))
            assert (applied["added"], applied["removed"], applied["changed"]) == ([f"web/{b.address}"], [], ["web"])
            assert {await ask(lb.port) for _ in range(8)} == {b"a\n", b"b\n"}
            rejected = await lb.reload(
                in_dns(names, '"127.0.0.1:1"', top='listeners.x = { bind = "1.2.3.4:5", pool = "web" }')
            )
            assert rejected["event"] == "config.rejected"
            assert {await ask(lb.port) for _ in range(8)} == {b"a\n", b"b\n"}
            applied = await lb.reload(in_dns(names, f'"{b.address}"', pool='strategy = "least-conn"'))
            assert applied["removed"] == [f"web/{a.address}"]
            assert {await ask(lb.port) for _ in range(8)} == {b"b\n"}


@one_process_or_two
async def test_changes_and_reloads_at_once_come_one_after_another(tmp_path):
    """The servers change each second, with reloads as fast as possible. At the end, the last of each applies."""
    async with name_server() as names, serving(name="a") as a, serving(name="b") as b, serving(name="c") as c:
        for server in (a, b, c):
            names.has(f"{server.name}.internal", "A", "127.0.0.1")
        texts = [
            in_dns(names, f'"{c.address}"', HTTP),
            in_dns(names, HTTP, f'{{ dns = "c.internal", port = {port_of(c)}, hold = "0" }}'),
        ]
        names.has("_http._tcp.web.internal", "SRV", *srv(a))
        async with balancer(tmp_path, texts[0]) as lb, load(lb.port, [a, b, c], clients=5) as sessions:
            texts = itertools.cycle(texts)
            for present in (b, a, b):
                names.has("_http._tcp.web.internal", "SRV", *srv(present))
                seen = len(lb.of("config.applied"))
                while not any(f"web/{present.address}" in event["added"] for event in lb.of("config.applied")[seen:]):
                    assert (await lb.reload(next(texts)))["event"] == "config.applied"
            await sessions.sessions(30)
            sessions.seen.clear()
            await sessions.sessions(30)
            assert sessions.seen == {b"b\n", b"c\n"}
            assert not sessions.failures


@one_process_or_two
async def test_backups_of_srv_are_used_when_the_first_are_down(tmp_path):
    async with name_server() as names, serving(name="a") as a, serving(name="b") as b:
        names.has("here.internal", "A", "127.0.0.1")
        records = [f"10 5 {port_of(a)} here.internal.", f"20 5 {port_of(b)} here.internal."]
        names.has("_http._tcp.web.internal", "SRV", *records)
        async with balancer(tmp_path, in_dns(names, HTTP)) as lb:
            assert {await ask(lb.port) for _ in range(6)} == {b"a\n"}
            a.stop_listening()
            await lb.event("backend.ejected", server=a.address)
            assert {await ask(lb.port) for _ in range(6)} == {b"b\n"}


@one_process_or_two
async def test_a_broken_or_vanished_file_keeps_the_last_good_set(tmp_path):
    file = tmp_path / "web.servers"
    async with serving(name="a") as a, serving(name="b") as b:
        file.write_text(f"{a.address}  # the first\n")
        async with balancer(tmp_path, found_in('servers_file = "web.servers"')) as lb:
            file.write_text(f"{b.address}\n10.0.0.1:80 weight=-1 backup\n10.0.0.1\n")
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [
                f"{file}:2: weight: must be 0 or more, not -1",
                f"{file}:3: '10.0.0.1' needs a port",
            ]
            assert (failed["source"], failed["servers"]) == (f"file {file}", 1)
            verdict = await lb.reload(lb.config_file.read_text())
            assert verdict["event"] == "config.applied"
            assert await ask(lb.port) == b"a\n"
            file.write_text(f"{a.address}\n")
            await lb.event("discovery.restored")
            file.unlink()
            failed = await lb.event("discovery.failed", count=2)
            assert failed["errors"] == [f"{file}: cannot be read: No such file or directory"]
            assert await ask(lb.port) == b"a\n"
            file.write_text(f"{b.address}\n")
            await lb.event("config.applied", added=[f"web/{b.address}"])
            assert await ask(lb.port) == b"b\n"
        assert len(lb.of("discovery.failed")) == len(lb.of("discovery.restored")) == 2


async def test_a_start_without_the_file_waits_for_nobody(tmp_path):
    async with serving(name="a") as a, balancer(tmp_path, found_in('servers_file = "late"')) as lb:
        failed = await lb.event("discovery.failed")
        assert failed["errors"] == [f"{tmp_path / 'late'}: cannot be read: No such file or directory"]
        (tmp_path / "late").write_text(a.address)
        await lb.event("config.applied")
        assert await ask(lb.port) == b"a\n"


async def test_check_and_diff_read_the_file(tmp_path):
    text = '[listeners.web]\nbind = ":1"\n[pools.web]\nservers = [{ dns = "web.internal", port = 80 }]\n'
    (tmp_path / "old.toml").write_text(text)
    (tmp_path / "new.toml").write_text(text + 'servers_file = "list"\n')
    file = tmp_path / "list"
    file.write_text("10.0.0.1:80 weight=2\n")
    code, out, _ = await run_lb("check", "--config", "new.toml", cwd=tmp_path)
    assert code == 0
    assert "10.0.0.1:80, weight 2" in out
    assert "dns web.internal:80" in out
    code, out, _ = await run_lb("diff", "old.toml", "new.toml", cwd=tmp_path)
    assert [line.split() for line in out.splitlines()] == [
        ["changed", "pool", "web", "servers_file", "none", "->", "list"],
        ["added", "web/10.0.0.1:80", "10.0.0.1:80,", "weight", "2"],
    ]
    file.write_text("10.0.0.1:80 wieght=2\n")
    code, _, err = await run_lb("check", "--config", "new.toml", cwd=tmp_path)
    assert (code, err) == (2, "list:1: wieght: unknown key, did you mean 'weight'?\n")
    file.unlink()
    code, _, err = await run_lb("diff", "old.toml", "new.toml", cwd=tmp_path)
    assert (code, err) == (2, "list: cannot be read: No such file or directory\n")
