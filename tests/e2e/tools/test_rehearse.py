"""``lb rehearse``: the command, the same result for the same seed, and the same result as with real servers."""

from __future__ import annotations

import json
import re
import types
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from lb.tools.rehearse.recorder import end_of
from tests.support.balancer import ask, balancer, config, run_lb
from tests.support.paths import EXAMPLES
from tests.support.servers import backends

pytestmark = pytest.mark.slow
EXAMPLE = EXAMPLES / "rehearsal"

CONFIG = """
[listeners.web]
bind = "127.0.0.1:0"
pool = "web"
max_connections = 120
[pools.web]
strategy = "random-two"
slow_start = "5s"
when_all_down = "hold"
[pools.web.health]
probe = "http"
[[pools.web.servers]]
name = "a"
address = "10.0.0.1:80"
[[pools.web.servers]]
name = "b"
address = "b.example:80"
[[pools.web.servers]]
name = "c"
address = "unix:/run/c.sock"
"""
SCENARIO = """
duration = "1m"
[clients.all]
rate = 50
patience = "3s"
[clients.long]
rate = 5
session = "10s"
distribution = "lognormal"
[[events]]
at = "5s"
server = ["web/a", "web/b", "web/c"]
does = "vanish"
lasts = "8s"
[[events]]
at = "20s"
server = ["web/a", "web/b"]
does = "flap"
every = "2s"
lasts = "20s"
[[events]]
at = "50s"
reload = "new.toml"
"""


def write(tmp_path, configuration=CONFIG, scenario=SCENARIO):
    (tmp_path / "lb.toml").write_text(configuration)
    (tmp_path / "new.toml").write_text(configuration.replace('name = "b"', 'name = "d"'))
    (tmp_path / "scenario.toml").write_text(scenario)
    return tmp_path / "lb.toml", tmp_path / "scenario.toml"


async def test_the_same_seed_gives_the_same_result_and_another_another(tmp_path, monkeypatch):
    files = write(tmp_path)
    results = []
    for hash_seed, seed in (("1", "7"), ("2", "7"), ("1", "8")):
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        code, out, err = await run_lb("rehearse", *files, "--json", "--seed", seed)
        assert (code, err) == (0, "")
        results.append(json.loads(out))
    assert results[0] == results[1]
    assert results[0]["statistics"] != results[2]["statistics"]
    assert len(results[0]["timeline"]) > 15


@pytest.mark.usefixtures("real_command")
async def test_an_expectation_that_is_not_met_makes_it_fail(tmp_path):
    files = write(tmp_path, scenario='duration = "10s"\n[clients.all]\nrate = 5')
    code, out, _ = await run_lb("rehearse", *files, "--expect", "failed == 0", "--expect", "share.a > 90%")
    assert code == 1
    assert re.search(r"\nmet     failed == 0  \(0\)\nFAILED  share\.a > 90%  \(\d+\.?\d* %\)\n$", out)
    code, _, _ = await run_lb("rehearse", *files, "--expect", "failed == 0")
    assert code == 0


async def test_bad_usage_is_told_before_anything_is_rehearsed(tmp_path):
    files = write(tmp_path)
    wrong = ("--expect", "faild == 0", "--seed", "-1", "--expect", "retries < 5%")
    code, out, err = await run_lb("rehearse", *files, *wrong)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "--expect: there is no figure 'faild', did you mean 'failed'?",
        "--expect: 'retries < 5%': the value must be a whole number, not '5%'",
        "--seed: must be 0 or more, not -1",
    ]
    files[1].write_text("[clients.all]")
    code, out, err = await run_lb("rehearse", *files)
    assert (code, out) == (2, "")
    assert err == f"{files[1]}: clients.all.rate: missing, as in rate = 200 (sessions per second) (line 1)\n"


async def test_a_report_that_cannot_be_written_is_told_before_anything_is_rehearsed(tmp_path):
    files = write(tmp_path, scenario='duration = "10s"\n[clients.all]\nrate = 5')
    nowhere = tmp_path / "nowhere" / "report.html"
    code, out, err = await run_lb("rehearse", *files, "--report", nowhere)
    assert (code, out, err) == (2, "", f"--report: {nowhere}: cannot be written: No such file or directory\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
async def test_the_result_is_printed_even_if_the_disk_is_full(tmp_path):
    files = write(tmp_path, scenario='duration = "10s"\n[clients.all]\nrate = 5')
    code, out, err = await run_lb("rehearse", *files, "--report", "/dev/full")
    assert (code, err) == (1, "lb: /dev/full: cannot be written: No space left on device\n")
    assert out.startswith("10s rehearsed, seed 1\n")


async def test_no_session_at_all_meets_no_expectation(tmp_path):
    files = write(tmp_path, scenario='duration = "1s"\n[clients.all]\nrate = 0.001')
    code, out, err = await run_lb("rehearse", *files, "--expect", "failed == 0")
    assert (code, out.splitlines()[-1]) == (1, "FAILED  failed == 0  (0)")
    assert err == "lb: there were no sessions; use a higher rate or a longer duration\n"
    code, _, _ = await run_lb("rehearse", *files)
    assert code == 1


async def test_the_example_comes_out_as_its_comments_say(tmp_path, monkeypatch):
    """Uses a hundredth of its clients: an hour with two sessions per second."""
    scenario = tmp_path / "scenario.toml"
    scenario.write_text(
        re.sub(r"rate = (\d+)", lambda rate: f"rate = {int(rate[1]) / 100}", (EXAMPLE / "scenario.toml").read_text())
    )
    report = tmp_path / "report.html"
    monkeypatch.setenv("LC_ALL", "POSIX")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    code, out, err = await run_lb(
        "rehearse", EXAMPLE / "lb.toml", scenario, "--report", report, "--expect", "failed == 0",
        "--expect", "time_to_eject.b < 10s", "--expect", "time_to_restore < 5s",
    )  # fmt: skip
    assert (code, err) == (0, "")
    incidents = re.findall(r"^web/(\w) (dies|hangs|slows down|flaps) +0:(\d\d):00", out, re.MULTILINE)
    assert incidents == [("b", "dies", "10"), ("c", "hangs", "20"), ("a", "slows down", "32"), ("b", "flaps", "45")]
    assert report.read_text(encoding="utf-8").endswith("</html>\n")


async def test_three_balancers_rehearse_as_the_example_says(tmp_path):
    """In a tenth of its time, with a tenth of its clients. One balancer dies, one vanishes, and no session fails."""
    text = re.sub(r'"(\d+)m"', lambda minutes: f'"{6 * int(minutes[1])}s"', (EXAMPLE / "nodes.toml").read_text())
    scenario = tmp_path / "nodes.toml"
    scenario.write_text(text.replace("rate = 200", "rate = 20"))
    expected = ("failed == 0", "misplaced == 0", "cut < 2%", "sessions.lb2 > 800", "wait.max < 600ms")
    code, out, err = await run_lb(
        "rehearse", EXAMPLE / "lb.toml", scenario, "--nodes", "3", "--json", *(f"--expect={each}" for each in expected)
    )
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert result["nodes"] == ["lb1", "lb2", "lb3"]
    statistics = result["statistics"]
    assert 15 <= statistics["cut"] <= 70, "a third of 40 sessions, three times"
    assert sum(statistics[f"sessions.{node}"] for node in result["nodes"]) == statistics["sessions"]
    incidents = [(each.get("node"), each.get("server"), each["does"]) for each in result["incidents"]]
    assert incidents == [("lb2", None, "die"), ("lb3", None, "vanish"), (None, "web/b", "die")]
    code, out, err = await run_lb("rehearse", EXAMPLE / "lb.toml", EXAMPLE / "nodes.toml")
    assert (code, out) == (2, "")
    assert "events[0].node: needs several balancers: --nodes N" in err
    code, out, err = await run_lb("rehearse", EXAMPLE / "lb.toml", EXAMPLE / "nodes.toml", "--nodes", "65")
    assert (code, out, err) == (2, "", "--nodes: must be from 1 to 64, not 65\n")


RATE = 40
INTERVAL = 0.2
"""Seconds between checks."""


async def with_real_servers(tmp_path, config_text, servers):
    """Run three servers, kill one after a second, restart it a second later; return the times and the events."""
    async with balancer(tmp_path, config_text) as lb, trio.open_nursery() as nursery:
        started = trio.current_time()

        async def session():
            with suppress(trio.BrokenResourceError):  # sessions of the killed server; the log has the results
                await ask(lb.port)

        async def sessions():
            for number in range(4 * RATE):
                await trio.sleep_until(started + number / RATE)
                nursery.start_soon(session)

        nursery.start_soon(sessions)
        await trio.sleep_until(started + 1)
        killed = trio.current_time() - started
        await servers[1].kill()
        await lb.event("backend.ejected")
        ejected = trio.current_time() - started
        await trio.sleep_until(started + 2)
        await servers[1].start()
        back = trio.current_time() - started
        await lb.event("backend.restored")
        restored = trio.current_time() - started
        await lb.event("connection.closed", count=4 * RATE)
    return (killed, ejected, back, restored), lb.events


async def test_a_rehearsal_comes_to_what_the_same_servers_come_to_with_real_servers(tmp_path):
    health = f'interval = "{INTERVAL}s"\nfast_interval = "{INTERVAL / 2}s"'
    async with backends("a", "b", "c") as servers:
        configuration = config(*servers, health=health)
        (killed, ejected, back, restored), events = await with_real_servers(tmp_path, configuration, servers)
    records = [types.SimpleNamespace(**event) for event in events if event["event"] == "connection.closed"]
    scenario = f"""
    duration = "{back + 10:.6f}s"
    [clients.all]
    ends = "{(4 * RATE + 0.5) / RATE}s"
    rate = {RATE}
    arrivals = "even"
    session = "5ms"
    distribution = "fixed"
    [[events]]
    at = "{killed:.6f}s"
    server = "web/b"
    does = "die"
    lasts = "{back - killed:.6f}s"
    """
    code, out, err = await run_lb("rehearse", *write(tmp_path, configuration, scenario), "--json")
    assert (code, err) == (0, "")
    virtual_config = json.loads(out)
    figures, (incident,) = virtual_config["statistics"], virtual_config["incidents"]

    ends = Counter(end_of(record) for record in records)
    assert ends.total() == figures["sessions"] == 4 * RATE
    assert ends["failed"] == figures["failed"] == 0
    open_at_once = RATE * max(record.duration_ms for record in records) / 1000
    assert ends["cut"] <= 2 + open_at_once / 3, "at the killed one of three"
    assert figures["cut"] <= 1, "sessions of the killed server"
    happened = [event["event"] for event in events if event["event"].startswith("backend.")]
    assert happened == ["backend.ejected", "backend.restored"]
    assert [each["kind"] for each in virtual_config["timeline"] if each["kind"] in ("ejected", "restored")] == [
        "ejected",
        "restored",
    ]
    tolerance = 4 * INTERVAL
    assert incident["ejected_after"] == pytest.approx(ejected - killed, abs=tolerance)
    assert incident["restored_after"] == pytest.approx(restored - back, abs=tolerance)
    moved = sum(bool(record.attempts) for record in records)
    assert moved <= 3
    assert figures["moved"] <= 3, "so many failed connects eject"
    shares = Counter(record.server for record in records)
    assert max(shares["a"], shares["c"]) - min(shares["a"], shares["c"]) <= 3, "they take turns all the time"
    assert abs(figures["sessions.web/a"] - figures["sessions.web/c"]) <= 3
    for name in "abc":
        assert shares[name] == pytest.approx(figures[f"sessions.web/{name}"], abs=2 + RATE * tolerance / 2)


async def test_servers_without_a_port_take_part(tmp_path):
    (tmp_path / "lb.toml").write_text(
        '[listeners.web]\nbind = ":5000-5002"\npool = "p"\n'
        '[pools.p]\nservers = ["10.0.0.1", "10.0.0.2"]\nsource = "10.0.0.9"\nbuffer = "64KiB"\nhealth = false'
    )
    (tmp_path / "scenario.toml").write_text('duration = "2s"\n[clients.some]\nrate = 10')
    code, out, err = await run_lb("rehearse", "lb.toml", "scenario.toml", "--expect", "failed == 0", cwd=tmp_path)
    assert (code, err) == (0, ""), out
