"""The admin endpoint of the real command, with one and with two workers."""

from __future__ import annotations

import json
import socket
import stat
from unittest.mock import ANY

import httpx
import pytest
import trio

from lb.console.text import seconds_between
from tests.support.balancer import ask, config, connect, read_all, request, run_lb
from tests.support.operating import ADMIN, client_of, operated
from tests.support.servers import Named, backends, free_port, serving

pytestmark = pytest.mark.slow
one_process_or_two = pytest.mark.usefixtures("worker_count")


# Queries


@one_process_or_two
@pytest.mark.usefixtures("real_command")
async def test_the_status_says_what_listens_and_what_each_server_has_had(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        await operator.until(lambda: operator.server("a"), lambda a: a["last_check"])
        async with await connect(lb.port) as stream:
            await request(stream, b"name")
            status = await operator.status()
            assert status["listeners"]["web"] == {
                "bind": [f"127.0.0.1:{lb.port}"],
                "pool": "web",
                "active": 1,
                "total": 1,
            }
            server = status["pools"]["web"]["servers"]["a"]
            assert (server["address"], server["state"], server["weight"]) == (a.address, "up", 1)
            assert (server["active"], server["total"], server["failed_connects"]) == (1, 1, 0)
            assert server["last_check"]["ok"] is True
            assert server["history"][-1] == 1
        await lb.event("connection.closed")
        status = await operator.status()
        assert status["listeners"]["web"]["active"] == 0
        assert status["pools"]["web"]["servers"]["a"]["active"] == 0
        assert status["bytes_in"] == len("name\n")


@one_process_or_two
async def test_the_status_says_why_a_server_is_down_and_since_when(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with serving(name="a") as a, operated(tmp_path, config(a, down, top=ADMIN)) as (lb, operator):
        await lb.event("backend.ejected", server="b")
        server = await operator.server("b")
        assert server["state"] == "down"
        assert "refused" in server["reason"]
        assert server["history"][-1] == 0
        assert server["last_check"]["ok"] is False
        assert server["last_change"] < (await operator.status())["timestamp"]


@one_process_or_two
async def test_ready_is_a_balancer_whose_pools_have_a_server(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        assert (await operator.client.get("/healthz")).text == "ok\n"
        assert (await operator.client.get("/readyz")).status_code == 200
        await a.kill()
        await lb.event("backend.ejected")
        answer = await operator.client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "no available server: web\n")
        assert (await operator.client.get("/healthz")).status_code == 200


@one_process_or_two
async def test_metrics_count_what_the_log_says(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with serving(name="a") as a:
        text = config(down, a, top=ADMIN, pool="passive.failures = 0", health='interval = "60s"\nfall = 9')
        async with operated(tmp_path, text) as (lb, operator):
            for _ in range(6):
                assert await ask(lb.port) == b"a\n"
            await lb.event("connection.closed", count=6)
            records = lb.of("connection.closed")
            metrics = await operator.metrics()
            assert metrics['lb_connections_total{listener="web",pool="web",reason="eof",server="a"}'] == 6
            assert metrics['lb_bytes_total{direction="in"}'] == sum(record["bytes_in"] for record in records)
            assert metrics['lb_bytes_total{direction="out"}'] == sum(record["bytes_out"] for record in records)
            assert metrics['lb_connect_seconds_count{pool="web"}'] == 6
            assert metrics['lb_retries_total{pool="web"}'] == sum(len(record["attempts"]) for record in records) > 0
            assert metrics['lb_failed_connects_total{pool="web",server="b"}'] == metrics['lb_retries_total{pool="web"}']
            assert metrics['lb_server_up{pool="web",server="a"}'] == 1
            assert metrics['lb_connections_active{listener="web"}'] == 0
            assert metrics['lb_reloads_total{result="applied"}'] == 0
            await lb.reload("nonsense")
            assert (await operator.metrics())['lb_reloads_total{result="rejected"}'] == 1


async def test_metrics_of_servers_can_be_left_out_and_come_back_with_a_reload(tmp_path):
    async with backends("a") as servers:
        text = config(*servers, top=f"{ADMIN}\nserver_metrics = false")
        async with operated(tmp_path, text) as (lb, operator):
            await ask(lb.port)
            await lb.event("connection.closed")
            metrics = await operator.metrics()
            assert metrics['lb_connections_total{listener="web",pool="web",reason="eof",server=""}'] == 1
            assert metrics['lb_pool_servers{pool="web",state="up"}'] == 1
            assert not [name for name in metrics if 'server="a"' in name]
            await lb.reload(text.replace("server_metrics = false", ""))
            assert (await operator.metrics())['lb_server_up{pool="web",server="a"}'] == 1


@one_process_or_two
async def test_metrics_count_checks(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with serving(name="a") as a, operated(tmp_path, config(a, down, top=ADMIN)) as (lb, operator):
        await lb.event("backend.ejected", server="b")
        results = ['lb_checks_total{result="pass"}', 'lb_checks_total{result="fail"}']
        await operator.until(operator.metrics, lambda metrics: all(metrics[result] >= 2 for result in results))
        metrics = await operator.metrics()
        assert metrics['lb_server_up{pool="web",server="b"}'] == 0
        assert metrics['lb_server_state{pool="web",server="b",state="down"}'] == 1


@one_process_or_two
async def test_live_connections_are_listed_and_can_be_filtered(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        operated(tmp_path, config(a, b, top=ADMIN)) as (lb, operator),
    ):
        streams = [await connect(lb.port) for _ in range(6)]
        names = [(await request(stream, b"name")).decode() for stream in streams]
        listed = (await operator.get("/api/v1/connections"))["connections"]
        assert [each["id"] for each in listed] == sorted(each["id"] for each in listed)
        assert sorted(each["server"] for each in listed) == sorted(names)
        assert {each["state"] for each in listed} == {"open"}
        ours = "{}:{}".format(*streams[0].socket.getsockname())
        (one,) = (await operator.get("/api/v1/connections", client=ours))["connections"]
        assert (one["client"], one["server"], one["bytes_in"], one["bytes_out"]) == (ours, names[0], 5, 2)
        of_a = (await operator.get("/api/v1/connections", server="a", pool="web", listener="web"))["connections"]
        assert len(of_a) == names.count("a")
        assert len((await operator.get("/api/v1/connections", limit=2))["connections"]) == 2
        assert (await operator.client.get("/api/v1/connections?servr=a")).status_code == 400
        assert (await operator.client.get("/api/v1/connections?limit=-1")).status_code == 400
        for stream in streams:
            await stream.aclose()


@one_process_or_two
async def test_events_come_as_they_happen_and_can_be_taken_up_again(tmp_path):
    async with backends("a") as (a,), operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        async with operator.event_stream() as next_event:
            await operator.do("a", "drain")
            number, name, data = await next_event()
            assert (name, data["server"], data["drained"]) == ("backend.overridden", "a", True)
        await a.kill()
        await lb.event("backend.ejected")
        async with operator.event_stream(last_event_id=number) as next_event:
            assert await next_event() == (number + 1, "backend.ejected", ANY)


# Operations


@one_process_or_two
async def test_a_drained_server_keeps_its_connections_and_gets_no_new_ones_until_it_is_enabled(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        operated(tmp_path, config(a, b, top=ADMIN)) as (lb, operator),
    ):
        streams = [await connect(lb.port) for _ in range(4)]
        names = [await request(stream, b"name") for stream in streams]
        assert b"a" in names
        up_since = (await operator.server("a"))["last_change"]
        answer = await operator.do("a", "drain")
        assert (answer["state"], answer["weight"], answer["override"]["drained"]) == ("draining", 0, True)
        drained_since = (await operator.server("a"))["last_change"]
        assert drained_since > up_since
        assert [await ask(lb.port) for _ in range(6)] == [b"b\n"] * 6
        for stream, name in zip(streams, names, strict=True):
            assert await request(stream, b"name") == name
            await stream.aclose()
        assert (await operator.do("a", "enable"))["state"] == "up"
        assert {await ask(lb.port) for _ in range(8)} == {b"a\n", b"b\n"}
        server = await operator.server("a")
        assert server["override"] is None
        assert server["last_change"] > drained_since


@one_process_or_two
async def test_a_weight_holds_from_the_next_connection_on(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b:
        text = config(a, b, top=ADMIN, pool='strategy = "weighted"')
        async with operated(tmp_path, text) as (lb, operator):
            await operator.do("a", "weight", {"weight": 0})
            assert {await ask(lb.port) for _ in range(6)} == {b"b\n"}
            await operator.do("a", "weight", {"weight": 9})
            names = [await ask(lb.port) for _ in range(40)]
            assert names.count(b"a\n") >= 34
            assert (await operator.do("a", "weight", {"weight": None}))["weight"] == 1


@one_process_or_two
async def test_what_was_said_of_a_server_outlives_a_reload_that_does_not_contradict_it(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        operated(tmp_path, config(a, b, top=ADMIN)) as (lb, operator),
    ):
        await operator.do("a", "drain")
        await lb.reload(config(a, b, top=ADMIN, listener='idle_timeout = "99s"'))
        assert (await operator.server("a"))["override"] == {"drained": True, "weight": None}
        assert {await ask(lb.port) for _ in range(4)} == {b"b\n"}
        await lb.reload(config((a, "weight = 2"), b, top=ADMIN))
        assert (await operator.server("a"))["override"] is None
        assert {await ask(lb.port) for _ in range(6)} == {b"a\n", b"b\n"}
        await operator.do("a", "drain")
        await lb.reload(config(b, top=ADMIN))
        await lb.reload(config(a, b, top=ADMIN))
        assert (await operator.server("a"))["state"] in ("up", "checking")


@one_process_or_two
async def test_what_operators_said_holds_over_an_upgrade_that_does_not_contradict_it(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        serving(name="c") as c,
        operated(tmp_path, config(a, b, c, top=ADMIN)) as (lb, operator),
    ):
        await operator.do("a", "drain")
        await operator.do("b", "weight", {"weight": 7})
        await operator.do("c", "drain")
        before = await operator.server("a")
        lb.config_file.write_text(config(a, b, (c, "weight = 2"), top=ADMIN))
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.started", count=2)
        assert {await ask(lb.port) for _ in range(8)} == {b"b\n", b"c\n"}
        after = await operator.server("a")
        assert (after["state"], after["override"]) == ("draining", {"drained": True, "weight": None})
        assert seconds_between(before["last_change"], after["last_change"]) == pytest.approx(0, abs=0.1)
        assert (await operator.server("b"))["weight"] == 7
        assert (await operator.server("c"))["override"] is None
        assert (await operator.do("a", "enable"))["state"] == "up"


@one_process_or_two
async def test_the_connections_of_a_server_can_be_closed_and_a_single_one(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        operated(tmp_path, config(a, b, top=ADMIN)) as (lb, operator),
    ):
        streams = [await connect(lb.port) for _ in range(6)]
        names = [(await request(stream, b"name")).decode() for stream in streams]
        ours = "{}:{}".format(*streams[0].socket.getsockname())
        (one,) = (await operator.get("/api/v1/connections", client=ours))["connections"]
        assert await operator.post(f"/api/v1/connections/{one['id']}/close") == {"closed": 1}
        await operator.post(f"/api/v1/connections/{one['id']}/close", status=404)
        assert await operator.do("a", "close") == {"closed": names[1:].count("a")}
        for stream, name in list(zip(streams, names, strict=True))[1:]:
            if name == "a":
                with pytest.raises(trio.BrokenResourceError):
                    await stream.receive_some()
            else:
                assert await request(stream, b"name") == b"b"
        for record in lb.of("connection.closed"):
            assert (record["ended_by"], record["reason"]) == ("lb", "stopped")
        for stream in streams:
            await stream.aclose()


@one_process_or_two
async def test_a_reload_by_the_api_is_that_of_sighup(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        operated(tmp_path, config(a, top=ADMIN)) as (lb, operator),
    ):
        lb.config_file.write_text(config(b, top=ADMIN))
        assert await operator.post("/api/v1/reload") == {"applied": True, "errors": []}
        assert await ask(lb.port) == b"b\n"
        lb.config_file.write_text(config(b, top=ADMIN) + "\nnonsense = 1\n")
        answer = await operator.post("/api/v1/reload", status=422)
        assert answer["applied"] is False
        assert "nonsense" in answer["errors"][0]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/v1/pools/web/servers/x/drain", None, 404),
        ("/api/v1/pools/x/servers/a/drain", None, 404),
        ("/api/v1/pools/web/servers/a/weight", {}, 422),
        ("/api/v1/pools/web/servers/a/weight", {"weight": -1}, 422),
        ("/api/v1/pools/web/servers/a/weight", {"weight": True}, 422),
        ("/api/v1/pools/web/servers/a/weight", {"weight": 1, "more": 1}, 422),
        ("/api/v1/pools/web/servers/a/weight", [], 422),
        ("/api/v1/connections/99/close", None, 404),
        (f"/api/v1/connections/{'9' * 5000}/close", None, 404),
        ("/api/v1/nothing", None, 404),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(tmp_path, path, body, status):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (_, operator):
        assert (await operator.post(path, body, status=status))["error"]
        assert (await operator.server("a"))["override"] is None


async def test_get_changes_nothing(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        lb.config_file.write_text(config(a, (Named("b", "127.0.0.1:9"), "backup = true"), top=ADMIN))
        assert "web/b" in str((await operator.get("/api/v1/reload"))["changes"])
        assert "b" not in (await operator.status())["pools"]["web"]["servers"]
        for what in ("drain", "enable", "weight", "close"):
            assert (await operator.client.get(f"/api/v1/pools/web/servers/a/{what}")).status_code == 405


@pytest.mark.parametrize("body", [b"x" * 70_000, b"[" * 60_000, b'{"weight": 1' + b"0" * 5_000 + b"}", b"\xff"])
async def test_a_body_of_nonsense_is_refused(tmp_path, body):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (_, operator):
        answer = await operator.client.post("/api/v1/pools/web/servers/a/weight", content=body)
        assert answer.status_code in (413, 422)


# Address and authorization


async def test_nobody_without_the_token_sees_anything_but_that_it_lives(tmp_path):
    text = '[admin]\nbind = "127.0.0.1:0"\ntoken = "s3cret-token"'
    async with serving(name="a") as a, operated(tmp_path, config(a, top=text), token="s3cret-token") as (lb, operator):
        await operator.status()
        async with client_of(lb, token="wrong") as stranger:
            for path in ("/", "/api/v1/status", "/metrics", "/api/v1/events", "/readyz", "/nothing"):
                assert (await stranger.get(path)).status_code == 401
            assert (await stranger.post("/api/v1/reload")).status_code == 401
            assert (await stranger.get("/healthz")).status_code == 200
        assert "s3cret-token" not in json.dumps(lb.events)


async def test_an_endpoint_that_others_can_reach_needs_a_token(tmp_path):
    file = tmp_path / "lb.toml"
    file.write_text('[admin]\nbind = "0.0.0.0:9900"\n')
    code, _, errors = await run_lb("check", "-c", file)
    assert code == 2
    assert "admin.bind: '0.0.0.0:9900' can be reached from elsewhere" in errors


async def test_the_command_line_never_shows_the_token(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    for file, token in ((old, "first-s3cret"), (new, "other-s3cret")):
        text = config(Named("a", "127.0.0.1:9"), top=f'[admin]\nbind = "127.0.0.1:9900"\ntoken = "{token}"')
        file.write_text(text)
    code, shown, errors = await run_lb("diff", old, new)
    assert (code, errors) == (0, "")
    assert "token" in shown
    checked = await run_lb("check", "-c", old)
    assert checked[0] == 0
    assert "s3cret" not in str([shown, checked])


async def test_a_browser_under_a_strangers_name_learns_nothing(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (_, operator):
        assert (await operator.client.get("/api/v1/status", headers={"Host": "evil.example"})).status_code == 421
        answer = await operator.client.post("/api/v1/reload", headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403
        for path in ("/metrics", "/readyz", "/api/v1/status"):
            for header in ("Origin", "Referer"):
                answer = await operator.client.get(path, headers={header: "http://evil.example"})
                assert answer.status_code == 403


async def test_a_unix_socket_is_its_owners_alone_and_goes_with_the_balancer(tmp_path):
    path = tmp_path / "admin.sock"
    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=f'[admin]\nbind = "unix:{path}"')) as (lb, operator),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert (await operator.server("a"))["address"] == a.address
        assert await lb.stop() == 0
        assert not path.exists()


async def test_an_address_that_is_taken_ends_the_start_with_a_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "lb.toml"
        file.write_text(
            f'[admin]\nbind = "127.0.0.1:{port}"\n[listeners.web]\nbind = "127.0.0.1:0"\nservers = ["127.0.0.1:9"]\n'
        )
        code, _, errors = await run_lb("--config", file)
        assert code == 1
        assert f"127.0.0.1:{port}" in errors
        assert "Traceback" not in errors


@one_process_or_two
async def test_a_reload_moves_it_and_one_that_cannot_leaves_it(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            verdict = await lb.reload(config(a, top=f'[admin]\nbind = "127.0.0.1:{port}"'))
        assert verdict["event"] == "config.rejected"
        await operator.status()
        path = tmp_path / "admin.sock"
        await lb.reload(config(a, top=f'[admin]\nbind = "unix:{path}"'))
        await lb.event("admin.started", count=2)
        async with httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://localhost"
        ) as client:
            assert (await client.get("/healthz")).status_code == 200
        await lb.reload(config(a))
        assert not path.exists()
        assert await ask(lb.port) == b"a\n"


async def test_a_client_that_says_nothing_or_reads_nothing_holds_up_nobody(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        port = int(lb.of("admin.started")[0]["bind"].rpartition(":")[2])
        silent = [await connect(port) for _ in range(20)]
        for stream in silent[10:]:
            await stream.send_all(b"GET /api/v1/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        await operator.status()
        assert await ask(lb.port) == b"a\n"
        assert await lb.stop() == 0
        for stream in silent:
            await stream.aclose()


async def test_a_stop_ends_event_streams(tmp_path):
    async with (
        serving(name="a") as a,
        operated(tmp_path, config(a, top=ADMIN)) as (lb, operator),
        operator.client.stream("GET", "/api/v1/events") as answer,
    ):
        assert answer.status_code == 200
        assert await lb.stop() == 0


async def test_a_pipe_of_garbage_is_told_so(tmp_path):
    async with serving(name="a") as a, operated(tmp_path, config(a, top=ADMIN)) as (lb, operator):
        port = int(lb.of("admin.started")[0]["bind"].rpartition(":")[2])
        async with await connect(port) as stream:
            await stream.send_all(b"\x16\x03\x01nonsense\r\n\r\n")
            assert b"400" in await read_all(stream)
        await operator.status()
