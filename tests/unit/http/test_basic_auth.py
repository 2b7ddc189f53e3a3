"""``auth``: who passes, what a check costs whom, and what is remembered."""

from __future__ import annotations

import base64
from types import SimpleNamespace

import pytest
import trio

from lb.http import password_checks
from lb.http.basic_auth import BasicAuth
from lb.http.password_checks import (
    LONGEST_WAIT,
    MOST_REMEMBERED,
    MOST_THREADS,
    PAUSE_AFTER,
    PER_SOURCE,
    REMEMBERED_FOR,
    TOTAL,
    PasswordChecks,
)
from lb.http.user_list import UserList
from lb.model import Secret, UsersSpec
from tests.support.balancer import PATIENCE
from tests.support.exchanges import FakeExchange, request_head

COST = 0.25
"""Seconds that a check takes in FakeThreads."""


class FakeThreads:
    """Takes COST seconds for each call, of which it makes any number at a time."""

    def __init__(self):
        self.calls = []
        self.running = self.most = 0

    async def run(self, function, *args):
        self.calls.append(args)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.sleep(COST)
        finally:
            self.running -= 1
        return function(*args)


@pytest.fixture
def threads(monkeypatch):
    threads = FakeThreads()
    monkeypatch.setattr(password_checks, "_threads", threads)
    monkeypatch.setattr(
        password_checks, "verify", lambda password, password_hash: password_hash.endswith(f"|{password.decode()}")
    )
    monkeypatch.setattr("lb.http.user_list.load_verifier", lambda password_hash: None)
    return threads


@pytest.fixture
def checks():
    return PasswordChecks(SimpleNamespace(clock=trio.current_time))


def users(**passwords):
    """Return users whose hashes FakeThreads knows: the password follows a bar."""
    return UsersSpec(
        "staff", "staff only", "staff.htpasswd", tuple((u, Secret(f"#|{p}")) for u, p in passwords.items())
    )


def step_of(spec, checks):
    return BasicAuth(UserList(spec, checks), spec.realm)


def basic(user, password, scheme=b"Basic"):
    return b"Authorization: %b %b" % (scheme, base64.b64encode(f"{user}:{password}".encode()))


@pytest.fixture
def ask(nursery, checks):
    """Return a function that sends a request to a step, and returns what becomes of it, which may take a while."""

    def ask(step, *lines, client="192.0.2.1"):
        exchange = FakeExchange(request_head(*lines), client=client, nursery=nursery)
        if step.begin(exchange):
            exchange.passed()
        return exchange

    return ask


CHALLENGE = {b"WWW-Authenticate": b'Basic realm="staff only", charset="UTF-8"'}


@pytest.mark.parametrize(
    "line",
    [
        b"X: y",
        b"Authorization: Bearer YTpi",
        b"Authorization: Basic",
        b"Authorization: Basic YW5u!",
        b"Authorization: Basic " + base64.b64encode(b"no colon"),
        b"Authorization: Basic " + base64.b64encode(b"ann:pass\0word"),
        b"Authorization: Basic " + base64.b64encode(b"ann:" + b"x" * 1021),
    ],
)
async def test_without_valid_credentials_there_is_a_challenge_and_no_check(line, ask, checks, threads):
    answer = ask(step_of(users(ann="sesame"), checks), line).answer
    assert (answer.status, answer.reason, answer.fields) == (401, "auth", CHALLENGE)
    assert threads.calls == []


async def test_a_file_without_users_lets_nobody_pass(ask, checks):
    assert ask(step_of(users(), checks), basic("ann", "sesame")).answer.status == 401


async def test_the_right_password_passes_and_is_then_remembered(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame:with:colons", bob="ünï"), checks)
    for credentials in (basic("ann", "sesame:with:colons"), basic("bob", "ünï", scheme=b"bAsIc")):
        assert await ask(step, credentials).outcome() == "passed"
        assert ask(step, credentials).passes == 1
    assert len(threads.calls) == 2


async def test_a_wrong_password_is_refused_and_then_remembered(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame"), checks)
    first = ask(step, basic("ann", "simsalabim"))
    assert await first.outcome() == 401
    assert first.answer.fields == CHALLENGE
    assert ask(step, basic("ann", "simsalabim")).answer.status == 401
    assert len(threads.calls) == 1


async def test_a_result_is_remembered_for_a_minute_and_a_right_one_as_long_as_it_is_used(
    ask, checks, threads, autojump_clock
):
    step = step_of(users(ann="sesame"), checks)
    await ask(step, basic("ann", "sesame")).outcome()
    await ask(step, basic("ann", "wrong")).outcome()
    await trio.sleep(REMEMBERED_FOR - 1)
    assert ask(step, basic("ann", "sesame")).passes
    assert ask(step, basic("ann", "wrong")).answer
    await trio.sleep(2)
    assert ask(step, basic("ann", "sesame")).passes
    assert not ask(step, basic("ann", "wrong")).answer
    await trio.sleep(REMEMBERED_FOR)
    assert not ask(step, basic("ann", "sesame")).passes


async def test_after_a_reload_a_changed_password_counts_and_the_others_are_still_known(
    ask, checks, threads, autojump_clock
):
    before = step_of(users(ann="old", bob="same", eve="gone"), checks)
    for user, password in (("ann", "old"), ("bob", "same"), ("eve", "gone")):
        assert await ask(before, basic(user, password)).outcome() == "passed"
    after = step_of(users(ann="new", bob="same"), checks)
    assert ask(after, basic("bob", "same")).passes
    assert await ask(after, basic("ann", "old")).outcome() == 401
    assert await ask(after, basic("ann", "new")).outcome() == "passed"
    assert await ask(after, basic("eve", "gone")).outcome() == 401


async def test_an_unknown_user_costs_a_check_and_never_passes(ask, checks, threads, autojump_clock):
    """Also with the password of the user whose hash is used for the time it takes."""
    step = step_of(users(ann="sesame"), checks)
    for password in ("sesame", "wrong"):
        assert await ask(step, basic("nobody", password)).outcome() == 401
        assert ask(step, basic("nobody", password)).answer.status == 401
    assert threads.calls == [(b"sesame", "#|sesame"), (b"wrong", "#|sesame")]
    assert not ask(step, basic("ann", "sesame")).passes, "what one user's check found is not another's"


async def test_equal_checks_at_the_same_time_are_one(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame"), checks)
    asked = [ask(step, basic("ann", "sesame"), client=f"192.0.2.{number}") for number in range(100)]
    assert [await each.outcome() for each in asked] == ["passed"] * 100
    assert len(threads.calls) == 1


async def test_if_the_client_leaves_whose_check_others_wait_for_they_get_their_answer(
    ask, checks, threads, autojump_clock
):
    step = step_of(users(ann="sesame"), checks)
    first, *others = [ask(step, basic("ann", "sesame")) for _ in range(3)]
    await trio.sleep(COST / 2)
    first.leave()
    assert [await each.outcome() for each in others] == ["passed"] * 2
    assert first.passes == 0


async def test_a_flood_of_one_client_delays_no_known_one_and_a_new_one_by_a_check(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame", bob="secret"), checks)
    await ask(step, basic("ann", "sesame"), client="198.51.100.1").outcome()
    flood = [ask(step, basic("ann", f"guess {number}")) for number in range(100)]
    await trio.sleep(COST / 2)
    assert ask(step, basic("ann", "sesame"), client="198.51.100.1").passes
    start = trio.current_time()
    assert await ask(step, basic("bob", "secret"), client="198.51.100.2").outcome() == "passed"
    assert trio.current_time() - start <= 2 * COST
    statuses = [await each.outcome() for each in flood]
    assert statuses.count(401) == PER_SOURCE
    assert statuses.count(429) == 100 - PER_SOURCE
    assert {each.answer.reason for each in flood} == {"auth"}
    assert {b"Retry-After": b"1"} in [each.answer.fields for each in flood]


async def test_one_client_uses_one_thread(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame"), checks)
    for each in [ask(step, basic("ann", str(number)), client=f"2001:db8::{number}") for number in range(PER_SOURCE)]:
        await each.outcome()
    assert threads.most == 1
    for each in [ask(step, basic("ann", str(number + 100)), client=f"192.0.2.{number}") for number in range(9)]:
        await each.outcome()
    assert threads.most == MOST_THREADS


async def test_a_flood_of_many_clients_is_refused_in_bounded_time(ask, checks, threads, autojump_clock):
    step = step_of(users(ann="sesame"), checks)
    start = trio.current_time()
    flood = [
        ask(step, basic("ann", str(number)), client=f"10.0.{number >> 8}.{number & 255}") for number in range(1000)
    ]
    statuses = [await each.outcome() for each in flood]
    assert trio.current_time() - start <= LONGEST_WAIT + 2 * COST
    in_time = MOST_THREADS * int(LONGEST_WAIT / COST)
    assert in_time <= statuses.count(401) <= in_time + MOST_THREADS < TOTAL
    assert statuses.count(503) == 1000 - statuses.count(401)
    assert (checks._turns._members, checks._turns._sources) == (0, {})
    assert await ask(step, basic("ann", "sesame"), client="192.0.2.9").outcome() == "passed"


async def test_a_flood_pushes_out_no_known_client_and_takes_bounded_memory(checks, ask, threads, autojump_clock):
    step = step_of(users(ann="sesame"), checks)
    await ask(step, basic("ann", "sesame")).outcome()
    for number in range(2 * MOST_REMEMBERED):
        checks._wrong.add(str(number).encode(), trio.current_time())
    assert ask(step, basic("ann", "sesame")).passes
    assert len(checks._wrong._times) == MOST_REMEMBERED


async def test_what_is_remembered_of_a_minute_ago_is_dropped(checks, autojump_clock):
    for number in range(100):
        checks._wrong.add(str(number).encode(), trio.current_time())
        await trio.sleep(1)
    assert len(checks._wrong._times) == REMEMBERED_FOR


async def test_a_check_that_holds_the_interpreter_is_followed_by_a_rest(
    ask, checks, threads, monkeypatch, autojump_clock
):
    monkeypatch.setattr(password_checks, "holds_interpreter", lambda password_hash: True)
    step = step_of(users(ann="sesame"), checks)
    start = trio.current_time()
    for each in [ask(step, basic("ann", str(number))) for number in range(4)]:
        await each.outcome()
    assert trio.current_time() - start == pytest.approx(4 * COST + 4 * PAUSE_AFTER)


async def test_a_check_that_fails_is_a_fault_of_its_request_alone(checks, threads, monkeypatch, autojump_clock):
    def fail(password, password_hash):
        raise MemoryError

    monkeypatch.setattr(password_checks, "verify", fail)
    with pytest.raises(MemoryError):
        await checks.check(b"key", b"password", "#|hash", "192.0.2.1")
    assert checks.remembered(b"key") is None
    assert b"key" not in checks._under_way


async def test_a_real_hash_is_checked_in_a_thread_once(ask, checks):
    password_hash = "$2y$10$cG5ElOYvjIIJwswS.gkQvOG/M5ZduDCs6esq5iw/wfK1l7fzAM2C2"
    step = step_of(UsersSpec("staff", "staff", "f", (("ann", Secret(password_hash)),)), checks)
    with trio.fail_after(PATIENCE):
        assert await ask(step, basic("ann", "sesame")).outcome() == "passed"
        assert await ask(step, basic("ann", "wrong")).outcome() == 401
    assert ask(step, basic("ann", "sesame")).passes
    assert ask(step, basic("ann", "wrong")).answer.status == 401
