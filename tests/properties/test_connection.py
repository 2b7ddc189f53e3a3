"""Whatever happens to a connection: one record per client, and all resources are released."""

from __future__ import annotations

import errno

import hypothesis
import hypothesis.strategies as st
import trio
import trio.testing

from lb.model import PassiveSpec
from tests.support.connecting import REFUSED, World, target_of

OPERATIONS = st.one_of(
    st.tuples(st.just("accept"), st.just(0)),
    st.tuples(st.sampled_from(["succeed", "fail", "exhaust", "end", "half", "stop", "leave"]), st.integers(0, 5)),
    st.tuples(st.just("sleep"), st.sampled_from([0.1, 0.5, 1, 3, 11])),
    st.tuples(st.sampled_from(["up", "down", "break", "mend"]), st.sampled_from("abc")),
    st.tuples(st.just("reload"), st.sampled_from(["abc", "ab", "a", "", "cb"])),
)


class Life(World):
    """A simulated world and its possible events; a number selects one of several clients or servers."""

    def __init__(self, pool_options):
        super().__init__("abc", listener={"idle_timeout": 10, "half_close_timeout": 5}, **pool_options)
        self.pool_options = pool_options

    def do_accept(self, _):
        self.accept()

    def do_succeed(self, number):
        for connecting in self.splicer.under_way[number : number + 1]:
            connecting.succeed()

    def do_fail(self, number, error=errno.ECONNREFUSED):
        for connecting in self.splicer.under_way[number : number + 1]:
            connecting.fail(error)

    def do_exhaust(self, number):
        self.do_fail(number, errno.EADDRNOTAVAIL)

    def do_end(self, number):
        for relay in self.splicer.joined[number : number + 1]:
            relay.end()

    def do_half(self, number):
        for relay in self.splicer.joined[number : number + 1]:
            relay.finish_first()

    def do_stop(self, number):
        for connection in self.open[number : number + 1]:
            connection.close("stopped")

    def do_leave(self, number):
        for client in list(self.disconnects.watched)[number : number + 1]:
            self.disconnects.leave(client)

    def do_up(self, name, passed=True):
        if name in self.pool.backends:
            self.check(name, passed)

    def do_down(self, name):
        self.do_up(name, passed=False)

    def do_break(self, name):
        self.splicer.failing[target_of(name)] = REFUSED

    def do_mend(self, name):
        self.splicer.failing.pop(target_of(name), None)

    def do_reload(self, names):
        self.reload(names, **self.pool_options)


async def live(script, pool):
    world = Life(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.deadlines.run)
        for operation, what in script:
            if operation == "sleep":
                await trio.sleep(what)
            else:
                getattr(world, f"do_{operation}")(what)
            world.assert_leases_are_right()
        for connection in world.open:
            connection.close("stopped")
        world.assert_all_is_given_back()
        nursery.cancel_scope.cancel()


@hypothesis.given(
    script=st.lists(OPERATIONS, max_size=40),
    pool=st.fixed_dictionaries(
        {
            "when_all_down": st.sampled_from(["reject", "any", "hold"]),
            "retries": st.integers(0, 3),
            "queue": st.sampled_from([0, 1, 5]),
            "limits": st.sampled_from([{}, {"a": 1}, {"a": 1, "b": 1, "c": 2}]),
            "passive": st.sampled_from([PassiveSpec(failures=0), PassiveSpec(failures=1), PassiveSpec()]),
        }
    ),
)
def test_in_any_life_there_is_one_record_per_client_and_all_is_given_back(script, pool):
    trio.run(live, script, pool, clock=trio.testing.MockClock(autojump_threshold=0))
