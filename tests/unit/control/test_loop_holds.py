"""Nothing holds the event loop: no step of a reload takes 50 ms, and what can block runs in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections import defaultdict
from types import SimpleNamespace

import pytest
import trio

import lb.config.tls
import lb.config.toml_file
import lb.tls.store
from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.config.load import load, parse
from lb.control.balancer import Balancer
from lb.events.base import Observers
from lb.model.reuse import reused
from lb.net.activation import GivenSockets
from lb.net.cooperate import keep_garbage_collection_short
from lb.service.config_watch import LoadedFile
from lb.service.operations import Operations
from tests.support.loop_holds import measured
from tests.support.tls_peers import write_certificate

pytestmark = pytest.mark.slow

TRIES = 3
"""The shortest of a few at most counts: CPU time, too, is longer now and then on a busy machine."""


def fifty_milliseconds():
    """Return the CPU time now of work that takes 50 ms of a machine that is not busy: caches and cores are shared."""
    begun = time.thread_time()
    assert sum(number * number for number in range(900_000))
    return time.thread_time() - begun


def listing(count, *, strategy="weighted", weight=1, tls=""):
    servers = ", ".join(
        f'{{ name = "s{n}", address = "127.1.{n // 200}.{n % 200}:1", weight = {1 if n % 50 else weight} }}'
        for n in range(count)
    )
    return f"""
        [listeners.web]
        bind = "127.0.0.1:0"
        pool = "web"
        {tls}
        [pools.web]
        strategy = "{strategy}"
        servers = [{servers}]
        health = {{ interval = "1h", fast_interval = "1h" }}
    """


def configuration(count, **options):
    return parse(listing(count, **options), "lb.toml")


async def test_no_step_of_a_reload_of_5000_servers_holds_the_loop():
    base = configuration(5000)
    others = {
        "another weight of 100": configuration(5000, weight=2),
        "200 removed": configuration(4800),
        "another strategy": configuration(5000, strategy="round-robin"),
    }
    balancer = Balancer(lambda event: None, dedicated=True)
    holds = defaultdict(list)
    async with trio.open_nursery() as nursery:
        await nursery.start(balancer.run, base)
        keep_garbage_collection_short()
        for change, config in TRIES * [*others.items()]:
            there, back = change, f"{change}, back"
            if all(min(holds[name], default=2) <= 1 for name in (there, back)):
                continue  # an earlier try was short enough
            for name, wanted in ((there, config), (back, base)):
                new = reused(wanted, balancer.written)
                with measured() as hold:
                    await trio.lowlevel.checkpoint()
                    await balancer.reload(new)
                    await balancer.override("web", "s7", {"drained": True})
                    await trio.lowlevel.checkpoint()
                holds[name].append(hold.longest / fifty_milliseconds())
        balancer.stop_now()
    assert {name: found for name, found in holds.items() if min(found) > 1} == {}


@pytest.fixture
def threads(monkeypatch):
    """The threads of the calls that may block, by name: reads of files, contexts, look-ups."""
    found = defaultdict(list)

    def recorded(call):
        def record(*args, **options):
            found[call.__name__].append(threading.current_thread())
            return call(*args, **options)

        return record

    monkeypatch.setattr(lb.config.tls, "read_file", recorded(lb.config.tls.read_file))
    monkeypatch.setattr(lb.config.toml_file, "read_file", recorded(lb.config.toml_file.read_file))
    monkeypatch.setattr(lb.tls.store, "_context", recorded(lb.tls.store._context))
    monkeypatch.setattr(socket, "getaddrinfo", recorded(socket.getaddrinfo))
    return found


async def test_files_certificates_and_names_are_read_in_threads(tmp_path, threads):
    """The host name of a listener was looked up on the event loop: ten seconds without any traffic."""
    path = tmp_path / "lb.toml"
    path.write_text(listing(1))
    balancer = Balancer(lambda event: None, dedicated=True)
    log, notifier = SimpleNamespace(configure=lambda spec: None), SimpleNamespace(reloading=int, ready=str)
    async with trio.open_nursery() as nursery:
        await nursery.start(balancer.run, load(path))
        announcer, cluster = Announcer(None), Cluster(balancer, Observers(), nursery)
        file = LoadedFile(path, {})
        operations = Operations(nursery, balancer, announcer, cluster, log, Observers(), notifier, file, GivenSockets())
        tls = f"[listeners.web.tls]\n{write_certificate(tmp_path, 'web', 'web.test')}"
        threads.clear()
        path.write_text(listing(1, tls=tls).replace("127.0.0.1:0", "localhost:0"))
        assert await operations.reload() == ()
        balancer.stop_now()
    assert threads.keys() == {"getaddrinfo", "read_file", "_context"}
    assert len(threads["read_file"]) == 3, "the configuration, the certificate, the key"
    assert threading.main_thread() not in {thread for found in threads.values() for thread in found}
