"""The agent probe: HAProxy's agent-check protocol, with scripted agents and through the real command."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from healthcheck.probe import ProbeFailed, Word
from healthcheck.probes.agent import AgentProbe, read_words
from healthcheck.result import Advice, CheckResult
from tests.support.balancer import PATIENCE, QUICK_CHECKS, ask, balancer, config
from tests.support.paths import DATA
from tests.support.probe_server import failure, says, server, stays_silent
from tests.support.servers import free_port, serving

CORPUS = DATA / "corpus" / "agent"
"""One line of an agent per file. The first letter of the name gives the result: a pass (p), a valid line that fails
(f), or an invalid line (x)."""
WORDS = ["up", "down", "fail", "failed", "stopped", "ready", "drain", "maint", "75%", "0%", "250%", "maxconn:30"]


@pytest.mark.parametrize(
    ("line", "passed", "detail", "advice"),
    [
        (b"up", True, "up", Advice()),
        (b"UP\t", True, "up", Advice()),
        (b"ready", True, "ready", Advice(admin="ready")),
        (b"up ready 100%", True, "up ready 100%", Advice(100, "ready")),
        (b"drain", True, "drain", Advice(admin="drain")),
        (b"maint", True, "maint", Advice(admin="maint")),
        (b"75%", True, "75%", Advice(75)),
        (b"0%", True, "0%", Advice(0)),
        (b"250%", True, "250%", Advice(100)),
        (b"50%,up", True, "50% up", Advice(50)),
        (b"maxconn:30", True, "maxconn:30", Advice()),
        (b"down", False, "down", Advice()),
        (b"down # disk full", False, "down: disk full", Advice()),
        (b"fail#too hot", False, "fail: too hot", Advice()),
        (b"failed 20%", False, "failed", Advice(20)),
        (b"stopped drain", False, "stopped", Advice(admin="drain")),
        (b"down up", True, "down up", Advice()),
        (b"drain ready", True, "drain ready", Advice(admin="ready")),
        (b"up # nothing to tell", True, "up", Advice()),
    ],
)
def test_the_words_of_haproxy(line, passed, detail, advice):
    assert read_words(line) == Word(passed, detail, advice)


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        (b"", '""'),
        (b"# down", '"# down"'),
        (b"HTTP/1.1 400 Bad Request", '"HTTP/1.1 400 Bad Request"'),
        (b"up 50", '"up 50"'),
        (b"drain please", '"drain please"'),
        (b"-5%", '"-5%"'),
        (b"\xff\x1b", r'"\xff\x1b"'),
        (b"7.5%", '"7.5%"'),
    ],
)
def test_a_line_with_another_word_is_not_heeded_at_all(line, quoted):
    with pytest.raises(ProbeFailed) as caught:
        read_words(line)
    assert str(caught.value) == f"not an agent-check reply: {quoted}"


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_the_corpus(path):
    try:
        verdict = "pf"[not read_words(path.read_bytes()).passed]
    except ProbeFailed:
        verdict = "x"
    assert verdict == path.name[0]


@given(st.binary() | st.lists(st.sampled_from(WORDS) | st.text(max_size=5)).map(" ".join).map(str.encode))
@example(b"1000000000%")
def test_any_line_is_words_or_is_not(line):
    try:
        word = read_words(line)
    except ProbeFailed as failed:
        word = Word(passed=False, detail=str(failed), advice=Advice())
    assert CheckResult(word.passed, word.detail, 1.0).detail.isprintable()
    assert word.advice.share is None or 0 <= word.advice.share <= 100


@given(st.lists(st.sampled_from(WORDS), min_size=1))
def test_a_line_says_what_its_words_say_one_after_another(words):
    alone = [read_words(word.encode()) for word in words]
    advice = Advice()
    for word in alone:
        advice = advice.then(word.advice)
    together = read_words(" ".join(words).encode())
    assert together.advice == advice
    verdicts = [w.passed for word, w in zip(words, alone, strict=True) if word in ("up", *WORDS[1:5])]
    assert together.passed is ([True, *verdicts][-1])


@pytest.mark.parametrize("said", [[b"up\n"], [b"up\r\nand more\n"], [b"u", b"p", b"\n"], [b"up"]])
async def test_a_line_ends_with_its_end_or_with_the_connection(said):
    async with server(says(*said)) as target:
        assert await AgentProbe().check(target) == Word(passed=True, detail="up", advice=Advice())


async def test_what_is_to_be_sent_goes_first():
    async with server(says(b"down # as asked\n", after=len(b"state web\n"))) as target:
        assert (await AgentProbe(send="state web\n").check(target)).detail == "down: as asked"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([], "closed the connection, no answer"),
        ([b"\n"], 'not an agent-check reply: ""'),
        ([b"x" * 70_000], f'a line of more than 65536 bytes: "{"x" * 60}…"'),
    ],
)
async def test_an_agent_without_words_fails(said, reason):
    async with server(says(*said)) as target:
        assert await failure(AgentProbe(), target) == reason


async def test_a_silent_agent_is_the_business_of_the_timeout():
    async with server(stays_silent) as target:
        with trio.move_on_after(0.05) as time_out:
            await AgentProbe().check(target)
    assert time_out.cancelled_caught


# Through the real command


@attrs.define
class Agent:
    """Sends this line to each client."""

    line: bytes

    async def __call__(self, stream):
        await stream.send_all(self.line + b"\n")


@attrs.define
class Scene:
    """Two servers, ``a`` and ``b``, each with an agent, on the same port of different hosts."""

    tmp_path: Path
    servers: list
    agents: list
    asked: list
    port: int

    def config(self, health="", pool=""):
        checks = f'checks = [{{ probe = "tcp" }}, {{ probe = "agent", port = {self.port} }}]'
        return config(*self.servers, health=f"{QUICK_CHECKS}\n{health}\n{checks}", pool=pool)

    def balancer(self, **options):
        return balancer(self.tmp_path, self.config(**options))


@pytest.fixture
async def scene(tmp_path):
    port = free_port()
    a, b = Agent(b"ready"), Agent(b"up")
    async with (
        serving(name="a") as server_a,
        serving(name="b", address=("127.0.0.2", 0)) as server_b,
        serving(a, address=("127.0.0.1", port)) as asked_a,
        serving(b, address=("127.0.0.2", port)) as asked_b,
    ):
        yield Scene(tmp_path, [server_a, server_b], [a, b], [asked_a, asked_b], port)


async def answers(lb, count):
    """Return how often each server answered this many consecutive clients."""
    return Counter([(await ask(lb.port)).decode().strip() for _ in range(count)])


async def until_answers(lb, count, condition):
    """A change of a server takes a moment to reach each worker."""
    with trio.fail_after(PATIENCE):
        while not condition(await answers(lb, count)):
            pass


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_server_that_drains_gets_no_new_connections_until_it_is_ready(scene):
    async with scene.balancer() as lb:
        await lb.event("backend.advised", server="a", admin="ready")
        scene.agents[0].line = b"drain"
        await lb.event("backend.advised", server="a", admin="drain", share=100)
        await until_answers(lb, 10, lambda counts: counts == {"b": 10})
        scene.agents[0].line = b"up"
        await lb.reload(scene.config(health="rise = 3"))
        assert await answers(lb, 10) == {"b": 10}  # one report is enough, and survives a reload
        assert (await lb.upgrade())["event"] == "upgrade.done"
        await lb.event("server.started", count=2)
        assert await answers(lb, 10) == {"b": 10}
        scene.agents[0].line = b"up ready"
        await lb.event("backend.advised", server="a", admin="ready", count=2)
        await until_answers(lb, 10, lambda counts: counts["a"] == 5)
        assert not lb.of("backend.ejected", "backend.restored")


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_what_an_agent_asked_for_is_over_when_it_is_asked_no_more(scene):
    scene.agents[0].line = b"drain"
    async with scene.balancer() as lb:
        await lb.event("backend.advised", server="a", admin="drain")
        await until_answers(lb, 10, lambda counts: counts == {"b": 10})
        await lb.reload(config(*scene.servers))
        assert lb.of("backend.advised")[-1]["admin"] == "ready"
        await until_answers(lb, 10, lambda counts: counts["a"] == 5)


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_server_whose_agent_says_down_is_down_at_once_and_says_why(scene):
    async with scene.balancer(health="fall = 1000") as lb:
        scene.agents[0].line = b"down # the backup runs"
        ejected = await lb.event("backend.ejected", server="a")
        assert (ejected["reason"], ejected["source"]) == ("check 2 (agent): down: the backup runs", "active")
        await until_answers(lb, 10, lambda counts: counts == {"b": 10})
        scene.agents[0].line = b"maint"
        await lb.event("backend.advised", server="a", admin="maint")
        scene.agents[0].line = b"up"
        asked = scene.asked[0].connections
        await scene.asked[0].until(lambda served: served.connections > asked + 4)  # more than `rise`
        assert not lb.of("backend.restored")  # only "ready" ends maintenance
        scene.agents[0].line = b"ready"
        await lb.event("backend.restored", server="a")
        await until_answers(lb, 10, lambda counts: counts["a"] == 5)


@pytest.mark.slow
@pytest.mark.usefixtures("worker_count")
async def test_a_share_of_its_weight_is_what_a_server_gets(scene):
    async with scene.balancer(pool='strategy = "weighted"') as lb:
        scene.agents[0].line = b"10%"
        await lb.event("backend.advised", server="a", share=10, admin="ready")
        await until_answers(lb, 22, lambda counts: counts["a"] <= 4)  # 2 of one process's 22; of two it may be 4
        scene.agents[0].line = b"100%"
        await until_answers(lb, 22, lambda counts: 9 <= counts["a"] <= 13)


@pytest.mark.slow
async def test_an_agent_that_is_gone_is_a_failed_check_like_others(scene):
    async with scene.balancer(health="fall = 2") as lb:
        scene.asked[0].stop_listening()
        ejected = await lb.event("backend.ejected", server="a")
        assert ejected["reason"] == "check 2 (agent): connection refused"
        await lb.reload(scene.config(health='require = "any"'))
        await lb.event("backend.restored", server="a")
