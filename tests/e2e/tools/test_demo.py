"""``lb demo``: the real command, with and without a terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import termios
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import trio

from lb.tools.demo import demo, load
from lb.tools.demo.kinds import DEMOS
from tests.support.balancer import LB, PATIENCE
from tests.support.browser import NEEDS_CHROMIUM
from tests.support.terminals import on_pipe, on_terminal

HTTP_SERVERS = DEMOS["http"].servers


def running(*options):
    """Run ``lb demo`` with a pipe as output."""
    return on_pipe("demo", *options)


def running_on_terminal(*options):
    """Run ``lb demo`` on a pseudoterminal; yields it and the terminal's descriptor."""
    return on_terminal("demo", *options)


async def introduction(running_demo, names=("s1", "s2", "s3")):
    """Return name -> pid of the servers, as printed."""
    pids = {}
    for name in names:
        pids[name] = int((await running_demo.until(rf"Server {name} listens on 127.0.0.1:\d+, pid (\d+)"))[1])
    return pids


@asynccontextmanager
async def none_outlives(pids):
    """Check that these running processes exit after the block."""
    watched = [os.pidfd_open(pid) for pid in pids]
    try:
        yield
        with trio.fail_after(PATIENCE):
            for descriptor in watched:
                await trio.lowlevel.wait_readable(descriptor)
    finally:
        for descriptor in watched:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            os.close(descriptor)


def sessions(text):
    """Return (ok, failed, cut) of the last count in the text."""
    return tuple(map(int, re.findall(r"sessions: (\d+) ok, (\d+) failed, (\d+) cut by a kill", text)[-1]))


# Without a terminal


@pytest.mark.slow
async def test_it_kills_and_revives_a_server_and_no_session_fails():
    async with running("--seconds", "6") as running_demo:
        pids = await introduction(running_demo)
        async with none_outlives(pids.values()):
            await running_demo.until(rf"kill -9 {pids['s1']}")
            await running_demo.until("s1 is ejected: ")
            await running_demo.until("s1 is restarted")
            await running_demo.until("s1 is restored")
            text, code = await running_demo.rest()
    ok, failed, cut = sessions(text)
    assert code == 0, text
    assert ok > 0, "as many as the machine makes"
    assert failed == 0
    assert cut <= load.SHORT_CLIENTS + load.LONG_CLIENTS
    assert text.rstrip().endswith("cut by a kill")
    assert "connection.closed" not in running_demo.text


@pytest.mark.slow
async def test_the_printed_commands_kill_revive_and_end():
    async with running() as running_demo:
        pids = await introduction(running_demo)
        kill, revive, end = [
            (await running_demo.until(rf"\n +{command} +(\d+) +#"))[1] for command in ("kill -9", "kill -USR1", "kill")
        ]
        assert (int(kill), int(revive), int(end)) == (pids["s1"], running_demo.process.pid, running_demo.process.pid)
        os.kill(pids["s2"], signal.SIGKILL)
        await running_demo.until("s2 is ejected: ")
        os.kill(running_demo.process.pid, signal.SIGUSR1)
        revived = int((await running_demo.until(r"s2 is restarted, pid (\d+)"))[1])
        await running_demo.until("s2 is restored")
        async with none_outlives([pids["s1"], revived, pids["s3"]]):
            running_demo.process.terminate()
            text, code = await running_demo.rest()
    assert code == 0, text
    assert sessions(text)[1] == 0


@pytest.mark.slow
async def test_its_servers_speak_http():
    async with running() as running_demo:
        url = (await running_demo.until(r"\n +curl (http://127.0.0.1:\d+/) "))[1]
        done = await trio.run_process(["curl", "--silent", "--fail", url, f"{url}a"], capture_stdout=True)
        assert re.fullmatch(rb"This is s([123])\. You asked for /\.\nThis is s\1\. You asked for /a\.\n", done.stdout)
        async with httpx.AsyncClient() as browser:
            assert (await browser.head(url)).headers["content-type"] == "text/plain; charset=utf-8"
            assert (await browser.post(url, content=b"a body")).status_code == 200
        running_demo.process.terminate()
        _, code = await running_demo.rest()
    assert code == 0


@pytest.mark.slow
async def test_ctrl_c_ends_it_with_130():
    async with running() as running_demo:
        pids = await introduction(running_demo)
        async with none_outlives(pids.values()):
            running_demo.process.send_signal(signal.SIGINT)
            text, code = await running_demo.rest()
    assert code == 130, text
    assert "Traceback" not in text


@pytest.mark.slow
async def test_servers_end_when_the_demo_is_killed_even_a_frozen_one():
    async with running() as running_demo:
        pids = await introduction(running_demo)
        async with none_outlives(pids.values()):
            os.kill(pids["s1"], signal.SIGSTOP)
            await running_demo.until("s1 is ejected: no answer in 0.5 s")
            running_demo.process.kill()


@pytest.mark.slow
async def test_a_reader_that_goes_away_ends_it_without_a_traceback():
    process = await trio.lowlevel.open_process([LB, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    await process.stdout.receive_some(1)
    await process.stdout.aclose()
    with trio.fail_after(PATIENCE):
        errors = b"".join([chunk async for chunk in process.stderr])
        assert await process.wait() == 1
    assert errors == b""
    await process.stderr.aclose()


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan")])
def test_seconds_that_make_no_sense(seconds, capsys):
    assert demo("tcp", seconds) == 2
    assert "--seconds must be more than 0" in capsys.readouterr().err


# Of HTTP


async def answers(url, *options):
    """What curl gets."""
    return (await trio.run_process(["curl", "--silent", "--fail", *options, url], capture_stdout=True)).stdout.decode()


@pytest.mark.slow
async def test_it_kills_and_revives_a_server_of_a_site_and_no_request_fails():
    async with running("http", "--seconds", "6") as running_demo:
        pids = await introduction(running_demo, HTTP_SERVERS)
        async with none_outlives(pids.values()):
            await running_demo.until(rf"kill -9 {pids['s1']} \(s1\)")
            await running_demo.until("s1 is ejected: ")
            await running_demo.until("s1 is restored")
            text, code = await running_demo.rest()
    assert code == 0, text
    ok, failed = map(int, re.findall(r"requests: (\d+) ok, (\d+) failed\n", text)[-1])
    assert ok > 0, "as many as the machine makes"
    assert failed == 0
    assert "http.request" not in running_demo.text


@pytest.mark.slow
async def test_curl_sees_nothing_of_a_server_that_is_killed():
    async with running("http") as running_demo:
        pids = await introduction(running_demo, HTTP_SERVERS)
        url = (await running_demo.until(r"\n +curl (http://shop.localhost:\d+/) "))[1]
        os.kill(pids["s1"], signal.SIGKILL)
        replies = (await answers(f"{url}[1-100]")).splitlines()
        await running_demo.until("s1 is ejected: ")
        assert len(replies) == 100
        assert all(re.fullmatch(r"This is s[12]\. You asked for /\d+\.", reply) for reply in replies)
        running_demo.process.terminate()
        text, code = await running_demo.rest()
    assert code == 0, text
    assert text.rstrip().endswith(" 0 failed")


@pytest.mark.slow
async def test_the_printed_urls_show_what_is_said_of_them():
    async with running("http") as running_demo:
        urls = [(await running_demo.until(r"\n +curl (http://\S+) +#"))[1] for _ in DEMOS["http"].urls]
        site, other, path, redirect, text = urls
        assert re.fullmatch(r"This is s[12]\. You asked for /\.\n", await answers(site))
        assert re.fullmatch(r"This is v[12]\. You asked for /\.\n", await answers(other))
        assert re.fullmatch(r"This is v[12]\. You asked for /a\.\n", await answers(path))
        assert re.fullmatch(r"This is v[12]\. You asked for /\.\n", await answers(redirect, "--location"))
        assert await answers(text) == "Hello 127.0.0.1, this is the balancer itself.\n"
        running_demo.process.terminate()
        rest, code = await running_demo.rest()
    assert code == 0, rest


@pytest.mark.slow
async def test_the_cache_demo_serves_on_what_its_dead_origin_sent():
    async with running("cache", "--seconds", "6") as running_demo:
        pids = await introduction(running_demo, ("origin",))
        await running_demo.until(rf"kill -9 {pids['origin']}")
        await running_demo.until("origin is ejected: ")
        await running_demo.until("origin is restored")
        text, code = await running_demo.rest()
    assert code == 0, text
    [counts] = re.findall(r"^requests: (\d+) ok, 0 failed(.*)$", text, re.MULTILINE)
    cached = {status: int(count) for count, status in re.findall(r", (\d+) ([A-Z]+)", counts[1])}
    assert {"HIT", "MISS", "STALE"} <= {*cached} <= {"HIT", "MISS", "STALE", "UPDATING", "EXPIRED"}
    assert sum(cached.values()) == int(counts[0]), "each response says what the cache did"
    assert cached["HIT"] > cached["MISS"]


@pytest.mark.slow
async def test_the_cache_demo_prints_a_film_that_is_stored_and_one_that_is_not():
    async with running("cache") as running_demo:
        admin = (await running_demo.until(r"Its dashboard is (http://\S+) and"))[1]
        stored, other = [(await running_demo.until(r"\n +curl (http://\S+) +#"))[1] for _ in DEMOS["cache"].urls]
        async with httpx.AsyncClient() as browser:
            assert (await browser.get(stored)).text == "This is origin. You asked for /film-1.\n"
            asked = [(await browser.get(other)).headers["x-cache-status"] for _ in range(2)]
            metrics = (await browser.get(f"{admin}metrics")).text
        assert asked == ["MISS", "HIT"]
        assert re.search(r'^lb_cache_requests_total\{.*result="hit".*\} [1-9]', metrics, re.MULTILINE | re.IGNORECASE)
        running_demo.process.terminate()
        _, code = await running_demo.rest()
    assert code == 0


@pytest.mark.slow
async def test_the_http_demo_on_a_terminal_names_its_sites_and_has_a_key_for_each_server():
    async with running_on_terminal("http") as (running_demo, _):
        await running_demo.until("Press  1  to kill a server: it is ejected, and no request fails")
        await running_demo.until(r"http://shop\.localhost:\d+/  a site")
        running_demo.press("4")
        await running_demo.until(r"v2 is ejected: connection refused")
        running_demo.press("4")
        await running_demo.until("v2 is restored")
        running_demo.press("r")
        await running_demo.until("reloaded: v2 has weight 3 now")
        running_demo.press("q")
        text = (await running_demo.until(r"requests: \d+ ok, 0 failed\n"))[0]
        with trio.fail_after(PATIENCE):
            assert await running_demo.process.wait() == 0, text


# Of a forward proxy


async def printed(running_demo, *programs):
    """Return the commands of these programs that the forward demo prints, in order."""
    text = running_demo.text
    return [command.strip() for command in re.findall(rf"^ {{4}}((?:{'|'.join(programs)}) .+?) # ", text, re.MULTILINE)]


async def shell(command):
    done = await trio.run_process(command.split(), capture_stdout=True, capture_stderr=True, check=False)
    return done.returncode, done.stdout.decode()


@pytest.mark.slow
async def test_the_forward_demo_shows_a_tunnel_refused_addresses_and_a_silent_name_while_others_go_on():
    async with running("forward", "--seconds", "9") as running_demo:
        text, code = await running_demo.rest()
    assert code == 0, text
    assert re.search(r'origin\.test:\d+: HTTP/1\.1 200 .+\n.+Through the tunnel: "This is origin\. .+ /hello\."', text)
    refused = re.findall(r"CONNECT (\S+): HTTP/1\.1 403 Forbidden, destination_ip_prohibited", text)
    assert refused == ["169.254.169.254:443", "2130706433:443", "inside.test:443"]
    assert re.search(r"504 Gateway Timeout, dns_timeout, after \d+\.\d s", text)
    assert int(re.search(r"Meanwhile (\d+) tunnels to origin\.test were made", text)[1]) > 0
    assert text.endswith("\nsteps: 3 shown, 0 failed\n")


@pytest.mark.slow
async def test_the_lines_that_the_forward_demo_prints_do_what_is_said_of_them():
    """Those of the internet are not run."""
    async with running("forward") as running_demo:
        await running_demo.until("What it shows by itself")
        commands = await printed(running_demo, "curl")
        said = [await shell(f"{command} --silent") for command in commands[:5]]
        assert said[:3] == [(0, "This is origin. You asked for /a.\n")] * 3
        assert said[3][1].startswith("HTTP/1.1 403 ")
        assert said[4][1].startswith("HTTP/1.1 504 ")
        await running_demo.until(r"GET http://origin\.test:\d+/a: 200, ok")
        await running_demo.until(
            r"a tunnel to origin\.test:\d+ \(connect\), \d+ bytes there, \d+ back, ended by the client"
        )
        await running_demo.until(r"a tunnel to origin\.test:\d+ \(socks5\)")
        await running_demo.until(r"GET http://inside\.test/: 403, denied_target")
        await running_demo.until(r"GET http://silent\.test/: 504, resolve_failed")
        (git,) = await printed(running_demo, "git")
        code, _ = await shell(git.replace("github.com", "169.254.169.254"))
        assert code != 0
        await running_demo.until(r"no tunnel to 169\.254\.169\.254:443 \(connect\): denied_target")
        running_demo.process.terminate()
        text, code = await running_demo.rest()
    assert code == 0, text


@pytest.mark.slow
@NEEDS_CHROMIUM
async def test_a_browser_takes_the_proxy_that_the_forward_demo_prints(tmp_path):
    async with running("forward") as running_demo:
        await running_demo.until("What it shows by itself")
        command, _ = await printed(running_demo, "chromium")
        command = command.replace("/tmp/lb-demo", str(tmp_path))
        code, shown = await shell(f"{command} --headless --no-sandbox --dump-dom")
        assert code == 0
        assert "This is origin. You asked for /a." in shown
        await running_demo.until(r"GET http://origin\.test:\d+/a: 200, ok")
        running_demo.process.terminate()
        _, code = await running_demo.rest()
    assert code == 0


@pytest.mark.slow
async def test_the_forward_demo_outlives_the_kill_of_its_server_which_a_signal_restarts():
    async with running("forward") as running_demo:
        await running_demo.until("What it shows by itself")
        curl = (await printed(running_demo, "curl"))[0]
        kill, revive, _ = [int(command.split()[-1]) for command in await printed(running_demo, "kill")]
        await running_demo.until("Through the tunnel")
        os.kill(kill, signal.SIGKILL)
        await running_demo.until("origin is dead")
        _, said = await shell(f"{curl} --silent -i")
        assert said.startswith("HTTP/1.1 502 ")
        os.kill(revive, signal.SIGUSR1)
        pid = int((await running_demo.until(r"origin is restarted, pid (\d+)"))[1])
        assert (await shell(f"{curl} --silent"))[1] == "This is origin. You asked for /a.\n"
        async with none_outlives([pid]):
            running_demo.process.kill()


@pytest.mark.slow
async def test_ctrl_c_ends_the_forward_demo_with_130():
    async with running("forward") as running_demo:
        pid = int((await running_demo.until(r"Server origin listens on 127.0.0.1:\d+, pid (\d+)"))[1])
        async with none_outlives([pid]):
            running_demo.process.send_signal(signal.SIGINT)
            text, code = await running_demo.rest()
    assert code == 130, text
    assert "Traceback" not in text


# On a terminal


@pytest.mark.slow
async def test_keys_kill_revive_reload_and_quit():
    async with running_on_terminal() as (running_demo, terminal):
        before = termios.tcgetattr(terminal)
        await running_demo.until("Press  1  to kill a server")
        pids = [int((await running_demo.until(rf" {number}   s{number} +\d+ +(\d+) "))[1]) for number in (1, 2, 3)]
        assert termios.tcgetattr(terminal) != before
        async with none_outlives(pids):
            running_demo.press("1")
            await running_demo.until(r"s1 +\d+ +dead +1 +● (ejected|down) .* connection refused")
            await running_demo.until("s1 is ejected: connection refused")
            running_demo.press("1")
            await running_demo.until("s1 is restored")
            running_demo.press("r")
            await running_demo.until(r"s3 +\d+ +\d+ +3 ")
            running_demo.press("c")
            await running_demo.until(r'name = "s3", address = "127.0.0.1:\d+", weight = 3')
            running_demo.press("q")
            text = (await running_demo.until(r"sessions: \d+ ok, \d+ failed, \d+ cut by a kill\n(failed: .*)?"))[0]
            with trio.fail_after(PATIENCE):
                code = await running_demo.process.wait()
        assert code == 0, text
        assert termios.tcgetattr(terminal) == before


@pytest.mark.slow
async def test_ctrl_c_leaves_the_terminal_as_it_was():
    async with running_on_terminal() as (running_demo, terminal):
        before = termios.tcgetattr(terminal)
        await running_demo.until("sessions")
        running_demo.process.send_signal(signal.SIGINT)
        with trio.fail_after(PATIENCE):
            assert await running_demo.process.wait() == 130
        assert termios.tcgetattr(terminal) == before
