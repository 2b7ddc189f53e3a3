"""The discovery tasks, with a fake DNS client and a clock that jumps."""

from __future__ import annotations

import json

import pytest
import trio

from lb.config.load import parse
from lb.discovery.dns import MORE_DELAY
from lb.discovery.dns_records import DnsAnswer, DnsQuestion, Failure, Service
from lb.discovery.watcher import FIRST_LOOK, Discovery
from lb.events import DiscoveryFailed, DiscoveryRestored, Fault


class Names:
    """A DNS client for :class:`Discovery`. Unknown names are never answered."""

    def __init__(self):
        self.answers = {}
        self.lags = {}
        self.asked = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, question, nameservers):
        self.asked.append((trio.current_time(), question, nameservers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await trio.sleep(self.lags.get(question, 0.01))
            if question not in self.answers:
                await trio.sleep_forever()
            answer = self.answers[question]
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self.under_way -= 1

    def has(self, name, *addresses, ttl=10):
        self.answers[DnsQuestion(name, "A")] = DnsAnswer(addresses, ttl)
        self.answers[DnsQuestion(name, "AAAA")] = DnsAnswer((), ttl)

    def times(self, kind="A"):
        return [at for at, question, _ in self.asked if question.kind == kind]


class World:
    def __init__(self, nursery, observer=lambda event: None):
        self.names = Names()
        self.events = []
        self.observer = observer
        self.discovery = Discovery(nursery, self.sink, self.new_client)

    def sink(self, event):
        self.events.append(event)
        self.observer(event)

    async def new_client(self):
        return self.names

    def servers(self, config, pool="web"):
        """Return the servers that do not drain."""
        held = self.discovery.held(config)
        servers = self.discovery.complete(config).pools[pool].servers
        return [server.name for server in servers if (pool, server.name) not in held]


@pytest.fixture
def world(nursery):
    return World(nursery)


def config(*servers, more=""):
    return parse(f'listeners.web.bind = ":1"\n[pools.web]\nservers = [{", ".join(servers)}]\n{more}', "lb.toml")


WEB = '{ dns = "web.internal", port = 80 }'
SRV = '{ dns = "_x._tcp.web" }'
AAAA = DnsQuestion("web.internal", "AAAA")


async def test_a_start_waits_for_the_first_look_and_no_longer(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    start = trio.current_time()
    await world.discovery.begin(config(WEB))
    assert trio.current_time() - start == pytest.approx(0.01)
    assert world.servers(config(WEB)) == ["10.0.0.1:80"]
    assert not world.events


async def test_a_start_waits_two_seconds_for_all_that_do_not_answer(world, autojump_clock):
    both = config(WEB, SRV, '{ dns = "other.internal", port = 80 }')
    world.names.has("other.internal", "10.0.0.1")
    start = trio.current_time()
    await world.discovery.begin(both)
    assert trio.current_time() - start == FIRST_LOOK
    errors = ("no answer in 2 s, still waiting",)
    assert world.events == [
        DiscoveryFailed("web", "dns web.internal:80", errors, 0),
        DiscoveryFailed("web", "dns _x._tcp.web", errors, 0),
    ]
    assert world.servers(both) == ["10.0.0.1:80"]


async def test_a_reload_does_not_wait_for_what_is_known(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    await world.discovery.begin(config(WEB))
    world.names.answers.clear()
    start = trio.current_time()
    await world.discovery.begin(config('"10.0.0.9:80"', WEB))
    assert trio.current_time() == start


async def test_a_successor_begins_with_what_was_known_and_waits_for_nobody(world, nursery, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", "10.0.0.2")
    await world.discovery.begin(config(WEB))
    handed = json.loads(json.dumps(world.discovery.as_json()))
    successor = World(nursery)  # whose name server answers nothing
    start = trio.current_time()
    await successor.discovery.begin(config(WEB), handed)
    assert trio.current_time() == start
    assert successor.servers(config(WEB)) == ["10.0.0.1:80", "10.0.0.2:80"]
    await trio.sleep(60)
    assert not successor.events


async def test_a_successor_replaces_what_was_known_by_the_first_answer(world, nursery, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    await world.discovery.begin(config(WEB))
    successor = World(nursery)
    successor.names.has("web.internal", "10.0.0.3")
    await successor.discovery.begin(config(WEB), world.discovery.as_json())
    assert successor.servers(config(WEB)) == ["10.0.0.1:80"]
    await trio.sleep(1)
    assert successor.servers(config(WEB)) == ["10.0.0.3:80"]


async def test_a_query_that_fails_in_the_successor_keeps_the_answer_of_the_predecessor(world, nursery, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    world.names.answers[AAAA] = DnsAnswer(("2001:db8::1",), 10)
    world.names.answers[DnsQuestion("_x._tcp.web", "SRV")] = DnsAnswer((Service(1, 1, 80, "web.internal"),), 10)
    both = config(WEB, SRV)
    await world.discovery.begin(both)
    handed = json.loads(json.dumps(world.discovery.as_json()))
    successor = World(nursery)
    successor.names.answers = {**world.names.answers, AAAA: Failure("refused")}
    await successor.discovery.begin(both, handed)
    for _ in range(20):
        assert successor.servers(both) == ["10.0.0.1:80", "[2001:db8::1]:80"]
        await trio.sleep(0.3)
    assert {event.errors for event in successor.events} == {("web.internal AAAA: refused",)}


async def test_a_source_that_has_never_answered_is_not_handed_over(world, autojump_clock):
    await world.discovery.begin(config(WEB))
    assert world.discovery.as_json() == []


async def test_a_successor_with_other_sources_waits_for_these(world, nursery, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    await world.discovery.begin(config(WEB))
    successor = World(nursery)
    other = config('{ dns = "other.internal", port = 80 }')
    successor.names.has("other.internal", "10.0.0.2")
    await successor.discovery.begin(other, world.discovery.as_json())
    assert successor.servers(other) == ["10.0.0.2:80"]


async def test_the_ttl_says_when_to_look_again(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=10)
    start = trio.current_time()
    await world.discovery.begin(config(WEB))
    await trio.sleep(25)
    assert [at - start for at in world.names.times()] == pytest.approx([0, 10.01, 20.02])


async def test_a_failure_is_tried_again_soon_and_keeps_the_set(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=10)
    await world.discovery.begin(config(WEB))
    await world.discovery.news()
    world.names.answers[DnsQuestion("web.internal", "A")] = Failure("SERVFAIL")
    await trio.sleep(15)
    assert world.servers(config(WEB)) == ["10.0.0.1:80"]
    assert world.events == [DiscoveryFailed("web", "dns web.internal:80", ("web.internal A: SERVFAIL",), 1)]
    assert len(world.names.times()) == 4, "two seconds between tries"
    assert world.discovery.failures == {"web": 3}
    world.names.has("web.internal", "10.0.0.2")
    with trio.fail_after(5):
        await world.discovery.news()
    assert isinstance(world.events[-1], DiscoveryRestored)
    assert world.servers(config(WEB)) == ["10.0.0.2:80"]


async def test_there_is_news_only_when_the_set_changes(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", "10.0.0.2")
    await world.discovery.begin(config(WEB))
    await world.discovery.news()
    world.names.has("web.internal", "10.0.0.2", "10.0.0.1")
    with trio.move_on_after(100) as scope:
        await world.discovery.news()
    assert scope.cancelled_caught, "another order of the same addresses is no news"


async def test_services_are_looked_up_and_then_their_targets_some_at_once(world, autojump_clock):
    targets = [f"t{number}" for number in range(30)]
    services = tuple(Service(0, 0, 80, target) for target in targets)
    world.names.answers[DnsQuestion("_x._tcp.web", "SRV")] = DnsAnswer((*services, Service(0, 0, 80, "")), 10)
    for number, target in enumerate(targets):
        world.names.has(target, f"10.0.0.{number + 1}")
    await world.discovery.begin(config(SRV))
    assert len(world.servers(config(SRV))) == 30
    assert world.names.most_under_way == 16
    assert len(world.names.asked) == 61


async def test_a_target_that_fails_keeps_its_address(world, autojump_clock):
    world.names.answers[DnsQuestion("_x._tcp.web", "SRV")] = DnsAnswer(
        (Service(0, 0, 80, "a"), Service(0, 0, 80, "b")), 1
    )
    world.names.has("a", "10.0.0.1", ttl=1)
    world.names.has("b", "10.0.0.2", ttl=1)
    await world.discovery.begin(config(SRV))
    world.names.has("a", "10.0.0.3", ttl=1)
    world.names.answers[DnsQuestion("b", "A")] = Failure("no such name")
    await trio.sleep(3)
    assert world.servers(config(SRV)) == ["10.0.0.2:80", "10.0.0.3:80"]


async def test_who_asks_what_never_ends_is_not_in_the_way_of_others(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=1)
    await world.discovery.begin(config(WEB, SRV))
    asked = len(world.names.times())
    await trio.sleep(10)
    assert len(world.names.times()) >= asked + 9


async def test_sources_that_left_are_not_asked_any_more_and_forgotten(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=1)
    await world.discovery.begin(config(WEB))
    world.discovery.keep_to(config('"10.0.0.9:80"'))
    asked = len(world.names.asked)
    await trio.sleep(10)
    assert len(world.names.asked) == asked
    assert world.servers(config(WEB)) == []


async def test_other_name_servers_are_asked_while_what_was_found_stays(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=100)
    await world.discovery.begin(config(WEB))
    other = config(WEB, more='nameservers = ["10.0.0.53", "::1"]')
    await world.discovery.begin(other)
    world.names.answers.clear()
    world.discovery.keep_to(other)
    await trio.sleep(1)
    assert [str(each) for each in world.names.asked[-1][2]] == ["10.0.0.53:53", "[::1]:53"]
    assert world.servers(other) == ["10.0.0.1:80"]


async def test_a_fault_of_the_library_costs_a_look_and_is_said(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=1)
    await world.discovery.begin(config(WEB))
    world.names.answers[DnsQuestion("web.internal", "A")] = ZeroDivisionError("a bug")
    await trio.sleep(2)
    fault, failed = world.events[:2]
    assert isinstance(fault, Fault)
    assert fault.where == "pool web: dns web.internal:80"
    assert failed.errors == ("ExceptionGroup",)
    assert world.servers(config(WEB)) == ["10.0.0.1:80"]


async def test_one_family_without_an_answer_does_not_delay_the_other_and_is_said_once(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1", ttl=1)
    world.names.answers[AAAA], world.names.lags[AAAA] = Failure("no answer in 5 s"), 5.0
    start = trio.current_time()
    await world.discovery.begin(config(WEB))
    assert trio.current_time() - start == pytest.approx(0.01 + MORE_DELAY)
    assert world.servers(config(WEB)) == ["10.0.0.1:80"]
    assert not world.events
    await trio.sleep(60)
    error = ("web.internal AAAA: no answer in 5 s",)
    assert world.events == [DiscoveryFailed("web", "dns web.internal:80", error, 1)]


async def test_a_family_that_answers_later_is_used_then(world, autojump_clock):
    world.names.has("web.internal", "10.0.0.1")
    world.names.answers[AAAA], world.names.lags[AAAA] = DnsAnswer(("fd00::1",), 10), 0.5
    await world.discovery.begin(config(WEB))
    await world.discovery.news()
    assert world.servers(config(WEB)) == ["10.0.0.1:80"]
    await world.discovery.news()
    assert world.servers(config(WEB)) == ["10.0.0.1:80", "[fd00::1]:80"]


@pytest.mark.parametrize(("family", "kind"), [("ipv4", "A"), ("ipv6", "AAAA")])
async def test_only_the_wanted_family_is_asked_for(world, autojump_clock, family, kind):
    world.names.answers[DnsQuestion("web.internal", kind)] = DnsAnswer(("10.0.0.1",), 10)
    await world.discovery.begin(config(f'{{ dns = "web.internal", port = 80, family = "{family}" }}'))
    assert {question.kind for _, question, _ in world.names.asked} == {kind}


@pytest.mark.parametrize(
    ("hold", "ttl", "seconds"), [("", 10, 60), ("", 100, 200), (', hold = "5s"', 100, 5), (', hold = "0"', 10, 0)]
)
async def test_a_server_whose_record_has_vanished_drains_for_its_hold(world, autojump_clock, hold, ttl, seconds):
    web = config(f'{{ dns = "web.internal", port = 80{hold} }}')
    world.names.has("web.internal", "10.0.0.1", "10.0.0.2", ttl=ttl)
    await world.discovery.begin(web)
    await world.discovery.news()
    world.names.has("web.internal", "10.0.0.1", ttl=ttl)
    await world.discovery.news()
    gone = trio.current_time()
    assert world.servers(web) == ["10.0.0.1:80"]
    if seconds:
        assert world.discovery.held(web) == {("web", "10.0.0.2:80")}
        await world.discovery.news()
        assert trio.current_time() - gone == pytest.approx(seconds)
    assert not world.discovery.held(web)
    assert [server.name for server in world.discovery.complete(web).pools["web"].servers] == ["10.0.0.1:80"]


# Files


def in_file(path):
    return parse(f'listeners.web.bind = ":1"\npools.web.servers_file = "{path}"', "lb.toml")


@pytest.fixture
def quick_looks(monkeypatch):
    monkeypatch.setattr("lb.discovery.file.FILE_INTERVAL", 0.01)
    monkeypatch.setattr("lb.discovery.file.SETTLED", 0.01)


@pytest.mark.usefixtures("quick_looks")
async def test_a_file_is_read_and_read_again(tmp_path, nursery):
    world, path = World(nursery), tmp_path / "list"
    path.write_text("10.0.0.1:80\n")
    with trio.fail_after(10):
        await world.discovery.begin(in_file(path))
        assert world.servers(in_file(path)) == ["10.0.0.1:80"]
        await world.discovery.news()
        for text in ("10.0.0.2:80\n", "10.0.0.3:80 weight=2\n10.0.0.2:80\n"):
            path.write_text(text)
            await world.discovery.news()
            assert world.servers(in_file(path)) == [line.split()[0] for line in text.splitlines()]
    assert not world.events


@pytest.mark.usefixtures("quick_looks")
async def test_what_is_no_list_keeps_the_last_one(tmp_path, nursery):
    reported = trio.Event()
    world, path = World(nursery, lambda _event: reported.set()), tmp_path / "list"
    path.write_text("10.0.0.1:80\n")
    with trio.fail_after(10):
        await world.discovery.begin(in_file(path))
        await world.discovery.news()
        path.unlink()
        path.mkdir()
        await reported.wait()
        (failed,) = world.events
        assert (failed.source, failed.servers) == (f"file {path}", 1)
        assert failed.errors[0].startswith(f"{path}: cannot be read: ")
        path.rmdir()
        path.write_text("10.0.0.1:80\n10.0.0.2:80\n")
        await world.discovery.news()
    assert isinstance(world.events[1], DiscoveryRestored)
    assert world.servers(in_file(path)) == ["10.0.0.1:80", "10.0.0.2:80"]


@pytest.mark.usefixtures("quick_looks")
async def test_the_servers_of_a_file_without_any_stay_for_their_time(tmp_path, nursery, monkeypatch):
    monkeypatch.setattr("lb.discovery.file.FILE_HOLD", 0.5)
    world, path = World(nursery), tmp_path / "list"
    path.write_text("10.0.0.1:80\n")
    with trio.fail_after(10):
        await world.discovery.begin(in_file(path))
        await world.discovery.news()
        path.write_text("# none\n")
        await world.discovery.news()
    assert world.events == [
        DiscoveryFailed("web", f"file {path}", (f"no server in {path}, the last 1 stay for 500ms",), 1)
    ]
    assert world.servers(in_file(path)) == []


@pytest.mark.usefixtures("quick_looks")
async def test_a_file_that_is_being_written_is_not_taken_before_it_stays_the_same(monkeypatch, world):
    """A partial list may be valid, too, so the content must stay unchanged for a while."""
    contents = iter([b"10.0.0.1:80\n", b"10.0.0.1:80\n10.0.0.2:8", b"10.0.0.1:80\n10.0.0.2:80\n"])
    last = b""

    async def read(path, thread):
        nonlocal last
        last = next(contents, last)
        return last

    monkeypatch.setattr("lb.discovery.file._read", read)
    await world.discovery.begin(in_file("list"))
    assert world.servers(in_file("list")) == ["10.0.0.1:80", "10.0.0.2:80"]
    assert not world.events
