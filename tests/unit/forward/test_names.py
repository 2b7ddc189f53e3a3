"""Host names: who is told what, how long it is kept, and how many are looked up at the same time."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

import pytest
import trio
import trio.testing

from lb.forward import names as module
from lb.forward.both_families import FoundAddresses
from lb.forward.names import Names, name_source
from lb.net.errors import UnresolvedError
from lb.proxy.context import ConnectionContext
from tests.support.splicing import running_splicer

V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")


class FakeSource:
    """Answers when a test says so."""

    def __init__(self):
        self.asked = Counter()
        self.found = {}
        self._ends = {}

    async def look_up(self, host, found):
        self.asked[host] += 1
        self.found[host] = found
        send, receive = trio.open_memory_channel(1)
        self._ends[host] = send
        error = await receive.receive()
        if error is not None:
            raise error

    async def has(self, host, *addresses, ttl=60.0, more=False):
        await trio.testing.wait_all_tasks_blocked()
        self.found[host](FoundAddresses(addresses, ttl))
        if not more:
            await self.ends(host)

    async def ends(self, host, error=None):
        await trio.testing.wait_all_tasks_blocked()
        self._ends[host].send_nowait(error)
        await trio.testing.wait_all_tasks_blocked()


class Asking:
    def __init__(self, names, host):
        self.answers = []
        self.names = names
        self.look_up = names.look_up(host, self.answers.append)
        assert not self.answers, "told inside of look_up"

    @property
    def answer(self):
        (answer,) = self.answers
        return answer


@pytest.fixture
def source():
    return FakeSource()


@pytest.fixture
async def bench(autojump_clock, source):
    name_source.set(source)
    async with running_splicer() as bench:
        yield bench
        await trio.sleep(10)  # what is under way ends
        assert bench.descriptors.used == 0


@pytest.fixture
def names(bench):
    context = ConnectionContext(
        splicer=bench.splicer,
        descriptors=bench.descriptors,
        deadlines=bench.deadlines,
        disconnects=None,
        sink=lambda event: None,
    )
    return context.of_mode(Names)


async def test_all_who_ask_for_a_name_get_the_answer_of_one_look_up(autojump_clock, names, source):
    asking = [Asking(names, "web.test") for _ in range(5)]
    await source.has("web.test", V6, V4)
    assert {each.answer.addresses for each in asking} == {(V6, V4)}
    assert source.asked == {"web.test": 1}
    assert names.known("web.test") is asking[0].answer


@pytest.mark.parametrize(
    ("ttl", "kept"), [(0, 1), (1, 1), (60, 60), pytest.param(86_400, 3600, marks=pytest.mark.slow)]
)
async def test_addresses_are_kept_for_their_ttl_within_bounds(autojump_clock, names, source, ttl, kept):
    asking = Asking(names, "web.test")
    await source.has("web.test", V4, ttl=ttl)
    assert asking.answer.until == trio.current_time() + kept
    await trio.sleep(kept - 0.001)
    assert names.known("web.test").addresses == (V4,)
    await trio.sleep(0.001)
    assert names.known("web.test") is None


@pytest.mark.parametrize(
    ("error", "failure", "kept"),
    [
        (UnresolvedError("not_found", "no such name"), "not_found", 10),
        (UnresolvedError("failed", "SERVFAIL from 10.0.0.53:53"), "failed", 1),
        (UnresolvedError("timeout", "no answer in 5 s"), "timeout", 1),
        (PermissionError(13, "Permission denied"), "failed", 1),
    ],
)
async def test_a_failure_is_told_and_kept_for_a_while(autojump_clock, names, source, error, failure, kept):
    asking = Asking(names, "web.test")
    await source.ends("web.test", error)
    assert (asking.answer.addresses, asking.answer.failure) == ((), failure)
    assert asking.answer.error.lower() == str(error.strerror or error).lower()
    await trio.sleep(kept - 0.001)
    assert names.known("web.test") is asking.answer
    await trio.sleep(0.001)
    assert names.known("web.test") is None


async def test_silence_is_a_failure_after_5_seconds(autojump_clock, names):
    asking = Asking(names, "silent.test")
    await trio.sleep(4.999)
    assert not asking.answers
    await trio.sleep(0.002)
    assert (asking.answer.failure, asking.answer.error) == ("timeout", "no answer in 5 s")


async def test_late_addresses_are_added_for_those_who_ask_later(autojump_clock, names, source):
    asking = Asking(names, "web.test")
    await source.has("web.test", V4, more=True)
    assert asking.answer.addresses == (V4,)
    await source.has("web.test", V6, V4)
    assert names.known("web.test").addresses == (V6, V4)
    assert len(asking.answers) == 1


async def test_a_name_may_be_asked_for_again_while_late_addresses_are_waited_for(autojump_clock, names, source):
    Asking(names, "web.test")
    await source.has("web.test", V4, ttl=1, more=True)
    late = source.found["web.test"]
    await trio.sleep(1.5)
    again = Asking(names, "web.test")
    await source.has("web.test", V6)
    late(FoundAddresses((V4,), 60))
    assert names.known("web.test") is again.answer
    assert source.asked["web.test"] == 2


async def test_who_has_given_up_is_not_told_and_the_others_are(autojump_clock, names, source):
    gone, waiting = Asking(names, "web.test"), Asking(names, "web.test")
    gone.look_up.cancel()
    await source.has("web.test", V4)
    assert (gone.answers, waiting.answer.addresses) == ([], (V4,))


async def test_a_bug_in_one_who_is_told_is_reported_and_reaches_no_other(autojump_clock, names, source, bench):
    def broken(answer):
        raise ValueError("bug")

    names.look_up("web.test", broken)
    waiting = Asking(names, "web.test")
    await source.has("web.test", V4)
    assert waiting.answer.addresses == (V4,)
    assert [str(exception) for _, exception in bench.faults] == ["bug"]
    bench.faults.clear()


async def test_a_source_that_raises_fails_this_name_alone(autojump_clock, names, source, bench):
    asking, other = Asking(names, "web.test"), Asking(names, "other.test")
    await source.ends("web.test", ValueError("bug"))
    assert (asking.answer.failure, asking.answer.error) == ("failed", "ValueError")
    await source.has("other.test", V4)
    assert other.answer.addresses == (V4,)
    assert len(bench.faults) == 1
    bench.faults.clear()


async def test_names_that_nobody_asks_for_are_forgotten_first(autojump_clock, names, source, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT_NAMES", 3)
    for host in "abc":
        Asking(names, host)
        await source.has(host, V4)
    assert names.known("a")
    Asking(names, "d")
    await source.has("d", V4)
    assert [host for host in "abcd" if names.known(host)] == ["a", "c", "d"]


async def test_at_most_so_many_addresses_of_a_name_are_kept(autojump_clock, names, source):
    asking = Asking(names, "web.test")
    await source.has("web.test", *(V4 + number for number in range(1000)))
    assert len(asking.answer.addresses) == module.MOST_ADDRESSES


async def test_silent_names_give_way_to_others(autojump_clock, names, source, monkeypatch):
    monkeypatch.setattr(module, "MOST_LOOK_UPS", 3)
    silent = [Asking(names, f"silent{number}.test") for number in range(3)]
    refused = Asking(names, "web.test")
    await trio.testing.wait_all_tasks_blocked()
    assert (refused.answer.failure, refused.answer.error) == ("failed", "too many look-ups")
    assert names.known("web.test") is None
    await trio.sleep(1)
    asking = Asking(names, "web.test")
    await source.has("web.test", V4)
    assert asking.answer.addresses == (V4,)
    assert [len(each.answers) for each in silent] == [1, 0, 0]
    assert silent[0].answer.error == "too many look-ups"
    assert names.known("silent0.test") is None


async def test_a_look_up_needs_descriptors(autojump_clock, names, bench):
    bench.descriptors.take(bench.descriptors.limit - 3)
    first, second = Asking(names, "a.test"), Asking(names, "b.test")
    await trio.testing.wait_all_tasks_blocked()
    assert (first.answers, second.answer.error) == ([], "too many look-ups")
    bench.descriptors.give(bench.descriptors.limit - 3)


async def test_without_a_source_the_systems_names_are_used(autojump_clock, bench):
    name_source.set(None)
    context = ConnectionContext(
        splicer=bench.splicer, descriptors=bench.descriptors, deadlines=bench.deadlines, disconnects=None, sink=print
    )
    names = Names(context)
    source = await names._load()
    assert type(source).__name__ == "SystemNames"
    assert names._source is source
