"""No available server: the effect of ``when_all_down``, limits, backup servers and health check verdicts on clients."""

from __future__ import annotations

import pytest
import trio

from tests.support.balancer import (
    PATIENCE,
    QUICK_CHECKS,
    ask,
    balancer,
    config,
    connect,
    expect_reset,
    read_all,
    request,
)
from tests.support.sabotage import sabotage
from tests.support.servers import Backend, refusing, serving

pytestmark = pytest.mark.slow
HOLD = 'when_all_down = "hold"\nhold_timeout = "30s"\n'
PONG = 'probe = "exchange"\nsend = "name\\n"\nexpect = "."\ninterval = "50ms"\nfast_interval = "50ms"'


async def test_reject_closes_the_client_without_trying(tmp_path):
    async with refusing("a") as dead, balancer(tmp_path, config(dead)) as lb:
        await lb.event("backend.ejected")
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["server"]) == ("no_server", "lb", None)
    assert (record["attempts"], record["connect_ms"]) == ([], None)


async def test_no_server_left_after_attempts_says_who_was_tried(tmp_path):
    async with refusing("a") as a, refusing("b") as b, balancer(tmp_path, config(a, b, health=None)) as lb:
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.only_record()
    assert (record["reason"], record["server"]) == ("connect_failed", None)
    assert [(each["server"], each["error"]) for each in record["attempts"]] == [
        ("a", "connection refused"),
        ("b", "connection refused"),
    ]


async def test_under_no_strategy_a_retry_goes_back_to_a_server_that_was_tried(tmp_path):
    by_port = 'name = "consistent-hash", key = "source-ip-port"'
    hashes = [f'{{ {by_port}, table = "{table}" }}' for table in ("maglev", "ketama")]
    async with (
        refusing("a") as a,
        refusing("b") as b,
        serving(name="c") as c,
        balancer(tmp_path, config(a, b, c, health=None)) as lb,
    ):
        for strategy in ['"round-robin"', '"weighted"', '"least-conn"', '"random-two"', *hashes]:
            pool = f"strategy = {strategy}\nretries = 2\n[pools.web.passive]\nfailures = 0"
            await lb.reload(config(a, b, c, health=None, pool=pool))
            assert [await ask(lb.port) for _ in range(20)] == [b"c\n"] * 20, strategy
        assert await lb.stop() == 0
    tried = [[attempt["server"] for attempt in record["attempts"]] for record in lb.of("connection.closed")]
    assert len(tried) == 120
    assert sum(map(len, tried)) > 20


@pytest.mark.parametrize("splicer", ["epoll", "portable"])
async def test_any_tries_servers_that_are_down(tmp_path, splicer, monkeypatch):
    """The health checks go to a port without a listener; the server itself works."""
    monkeypatch.setenv("LB_SPLICER", splicer)
    async with refusing("other") as other, serving() as server:
        port = other.address.rpartition(":")[2]
        text = config(server, health=f"port = {port}\n{QUICK_CHECKS}", pool='when_all_down = "any"')
        async with balancer(tmp_path, text) as lb:
            await lb.event("backend.ejected")
            assert [await ask(lb.port) for _ in range(3)] == [b"s\n"] * 3


@pytest.mark.usefixtures("balancer_kind")
async def test_held_clients_are_served_when_a_server_appears(tmp_path):
    backend = Backend("late")
    await backend.start()
    await backend.kill()
    try:
        async with balancer(tmp_path, config(backend, pool=HOLD)) as lb:
            await lb.event("backend.ejected")
            answers = []

            async def held():
                answers.append(await ask(lb.port))

            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(held)
                await backend.start()
            assert answers == [b"late\n"] * 20
            assert await lb.stop() == 0
    finally:
        await backend.kill()
    assert [record["reason"] for record in lb.of("connection.closed")] == ["eof"] * 20


@pytest.mark.usefixtures("worker_count")
async def test_a_held_client_is_served_by_a_server_that_a_reload_adds(tmp_path):
    async with refusing("a") as dead, serving(name="b") as b, balancer(tmp_path, config(dead, pool=HOLD)) as lb:
        await lb.event("backend.ejected")
        async with await connect(lb.port) as stream:
            await stream.send_all(b"name\n")
            await lb.reload(config(dead, b, pool=HOLD))
            with trio.fail_after(PATIENCE):
                assert await stream.receive_some() == b"b\n"


async def test_a_hold_ends_after_its_timeout(tmp_path):
    text = 'when_all_down = "hold"\nhold_timeout = "200ms"'
    async with refusing("a") as dead, balancer(tmp_path, config(dead, pool=text)) as lb:
        await lb.event("backend.ejected")
        async with await connect(lb.port) as stream:
            assert await read_all(stream) == b""
        record = await lb.only_record()
    assert (record["reason"], record["ended_by"], record["server"]) == ("hold_timeout", "lb", None)
    assert record["duration_ms"] >= 200


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("policy", ["reject", "hold"])
async def test_when_all_servers_are_full(tmp_path, policy):
    async with serving() as server:
        text = config((server, "max_connections = 1"), health=None, pool=HOLD if policy == "hold" else "")
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first:
            assert await request(first, b"name") == b"s"
            async with await connect(lb.port) as second:
                if policy == "reject":
                    assert await read_all(second) == b""
                    assert (await lb.event("connection.closed"))["reason"] == "no_server"
                else:
                    await first.aclose()
                    assert await request(second, b"name") == b"s"
        assert server.most_open <= 1 + (policy == "hold")  # one end may be seen after the next accept


@pytest.mark.usefixtures("worker_count")
async def test_clients_held_for_a_full_server_follow_each_other_without_a_pause(tmp_path, monkeypatch):
    """Each is woken when there is room: here the balancer does not retry by itself."""
    sabotage(monkeypatch, "retry")
    answers = []

    async def client(port):
        answers.append(await ask(port))

    async with serving() as server:
        text = config((server, "max_connections = 1"), health=None, pool=HOLD)
        async with balancer(tmp_path, text) as lb, trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(client, lb.port)
    assert answers == [b"s\n"] * 40


async def test_a_full_server_leaves_new_clients_to_the_others(tmp_path):
    async with (
        serving(name="small") as small,
        serving(name="big") as big,
        balancer(tmp_path, config((small, "max_connections = 1"), big)) as lb,
    ):
        async with await connect(lb.port) as first:
            assert await request(first, b"name") == b"small"
            assert [await ask(lb.port) for _ in range(4)] == [b"big\n"] * 4
        await lb.event("connection.closed", server="small")
        assert {await ask(lb.port) for _ in range(4)} == {b"small\n", b"big\n"}


async def test_backups_serve_only_while_no_other_server_is_available(tmp_path):
    main = Backend("main")
    await main.start()
    try:
        async with serving(name="backup") as backup, balancer(tmp_path, config((backup, "backup = true"), main)) as lb:
            assert [await ask(lb.port) for _ in range(4)] == [b"main\n"] * 4
            await main.kill()
            assert [await ask(lb.port) for _ in range(4)] == [b"backup\n"] * 4
            await lb.event("backend.ejected", server="main")
            assert await ask(lb.port) == b"backup\n"
            await main.start()
            await lb.event("backend.restored", server="main")
            assert [await ask(lb.port) for _ in range(4)] == [b"main\n"] * 4
    finally:
        await main.kill()


@pytest.mark.usefixtures("worker_count")
@pytest.mark.parametrize("on_return", ["keep", "close"])
async def test_connections_of_a_backup_when_a_primary_is_back(tmp_path, on_return):
    main = Backend("main")
    try:
        async with serving(name="backup") as backup:
            text = config(main, (backup, "backup = true"), pool=f'on_return = "{on_return}"')
            async with balancer(tmp_path, text) as lb:
                await lb.event("backend.ejected", server="main")
                async with await connect(lb.port) as stream:
                    assert await request(stream, b"name") == b"backup"
                    await main.start()
                    await lb.known("backend.restored", server="main")
                    if on_return == "close":
                        await expect_reset(stream)
                    else:
                        assert await ask(lb.port) == b"main\n"
                        assert await request(stream, b"name") == b"backup"
                record = await lb.event("connection.closed", server="backup")
    finally:
        await main.kill()
    ended = ("lb", "primary_back") if on_return == "close" else ("client", "eof")
    assert (record["ended_by"], record["reason"]) == ended


async def test_a_primary_that_a_reload_brings_back_ends_connections_of_backups(tmp_path):
    """But not one that had only been full."""
    async with serving(name="main") as main, serving(name="backup") as backup:
        pool = 'on_return = "close"'
        text = config((main, "max_connections = 1"), (backup, "backup = true"), pool=pool)
        drained = config((main, "weight = 0"), (backup, "backup = true"), pool=pool)
        async with balancer(tmp_path, text) as lb, await connect(lb.port) as first:
            assert await request(first, b"name") == b"main"
            async with await connect(lb.port) as second:
                assert await request(second, b"name") == b"backup"
                await first.aclose()
                await lb.event("connection.closed", server="main")
                assert await request(second, b"name") == b"backup"
                await lb.reload(drained)
                assert await request(second, b"name") == b"backup"
                await lb.reload(text)
                await expect_reset(second)
            assert (await lb.event("connection.closed", server="backup"))["reason"] == "primary_back"


# Health check verdicts


async def test_refused_and_silent_are_told_apart(tmp_path):
    async def say_nothing(stream):
        async for _ in stream:
            pass

    async def hang_up(stream):
        await stream.receive_some()

    checks = f'{PONG}\ntimeout = "200ms"\nfall = 2'
    async with (
        refusing("refuses") as refuses,
        serving(say_nothing, name="silent") as silent,
        serving(hang_up, name="closes") as closes,
        serving(name="good") as good,
        balancer(tmp_path, config(refuses, silent, closes, good, health=checks)) as lb,
    ):
        await lb.event("backend.ejected", count=3)
    reasons = {event["server"]: (event["reason"], event["source"]) for event in lb.of("backend.ejected")}
    assert reasons == {
        "refuses": ("connection refused", "active"),
        "silent": ("no answer in 0.2 s", "active"),
        "closes": ("closed the connection, no answer", "active"),
    }


async def test_scattered_failures_do_not_eject_and_as_many_in_a_row_do(tmp_path):
    for_ever_bad = False

    async def pass_every_third(stream):
        if server.connections % 3 == 0 and not for_ever_bad:
            await stream.receive_some()
            await stream.send_all(b"+PONG\r\n")

    async with (
        serving(pass_every_third) as server,
        balancer(tmp_path, config(server, health=f"{PONG}\nfall = 3")) as lb,
    ):
        await server.until(lambda server: server.connections >= 15)
        assert not lb.of("backend.ejected")
        for_ever_bad = True
        await lb.event("backend.ejected")


async def test_a_server_without_checks_is_never_probed(tmp_path):
    """The server of another pool is probed, which shows that enough time has passed."""
    async with serving(name="quiet") as quiet, serving(name="checked") as checked:
        other = f'[pools.other]\nservers = ["{checked.address}"]\n[pools.other.health]\ninterval = "50ms"\n'
        async with balancer(tmp_path, config(quiet, health=None, top=other)) as lb:
            await checked.until(lambda server: server.connections >= 5)
            assert quiet.connections == 0
            assert await ask(lb.port) == b"quiet\n"
            assert quiet.connections == 1


async def test_initial_down_gets_no_traffic_before_its_first_pass(tmp_path):
    checks = f'{QUICK_CHECKS}\ninitial = "down"\nrise = 5'
    async with serving() as server, refusing("other") as other:
        async with balancer(tmp_path, config(server, pool=HOLD, health=checks)) as lb:
            async with await connect(lb.port) as stream:
                assert await request(stream, b"name") == b"s"
            assert not (await lb.only_record())["attempts"]
        closed_port = other.address.rpartition(":")[2]
        async with balancer(tmp_path, config(server, health=f"{checks}\nport = {closed_port}")) as lb:
            async with await connect(lb.port) as stream:
                assert await read_all(stream) == b""
            assert (await lb.only_record())["reason"] == "no_server"
