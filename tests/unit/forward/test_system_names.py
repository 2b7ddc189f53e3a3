"""Names of the system, with files of the test's own and a name server on the loopback device."""

from __future__ import annotations

import pytest
import trio

from lb.forward import both_families, system_names, watched_file
from lb.forward.system_names import SystemNames, names_to_try
from lb.net.errors import UnresolvedError
from tests.support.balancer import PATIENCE
from tests.support.name_server import name_server


@pytest.fixture
async def server():
    async with name_server() as server:
        yield server


@pytest.fixture
def system(tmp_path, server, monkeypatch):
    monkeypatch.setattr(both_families, "_has_route", bool)
    monkeypatch.setattr(system_names, "LOOK_UP_TIMEOUT", PATIENCE)

    def make(resolv_conf="nameserver 127.0.0.1\n", hosts=""):
        (tmp_path / "resolv.conf").write_text(resolv_conf)
        (tmp_path / "hosts").write_text(hosts)
        return SystemNames(tmp_path / "hosts", tmp_path / "resolv.conf", server.port)

    return make


async def addresses_of(names, host):
    """Return the addresses that are told, and the TTL of the last telling."""
    found = []
    with trio.fail_after(PATIENCE):
        await names.look_up(host, found.append)
    return [str(address) for address in found[-1].addresses], found[-1].ttl


async def failure_of(names, host):
    with pytest.raises(UnresolvedError) as raised, trio.fail_after(PATIENCE):
        await names.look_up(host, None)
    return raised.value.kind, str(raised.value)


async def test_both_families_come_with_the_shorter_ttl(system, server):
    server.has("web.test", "A", "192.0.2.1", "192.0.2.2", ttl=30)
    server.has("web.test", "AAAA", "2001:db8::1", ttl=20)
    addresses, ttl = await addresses_of(system(), "web.test")
    assert addresses[0] == "2001:db8::1"
    assert (sorted(addresses[1:]), ttl) == (["192.0.2.1", "192.0.2.2"], 20)
    assert sorted(server.asked) == ["web.test A udp", "web.test AAAA udp"]


async def test_a_slow_aaaa_does_not_delay_the_a_and_comes_later(system, server):
    server.has("web.test", "A", "192.0.2.1")
    server.has("web.test", "AAAA", "2001:db8::1")
    release = server.holds("web.test", "AAAA")
    found, tellings = trio.Event(), []

    def tell(each):
        tellings.append([str(address) for address in each.addresses])
        found.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(system().look_up, "web.test", tell)
        with trio.fail_after(PATIENCE):
            await found.wait()
        assert tellings == [["192.0.2.1"]]
        release.set()
    assert tellings[1:] == [["2001:db8::1", "192.0.2.1"]]


async def test_a_long_answer_comes_over_tcp(system, server):
    many = [f"192.0.2.{number}" for number in range(200)]
    server.has("web.test", "A", *many)
    addresses, _ = await addresses_of(system(), "web.test")
    assert sorted(addresses) == sorted(many)
    assert "web.test A tcp" in server.asked


async def test_a_name_that_is_not_there_is_not_found(system):
    assert await failure_of(system(), "none.test") == ("not_found", "no such name")


async def test_a_name_without_an_address_is_not_found(system, server):
    server.has("web.test", "TXT", '"text"')
    assert await failure_of(system(), "web.test") == ("not_found", "it has no address")


async def test_a_name_server_that_fails_is_told(system, server):
    server.fails("web.test", "A")
    server.fails("web.test", "AAAA")
    assert await failure_of(system(), "web.test") == ("failed", f"SERVFAIL from 127.0.0.1:{server.port}")


@pytest.mark.slow
async def test_another_name_server_is_asked_if_one_fails(system, server):
    server.has("web.test", "A", "192.0.2.1")
    names = system("nameserver ::1\nnameserver 127.0.0.1\n")  # nobody listens on the port of ::1
    assert (await addresses_of(names, "web.test"))[0] == ["192.0.2.1"]


async def test_silence_is_a_timeout(system, server, monkeypatch):
    names = system()
    monkeypatch.setattr(system_names, "LOOK_UP_TIMEOUT", 0.1)
    server.is_silent("web.test", "A")
    server.is_silent("web.test", "AAAA")
    assert await failure_of(names, "web.test") == ("timeout", "no answer in 0.1 s")


async def test_the_search_list_is_tried_in_order(system, server):
    server.has("db.two.test", "A", "192.0.2.2")
    server.has("db", "A", "192.0.2.9")
    names = system("search one.test two.test\nnameserver 127.0.0.1\n")
    assert (await addresses_of(names, "db"))[0] == ["192.0.2.2"]
    assert {each.split()[0] for each in server.asked} == {"db.one.test", "db.two.test"}


async def test_the_two_families_come_from_the_same_name(system, server):
    server.has("db.one.test", "A", "192.0.2.1")
    server.has("db.two.test", "AAAA", "2001:db8::2")
    names = system("search one.test two.test\nnameserver 127.0.0.1\n")
    assert (await addresses_of(names, "db"))[0] == ["192.0.2.1"]


async def test_a_name_server_that_fails_ends_the_search(system, server):
    """Else a name would mean another host as long as a name server has a fault."""
    server.fails("db.one.test", "A")
    server.fails("db.one.test", "AAAA")
    server.has("db.two.test", "A", "192.0.2.2")
    names = system("search one.test two.test\nnameserver 127.0.0.1\n")
    assert (await failure_of(names, "db"))[0] == "failed"


@pytest.mark.parametrize(
    ("host", "ndots", "names"),
    [
        ("a", 1, ["a.x", "a.y.z", "a"]),
        ("a.b", 1, ["a.b", "a.b.x", "a.b.y.z"]),
        ("a.b", 2, ["a.b.x", "a.b.y.z", "a.b"]),
        ("a", 0, ["a", "a.x", "a.y.z"]),
        ("a" * 252, 1, ["a" * 252]),
    ],
)
def test_dots_decide_which_name_comes_first(host, ndots, names):
    assert names_to_try(host, ["x", "y.z"], ndots) == names


async def test_options_of_resolv_conf_count(system, server):
    server.has("a.b.corp.test", "A", "192.0.2.1")
    server.has("a.b", "A", "192.0.2.9")
    names = system("options ndots:2\ndomain corp.test\nnameserver 127.0.0.1\n")
    assert (await addresses_of(names, "a.b"))[0] == ["192.0.2.1"]


async def test_hosts_come_first_without_a_query(system, server):
    server.has("web.test", "A", "192.0.2.9")
    names = system(hosts="192.0.2.1 web.test\nno-address web.test\n2001:db8::1 WEB.test\n")
    assert await addresses_of(names, "web.test") == (["192.0.2.1", "2001:db8::1"], 0)
    assert server.asked == []


async def test_a_change_of_the_files_counts(system, server, tmp_path, monkeypatch):
    monkeypatch.setattr(watched_file, "LOOK_AGAIN", 0.0)
    server.has("web.test", "A", "192.0.2.9")
    names = system(hosts="192.0.2.1 web.test\n")
    assert (await addresses_of(names, "web.test"))[0] == ["192.0.2.1"]
    (tmp_path / "hosts").write_text("")
    assert (await addresses_of(names, "web.test"))[0] == ["192.0.2.9"]
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\noptions ndots:3\nsearch corp.test\n")
    server.has("web.test.corp.test", "A", "192.0.2.7")
    assert (await addresses_of(names, "web.test"))[0] == ["192.0.2.7"]


@pytest.mark.parametrize("host", ["localhost", "app.localhost"])
async def test_localhost_is_this_host_whatever_name_servers_say(system, server, host):
    server.has(host, "A", "192.0.2.9")
    assert (await addresses_of(system(), host))[0] == ["::1", "127.0.0.1"]
    assert server.asked == []


async def test_without_files_the_name_server_of_this_host_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setattr(both_families, "_has_route", bool)
    server.has("web.test", "A", "192.0.2.1")
    names = SystemNames(tmp_path / "none", tmp_path / "none", server.port)
    assert (await addresses_of(names, "web.test"))[0] == ["192.0.2.1"]


async def test_a_resolv_conf_that_cannot_be_used_fails_the_look_ups(system, tmp_path):
    names = system("nameserver not-an-address\n")
    kind, text = await failure_of(names, "web.test")
    assert (kind, text.startswith(str(tmp_path))) == ("failed", True)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..b", "x" * 254, "."])
async def test_a_host_that_is_no_name_is_a_failure(system, host):
    assert (await failure_of(system(), host))[0] in {"failed", "not_found"}
