"""The discovery source for etcd, with a fake etcd and a clock that jumps."""

from __future__ import annotations

import json

import pytest
import trio

import lb.discovery.etcd
from lb.config.load import parse
from lb.discovery.watcher import FIRST_LOOK, Discovery
from lb.events import DiscoveryFailed, DiscoveryRestored
from tests.unit.etcd.test_follower import ONE, RefusingStore, Store

TABLE = f'[pools.web.etcd]\nendpoints = ["{ONE}", "http://10.0.0.2:2379"]\nprefix = "/x/"\n'
SOURCE = "etcd /x/"
NOBODY = {ONE: None, "http://10.0.0.2:2379": None}


class World:
    def __init__(self, nursery, path):
        self.store = Store()
        self.events = []
        self.nursery = nursery
        self.path = path
        self.discovery = Discovery(nursery, self.events.append)
        self.config = self.parsed(TABLE)

    def parsed(self, table):
        return parse(f'listeners.web.bind = ":1"\n{table}', str(self.path / "lb.toml"))

    @property
    def with_other_endpoints(self):
        return self.parsed(TABLE.replace("10.0.0.2", "10.0.0.3"))

    def restart(self):
        """Forget what is known, but not the file."""
        for followed in self.discovery._followed.values():
            followed.scope.cancel()
        self.discovery = Discovery(self.nursery, self.events.append)

    async def begin(self, handed=()):
        await self.discovery.begin(self.config, handed)

    async def begin_with_one_server(self):
        """Begin with server ``a``, and wait until the file has it."""
        self.store.put(b"a", b"10.0.0.1:80")
        await self.begin()
        await self.until_written({"a"})

    def hand_over(self):
        """Go on as the successor, from what it is handed, through JSON."""
        handed = json.loads(json.dumps(self.discovery.as_json()))
        self.restart()
        return handed

    @property
    def servers(self):
        return {
            server.name: server.address.text for server in self.discovery.complete(self.config).pools["web"].servers
        }

    @property
    def known(self):
        (known,) = self.discovery.known_of(self.config.pools["web"]).values()
        return known

    @property
    def file(self):
        return json.loads((self.path / "lb-etcd-web.json").read_text())

    async def until_written(self, servers):
        """Wait until the file has these servers."""
        await trio.sleep(2)
        assert self.file["servers"].keys() == servers


class Client:
    """Stands for :class:`lb.etcd.client.EtcdClient`."""

    def __init__(self, store):
        self.store = store

    async def __aenter__(self):
        return self.store

    async def __aexit__(self, *exception):
        pass


class NoThreads:
    """Stands for :class:`lb.net.threads.Threads`: the clock would jump over the time of threads."""

    def __init__(self, most, timeout):
        pass

    async def run(self, function, *arguments):
        await trio.lowlevel.checkpoint()
        return function(*arguments)


@pytest.fixture
def world(nursery, tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    world = World(nursery, tmp_path)
    monkeypatch.setattr(lb.discovery.etcd, "EtcdClient", lambda spec: Client(world.store))
    monkeypatch.setattr(lb.discovery.etcd, "Threads", NoThreads)
    return world


async def test_servers_come_and_go(world, autojump_clock):
    world.store.put(b"b", b"10.0.0.2:80")
    world.store.put(b"a", b'{"address": "10.0.0.1:80"}')
    await world.begin()
    assert list(world.servers) == ["a", "b"]
    world.store.put(b"c", b"10.0.0.3:80")
    world.store.delete(b"a")
    await trio.sleep(0.01)
    assert world.servers == {"b": "10.0.0.2:80", "c": "10.0.0.3:80"}
    assert not world.events
    assert world.known.origin == "etcd"


async def test_a_bad_entry_is_said_once_and_harms_no_other(world, autojump_clock):
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    world.store.put(b"b", b"nonsense")
    world.store.put(b"a", b"{")
    world.store.put(b"c", b"10.0.0.3:80")
    await trio.sleep(1)
    assert world.servers == {"a": "10.0.0.1:80", "c": "10.0.0.3:80"}
    (failed,) = world.events
    assert failed == DiscoveryFailed("web", SOURCE, ("/x/b: address: 'nonsense' needs a port",), 1)
    assert len(world.known.errors["entries"]) == 2
    world.store.put(b"a", b"10.0.0.4:80")
    world.store.delete(b"b")
    await trio.sleep(1)
    assert isinstance(world.events[-1], DiscoveryRestored)
    assert len(world.events) == 2
    assert world.servers == {"a": "10.0.0.4:80", "c": "10.0.0.3:80"}


async def test_all_keys_at_once_are_held_and_then_believed(world, autojump_clock):
    world.store.put(b"a", b"10.0.0.1:80")
    world.store.put(b"b", b"10.0.0.2:80")
    await world.begin()
    await trio.sleep(10)
    world.store.delete(b"a")
    await trio.sleep(0.5)
    world.store.delete(b"b")
    await trio.sleep(30)
    assert list(world.servers) == ["a", "b"]
    assert world.events == [DiscoveryFailed("web", SOURCE, ("no server under /x/, the last 2 stay for 1m",), 2)]
    assert world.file["servers"].keys() == {"a", "b"}
    await trio.sleep(31)
    assert world.servers == {}
    await world.until_written(set())
    world.store.put(b"c", b"10.0.0.3:80")
    await trio.sleep(1)
    assert list(world.servers) == ["c"]
    assert isinstance(world.events[-1], DiscoveryRestored)


async def test_etcd_away_takes_nothing_and_what_was_empty_stays_undecided(world, autojump_clock):
    await world.begin_with_one_server()
    world.store.delete(b"a")
    await trio.sleep(10)
    world.store.fails = {ONE: "connection refused", "http://10.0.0.2:2379": "connection refused"}
    world.store.watches[-1].broken.set()
    await trio.sleep(10_000)
    assert list(world.servers) == ["a"]
    assert world.file["servers"].keys() == {"a"}
    assert [event.name for event in world.events] == ["discovery.failed"] * 2
    assert world.events[-1].errors[0].endswith(": connection refused")


async def test_an_etcd_that_answers_but_refuses_watches_fails_once(world, autojump_clock):
    world.store = RefusingStore()
    world.store.put(b"a", b"10.0.0.1:80", silently=True)
    await world.begin()
    await trio.sleep(30)
    assert [type(event) for event in world.events] == [DiscoveryFailed]
    assert "permission denied" in world.known.error
    world.store.put(b"b", b"10.0.0.2:80", silently=True)
    await trio.sleep(1)
    assert world.servers == {"a": "10.0.0.1:80", "b": "10.0.0.2:80"}, "they are read again and again"


async def test_a_start_without_etcd_serves_from_the_file(world, autojump_clock):
    world.store.put(b"a", b'{"address": "10.0.0.1:80", "weight": 3}')
    await world.begin()
    await world.until_written({"a"})
    assert world.file == {"source": SOURCE, "servers": {"a": {"address": "10.0.0.1:80", "weight": 3}}}
    world.restart()
    world.store.fails = NOBODY
    start = trio.current_time()
    await world.begin()
    assert trio.current_time() - start == pytest.approx(FIRST_LOOK)
    assert world.servers == {"a": "10.0.0.1:80"}
    assert world.events == [DiscoveryFailed("web", SOURCE, (f"{ONE}: no answer in 2 s, still waiting",), 1)]
    assert world.known.origin == "file"
    world.store.fails = {}
    world.store.put(b"b", b"10.0.0.2:80")
    await trio.sleep(12)
    assert list(world.servers) == ["a", "b"]
    assert world.known.origin == "etcd"


async def test_a_start_with_an_empty_etcd_holds_those_of_the_file(world, autojump_clock):
    await world.begin_with_one_server()
    world.restart()
    world.store.entries = {}
    await world.begin()
    assert list(world.servers) == ["a"]
    assert world.events[-1].errors == ("no server under /x/, the last 1 stay for 1m",)


async def test_a_file_of_another_source_is_said_once_and_replaced(world, autojump_clock):
    path = world.path / "lb-etcd-web.json"
    path.write_text('{"source": "etcd /y/", "servers": {"z": {"address": "10.0.0.9:80"}}}')
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    assert list(world.servers) == ["a"]
    assert world.events == [DiscoveryFailed("web", SOURCE, (f"{path}: is of another source",), 0)]
    await world.until_written({"a"})
    await trio.sleep(1)
    assert isinstance(world.events[-1], DiscoveryRestored)


async def test_a_file_that_cannot_be_written_is_said_once_and_tried_again(world, autojump_clock):
    path = world.path / "lb-etcd-web.json"
    path.mkdir()
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    for number in range(5):
        world.store.put(b"b%d" % number, b"10.0.0.2:80")
        await trio.sleep(2)
    assert [event.name for event in world.events] == ["discovery.failed"]
    path.rmdir()
    await trio.sleep(30)
    assert len(world.file["servers"]) == 6
    assert isinstance(world.events[-1], DiscoveryRestored)


async def test_many_changes_are_written_at_most_once_a_second(world, autojump_clock, monkeypatch):
    writes = []
    monkeypatch.setattr(lb.discovery.last_set.LastSet, "write", lambda self, tables: writes.append(dict(tables)))
    await world.begin()
    for number in range(100):
        world.store.put(b"%03d" % number, b"10.0.0.1:80")
        await trio.sleep(0.1)
    await trio.sleep(2)
    assert 9 <= len(writes) <= 12
    assert len(writes[-1]) == 100


async def test_a_reload_with_other_endpoints_keeps_the_servers(world, autojump_clock):
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    other = world.with_other_endpoints
    world.store.fails = {ONE: "connection refused", "http://10.0.0.2:2379": "connection refused"}
    await world.discovery.begin(other)
    world.discovery.keep_to(other)
    await trio.sleep(5)
    world.config = other
    assert list(world.servers) == ["a"]


async def test_a_reload_before_the_file_was_read_takes_its_servers_too(world, nursery, autojump_clock, monkeypatch):
    async def slowly(_, function, *arguments):
        await trio.sleep(0.5)
        return function(*arguments)

    await world.begin_with_one_server()
    world.restart()
    world.store.fails = NOBODY
    monkeypatch.setattr(NoThreads, "run", slowly)
    nursery.start_soon(world.begin)
    await trio.sleep(0.2)
    world.discovery.keep_to(world.with_other_endpoints)
    await trio.sleep(5)
    assert list(world.servers) == ["a"]


async def test_a_successor_begins_with_all_servers_without_etcd_and_without_a_file(world, autojump_clock):
    (world.path / "lb-etcd-web.json").mkdir()  # so it cannot be written
    world.store.put(b"a", b"10.0.0.1:80")
    world.store.put(b"b", b'{"address": "10.0.0.2:80", "weight": 3}')
    await world.begin()
    world.store.fails = NOBODY
    start = trio.current_time()
    await world.begin(world.hand_over())
    assert trio.current_time() == start
    assert world.servers == {"a": "10.0.0.1:80", "b": "10.0.0.2:80"}
    assert world.known.origin == "etcd"
    world.store.fails = {}
    world.store.delete(b"a", silently=True)
    await trio.sleep(12)
    assert world.servers == {"b": "10.0.0.2:80"}


async def test_a_name_that_was_good_keeps_its_last_good_value_in_the_successor(world, autojump_clock):
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    world.store.put(b"a", b"nonsense")
    await trio.sleep(1)
    await world.begin(world.hand_over())
    await trio.sleep(10)
    assert world.servers == {"a": "10.0.0.1:80"}
    assert world.known.error == "/x/a: address: 'nonsense' needs a port"


async def test_a_successor_writes_what_its_predecessor_could_not(world, autojump_clock):
    path = world.path / "lb-etcd-web.json"
    path.mkdir()
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    world.store.fails = NOBODY
    handed = world.hand_over()
    path.rmdir()
    await world.begin(handed)
    await world.until_written({"a"})


async def test_a_hold_ends_in_the_successor_when_it_would_have(world, autojump_clock):
    await world.begin_with_one_server()
    world.store.delete(b"a")
    await trio.sleep(50)
    await world.begin(world.hand_over())
    await trio.sleep(5)
    assert world.servers == {"a": "10.0.0.1:80"}
    await trio.sleep(10)
    assert world.servers == {}


async def test_bad_values_stay_as_they_were_over_a_reload_with_other_endpoints(world, autojump_clock):
    (world.path / "lb-etcd-web.json").mkdir()
    world.store.put(b"a", b"10.0.0.1:80")
    await world.begin()
    world.store.put(b"a", b"nonsense")
    await trio.sleep(1)
    world.discovery.keep_to(world.with_other_endpoints)
    await trio.sleep(5)
    assert world.servers == {"a": "10.0.0.1:80"}


async def test_commands_take_the_last_set(world):
    from lb.discovery.sources import with_servers_files

    assert with_servers_files(world.config).pools["web"].servers == ()
    (world.path / "lb-etcd-web.json").write_text(
        '{"source": "etcd /x/", "servers": {"b": {"address": "b:1"}, "a": {"address": "a:1"}, "bad": {}}}'
    )
    assert [server.name for server in with_servers_files(world.config).pools["web"].servers] == ["a", "b"]
