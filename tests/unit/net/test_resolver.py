"""Resolution of addresses, with a fake lookup."""

from __future__ import annotations

import socket

import pytest
import trio
import trio.testing

from lb.model.address import Address
from lb.net.resolver import LOOK_UP_TIMEOUT, keep_resolved, look_up, static_targets

ONE = (socket.AF_INET, ("10.0.0.1", 80))
TWO = (socket.AF_INET6, ("fd00::1", 80, 0, 0))


class NameServer(trio.abc.HostnameResolver):
    """Answers with each of ``answers`` in turn: targets, an error to raise, or None for no answer."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked_at = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # noqa: A002
        assert (host, port, type) == (b"web.example", 80, socket.SOCK_STREAM)
        self.asked_at.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            await trio.sleep_forever()
        if isinstance(answer, OSError):
            raise answer
        return [(family, socket.SOCK_STREAM, 6, "", target) for family, target in answer]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


NAME = Address.parse("web.example:80")


def use(*answers):
    server = NameServer(*answers)
    trio.socket.set_custom_hostname_resolver(server)
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


async def test_all_addresses_of_a_name_come_in_order_and_once():
    use([TWO, ONE, TWO])
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
