"""``[announce]``: the addresses stand on the interface exactly while the balancer can serve, and no end leaves one."""

from __future__ import annotations

import signal
import subprocess
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.balancer import LB, PATIENCE, QUICK_CHECKS, balancer, config, killed_at_end
from tests.support.namespaces import machines
from tests.support.servers import Named

ADDRESS = "203.0.113.5/32"
OTHER = "203.0.113.6/32"
SIX = "2001:db8::5/128"


SERVER_ADDRESS = ("127.0.0.1", 9001)
SERVER = Named("s", "127.0.0.1:9001")
"""None listens there, unless a test runs :func:`server`."""


@pytest.fixture(scope="module")
def machine():
    with machines("announce") as [made]:
        made.ip("link", "add", "front7", "type", "veth", "peer", "name", "front7-end")
        made.plug("front7")
        yield made


@pytest.fixture(autouse=True)
def clean(machine):
    """Hold that a test, whatever it does, leaves nothing."""
    yield
    assert standing(machine) == set()
    assert machine.local_routes() == set()


def standing(machine, interface="lo"):
    return machine.addresses(interface) - {"127.0.0.1/8", "::1/128"} - _link_local(machine, interface)


def _link_local(machine, interface):
    return {address for address in machine.addresses(interface) if address.startswith("fe80:")}


def announcing(*addresses, interface="lo", top="", rise="0", pool="", health=QUICK_CHECKS):
    announced = ", ".join(f'"{each}"' for each in addresses or (ADDRESS,))
    table = f'[announce]\naddresses = [{announced}]\ninterface = "{interface}"\nrise = "{rise}"\n'
    return config(SERVER, bind="203.0.113.5:80", top=top + table, pool=pool, health=health)


def server(machine):
    """Run the server until the end of the block. It serves checks: a full backlog would refuse them in the end."""
    return machine.serving(SERVER.name, *SERVER_ADDRESS)


def running(machine, tmp_path, text, **options):
    return balancer(tmp_path, text, preexec=machine.enter, **options)


async def test_the_address_stands_while_a_server_passes_its_checks(machine, tmp_path):
    async with running(machine, tmp_path, announcing(rise="100ms")) as lb:
        await lb.event("backend.ejected")
        assert not lb.of("announce.up"), "no server has passed a check"
        assert standing(machine) == set()
        assert machine.local_routes() == {"203.0.113.5"}
        async with server(machine):
            up = await lb.event("announce.up")
            assert (up["addresses"], up["interface"]) == ([ADDRESS], "lo")
            assert standing(machine) == {ADDRESS}
        down = await lb.event("announce.down")
        assert down["reason"] == "not ready: web"
        assert standing(machine) == set()
        async with server(machine):
            await lb.event("announce.up", count=2)
            assert await lb.stop() == 0
        names = [event["event"] for event in lb.of("announce.down", "server.stopping", "listener.stopped")]
        assert names[-3:] == ["announce.down", "server.stopping", "listener.stopped"]
        assert lb.of("announce.down")[-1]["reason"] == "stopping"


async def test_up_by_initial_alone_is_not_enough(machine, tmp_path):
    slow = 'interval = "1h"\ninitial = "up"\nfall = 100'
    async with running(machine, tmp_path, announcing(health=slow)) as lb, server(machine):
        await trio.sleep(0.2)  # nothing is to happen
        assert not lb.of("announce.up", "backend.ejected")
        assert await lb.stop() == 0


async def test_what_a_killed_process_has_left_is_removed_at_the_next_start(machine, tmp_path):
    async with server(machine):
        async with running(machine, tmp_path, announcing(ADDRESS, SIX)) as lb:
            await lb.event("announce.up")
            assert standing(machine) == {ADDRESS, SIX}
            lb.process.kill()
            await lb.exit_code()
        assert standing(machine) == {ADDRESS, SIX}
    async with running(machine, tmp_path, announcing(ADDRESS, SIX)) as lb:
        down = await lb.event("announce.down")
        assert (down["addresses"], down["reason"]) == ([ADDRESS, SIX], "not ready: web")
        assert standing(machine) == set()
        async with server(machine):
            await lb.event("announce.up")
        assert await lb.stop() == 0


async def test_a_second_stop_signal_leaves_none(machine, tmp_path):
    text = announcing(top='[process]\nstop_delay = "1h"\n', interface="front7")
    async with server(machine), running(machine, tmp_path, text) as lb:
        await lb.event("announce.up")
        assert standing(machine, "front7") == {ADDRESS}
        lb.signal(signal.SIGTERM)
        await lb.event("server.stopping")
        assert standing(machine, "front7") == set(), "gone first of all"
        assert machine.local_routes() == {"203.0.113.5"}, "what still arrives is served"
        lb.signal(signal.SIGTERM)
        assert await lb.exit_code() == 0


async def test_a_reload_moves_adds_and_removes(machine, tmp_path):
    async with server(machine), running(machine, tmp_path, announcing()) as lb:
        await lb.event("announce.up")
        await lb.reload(announcing(ADDRESS, OTHER))
        assert (await lb.event("announce.up", count=2))["addresses"] == [OTHER]
        await lb.reload(announcing(OTHER))
        down = await lb.event("announce.down")
        assert (down["addresses"], down["reason"]) == ([ADDRESS], "removed")
        await lb.reload(announcing(OTHER, interface="front7"))
        assert (await lb.event("announce.up", count=3))["interface"] == "front7"
        assert (await lb.event("announce.down", count=2))["interface"] == "lo"
        assert (standing(machine), standing(machine, "front7")) == (set(), {OTHER})
        rejected = await lb.reload(announcing(OTHER, interface="front8"))
        assert rejected["errors"] == ["announce.interface: this machine has no interface 'front8'"]
        await lb.reload(config(SERVER))
        assert (await lb.event("announce.down", count=3))["reason"] == "removed"
        assert await lb.stop() == 0


async def test_an_upgrade_never_lets_go(machine, tmp_path):
    async with server(machine), running(machine, tmp_path, announcing()) as lb, watching(machine) as changes:
        await lb.event("announce.up")
        assert (await lb.upgrade())["event"] == "upgrade.done"
        with trio.fail_after(PATIENCE):
            assert await lb.process.wait() == 0, "the old process ends"
        assert standing(machine) == {ADDRESS}
        assert not lb.of("announce.down")
        lb.signal(signal.SIGTERM)
        await lb.gone(next(iter(lb.successors)))
        await changes.deleted("203.0.113.5/32")
        assert len(changes.deletions("203.0.113.5/32")) == 1


async def changed_and_up(lb, count, interface="lo"):
    """Wait until an address was changed by somebody else for the n-th time, and stands again."""
    changed = await lb.event("announce.changed", count=count)
    assert (changed["addresses"], changed["interface"], changed["change"]) == ([ADDRESS], interface, "removed")
    await lb.event("announce.up", count=count + 1)


async def test_what_somebody_else_does_is_undone(machine, tmp_path):
    async with server(machine), running(machine, tmp_path, announcing()) as lb:
        await lb.event("announce.up")
        machine.ip("address", "del", ADDRESS, "dev", "lo")
        await changed_and_up(lb, 1)
        assert standing(machine) == {ADDRESS}
        machine.ip("address", "add", "198.51.100.7/32", "dev", "lo")  # no business of ours
        machine.ip("address", "del", "198.51.100.7/32", "dev", "lo")
        machine.ip("address", "del", ADDRESS, "dev", "lo")
        assert (await lb.event("announce.changed", count=2))["undone_in"] == 1.0
        await until_standing(machine, {ADDRESS})
        assert len(lb.of("announce.up")) == 2, "it is said again once there is calm"
        assert await lb.stop() == 0


async def until_standing(machine, addresses, interface="lo"):
    with trio.fail_after(PATIENCE):
        while standing(machine, interface) != addresses:  # noqa: ASYNC110 - no event: it is said later
            await trio.sleep(0.05)


async def test_an_address_that_should_not_stand_goes(machine, tmp_path):
    async with running(machine, tmp_path, announcing()) as lb:
        await lb.event("backend.ejected")
        machine.ip("address", "add", ADDRESS, "dev", "lo")
        assert (await lb.event("announce.changed"))["change"] == "set"
        assert (await lb.event("announce.down"))["reason"] == "not ready: web"
        assert standing(machine) == set()
        assert await lb.stop() == 0


async def test_an_interface_that_goes_and_comes_back(machine, tmp_path):
    veth = ("link", "add", "any7", "type", "veth", "peer", "name", "any7-end")
    machine.ip(*veth)
    async with server(machine), running(machine, tmp_path, announcing(ADDRESS, SIX, interface="any7")) as lb:
        await lb.event("announce.up")
        machine.ip("link", "del", "any7")
        await lb.event("announce.failed")
        machine.ip(*veth)
        machine.ip("link", "set", "any7", "up")
        await until_standing(machine, {ADDRESS, SIX}, "any7")
        machine.ip("link", "set", "any7", "down")  # which takes the address of IPv6
        machine.ip("link", "set", "any7", "up")
        await until_standing(machine, {ADDRESS, SIX}, "any7")
        assert await lb.stop() == 0
    machine.ip("link", "del", "any7")


async def test_a_reload_that_adds_the_table_removes_what_a_killed_process_has_left(machine, tmp_path):
    machine.ip("address", "add", ADDRESS, "dev", "lo")
    async with running(machine, tmp_path, config(SERVER, bind="203.0.113.5:80")) as lb:
        await lb.event("backend.ejected")
        await lb.reload(announcing())
        assert (await lb.event("announce.down"))["reason"] == "not ready: web"
        assert standing(machine) == set()
        async with server(machine):
            await lb.event("announce.up")
        assert await lb.stop() == 0


class Changes:
    """What ``ip monitor`` says of addresses."""

    def __init__(self):
        self.lines = []
        self._arrived = trio.Event()

    async def read(self, stream):
        rest = b""
        async for chunk in stream:
            *lines, rest = (rest + chunk).split(b"\n")
            self.lines += [line.decode() for line in lines]
            self._arrived.set()
            self._arrived = trio.Event()

    def deletions(self, address):
        return [line for line in self.lines if "Deleted" in line and address in line]

    async def deleted(self, address):
        with trio.fail_after(PATIENCE):
            while not self.deletions(address):
                await self._arrived.wait()

    async def begin(self, machine):
        """Change an address until the program has seen that: it does not say when it listens."""
        with trio.fail_after(PATIENCE):
            while not self.lines:
                for change in ("add", "del"):
                    machine.ip("address", change, "192.0.2.99/32", "dev", "lo")
                with trio.move_on_after(0.1):
                    await self._arrived.wait()


@asynccontextmanager
async def watching(machine):
    changes = Changes()
    command = ["ip", "-n", machine.namespace, "-oneline", "monitor", "address"]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        nursery.start_soon(changes.read, process.stdout)
        async with killed_at_end(process):
            await changes.begin(machine)
            yield changes
        nursery.cancel_scope.cancel()


def start(machine, tmp_path, text, **options):
    """Start a balancer that must not start. Return its exit code and what it said."""
    path = tmp_path / "lb.toml"
    path.write_text(text)
    done = subprocess.run(
        [LB, "--config", path], check=False, capture_output=True, text=True, preexec_fn=machine.enter, **options
    )
    return done.returncode, done.stderr


def test_a_missing_interface_is_one_line(machine, tmp_path):
    found = start(machine, tmp_path, announcing(interface="front8"))
    assert found == (1, "lb: announce.interface: this machine has no interface 'front8'\n")


def test_missing_rights_are_one_line(machine, tmp_path):
    command = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    path = tmp_path / "lb.toml"
    path.write_text(announcing())
    done = subprocess.run(
        [*command, LB, "--config", path], check=False, capture_output=True, text=True, preexec_fn=machine.enter
    )
    assert (done.returncode, done.stderr) == (1, "lb: announce: cannot set addresses on 'lo': it needs CAP_NET_ADMIN\n")


async def test_a_second_start_takes_nothing_away(machine, tmp_path):
    text = announcing()
    second = tmp_path / "second"
    second.mkdir()
    async with server(machine), running(machine, tmp_path, text) as lb:
        await lb.event("announce.up")
        code, said = await trio.to_thread.run_sync(start, machine, second, text)
        assert (code, said) == (1, "lb: cannot listen on 203.0.113.5:80: address already in use\n")
        assert standing(machine) == {ADDRESS}
        assert await lb.stop() == 0


def test_a_check_on_another_machine_only_warns(tmp_path):
    path = tmp_path / "lb.toml"
    path.write_text(announcing("203.0.113.7/24", interface="front8"))
    done = subprocess.run([LB, "check", "--config", path], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "announce: 203.0.113.7/32 on front8, after 0" in done.stdout
    assert [line.partition(": ")[2].partition(": ")[0] for line in done.stderr.splitlines()][-3:] == [
        "process.stop_delay",
        "announce.addresses[0]",
        "announce.interface",
    ]
