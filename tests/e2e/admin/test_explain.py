"""``lb explain`` and ``/api/v1/explain`` against the real command, and the log line of a sampled connection."""

from __future__ import annotations

import json
from itertools import count

import pytest

from lb import cli
from strategies.base import Strategy
from tests.support.balancer import ask, config, run_lb
from tests.support.operating import ADMIN, operated
from tests.support.servers import Named, backends

A, B, C = (Named(name, f"127.0.0.1:{port}") for name, port in (("a", 9001), ("b", 9002), ("c", 9003)))
ASKED = ("--listener", "web", "--source", "10.1.2.3")


def seen(decision, name):
    """The entry of one server in a decision."""
    (server,) = [each for each in decision["servers"] if each["server"] == name]
    return server


@pytest.fixture
def hash_file(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(config(A, B, (C, "backup = true"), pool='strategy = { name = "consistent-hash", size = 1009 }'))
    return path


@pytest.fixture
def explain(capsys):
    """Runs ``lb explain`` with arguments; returns the exit code, stdout and stderr."""

    def run(*arguments):
        code = cli.main(["explain", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def test_from_the_file_alone(hash_file, explain):
    code, out, err = explain("--config", hash_file, *ASKED, "--json")
    assert (code, err) == (0, "")
    home = json.loads(out)["chosen"]
    code, out, err = explain("--config", hash_file, *ASKED, "--without", "a", "--without", "b")
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert first == f"10.1.2.3 on web gets {home}"
    assert "consistent-hash: by a hash of the client (10.1.2.3 is at " in second
    rows = {line.split()[0]: line.split()[1] for line in out.splitlines()[4:7]}
    assert rows == {"a": "candidate", "b": "candidate", "c": "backup", home: "chosen"}
    assert "without a and b: c" in out
    assert "100.0% of the clients get another server while they are down, then return" in out
    assert "all servers count as up" in out
    code, out, _ = explain("--config", hash_file, *ASKED, *(f"--without={name}" for name in "abc"))
    assert "100.0% of the clients get no server" in out
    assert "another" not in out


def test_where_no_client_is_bound_to_a_server_shares_are_told(tmp_path, explain):
    path = tmp_path / "lb.toml"
    path.write_text(config(A, B, listener='deny = ["10.0.0.0/8"]'))
    code, out, _ = explain("--config", path, *ASKED, "--without", "a")
    assert code == 0
    for line in (
        "denied: deny = 10.0.0.0/8; if it were allowed:",
        "10.1.2.3 on web gets one of 2",
        "pool web, weighted: by turn",
        "without a: b",
        "clients are not tied to a server; 50.0% of the new connections go to another server",
        "note: the server whose turn is next is known only to the running balancer",
    ):
        assert line in out.splitlines()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--listener", "wep", "--source", "10.1.2.3"), "there is no listener 'wep', did you mean 'web'?"),
        (("--listener", "web", "--source", "everybody"), "--source must be an address like 10.1.2.3"),
        ((*ASKED, "--without", "d"), "the pool 'web' has no server 'd'"),
        ((*ASKED, "--running"), "has no [admin] section"),
    ],
)
def test_a_question_without_sense_is_bad_usage(hash_file, explain, arguments, message):
    code, out, err = explain("-c", hash_file, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_bad_file_tells_its_errors(tmp_path, explain):
    path = tmp_path / "lb.toml"
    path.write_text(config(A, listener="explain_sample = 2"))
    code, _, err = explain("-c", path, *ASKED)
    assert (code, err) == (2, f"{path}: listeners.web.explain_sample: must be a number from 0 to 1, not 2 (line 5)\n")


class Stutters(Strategy):
    def pick(self, client, tried):
        return next(self.candidates(tried), None)

    def explain(self, client, candidates):
        raise LookupError("no idea")


class NeverBuilt(Stutters):
    def build(self, servers):
        raise LookupError("no idea")


def test_a_strategy_that_fails_is_one_line(tmp_path, explain):
    path = tmp_path / "lb.toml"
    path.write_text(config(A, B, pool=f'strategy = "{__name__}:Stutters"'))
    code, out, err = explain("-c", path, *ASKED, "--without", "a")
    assert (code, err) == (0, f"lb: pool web: the strategy '{__name__}:Stutters' fails: LookupError: no idea\n")
    assert "the strategy does not report its criterion" in out
    path.write_text(config(A, B, pool=f'strategy = "{__name__}:NeverBuilt"'))
    code, out, err = explain("-c", path, *ASKED)
    assert (code, out) == (2, "")
    assert err == f"lb: pool web: the strategy '{__name__}:NeverBuilt' fails: LookupError: no idea\n"


def test_the_file_is_not_only_for_its_admin(capsys):
    assert cli.main(["explain", "--help"]) == 0
    assert "configuration file; with --running" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_server_that_was_killed_is_passed_over_with_its_reason(tmp_path):
    async with backends("a", "b") as (a, b):
        text = config(a, b, listener="explain_sample = 1", top=ADMIN)
        async with operated(tmp_path, text) as (lb, operator):
            await b.kill()
            reason = (await lb.event("backend.ejected", server="b"))["reason"]
            answer = await operator.until(
                lambda: operator.get("/api/v1/explain", listener="web", source="10.1.2.3", without="a"),
                lambda answer: answer["chosen"] == "a",
            )
            assert seen(answer, "b")["verdict"] in ("down", "ejected")
            assert seen(answer, "b")["reason"] == reason
            assert (answer["without"]["chosen"], answer["without"]["otherwise"]) == (None, "reject")

            connections = count(1)

            async def decision_of_a_new_one():
                assert await ask(lb.port) == b"a\n"
                return (await lb.event("connection.closed", count=next(connections)))["decisions"][-1]

            decision = await operator.until(  # the event may reach a worker later than the log
                decision_of_a_new_one, lambda decision: seen(decision, "b")["verdict"] in ("down", "ejected")
            )
            assert (decision["chosen"], decision["strategy"], decision["decides"]) == ("a", "weighted", "turn")
            assert seen(decision, "b")["reason"] == reason

            bind = (await lb.event("admin.started"))["bind"]
            code, out, err = await run_lb("explain", "--admin", bind, *ASKED)
            assert (code, err) == (0, "")
            assert out.startswith("10.1.2.3 on web gets a\n")
            assert reason in out
            code, _, err = await run_lb("explain", "--admin", bind, "--listener", "wep", "--source", "10.1.2.3")
            assert (code, err) == (1, "lb: there is no listener 'wep', did you mean 'web'?\n")
            code, _, err = await run_lb("explain", "--admin", bind, "--listener", "\udcff", "--source", "10.1.2.3")
            assert (code, err) == (1, "lb: there is no listener '\N{REPLACEMENT CHARACTER}'\n")


@pytest.mark.slow
async def test_the_endpoint_refuses_questions_without_sense(tmp_path):
    text = config(A, B, listener='deny = ["10.0.0.0/8"]', health=None, top=f"{ADMIN}\n[process]\nworkers = 2")
    async with operated(tmp_path, text) as (_, operator):
        answer = await operator.client.get("/api/v1/explain", params={"listener": "x", "source": "10.1.2.3"})
        assert (answer.status_code, answer.json()) == (404, {"error": "there is no listener 'x'"})
        answer = await operator.get("/api/v1/explain", listener="web", source="10.1.2.3", without=["a", "b"])
        assert answer["denied"] == "deny = 10.0.0.0/8"
        assert answer["notes"] == ["each of the 2 workers keeps its own turn"]
        assert (answer["chosen"], answer["without"]["names"], answer["without"]["share"]) == (None, ["a", "b"], 1.0)


PROXY = """
[listeners.proxy]
mode = "forward"
bind = "127.0.0.1:0"
deny_to = ["*.bad.example"]
connect_ports = "any"

[listeners.chain]
mode = "forward"
bind = "127.0.0.1:0"
parents = "up"

[pools.up]
servers = ["127.0.0.1:3200"]
"""


def test_a_target_of_a_forward_proxy_by_the_file(tmp_path, explain):
    file = tmp_path / "lb.toml"
    file.write_text(PROXY)
    asked = ("--config", file, "--listener", "proxy", "--target")
    code, out, _ = explain(*asked, "a.bad.example:443")
    assert (code, out) == (1, '127.0.0.1 on proxy is refused a.bad.example:443\ndeny_to "*.bad.example"\n')
    code, out, _ = explain(*asked, "8.8.8.8:443")
    assert (code, out.splitlines()) == (
        0,
        ["127.0.0.1 on proxy reaches 8.8.8.8:443", "no rule refuses it", "  8.8.8.8: may be reached"],
    )
    code, out, _ = explain(*asked, "127.1:80", "--json")
    assert (code, json.loads(out)["target"]["addresses"][0]["address"]) == (1, "127.0.0.1")
    code, out, _ = explain("--config", file, "--listener", "chain", "--target", "a.example:443")
    assert (code, out.splitlines()[0]) == (0, "127.0.0.1 on chain reaches a.example:443 through 127.0.0.1:3200")
    assert explain("--config", file, "--listener", "proxy", "--target", "no port")[0] == 2
    assert explain("--config", file, "--listener", "proxy", "--user", "ann")[0] == 2


async def test_a_target_of_a_forward_proxy_that_runs(tmp_path):
    async with operated(tmp_path, PROXY + ADMIN) as (_, operator):
        answer = await operator.get("/api/v1/explain", listener="proxy", source="::1", target="[::ffff:7f00:1]:80")
        assert (answer["served"], answer["target"]["target"]) == (False, "127.0.0.1:80")
