"""SIGHUP: a reload applies completely or not at all, and interrupts no connection."""

from __future__ import annotations

import itertools
import signal
import socket

import pytest
import trio

from tests.support.balancer import PATIENCE, ask, balancer, by_server, config, connect, read_all, request
from tests.support.effort import DEEP
from tests.support.load import load
from tests.support.servers import Named, backends, filled_backlog, free_port, refusing, serving

pytestmark = pytest.mark.slow
every_kind = pytest.mark.usefixtures("balancer_kind")
one_process_or_two = pytest.mark.usefixtures("worker_count")


def lists(a, b, c):
    """Yield configurations with all kinds of differences in their servers."""
    yield config(a, b)
    yield config((c, "weight = 3"), b, a, pool='strategy = "weighted"')
    yield config(c, health='interval = "50ms"')
    yield config(b, c, (a, "weight = 0"), pool='strategy = "least-conn"\non_remove = "drain"')
    yield config(a, (b, "backup = true"), (c, "max_connections = 500"), pool='strategy = "consistent-hash"')
    yield config(a, b, c, health=None, listener='idle_timeout = "5s"')


RELOADS = 50 if DEEP else 7
"""Once round all configurations of :func:`lists`, and on to the first."""


@every_kind
@pytest.mark.parametrize("clients", [1, 50])
async def test_many_reloads_under_load_fail_no_session(tmp_path, clients):
    async with backends("a", "b", "c") as servers, balancer(tmp_path, config(*servers)) as lb:
        async with await connect(lb.port) as before_all, load(lb.port, servers, clients=clients) as sessions:
            assert await request(before_all, b"name") in b"abc"
            for text in itertools.islice(itertools.cycle(lists(*servers)), RELOADS):
                verdict = await lb.reload(text)
                assert verdict["event"] == "config.applied"
                await sessions.sessions(5)
            assert await request(before_all, b"echo still here") == b"still here"
        assert not sessions.failures
        assert sessions.done >= 5 * RELOADS
        assert sessions.seen == {b"a\n", b"b\n", b"c\n"}
    assert len(lb.of("config.applied")) == RELOADS
    assert len(lb.of("listener.started")) == 1, "the listener did not keep its socket"


@one_process_or_two
async def test_reloads_that_overlap_are_applied_one_after_another(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a)) as lb:
        lb.config_file.write_text(config(b))
        for _ in range(20):
            lb.signal(signal.SIGHUP)
        await lb.event("config.applied")
        assert await ask(lb.port) == b"b\n"


@one_process_or_two
async def test_what_a_reload_did_is_said(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a)) as lb:
        applied = await lb.reload(config((b, "weight = 2")))
        assert (applied["added"], applied["removed"], applied["changed"]) == (["web/b"], ["web/a"], [])
        applied = await lb.reload(config((b, "weight = 3")))
        assert (applied["added"], applied["removed"], applied["changed"]) == ([], [], ["web/b"])


@one_process_or_two
async def test_a_configuration_that_does_not_load_changes_nothing_and_all_that_is_wrong_is_said(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a)) as lb:
        wrong = config((b, "weight = -3"), listener='idle_timeout = "soon"\nmax_conections = 3')
        rejected = await lb.reload(wrong)
        assert rejected["event"] == "config.rejected"
        path = str(lb.config_file)
        assert [error.partition(": ")[0] for error in rejected["errors"]] == [path] * 3
        text = "\n".join(rejected["errors"])
        for key in ("pools.web.servers[0].weight", "listeners.web.idle_timeout", "listeners.web.max_conections"):
            assert key in text
        assert await ask(lb.port) == b"a\n"
        assert (await lb.reload(config(b)))["event"] == "config.applied"
        assert await ask(lb.port) == b"b\n"


async def test_a_file_that_is_gone_or_no_toml_changes_nothing(tmp_path):
    async with serving(name="a") as a, balancer(tmp_path, config(a)) as lb:
        rejected = await lb.reload("[listeners.web\n")
        assert "line 1, column 15" in rejected["errors"][0]
        lb.config_file.unlink()
        lb.signal(signal.SIGHUP)
        rejected = await lb.event("config.rejected", count=2)
        assert "No such file" in rejected["errors"][0]
        assert await ask(lb.port) == b"a\n"


@one_process_or_two
async def test_a_bind_that_is_in_use_rejects_the_whole_change(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        in_use = f"127.0.0.1:{taken.getsockname()[1]}"
        async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a)) as lb:
            port = lb.port
            rejected = await lb.reload(config(b, bind=["127.0.0.2:0", in_use]))
            assert rejected["errors"] == [f"cannot listen on {in_use}: address already in use"]
            assert lb.binds == {"web": [f"127.0.0.1:{port}"]}
            assert await ask(port) == b"a\n"


@one_process_or_two
async def test_a_server_known_to_be_down_stays_down_through_a_reload(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        refusing("dead") as dead,
        balancer(tmp_path, config(dead, a)) as lb,
    ):
        await lb.event("backend.ejected", server="dead")
        applied = await lb.reload(config(b, a, (dead, "weight = 2"), health='interval = "1h"'))
        assert applied["added"] == ["web/b"]
        assert {await ask(lb.port) for _ in range(8)} == {b"a\n", b"b\n"}
        await lb.stop()
    records = lb.of("connection.closed")
    assert len(records) == 8
    assert not any(record["attempts"] for record in records), "the server that was down was tried"
    assert not lb.of("backend.restored")
    assert len(lb.of("backend.ejected")) == 1


@one_process_or_two
async def test_a_server_that_stays_keeps_its_count_of_connections(tmp_path):
    """Four connections to ``a`` from before the reload must still count for least-conn after it."""
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, config(a)) as lb:
        open_to_a = [await connect(lb.port) for _ in range(4)]
        assert [await request(stream, b"name") for stream in open_to_a] == [b"a"] * 4
        await lb.reload(config(b, a, pool='strategy = "least-conn"'))
        later = [await connect(lb.port) for _ in range(4)]
        assert [await request(stream, b"name") for stream in later] == [b"b"] * 4
        for stream in open_to_a + later:
            await stream.aclose()


@every_kind
@pytest.mark.parametrize("how", ["moved", "removed"])
async def test_connections_of_a_listener_that_leaves_its_port_live_on(tmp_path, how):
    async with serving(name="a") as a, balancer(tmp_path, config(a)) as lb:
        port = lb.port
        async with await connect(port) as before:
            assert await request(before, b"name") == b"a"
            moved = config(a, bind="127.0.0.2:0")
            await lb.reload(moved if how == "moved" else moved.replace("listeners.web", "listeners.other"))
            await lb.event("listener.stopped", bind=f"127.0.0.1:{port}")
            with pytest.raises(OSError, match="all attempts to connect"):
                await connect(port)
            (bind,) = lb.binds["web" if how == "moved" else "other"]
            assert await ask(int(bind.rpartition(":")[2]), host="127.0.0.2") == b"a\n"
            assert await request(before, b"echo still here") == b"still here"
            client = "{}:{}".format(*before.socket.getsockname())
            await before.send_eof()
            assert await read_all(before) == b""
        record = await lb.event("connection.closed", client=client)
        assert (record["listener"], record["reason"]) == ("web", "eof")


@every_kind
async def test_a_renamed_listener_refuses_nobody(tmp_path):
    bind = f"127.0.0.1:{free_port()}"
    async with backends("a") as servers, balancer(tmp_path, config(*servers, bind=bind)) as lb:
        names = itertools.cycle(["other", "web"])
        async with load(lb.port, servers, clients=20) as sessions:
            for name in itertools.islice(names, 10):
                await lb.reload(config(*servers, bind=bind).replace("listeners.web", f"listeners.{name}"))
                await sessions.sessions(20)
        assert not sessions.failures
    assert not lb.of("listener.stopped"), "the socket was not handed over"


@every_kind
async def test_two_listeners_may_swap_their_addresses(tmp_path):
    def crosswise(one, other):
        return config(a, bind=one, top=f'[listeners.other]\nbind = "{other}"\nservers = ["{b.address}"]')

    ports = [free_port(), free_port()]
    one, other = (f"127.0.0.1:{port}" for port in ports)
    async with serving(name="a") as a, serving(name="b") as b, balancer(tmp_path, crosswise(one, other)) as lb:
        assert [await ask(port) for port in ports] == [b"a\n", b"b\n"]
        await lb.reload(crosswise(other, one))
        assert [await ask(port) for port in ports] == [b"b\n", b"a\n"]
        assert not lb.of("listener.stopped")


@every_kind
async def test_a_bind_may_be_added_and_taken_away(tmp_path):
    async with serving(name="a") as a, balancer(tmp_path, config(a)) as lb:
        first = lb.port
        await lb.reload(config(a, bind=["127.0.0.1:0", "127.0.0.2:0"]))
        second = int(lb.binds["web"][1].rpartition(":")[2])
        assert [await ask(first), await ask(second, host="127.0.0.2")] == [b"a\n", b"a\n"]
        await lb.reload(config(a, bind="127.0.0.2:0"))
        await lb.event("listener.stopped", bind=f"127.0.0.1:{first}")
        assert await ask(second, host="127.0.0.2") == b"a\n"


@pytest.mark.usefixtures("splicer_kind")
async def test_on_remove_close_moves_who_is_still_connecting_to_another_server(tmp_path):
    async with (
        filled_backlog("stuck") as stuck,
        serving(name="b") as b,
        balancer(tmp_path, config(stuck, b, pool='on_remove = "close"', health=None)) as lb,
    ):
        async with await connect(lb.port) as stream:
            await stream.send_all(b"name\n")
            assert await ask(lb.port) == b"b\n", "the first client must have got the server that hangs"
            await lb.reload(config(b, pool='on_remove = "close"', health=None))
            with trio.fail_after(PATIENCE):
                assert await stream.receive_some() == b"b\n"
        record = await lb.event("connection.closed", id=1)
    (attempt,) = record["attempts"]
    assert (record["server"], attempt["server"], attempt["error"]) == ("b", "stuck", "server removed")


@one_process_or_two
async def test_on_remove_close_ends_connections_to_a_server_that_leaves(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, b, pool='on_remove = "close"')) as lb,
        await connect(lb.port) as one,
        await connect(lb.port) as other,
    ):
        to = await by_server(one, other)
        await lb.reload(config(b, pool='on_remove = "close"'))
        record = await lb.event("connection.closed")
        assert (record["server"], record["reason"], record["ended_by"]) == ("a", "server_removed", "lb")
        with pytest.raises(trio.BrokenResourceError):
            await read_all(to["a"])
        assert await request(to["b"], b"echo still here") == b"still here"


@one_process_or_two
async def test_on_remove_drain_ends_them_after_the_drain_timeout(tmp_path):
    drain = 'on_remove = "drain"\ndrain_timeout = "300ms"'
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, pool=drain)) as lb,
        await connect(lb.port) as to_a,
    ):
        assert await request(to_a, b"name") == b"a"
        await lb.reload(config(b, pool=drain))
        assert await request(to_a, b"echo still here") == b"still here"
        with pytest.raises(trio.BrokenResourceError):
            await read_all(to_a)
        record = await lb.event("connection.closed")
        assert (record["server"], record["reason"], record["ended_by"]) == ("a", "server_removed", "lb")


@one_process_or_two
async def test_a_server_that_comes_back_before_its_drain_ends_keeps_its_connections(tmp_path):
    drain = 'on_remove = "drain"\ndrain_timeout = "1s"'
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, b, pool=drain)) as lb,
        await connect(lb.port) as one,
        await connect(lb.port) as other,
    ):
        stays = (await by_server(one, other))["a"]
        await lb.reload(config(Named("c", a.address), pool=drain))
        await lb.reload(config(a, pool=drain))
        await lb.event("connection.closed", server="b", reason="server_removed")
        assert await request(stays, b"echo still here") == b"still here"


@one_process_or_two
async def test_weight_0_gets_no_new_connections_and_keeps_its_old(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        balancer(tmp_path, config(a, b)) as lb,
        await connect(lb.port) as one,
        await connect(lb.port) as other,
    ):
        to_a = (await by_server(one, other))["a"]
        await lb.reload(config((a, "weight = 0"), b))
        assert {await ask(lb.port) for _ in range(6)} == {b"b\n"}
        assert await request(to_a, b"echo still here") == b"still here"
        await lb.reload(config(a, b))
        assert {await ask(lb.port) for _ in range(6)} == {b"a\n", b"b\n"}
