"""The parts of the storm without I/O: the judge, the plan, the configurations and the bytes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from chaos import configs
from chaos.balancer import RunningBalancer
from chaos.http_talk import FRAMINGS, Ask, number_in
from chaos.judge import fates, judge
from chaos.ledger import ORDERLY_END, Disturbance, Ledger, number_of, source_of
from chaos.outside import ProcessStats
from chaos.plan import FAILURES, plan
from chaos.storm import SERVERS, Outcome
from chaos.talk import Checked, Talk
from chaos.verdict import lines, of_processes
from lb.config.load import ConfigError, parse
from lb.model import ServerSpec

ADDRESSES = {name: f"127.0.0.1:{9001 + number}" for number, name in enumerate(SERVERS)}


def ledger_of(*, failure=None, kind="short", records=1, disturbances=(), **record):
    """Return a ledger of one session, from second 10 to 11, that sent 3 bytes and received 4."""
    ledger = Ledger(disturbances=list(disturbances))
    session = ledger.begin(kind, 10.0)
    session.ended, session.failure, session.sent, session.received = 11.0, failure, 3, 4
    line = {
        "event": "connection.closed",
        "client": "127.1.0.0:5",
        "server": "a",
        "reason": "eof",
        "bytes_in": 3,
        "bytes_out": 4,
        **record,
    }
    for _ in range(records):
        ledger.record(line)
    return ledger


def test_a_session_that_went_well_with_its_record_is_no_matter():
    assert judge(ledger_of()) == []
    assert fates(ledger_of()) == {"answered": 1}


@pytest.mark.parametrize(
    ("ledger", "complaint"),
    [
        (ledger_of(records=0), "no record, and no worker died"),
        (ledger_of(records=2), "2 records"),
        (ledger_of(bytes_in=2), "it sent 3 bytes and received 4"),
        (ledger_of(bytes_out=5), "it sent 3 bytes and received 4"),
        (ledger_of(reason="reset"), "no disturbance explains it"),
        (ledger_of(failure="reset", reason="reset"), "no disturbance explains it"),
        (
            ledger_of(failure="end", reason="connect_failed", disturbances=[Disturbance("kill", "a", 10, 11)]),
            "no disturbance",
        ),
        (ledger_of(failure="end", reason="no_server"), "no disturbance explains it"),
        (ledger_of(failure="end", reason="hold_timeout"), "no disturbance explains it"),
        (
            ledger_of(failure="reset", reason="reset", disturbances=[Disturbance("kill", "b", 10, 11)]),
            "no disturbance explains it",
        ),
        (
            ledger_of(failure="reset", reason="reset", disturbances=[Disturbance("kill", "a", 11.1, 12)]),
            "no disturbance explains it",
        ),
        (
            ledger_of(failure="reset", reason="reset", disturbances=[Disturbance("kill", "a", 8, 9.9)]),
            "no disturbance explains it",
        ),
        (ledger_of(failure="reset", records=0, disturbances=[Disturbance("death", "0", 12.5, 13)]), "no worker died"),
        (ledger_of(failure="reset", reason="server_down"), "no disturbance explains it"),
        (ledger_of(kind="rude", bytes_in=4), "4 bytes in, of 3 sent"),
        (ledger_of(kind="refused", reason="eof"), "served beyond the limit"),
        (ledger_of(client="127.1.0.1:5"), "a record of an unknown client"),
    ],
)
def test_what_must_not_be_is_found(ledger, complaint):
    assert any(complaint in each for each in judge(ledger)), judge(ledger)


@pytest.mark.parametrize(
    ("ledger", "fate"),
    [
        (
            ledger_of(failure="reset", reason="reset", disturbances=[Disturbance("kill", "a", 10.5, 10.6)]),
            "cut by server kill",
        ),
        (ledger_of(failure="end", disturbances=[Disturbance("kill", "a", 10.5, 10.6)]), "cut by server kill"),
        (
            ledger_of(failure="reset", reason="server_down", disturbances=[Disturbance("down", "a", 9, 12)]),
            "cut by server down",
        ),
        (
            ledger_of(failure="reset", records=0, disturbances=[Disturbance("death", "0", 11.5, 12)]),
            "cut with a worker that died",
        ),
        (ledger_of(kind="rude", reason="reset", bytes_in=1), "reset by their clients"),
        (ledger_of(kind="refused", reason="hold_timeout"), "refused beyond a limit"),
    ],
)
def test_what_was_done_to_a_session_accounts_for_its_end(ledger, fate):
    assert judge(ledger) == []
    assert fates(ledger) == {fate: 1}


def test_a_session_that_never_ended_is_found():
    ledger = Ledger()
    ledger.begin("short", 1.0)
    assert judge(ledger) == ["session 0 (short): it did not end"]


def test_what_its_server_has_cut_accounts_for_a_reset_but_for_no_orderly_end():
    for failure, complaints in (("reset", 0), (ORDERLY_END, 1)):
        ledger = ledger_of(failure=failure, reason="reset")
        ledger.report("a", "cut 0")
        assert len(judge(ledger)) == complaints


def test_an_orderly_end_that_a_server_saw_too_soon_is_accounted_for_by_the_death_of_a_worker_only():
    death = Disturbance("death", "0", 10.5, 10.6)
    for records, disturbances, complaints in ((1, [death], 1), (0, [death], 0)):
        ledger = ledger_of(kind="rude", records=records, disturbances=disturbances)
        ledger.report("a", "short 0")
        assert len(judge(ledger)) == complaints


@pytest.mark.parametrize(("ended", "dead", "complaints"), [(20, 0, 0), (25, 0, 1), (20, 1, 1)])
async def test_a_worker_takes_the_records_since_its_last_one_with_it(ended, dead, complaints):
    """A worker that was stopped, and killed more than six seconds later, had lost a record without a cause."""
    ledger = Ledger()
    balancer = RunningBalancer(Path(), ledger, {})

    def log(event, ago, **fields):
        when = datetime.now(UTC) - timedelta(seconds=ago)
        balancer._handle_line(json.dumps({"event": event, "timestamp": when.isoformat(), **fields}).encode())

    for worker in (0, 1):
        log("worker.started", 100, worker=worker, pid=worker)
    for number, since in ((1, 21), (2, 1)):
        with_record = ledger.begin("refused", trio.current_time() - since)
        with_record.ended = trio.current_time() - since
        client = f"{source_of(with_record.number)}:5"
        log("connection.closed", since, id=number, client=client, reason="hold_timeout")
    without_record = ledger.begin("short", trio.current_time() - 30)
    without_record.ended = trio.current_time() - ended
    log("worker.died", 0, worker=dead, pid=dead, reason="did not answer for 5 s")
    assert len(judge(ledger)) == complaints


def test_a_worker_that_was_frozen_may_learn_late_that_a_server_is_down():
    """It accepts clients first, and then closes what it has given to the server."""
    ledger = ledger_of(failure="reset", reason="server_down", disturbances=[Disturbance("down", "a", 5, 9)])
    assert any("no disturbance explains it" in each for each in judge(ledger))
    ledger.thawed(frozen=9.5, until=12)
    assert judge(ledger), "the worker was frozen later"
    ledger.thawed(frozen=8, until=12)
    assert judge(ledger) == []


def test_wrong_bytes_are_found_wherever_they_are_seen():
    ledger = ledger_of()
    ledger.report("a", "wrong 0 byte 5 is 0x00, not 0x01")
    assert judge(ledger) == ["wrong byte: session 0, at server a: byte 5 is 0x00, not 0x01"]


# The table


def test_the_table_fails_where_something_is_wrong():
    good = Outcome((), leases=(20, 0), open_at_stop=0, exit_code=0)
    assert not any(line.wrong for line in lines(ledger_of(), good))
    for bad in (
        Outcome((), leases=(19, 0), open_at_stop=0, exit_code=0),
        Outcome((), leases=(20, 1), open_at_stop=0, exit_code=0),
        Outcome((), leases=(20, 0), open_at_stop=1, exit_code=0),
        Outcome((), leases=(20, 0), open_at_stop=0, exit_code=1),
    ):
        assert len([line for line in lines(ledger_of(), bad) if line.wrong]) == 1
    broken = ledger_of(reason="reset")
    broken.wrong.append("x")
    broken.broken.append("y")
    assert len([line for line in lines(broken, good) if line.wrong]) == 3


@pytest.mark.parametrize(
    ("after", "complaint"),
    [
        (ProcessStats(11, 4, 30_000, 1), "more descriptors"),
        (ProcessStats(10, 66, 30_000, 1), "more descriptors"),
        (ProcessStats(10, 4, 30_000, 5), "more threads"),
        (ProcessStats(10, 4, 50_000, 1), "has grown"),
        (None, "no longer exists"),
    ],
)
def test_what_a_process_has_kept_is_found(after, complaint):
    before = ProcessStats(10, 4, 30_000, 1)
    assert not any(line.wrong for line in of_processes({"worker 0": before}, {"worker 0": before}))
    wrong = [
        line.wrong for line in of_processes({"worker 0": before}, {"worker 0": after} if after else {}) if line.wrong
    ]
    assert len(wrong) == 1
    assert complaint in wrong[0][0]


# The plan


def test_a_seed_gives_the_same_plan_and_another_seed_another():
    assert plan(1, 60, SERVERS) == plan(1, 60, SERVERS)
    assert plan(1, 60, SERVERS) != plan(2, 60, SERVERS)


def members(text):
    return {name for name in SERVERS if f'name = "{name}"' in text}


@given(st.integers(0, 10**6))
def test_at_each_moment_a_server_of_the_configuration_is_well(seed):
    configured, failing = set(SERVERS), {}
    for action in plan(seed, 60, SERVERS):
        if action.kind == "apply":
            configured = members(action.text)
        elif action.kind == "reject":
            taken = [name for name in SERVERS if f'bind = "${name}"' in action.text]
            assert not failing.keys() & taken, "its address may be free, and the configuration valid"
        elif action.kind in FAILURES:
            assert action.target not in failing
            failing[action.target] = FAILURES[action.kind]
        elif failing.get(action.target) == action.kind:
            del failing[action.target]
        assert configured - failing.keys()
    assert not failing, "something is still broken at the end"
    assert configured == set(SERVERS)


def test_actions_come_in_the_order_of_time_and_of_every_kind():
    actions = plan(3, 300, SERVERS)
    assert [action.at for action in actions] == sorted(action.at for action in actions)
    assert {action.kind for action in actions} >= {*FAILURES, "slow", "apply", "reject", "kill worker", "burst"}


# Configurations


@given(st.integers(0, 10**6), st.sets(st.sampled_from(SERVERS), min_size=1))
def test_valid_configurations_are_valid_and_have_these_servers(seed, names):
    config = parse(Template(configs.valid(random.Random(seed), names)).substitute(ADDRESSES), "lb.toml")
    assert {server.name for server in config.pools["web"].servers} == names
    assert all(isinstance(server, ServerSpec) for server in config.pools["web"].servers)


@given(st.integers(0, 10**6))
def test_invalid_configurations_would_be_refused_on_their_own_or_by_the_reload(seed):
    text = Template(configs.invalid(random.Random(seed), SERVERS, "a")).substitute(ADDRESSES)
    try:
        config = parse(text, "lb.toml")
    except ConfigError:
        return
    taken = {bind.text for listener in config.listeners.values() for bind in listener.bind} & {*ADDRESSES.values()}
    assert taken or config.process.workers != 2


# Bytes


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=50), st.integers(0, 49))
def test_every_change_of_a_stream_is_found(number, noise, place):
    talk = Talk(number, 2, 25, 25)
    assert Talk.of(talk.header) == talk
    good = talk.upload
    for bad in (good[:place] + good[place + 1 :], good[:place] + noise + good[place:], talk.download, good + noise):
        checked = Checked(good)
        assert checked.take(bad[:10]) or checked.take(bad[10:]) or not checked.complete or bad == good
    checked = Checked(good)
    assert [checked.take(good[:place]), checked.take(good[place:]), checked.complete] == ["", "", True]


def test_no_two_sessions_are_alike():
    assert Talk(1, 1, 8, 8).upload != Talk(2, 1, 8, 8).upload != Talk(2, 1, 8, 8).download


@given(st.integers(0, 2**23))
def test_a_session_is_known_by_its_address(number):
    assert number_of(f"{source_of(number)}:1234") == number


# Requests


def requests_of(*, records=1, disturbances=(), reports=(), request=None, **record):
    """Return a ledger of one request, from second 10 to 11, with an upload of 3 bytes and a response of 4."""
    ledger = Ledger(disturbances=list(disturbances))
    session = ledger.begin_request("single", 10.0, connection=1, connected=9.0)
    session.ended, session.up, session.sent, session.received = 11.0, 3, 3, 4
    session.status, session.is_answer, session.method = 200, True, "GET"
    for name, value in (request or {}).items():
        setattr(session, name, value)
    line = {"event": "http.request", "path": "/a/0/3/4/length", "server": "a", "attempts": [], **record}
    for _ in range(records):
        ledger.record({"reason": "ok", "status": 200, "bytes_in": 3, "bytes_out": 4, **line})
    for each in reports:
        ledger.report("a", each)
    return ledger


CUT = {"failure": "an unfinished response"}
FAILED = {"failure": "status 502", "status": 502, "is_answer": False}
BUSY = {"failure": "status 503", "status": 503}
POSTED = {"method": "POST"}
KILLED = Disturbance("kill", "a", 10.1, 10.2)


@pytest.mark.parametrize(
    ("ledger", "complaint"),
    [
        (requests_of(records=0), "no record, and no worker died"),
        (requests_of(records=2), "2 records"),
        (requests_of(status=502), "it succeeded"),
        (requests_of(reason="client_left"), "it succeeded"),
        (requests_of(bytes_in=2), "it sent 3 bytes"),
        (requests_of(bytes_out=3), "received 4"),
        (requests_of(request=CUT, reason="server_reset"), "nothing explains it"),
        (requests_of(request=CUT, reason="server_reset", server="b", disturbances=[KILLED]), "nothing explains it"),
        (requests_of(request=FAILED, reason="server_reset", status=502, disturbances=[KILLED]), "nothing explains it"),
        (requests_of(request=FAILED, reason="timeout", status=504), "nothing explains it"),
        (requests_of(request={**FAILED, **POSTED}, reason="server_reset", status=502), "nothing explains it"),
        (requests_of(request={**FAILED, **POSTED}, reason="no_server", disturbances=[KILLED]), "nothing explains it"),
        (requests_of(request=BUSY, status=503), "nothing explains it"),
        (requests_of(request={"unserved": True, "closed_before": True}), "served, though"),
        (requests_of(path="/a/1/3/4/length"), "a record of an unknown client"),
    ],
)
def test_what_must_not_become_of_a_request_is_found(ledger, complaint):
    assert any(complaint in each for each in judge(ledger)), judge(ledger)


@pytest.mark.parametrize(
    ("ledger", "fate"),
    [
        (requests_of(), "responses"),
        (requests_of(request=CUT, reason="server_reset", disturbances=[KILLED]), "a busy or failing server"),
        (requests_of(request=CUT, reason="server_reset", reports=["cut 0"]), "a busy or failing server"),
        (requests_of(request={**FAILED, **POSTED}, reason="server_reset", disturbances=[KILLED]), "failed with 502"),
        (requests_of(request={**BUSY, **POSTED}, status=503), "a busy or failing server"),
        (
            requests_of(request=BUSY, status=503, disturbances=[Disturbance("kill", "b", 8, 9)]),
            "a busy or failing server",
        ),
        (requests_of(records=0, request=CUT, disturbances=[Disturbance("death", "0", 9.5, 9.6)]), "a worker that died"),
        (requests_of(records=0, request={"unserved": True, "closed_before": True}), "behind a closed connection"),
        (requests_of(records=0, request={"rude": True}), "reset by their clients"),
    ],
)
def test_what_was_done_to_a_request_accounts_for_its_end(ledger, fate):
    assert judge(ledger) == []
    assert [each for each in fates(ledger) if fate in each]


@given(st.integers(0, 10**6), st.integers(0, 30_000), st.sampled_from(FRAMINGS), st.booleans())
def test_a_server_reads_the_request_that_a_client_has_made(number, size, framing, chunked):
    ask = Ask(number, "PUT", size, 5, framing, chunked)
    reader = h11.Connection(h11.SERVER)
    reader.receive_data(ask.request(close=False))
    request, data = reader.next_event(), []
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        data.append(event)
    assert Ask.of(request.method, request.target) == ask._replace(chunked=False)
    assert b"".join(bytes(each.data) for each in data) == ask.upload
    assert number_in(request.target.decode()) == number
