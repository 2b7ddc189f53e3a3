"""Addresses of a name that many tasks need at once."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
import trio

from lb.model.address import Address
from lb.net.cached_name import FOUND_FOR, LOOK_UP_PAUSE, CachedName
from lb.net.resolver import name_service

ONE = ((socket.AF_INET, ("10.0.0.1", 80)),)
TWO = ((socket.AF_INET, ("10.0.0.2", 80)),)


class NameServer:
    """Takes 0.1 s, then returns ``answer`` or raises it."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = 0

    async def __call__(self, address, family):
        self.asked += 1
        await trio.sleep(0.1)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


def use(answer):
    server = NameServer(answer)
    name_service.set(server)
    return server, CachedName(Address.parse("auth.example:80"))


async def test_an_ip_address_needs_no_look_up():
    server, _ = use(ONE)
    assert await CachedName(Address.parse("10.0.0.9:80")).targets() == ((socket.AF_INET, ("10.0.0.9", 80)),)
    assert server.asked == 0


async def test_a_hundred_tasks_make_one_look_up_that_counts_for_a_while(autojump_clock):
    server, name = use(ONE)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(name.targets)
    server.answer = TWO
    assert await name.targets() == ONE
    assert server.asked == 1
    await trio.sleep(FOUND_FOR)
    assert await name.targets() == TWO


async def test_if_the_name_server_fails_the_addresses_of_before_are_used(autojump_clock):
    server, name = use(ONE)
    await name.targets()
    server.answer = OSError("no answer")
    await trio.sleep(FOUND_FOR)
    assert await name.targets() == ONE
    server.answer = TWO
    assert await name.targets() == ONE, "there is a pause after a look-up that failed"
    await trio.sleep(LOOK_UP_PAUSE)
    assert await name.targets() == TWO


async def test_without_an_address_there_is_an_error_and_then_a_pause(autojump_clock):
    server, name = use(OSError("no such name"))
    with pytest.raises(OSError, match="no such name"):
        await name.targets()
    for _ in range(5):
        with pytest.raises(OSError, match=r"^cannot look up "):
            await name.targets()
    assert server.asked == 1
    await trio.sleep(LOOK_UP_PAUSE)
    server.answer = ONE
    assert await name.targets() == ONE


async def test_tasks_that_give_up_one_after_the_other_begin_no_look_up_each(autojump_clock):
    """Each would leave a thread behind that waits for the name server."""
    server, name = use(ONE)

    async def give_up(after):
        with suppress(OSError), trio.move_on_after(after):
            await name.targets()

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(give_up, 0.01 + number / 10_000)
    assert server.asked == 1
