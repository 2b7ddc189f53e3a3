"""Servers in a real etcd, with the real command, and what may happen to etcd."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio

from lb.etcd.messages import Deletion, Put
from tests.support.balancer import PATIENCE, QUICK_CHECKS, ask, balancer, connect, killed_at_end, request, with_workers
from tests.support.effort import DEEP
from tests.support.etcd import PREFIX, etcd
from tests.support.load import load
from tests.support.operating import ADMIN, operated
from tests.support.paths import EXAMPLES
from tests.support.servers import backends, serving
from tests.support.tls_peers import authority, certificate
from tests.support.two_hosts import two_hosts

pytestmark = pytest.mark.slow
deep = pytest.mark.skipif(not DEEP, reason="waits for timeouts: HYPOTHESIS_PROFILE=deep runs it")
PATIENT = 'when_all_down = "hold"\nhold_timeout = "1m"'
CHANGES_A_MINUTE = 1_000
CHANGES = CHANGES_A_MINUTE * 5 if DEEP else 40
SLOW = 0.4
"""Seconds that a byte takes on a slow link, each way."""


def found_in(*servers, etcd="", pool="", top=""):
    """Return a configuration whose pool has its servers in these etcds. ``etcd`` has more lines of its table."""
    urls = json.dumps([getattr(server, "url", server) for server in servers])
    front = f'{top}\n[listeners.web]\nbind = "127.0.0.1:0"\n[pools.web]\n{pool}\n[pools.web.health]\n{QUICK_CHECKS}'
    return with_workers(f'{front}\n[pools.web.etcd]\nendpoints = {urls}\nprefix = "{PREFIX}"\n{etcd}\n')


def kept(tmp_path):
    """Return the servers of the file with the last set."""
    path = tmp_path / "lb-etcd-web.json"
    return json.loads(path.read_text())["servers"] if path.exists() else None


async def until_kept(tmp_path, *names):
    with trio.fail_after(PATIENCE):
        while (found := kept(tmp_path)) is None or found.keys() != {*names}:  # noqa: ASYNC110 - the file is written without a word
            await trio.sleep(0.05)


async def failure(lb, beginning):
    """Wait until a failure is reported whose first error begins like this."""
    count = 1
    while not (await lb.event("discovery.failed", count=count))["errors"][0].startswith(beginning):
        count += 1


@pytest.mark.usefixtures("real_command")
async def test_a_thousand_changes_a_minute_cut_no_session(tmp_path):
    """Servers of which the clients use three come and go; what they register and how is random."""
    async with etcd() as store, backends("a", "b", "c") as servers:
        for server in servers:
            await store.put(server.name, server.address)
        choose = random.Random(7)
        text = found_in(store, pool=PATIENT)  # the first answer may come after the start
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as before_all:
            assert await request(before_all, b"name") in {b"a", b"b", b"c"}
            async with load(lb.port, servers, clients=5) as sessions, store.client() as client:
                present, began = {server.name for server in servers}, trio.current_time()
                for number in range(CHANGES):
                    await trio.sleep_until(began + number * 60 / CHANGES_A_MINUTE)
                    server = choose.choice(servers)
                    key = f"{PREFIX}{server.name}".encode()
                    if server.name in present and len(present) > 1:
                        present.remove(server.name)
                        await client.delete(Deletion(key))
                    else:
                        present.add(server.name)
                        value = {"address": server.address, "weight": choose.randint(1, 3)}
                        await client.put(Put(key, json.dumps(value).encode()))
                with trio.fail_after(PATIENCE):
                    while {name.decode().strip() for name in sessions.seen} != present:
                        sessions.seen.clear()
                        await sessions.sessions(60)
            assert not sessions.failures
            assert await request(before_all, b"echo still here") == b"still here"
            assert all("still waiting" in event["errors"][0] for event in lb.of("discovery.failed"))


@pytest.mark.usefixtures("worker_count")
async def test_etcd_is_killed_and_a_restart_serves_from_the_file(tmp_path):
    async with etcd() as store, serving(name="a") as a, serving(name="b") as b:
        await store.put("a", a.address)
        async with balancer(tmp_path, found_in(store, top=ADMIN)) as lb:
            await until_kept(tmp_path, "a")
            await store.kill()
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [f"{store.url}: connection refused"]
            assert failed["servers"] == 1
            assert await ask(lb.port) == b"a\n"
            assert (await lb.reload(lb.config_file.read_text()))["event"] == "config.applied"
            assert await ask(lb.port) == b"a\n"
            assert await lb.stop() == 0
        async with operated(tmp_path, found_in(store, top=ADMIN)) as (lb, operator):
            (source,) = (await operator.status())["pools"]["web"]["sources"]
            assert source == {
                "source": f"etcd {PREFIX}",
                "servers": 1,
                "from": "file",
                "error": f"{store.url}: connection refused",
                "since": source["since"],
            }
            assert await ask(lb.port) == b"a\n"
            await store.start()
            await store.put("b", b.address)
            await store.delete("a")
            await lb.event("discovery.restored")
            await lb.event("config.applied", removed=["web/a"])
            assert (await operator.servers()).keys() == {"b"}
            assert await ask(lb.port) == b"b\n"
            assert len(lb.of("discovery.failed")) == 1


async def test_an_etcd_that_is_restored_or_emptied_is_read_anew(tmp_path):
    async with etcd() as store, serving(name="a") as a, serving(name="b") as b:
        await store.put("a", a.address)
        await store.ctl("snapshot", "save", str(store.home / "backup"))
        await store.put("b", b.address)
        async with balancer(tmp_path, found_in(store, etcd='hold = "2s"')) as lb:
            await store.kill()
            await lb.event("discovery.failed")
            store.empty()
            await store.restore(store.home / "backup")
            await store.start()
            await lb.event("config.applied", removed=["web/b"])
            await store.kill()
            store.empty()
            await store.start()
            await failure(lb, f"no server under {PREFIX}, the last ")
            assert {await ask(lb.port) for _ in range(2)} >= {b"a\n"}
            await until_kept(tmp_path)
            await store.put("c", b.address)
            await lb.event("config.applied", added=["web/c"])
            assert await ask(lb.port) == b"b\n"


async def test_all_keys_at_once_are_an_accident_for_a_while(tmp_path):
    async with etcd() as store, serving(name="a") as a, serving(name="b") as b:
        await store.put("a", a.address)
        await store.put("b", {"address": b.address})
        async with balancer(tmp_path, found_in(store)) as lb:
            await store.delete_all()
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [f"no server under {PREFIX}, the last 2 stay for 1m"]
            assert {await ask(lb.port) for _ in range(2)} == {b"a\n", b"b\n"}
            await store.put("b", {"address": b.address, "weight": -1})
            await store.put("a", a.address)
            await lb.event("config.applied", removed=["web/b"])
            assert {await ask(lb.port) for _ in range(2)} == {b"a\n"}


async def test_bad_entries_harm_only_themselves(tmp_path):
    async with etcd() as store, serving(name="a") as a, serving(name="b") as b:
        await store.put("a", a.address)
        async with balancer(tmp_path, found_in(store)) as lb:
            await store.put("b", {"address": b.address, "weight": -1})
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [f"{PREFIX}b: weight: must be 0 or more, not -1"]
            await store.put("a", "{")
            await store.put("x/y", b.address)
            await store.put("c", b.address)
            await lb.event("config.applied", added=["web/c"], removed=[])
            assert {await ask(lb.port) for _ in range(2)} == {b"a\n", b"b\n"}
            await store.delete("x/y")
            await store.delete("b")
            await store.put("a", a.address)
            await lb.event("discovery.restored")
            assert len(lb.of("discovery.failed")) == 1


async def test_compaction_and_a_full_etcd_are_not_noticed(tmp_path):
    async with etcd(options=["--quota-backend-bytes=65536"]) as store, serving(name="a") as a, serving(name="b") as b:
        await store.put("a", a.address)
        await store.put("b", b.address)
        async with balancer(tmp_path, found_in(store)) as lb:
            await store.compact()
            while (await store.try_ctl("put", "/fill", "x" * 16_000)).returncode == 0:
                pass
            await store.delete("a")
            await lb.event("config.applied", removed=["web/a"])
            assert await ask(lb.port) == b"b\n"
            assert not lb.of("discovery.failed")


async def test_tls_with_certificates_on_both_sides(tmp_path):
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    own = certificate("127.0.0.1")
    own.private_key_pem.write_to_path(tmp_path / "own.key")
    own.cert_chain_pems[0].write_to_path(tmp_path / "own.pem")
    secured = [f"--cert-file={tmp_path}/own.pem", f"--key-file={tmp_path}/own.key"]
    secured += [f"--trusted-ca-file={tmp_path}/ca.pem", "--client-cert-auth"]
    ctl = [f"--cert={tmp_path}/own.pem", f"--key={tmp_path}/own.key", f"--cacert={tmp_path}/ca.pem"]
    async with etcd(secured=secured, ctl=ctl) as store, serving(name="a") as a:
        await store.put("a", a.address)
        mutual = 'ca = "ca.pem"\ncertificate = "own.pem"\nkey = "own.key"'
        async with balancer(tmp_path, found_in(store, etcd=mutual)) as lb:
            assert await ask(lb.port) == b"a\n"
            assert not lb.of("discovery.failed")
            await lb.reload(found_in(store, etcd='ca = "ca.pem"'))
            failed = await lb.event("discovery.failed")
            assert "certificate" in failed["errors"][0] or "connection reset" in failed["errors"][0], "as TCP has it"
            await lb.reload(found_in(store, etcd=mutual))
            await lb.event("discovery.restored")
            await lb.reload(found_in(store))
            failed = await lb.event("discovery.failed", count=2)
            assert failed["errors"][0].startswith(f"{store.url}: certificate verify failed: ")
            assert await ask(lb.port) == b"a\n"


async def test_the_program_of_the_how_to_registers_a_server_until_it_is_stopped(tmp_path):
    async with etcd() as store, serving(name="a") as a, balancer(tmp_path, found_in(store, pool=PATIENT)) as lb:
        command = [sys.executable, EXAMPLES / "register_in_etcd.py", "a", a.address, store.url]
        program = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL)
        async with killed_at_end(program):
            await lb.event("config.applied", added=["web/a"])
            assert await ask(lb.port) == b"a\n"
            await store.put("b", a.address)
            program.send_signal(signal.SIGKILL if DEEP else signal.SIGTERM)
            await lb.event("config.applied", removed=["web/a"])


# What takes timeouts


@deep
async def test_a_silent_etcd_is_left_for_the_next_one(tmp_path):
    async with etcd() as frozen, etcd() as store, serving(name="a") as a, serving(name="b") as b:
        await frozen.put("a", a.address)
        await store.put("b", b.address)
        async with balancer(tmp_path, found_in(frozen, store)) as lb:
            assert await ask(lb.port) == b"a\n"
            began = trio.current_time()
            frozen.freeze()
            await lb.event("config.applied", added=["web/b"], removed=["web/a"])
            assert trio.current_time() - began < 10
            store.freeze()
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [f"{each.url}: no answer in 5 s" for each in (frozen, store)]
            assert await ask(lb.port) == b"b\n"
            frozen.thaw()
            await lb.event("discovery.restored")
            frozen.thaw()
            store.thaw()


@asynccontextmanager
async def slow_link(port):
    """Yield a port that leads to another one; each byte takes SLOW seconds, and as many may be under way as come."""

    async def carry(source, sink):
        on_the_way, arrivals = trio.open_memory_channel(math.inf)

        async def arrive():
            async for at, data in arrivals:
                await trio.sleep_until(at)
                await sink.send_all(data)
            await sink.send_eof()

        with suppress(trio.BrokenResourceError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(arrive)
                async with on_the_way:
                    async for data in source:
                        on_the_way.send_nowait((trio.current_time() + SLOW, data))

    async def handle(client):
        async with client, await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as nursery:
            nursery.start_soon(carry, client, server)
            nursery.start_soon(carry, server, client)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, handle, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_slow_etcd_is_no_fault(tmp_path):
    async with etcd() as store, serving(name="a") as a, serving(name="b") as b, slow_link(store.port) as port:
        await store.put("a", a.address)
        async with balancer(tmp_path, found_in(f"http://127.0.0.1:{port}")) as lb:
            await store.put("b", b.address)
            await lb.event("config.applied", added=["web/b"])
            assert {await ask(lb.port) for _ in range(2)} == {b"a\n", b"b\n"}
            assert not lb.of("discovery.failed")


@asynccontextmanager
async def etcd_behind_a_link():
    """An etcd on another host, the link to it, and what runs the balancer on this one."""
    with two_hosts(1) as hosts:
        (link,) = hosts.links
        through = ["ip", "netns", "exec", hosts.far.namespace]
        async with etcd(host=link.address, through=through) as store:
            yield store, link, hosts


@deep
async def test_a_link_that_is_cut(tmp_path):
    async with etcd_behind_a_link() as (store, link, hosts):
        await store.put("a", "127.0.0.1:1")
        text = found_in(store, top=ADMIN).replace("[pools.web.health]", "[pools.web.health]\ninitial = 'up'")
        async with balancer(tmp_path, text, preexec=hosts.near.enter) as lb:
            await store.put("b", "127.0.0.1:2")
            await lb.event("config.applied", added=["web/b"])
            assert not lb.of("discovery.failed")
            link.cut()
            failed = await lb.event("discovery.failed")
            assert failed["errors"] == [f"{store.url}: no answer in 5 s"]
            await store.put("c", "127.0.0.1:3")
            link.mend()
            await lb.event("config.applied", added=["web/c"])
            await lb.event("discovery.restored")


@deep
async def test_a_token_runs_out_while_servers_come_and_go(tmp_path):
    async with etcd(options=["--auth-token-ttl=1"]) as store, serving(name="a") as a, serving(name="b") as b:
        await store.demand_login("lb", "secret")
        (tmp_path / "password").write_text("secret\n")
        await store.put("a", a.address)
        login = 'user = "lb"\npassword_file = "password"'
        async with balancer(tmp_path, found_in(store, etcd=login)) as lb:
            assert await ask(lb.port) == b"a\n"
            await trio.sleep(3)
            await store.put("b", b.address)
            await lb.event("config.applied", added=["web/b"])
            await store.kill()
            await lb.event("discovery.failed")
            await store.start()
            await lb.event("discovery.restored")
            (tmp_path / "password").write_text("other\n")
            await lb.reload(found_in(store, etcd=login))
            failed = await lb.event("discovery.failed", count=2)
            assert failed["errors"] == [f"{store.url}: authentication failed, invalid user ID or password"]
            assert {await ask(lb.port) for _ in range(2)} == {b"a\n", b"b\n"}
