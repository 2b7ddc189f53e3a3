"""The command line: output and exit code of each command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest
import trio

from tests.support.balancer import LB, RunningBalancer, ask, balancer, config, killed_at_end, run_lb
from tests.support.name_server import name_server
from tests.support.servers import Named, serving

pytestmark = pytest.mark.slow
A, B = Named("a", "127.0.0.1:9001"), Named("b", "127.0.0.1:9002")
WRONG = """
[listeners.web]
bind = "127.0.0.1"
pool = "wbe"
[pools.web]
stratgy = "weighted"
servers = [{ address = "127.0.0.1:1", weight = 1 }, { address = "127.0.0.1:2", weight = -3 }]
"""


async def check_rejected(path, *arguments):
    """Check that stderr has all errors of WRONG, one per line."""
    code, out, err = await run_lb(*arguments)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert f"{path}: pools.web.servers[1].weight: must be 0 or more, not -3 (line 7)" in lines
    for key in ("listeners.web.bind", "listeners.web.pool", "pools.web.stratgy"):
        (line,) = [line for line in lines if f": {key}: " in line]
        assert key == "listeners.web.bind" or "did you mean" in line
    assert len(lines) == 4


@pytest.mark.parametrize("command", [["check", "--config"], ["--config"], ["run", "--config"], ["run", "-c"]])
async def test_a_bad_configuration_tells_all_its_errors_and_exits_2(tmp_path, command):
    path = tmp_path / "lb.toml"
    path.write_text(WRONG)
    await check_rejected(path, *command, path)


@pytest.mark.usefixtures("real_command")
async def test_a_syntax_error_has_its_line_and_column(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text('[listeners.web]\nbind = "127.0.0.1:80\n')
    code, _, err = await run_lb("check", "--config", path)
    assert code == 2
    assert err.count("\n") == 1
    assert "line 2, column 21" in err


async def test_a_file_that_is_not_there_is_one_line(tmp_path):
    for command in ("check", "run"):
        code, _, err = await run_lb(command, "--config", tmp_path / "none.toml")
        assert (code, err) == (2, f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory\n")


@pytest.mark.usefixtures("real_command")
async def test_check_prints_what_would_run_and_opens_no_socket(tmp_path):
    path = tmp_path / "lb.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(config(A, (B, "weight = 2\nbackup = true"), bind=bind, health=""))
        code, out, err = await run_lb("check", "--strict", "--config", path)
    assert (code, err) == (0, "")
    for word in ("listener web", bind, "pool web", "127.0.0.1:9001", "127.0.0.1:9002", "weight 2", "backup"):
        assert word in out


async def test_check_warns_and_only_with_strict_fails(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(config(A, health="", top='[process]\nuser = "no-such-user"') + "[pools.old]\nservers = ['a:1']\n")
    code, out, err = await run_lb("check", "--config", path)
    assert (code, out.splitlines()[-1]) == (0, "  a:1  a:1")
    lines = path.read_text().splitlines()
    assert err.splitlines() == [
        f"{path}: pools.old: warning: no listener uses this pool (line {lines.index('[pools.old]') + 1})",
        f"{path}: process.user: warning: this machine has no user 'no-such-user' (line 2)",
    ]
    assert await run_lb("check", "--strict", "--config", path) == (2, out, err)


async def test_check_looks_names_up_if_told_so(tmp_path):
    path = tmp_path / "lb.toml"
    async with name_server() as dns:
        dns.has("web.internal", "A", "10.0.0.1")
        dns.fails("broken.internal", "A")
        dns.fails("broken.internal", "AAAA")
        path.write_text(f"""
[listeners.web]
bind = ["localhost:0", "nobody.invalid:0"]
[pools.web]
nameservers = ["{dns.address}"]
health = false
servers = [
    "localhost:80",
    "nobody.invalid:81",
    {{ dns = "web.internal", port = 80 }},
    {{ dns = "broken.internal", port = 80 }},
]
""")
        assert (await run_lb("check", path))[::2] == (0, "")
        assert dns.asked == []
        code, _, err = await run_lb("check", "--resolve", "--strict", path)
    assert code == 2
    unknown = "'nobody.invalid' does not resolve: name or service not known"
    broken = "; ".join(f"broken.internal {kind}: SERVFAIL from {dns.address}" for kind in ("A", "AAAA"))
    assert err.splitlines() == [
        f"{path}: listeners.web.bind: warning: {unknown} (line 3)",
        f"{path}: pools.web.servers[1]: warning: {unknown} (line 9)",
        f"{path}: pools.web.servers[3]: warning: 'broken.internal' does not resolve: {broken} (line 11)",
    ]


AUDIT = """
import sys
opened = []
sys.addaudithook(lambda event, _: opened.append(event) if event.startswith("socket.") else None)
from lb.cli import main
code = main(["check", "--strict", "lb.toml"])
sys.exit(f"{code} {opened}" if code or opened else 0)
"""


async def test_check_opens_no_socket_of_any_kind(tmp_path):
    (tmp_path / "lb.toml").write_text(
        "[admin]\nbind = 'localhost:9900'\n[listeners.web]\nbind = ['localhost:8080', 'unix:web.sock']\n"
        "servers = ['web.internal:80', { dns = 'web.internal', port = 80 }]\n[process]\nuser = 'root'\n"
    )
    done = await trio.run_process(
        [sys.executable, "-c", AUDIT], cwd=tmp_path, capture_stdout=True, capture_stderr=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.usefixtures("real_command")
async def test_diff_prints_what_a_reload_would_do(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(config(A, B))
    new.write_text(config((B, "weight = 3"), Named("c", "127.0.0.1:9003"), pool='connect_timeout = "1s"'))
    code, out, err = await run_lb("diff", old, new)
    assert (code, err) == (0, "")
    changes = [line.split()[:2] for line in out.splitlines()]
    for line in (["added", "web/c"], ["removed", "web/a"], ["reweighted", "web/b"], ["changed", "pool"]):
        assert line in changes
    assert (await run_lb("diff", old, old))[:2] == (0, "no changes\n")
    assert await run_lb("diff", "--exit-code", old, new) == (1, out, err)
    assert (await run_lb("diff", "--exit-code", old, old))[:2] == (0, "no changes\n")


async def test_diff_shows_routes_one_by_one(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    text = """
        pools.web.servers = ["10.0.0.1:80"]
        [listeners.www]
        mode = "http"
        bind = ":8080"
        routes = [
            { host = "a.com", pool = "web" },
            { path = "/old", redirect = "/new" },
        ]
    """
    old.write_text(text)
    new.write_text(text.replace('pool = "web" }', 'pool = "web", rate = "20/s" }').replace("/old", "/older"))
    lines = (
        "added       www route /older  path /older, redirect /new, status 308\n"
        "removed     www route /old    path /old, redirect /new, status 308\n"
        "changed     www route a.com/  rate 0 -> 20/s\n"
    )
    assert await run_lb("diff", old, new) == (0, lines, "")


async def test_diff_of_a_hash_pool_tells_how_many_keys_move(tmp_path):
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    old.write_text(config(A, B, pool='strategy = "consistent-hash"'))
    new.write_text(config(A, B, Named("c", "127.0.0.1:9003"), pool='strategy = "consistent-hash"'))
    code, out, _ = await run_lb("diff", old, new)
    assert code == 0
    (line,) = [line for line in out.splitlines() if "%" in line]
    share = float(line.rpartition("%")[0].split()[-1])
    assert 25 < share < 42, "a third server takes about a third of the keys"


async def test_diff_with_a_bad_file_tells_the_errors_of_both(tmp_path):
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(config(A))
    bad.write_text(WRONG)
    await check_rejected(bad, "diff", good, bad)
    code, _, err = await run_lb("diff", bad, tmp_path / "none.toml")
    assert (code, len(err.splitlines())) == (2, 5)


@pytest.mark.parametrize("command", [[], ["run"], ["check"], ["diff"], ["demo"]])
async def test_every_command_has_help(command):
    code, out, err = await run_lb(*command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(" ".join(["usage: lb", *command]))
    assert len(out.splitlines()) > 4


async def test_help_shows_the_manual():
    for words, about in (
        (["check"], "lb-check - validate"),
        (["ctl", "drain"], "lb-ctl - inspect"),
        ([], "lb - a load"),
    ):
        code, out, err = await run_lb("help", *words)
        assert (code, err) == (0, "")
        assert out.startswith(f"NAME\n\n       {about}")
    code, out, err = await run_lb("help", "rum")
    assert (code, out) == (2, "")
    assert err.startswith("lb: the manual has no page 'rum', did you mean 'run'?; it has lb, run, check, ")


@pytest.mark.usefixtures("real_command")
async def test_version():
    shown = (0, f"trio-lb {version('trio-lb')}\n", "")
    assert await run_lb("--version") == shown
    assert await run_lb("version") == shown


@pytest.mark.parametrize(
    "command", [["run"], ["check"], ["diff", "new.toml"], ["rehearse", "s.toml"], ["ctl", "status"]]
)
async def test_without_a_file_the_message_says_where_it_was_looked_for(tmp_path, command):
    code, out, err = await run_lb(*command, cwd=tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "there is no ./lb.toml and no /etc/trio-lb/lb.toml; use --config FILE or" in err


async def test_the_file_in_the_working_directory_is_found(tmp_path):
    (tmp_path / "lb.toml").write_text(config(A, health=""))
    for command in (["check"], ["check", "lb.toml"], ["check", "-c", "lb.toml"]):
        assert (await run_lb(*command, cwd=tmp_path))[::2] == (0, "")


async def with_stdin(text, *arguments):
    """Run a command with this text on its standard input."""
    done = await trio.run_process(
        [LB, *arguments], stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def test_the_file_may_come_on_standard_input():
    code, out, err = await with_stdin(config(A, health=""), "check", "-c", "-")
    assert (code, err) == (0, "")
    assert out.startswith("listener web: 127.0.0.1:0 -> pool web\n")
    code, out, err = await with_stdin(WRONG, "check", "-")
    assert (code, out) == (2, "")
    assert "<stdin>: pools.web.servers[1].weight: must be 0 or more, not -3 (line 7)\n" in err
    assert await with_stdin("", "run", "-c", "-") == (2, "", "<stdin>: is empty\n")


async def test_standard_input_cannot_be_reloaded(tmp_path):
    text = config(A, health="").encode()
    process = await trio.lowlevel.open_process([LB, "-c", "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    running = RunningBalancer(process, None)
    async with killed_at_end(process), trio.open_nursery() as nursery:
        nursery.start_soon(running.read_log)
        async with process.stdin:
            await process.stdin.send_all(text)
        await running.event("server.started")
        process.send_signal(signal.SIGHUP)
        rejected = await running.event("config.rejected")
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert rejected["errors"] == ["<stdin>: can be read only once; run with the name of a file to reload it"]


@pytest.mark.parametrize(
    "arguments",
    [[], ["nonsense"], ["diff"], ["check", "a.toml", "b.toml"], ["run", "--prot", "1"]],
)
async def test_bad_usage_exits_2_and_shows_the_usage(arguments):
    code, out, err = await run_lb(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: lb")
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["--config"], ["run", "--config"]])
async def test_a_port_in_use_is_one_line_and_exit_1(tmp_path, command):
    path = tmp_path / "lb.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        path.write_text(config(A, bind=["127.0.0.1:0", bind]))
        code, out, err = await run_lb(*command, path)
    assert (code, out) == (1, "")
    assert err == f"lb: cannot listen on {bind}: address already in use\n"


@pytest.mark.usefixtures("real_command")
async def test_run_says_who_it_is_and_where_it_listens(tmp_path):
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        assert await lb.stop() == 0
    assert [event["event"] for event in lb.events] == [
        "listener.started",
        "server.started",
        "server.stopping",
        "listener.stopped",
        "server.stopped",
    ]
    started = lb.of("server.started")[0]
    assert (started["pid"], started["version"]) == (lb.process.pid, version("trio-lb"))
    assert started["config"] == str(lb.config_file)
    for event in lb.events:
        assert {"event", "level", "timestamp"} <= event.keys()
        assert event["timestamp"].endswith("Z")


async def test_a_port_can_be_taken_again_at_once_after_a_stop(tmp_path):
    """Connections that the balancer closed first occupy the port for a minute (TIME_WAIT)."""
    async with serving() as server, balancer(tmp_path, config(server)) as lb:
        port = lb.port
        assert await ask(port, b"close") == b""
        assert await lb.stop() == 0
        async with balancer(tmp_path, config(server, bind=f"127.0.0.1:{port}")) as again:
            assert again.port == port
