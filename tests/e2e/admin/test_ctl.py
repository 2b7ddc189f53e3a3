"""``lb ctl`` against the real command: its output, its effects, its errors."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from lb.console import text as console_text
from tests.support.balancer import PATIENCE, ask, balancer, config, connect, killed_at_end, request, run_lb, start_lb
from tests.support.operating import ADMIN
from tests.support.servers import Named, backends, free_port, serving

pytestmark = pytest.mark.slow
TOKEN = "s3cret \u00e4 token"
WITH_TOKEN = f'{ADMIN}\ntoken = "{TOKEN}"'


class Ctl:
    """Runs ``lb ctl`` with the address of a balancer."""

    def __init__(self, address):
        self.address = address

    async def __call__(self, *words, code=0):
        """Run a command and return its stdout, or its stderr if it is expected to fail."""
        exit_code, out, err = await run_lb("ctl", "--admin", self.address, *words)
        assert exit_code == code, (out, err)
        assert (out if code else err) == ""
        return err if code else out

    async def json(self, *words):
        return json.loads(await self(*words, "--json"))

    async def rows(self, *words):
        """The rows of a table without its head, split at blanks."""
        return [line.split() for line in (await self(*words)).splitlines()[1:]]


@asynccontextmanager
async def controlled(tmp_path, text):
    async with balancer(tmp_path, text) as lb:
        yield lb, Ctl((await lb.event("admin.started"))["bind"])


# Queries


@pytest.mark.usefixtures("worker_count")
async def test_operators_see_and_steer_servers(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        controlled(tmp_path, config(a, b, top=ADMIN)) as (lb, ctl),
    ):
        assert await ctl("drain", "web/a") == "web/a: draining, weight 0\n"
        assert [await ask(lb.port) for _ in range(4)] == [b"b\n"] * 4
        (row,) = [row for row in await ctl.rows("servers") if row[0] == "web/a"]
        assert row[1:3] == [a.address, "draining"]
        answer = await ctl.json("enable", "web/a")
        assert (answer["override"]["drained"], answer["weight"]) == (False, 1)
        assert {await ask(lb.port) for _ in range(8)} == {b"a\n", b"b\n"}
        assert await ctl("weight", "web/b", "7") == "web/b: up, weight 7: 87.5% of new connections\n"
        assert [row[4] for row in await ctl.rows("servers", "web")] == ["1", "7*"]
        assert (await ctl.json("weight", "web/b", "configured"))["weight"] == 1
        status = await ctl.json("status")
        assert status["pools"]["web"]["available"] == 2
        shown = await ctl("status")
        for word in (f"127.0.0.1:{lb.port}", "weighted", "2 of 2", "eof"):
            assert word in shown
        assert max(map(len, shown.splitlines())) < 120, "padded to the width that a pipe has not"


@pytest.mark.usefixtures("real_command")
async def test_a_weight_that_the_strategy_ignores_says_so(tmp_path):
    async with serving(name="a") as a, serving(name="b") as b:
        text = config(a, b, top=ADMIN, pool='strategy = "round-robin"')
        async with controlled(tmp_path, text) as (_, ctl):
            assert "ignores" not in await ctl("status")
            said = await ctl("weight", "web/b", "7")
            assert said == "web/b: up, weight 7: 50.0% of new connections; round-robin ignores weights\n"
            assert "round-robin, ignores weights" in await ctl("status")
            assert (await ctl.json("status"))["pools"]["web"]["ignored"] == ["weight"]


async def test_a_server_that_is_down_says_why(tmp_path):
    down = Named("b", f"127.0.0.1:{free_port()}")
    async with serving(name="a") as a, controlled(tmp_path, config(a, down, top=ADMIN)) as (lb, ctl):
        await lb.event("backend.ejected", server="b")
        (line,) = [line for line in (await ctl("servers")).splitlines() if line.startswith("web/b")]
        assert "down" in line
        assert "connection refused" in line
        found = (await ctl.json("servers", "web"))["servers"]
        assert [(each["pool"], each["server"], each["state"]) for each in found][1] == ("web", "b", "down")


async def test_connections_are_listed_filtered_and_closed(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        controlled(tmp_path, config(a, b, top=ADMIN)) as (lb, ctl),
    ):
        streams = [await connect(lb.port) for _ in range(4)]
        names = [(await request(stream, b"name")).decode() for stream in streams]
        ours = "{}:{}".format(*streams[0].socket.getsockname())
        ((number, client, *row),) = await ctl.rows("connections", "--client", ours)
        del row[3]  # its duration
        assert (client, row) == (ours, ["web", f"web/{names[0]}", "open", "5", "B", "2", "B"])
        assert len(await ctl.rows("connections")) == 4
        assert len((await ctl.json("connections", "--limit", "3"))["connections"]) == 3
        of_a = await ctl.json("connections", "--listener", "web", "--pool", "web", "--server", "a")
        assert len(of_a["connections"]) == names.count("a")
        assert await ctl("close", number) == "1 closed\n"
        assert await ctl("close", number, code=1) == "lb: no such open connection\n"
        assert await ctl.json("close", f"web/{names[1]}") == {"closed": names[1:].count(names[1])}
        with pytest.raises(trio.BrokenResourceError):
            await streams[1].receive_some()
        for stream in streams:
            await stream.aclose()


async def test_events_come_until_interrupted(tmp_path):
    async with backends("a") as (a,), controlled(tmp_path, config(a, top=ADMIN)) as (lb, ctl):
        await ctl("drain", "web/a")
        async with watching(ctl, "--after", "0", "--json") as (process, next_line):
            while (event := json.loads(await next_line()))["event"] != "backend.overridden":
                pass
            assert (event["server"], event["drained"]) == ("a", True)
            await a.kill()
            later = json.loads(await next_line())
            assert (later["event"], later["number"]) == ("backend.ejected", event["number"] + 1)
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 0
        async with watching(ctl, "--after", str(event["number"])) as (process, next_line):
            assert "backend.ejected pool=web server=a" in (await next_line()).decode()
            await lb.stop()
            assert await process.wait() == 1


@asynccontextmanager
async def watching(ctl, *words):
    """Run ``lb ctl events``; yield the process and a function that returns its next line."""
    process = await start_lb("ctl", "--admin", ctl.address, "events", *words, stdout=subprocess.PIPE)
    rest = b""

    async def next_line():
        nonlocal rest
        while b"\n" not in rest:
            chunk = await process.stdout.receive_some()
            assert chunk, "the events have ended"
            rest += chunk
        line, _, rest = rest.partition(b"\n")
        return line

    async with process.stdout, killed_at_end(process):
        with trio.fail_after(PATIENCE):
            yield process, next_line


async def test_a_reload_says_first_what_it_would_change(tmp_path):
    async with (
        serving(name="a") as a,
        serving(name="b") as b,
        controlled(tmp_path, config(a, top=ADMIN)) as (lb, ctl),
    ):
        lb.config_file.write_text(config(a, b, top=ADMIN))
        assert "added" in await ctl("reload", "--dry-run")
        assert await ask(lb.port) == b"a\n"
        assert await ctl("reload") == "applied\n"
        assert {await ask(lb.port) for _ in range(4)} == {b"a\n", b"b\n"}
        lb.config_file.write_text(config(a, top=ADMIN) + "\nnonsense = 1\n")
        for words in (("reload",), ("reload", "--dry-run")):
            assert "nonsense" in await ctl(*words, code=2)


# Endpoint and token


async def test_address_and_token_come_from_the_configuration(tmp_path):
    admin = f'[admin]\nbind = "0.0.0.0:{free_port()}"\ntoken = "{TOKEN}"'
    async with serving(name="a") as a, balancer(tmp_path, config(a, top=admin)) as lb:
        lb.config_file.write_text(f"{admin}\n[listeners.web]\nnonsense = 1")
        for words in (("ctl", "-c", lb.config_file, "servers"), ("ctl", "servers", "--config", lb.config_file)):
            code, out, err = await run_lb(*words)
            assert (code, err) == (0, "")
            assert "web/a" in out


async def test_a_unix_socket_is_asked_like_any_other(tmp_path):
    admin = f'[admin]\nbind = "unix:{tmp_path}/admin.sock"'
    async with serving(name="a") as a, controlled(tmp_path, config(a, top=admin)) as (_, ctl):
        assert ctl.address.startswith("unix:")
        assert (await ctl.json("status"))["pools"]["web"]["servers"].keys() == {"a"}


async def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    file = tmp_path / "token"
    async with serving(name="a") as a, controlled(tmp_path, config(a, top=WITH_TOKEN)) as (_, ctl):
        assert await ctl("status", code=1) == f"lb: {ctl.address}: a token is required\n"
        monkeypatch.setenv("LB_TOKEN", "wrong")
        for words in (["status"], ["events"], ["drain", "web/a"]):
            assert await ctl(*words, code=1) == f"lb: {ctl.address}: wrong token\n"
        file.write_text(f"{TOKEN}\n")
        assert await ctl.json("status", "--token-file", str(file))
        monkeypatch.setenv("LB_TOKEN", TOKEN)
        assert await ctl.json("status")


# Errors


async def test_what_does_not_exist_is_one_line(tmp_path):
    async with serving(name="a") as a, controlled(tmp_path, config(a, top=ADMIN)) as (_, ctl):
        assert await ctl("drain", "web/x", code=1) == "lb: the pool 'web' has no server 'x'\n"
        assert await ctl("close", "x/a/b", code=1) == "lb: there is no pool 'x'\n"
        assert await ctl("servers", "x", code=1) == "lb: there is no pool 'x'\n"


@pytest.mark.parametrize("action", ["status", "events"])
async def test_nobody_who_listens_is_one_line(tmp_path, action):
    for address, why in ((f"127.0.0.1:{free_port()}", "connection refused"), (f"unix:{tmp_path}/x", "no such socket")):
        error = await Ctl(address)(action, code=1)
        assert error == f"lb: cannot reach the admin endpoint at {address}: {why}\n"


@contextmanager
def stranger(answer):
    """The address of a server that sends this response to one client."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            client, _ = listener.accept()
            with client:
                client.recv(65_536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join(PATIENCE)


@pytest.mark.parametrize("action", ["status", "events"])
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
async def test_a_stranger_who_answers_is_one_line(action, answer):
    with stranger(answer) as address:
        assert await Ctl(address)(action, code=1) == f"lb: {address}: not an admin endpoint of lb\n"


async def test_an_endpoint_that_ends_without_an_answer_is_one_line():
    with stranger(b"") as address:
        assert await Ctl(address)("status", code=1) == f"lb: {address}: the connection was closed without an answer\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["drain", "--admin", "127.0.0.1:9"],
        ["drain", "--admin", "127.0.0.1:9", "a"],
        ["weight", "--admin", "127.0.0.1:9", "web/a", "65536"],
        ["weight", "--admin", "127.0.0.1:9", "web/a", "-1"],
        ["close", "--admin", "127.0.0.1:9", "x"],
        ["completion", "ksh"],
    ],
)
async def test_bad_usage_exits_2_and_shows_the_usage(words):
    code, out, err = await run_lb("ctl", *words)
    assert (code, out) == (2, "")
    assert err.startswith("usage: lb ctl")
    assert "Traceback" not in err


async def test_whom_to_ask_has_to_be_said(tmp_path):
    without, any_port, empty = tmp_path / "without.toml", tmp_path / "any_port.toml", tmp_path / "empty"
    without.write_text(config(Named("a", "127.0.0.1:9")))
    any_port.write_text(config(Named("a", "127.0.0.1:9"), top=ADMIN))
    empty.write_text("\n")
    for words, why in (
        ((), "no admin endpoint given, and there is no ./lb.toml and no /etc/trio-lb/lb.toml; use"),
        (("--admin", "nonsense"), "--admin: must be 'host:port'"),
        (("--admin", "127.0.0.1:0"), "--admin: the port must not be 0"),
        (("-c", without), "has no [admin]"),
        (("-c", any_port), "has port 0 in [admin]"),
        (("-c", tmp_path / "none.toml"), "none.toml: cannot be read"),
        (("--admin", "127.0.0.1:9", "--token-file", tmp_path / "none"), "none: cannot be read"),
        (("--admin", "127.0.0.1:9", "--token-file", empty), "empty: contains no token"),
    ):
        code, out, err = await run_lb("ctl", "status", *words)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert why in err


# Text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
        (10**16, "10.0 PB"),
    ],
)
def test_sizes(count, text):
    assert console_text.size(count) == text


def test_nothing_that_a_server_says_steers_the_terminal():
    assert console_text.printable("HTTP 500 \x1b[2J\u202e\n") == "HTTP 500 \\x1b[2J\\u202e\\n"
