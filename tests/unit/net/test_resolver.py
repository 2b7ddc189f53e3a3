"""Resolution of addresses, with a fake lookup."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from lb.model import ServerSpec
from lb.model.address import Address
from lb.net.resolver import (
    BOTH_FAMILIES,
    FIRST_LOOK_UP,
    LOOK_UP_TIMEOUT,
    RESOLUTION_DELAY,
    keep_resolved,
    look_up,
    name_service,
    static_targets,
    targets_of,
)

ONE = (socket.AF_INET, ("10.0.0.1", 80))
TWO = (socket.AF_INET6, ("fd00::1", 80, 0, 0))


NAME = Address.parse("web.example:80")


class NameServer:
    """Answers with each of ``answers`` in turn: targets, an error to raise, or None for no answer.

    ``by_family`` has the answers to questions about one family. Without one, there is no answer.
    """

    def __init__(self, *answers, by_family=None):
        self.answers = list(answers)
        self.by_family = by_family or {}
        self.asked_at = []

    async def __call__(self, address, family):
        assert address == NAME
        if family == socket.AF_UNSPEC:
            self.asked_at.append(trio.current_time())
            answer = self.answers.pop(0) if self.answers else None
        else:
            answer = self.by_family.get(family)
        if answer is None:
            await trio.sleep(LOOK_UP_TIMEOUT)
            raise TimeoutError("no answer in 5 s")
        if isinstance(answer, OSError):
            raise answer
        return tuple(answer)


def use(*answers, **by_family):
    server = NameServer(*answers, **by_family)
    name_service.set(server)
    return server


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("10.0.0.1:80", ((socket.AF_INET, ("10.0.0.1", 80)),)),
        ("[::1]:80", ((socket.AF_INET6, ("::1", 80)),)),
        ("unix:/run/s", ((socket.AF_UNIX, "/run/s"),)),
        ("web.example:80", ()),
    ],
)
def test_what_an_address_says_by_itself(text, targets):
    assert static_targets(Address.parse(text)) == targets


async def test_all_addresses_of_a_name_come_in_order_and_once(monkeypatch):
    found = [(family, socket.SOCK_STREAM, 6, "", target) for family, target in (TWO, ONE, TWO)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: found)
    assert await look_up(NAME) == (TWO, ONE)


async def test_a_name_that_is_unknown_is_an_error():
    use(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with pytest.raises(OSError, match="not known"):
        await look_up(NAME)


async def test_no_answer_in_time_is_an_error(autojump_clock):
    use(None)
    start = trio.current_time()
    with pytest.raises(TimeoutError, match="no answer in 5 s"):
        await look_up(NAME)
    assert trio.current_time() - start == LOOK_UP_TIMEOUT


NONE_OF_IT = socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")


@pytest.mark.parametrize(("answering", "target"), [(socket.AF_INET, ONE), (socket.AF_INET6, TWO)])
async def test_a_family_without_an_answer_does_not_delay_the_other(autojump_clock, answering, target):
    """A firewall that drops queries for AAAA: getaddrinfo with both families takes ten seconds."""
    use(None, by_family={answering: [target]})
    start = trio.current_time()
    assert await look_up(NAME) == (target,)
    assert trio.current_time() - start == pytest.approx(BOTH_FAMILIES + RESOLUTION_DELAY)


async def test_a_family_that_has_no_address_does_not_end_the_wait_for_the_other(autojump_clock):
    use(None, by_family={socket.AF_INET6: NONE_OF_IT})
    with pytest.raises(TimeoutError):
        await look_up(NAME)


async def test_a_start_does_not_wait_for_names_without_an_answer(autojump_clock):
    use(None)
    server = ServerSpec("a", NAME)
    start = trio.current_time()
    assert await targets_of([server], {}) == {NAME: ()}
    assert trio.current_time() - start == FIRST_LOOK_UP


async def test_a_change_does_not_look_up_what_a_server_already_looks_up(autojump_clock):
    """Else the weight of a server whose name has no answer takes a second to change."""
    use(None)
    start = trio.current_time()
    assert await targets_of([ServerSpec("a", NAME)], {NAME: ()}) == {NAME: ()}
    assert trio.current_time() == start


async def test_a_name_is_looked_up_again_and_again_also_after_a_failure(autojump_clock, nursery):
    error = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
    server = use([ONE], error, [TWO])
    told = []
    nursery.start_soon(
        lambda: keep_resolved(NAME, interval=lambda: 30.0, found=told.append, failed=told.append),
    )
    start = trio.current_time()
    await trio.sleep(80)
    assert told == [(ONE,), error, (TWO,)]
    assert [at - start for at in server.asked_at] == [0, 30, 60]


async def test_the_interval_may_change_while_it_runs(autojump_clock, nursery):
    server = use([ONE], [ONE], [ONE])
    intervals = iter([30.0, 5.0, 1000.0])
    nursery.start_soon(
        lambda: keep_resolved(NAME, interval=lambda: next(intervals), found=lambda targets: None, failed=print),
    )
    start = trio.current_time()
    await trio.sleep(100)
    assert [at - start for at in server.asked_at] == [0, 30, 35]


async def test_a_name_that_cannot_be_encoded_is_a_failed_look_up():
    with pytest.raises(OSError, match="is not a valid host name"):
        await look_up(Address.parse("\N{SNOWMAN}.example:80"))
