"""Looks for servers in DNS and in files, again and again, beside the traffic. What becomes of them others decide."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NoReturn, TypeAlias

import attrs
import trio

from lb.address import Address
from lb.config_file.servers_file import parse_servers_file
from lb.discovery.dns_records import Outcome, Question, Round, pause, servers_at, servers_of
from lb.discovery.found import DnsWay, Known, Source, Way, complete, sources
from lb.discovery.servers_file import read
from lb.events import Fault, Sink
from lb.model import Config, ServerSpec

__all__ = ["Ask", "Discovery"]

Ask: TypeAlias = Callable[[Question, Sequence[Address]], Awaitable[Outcome]]
"""One question to name servers, answered or not."""

FIRST_LOOK = 2.0
"""Seconds that a start or a reload waits for the first look at what is new. A guess: a name server that is well takes
milliseconds, and who does not answer shall not keep the other pools from serving."""
FILE_INTERVAL = 1.0
"""Seconds between two looks at a file. It is read each time: that takes 0.2 ms of CPU for 1,000 lines, in a thread, and
misses no change, as times and inode numbers may."""
SETTLED = 0.1
"""Seconds that a new content must stay the same, in case that somebody is writing it in place. A guess."""
AT_ONCE = 16
"""Questions of one look that are under way together. A guess, to be polite."""


async def dns_client() -> Ask:
    """The real one, loaded away from the traffic."""

    def load() -> Ask:
        from lb.discovery import dns_client  # noqa: PLC0415 - most configurations name no servers in DNS

        return dns_client.ask

    return await trio.to_thread.run_sync(load)


@attrs.define(eq=False)
class Followed:
    """A source that is being watched."""

    way: Way
    known: Known = attrs.field(factory=Known)
    looked: trio.Event = attrs.field(factory=trio.Event)
    """At least once, well or in vain."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Discovery:
    """Follows the sources of a configuration, with tasks in a nursery of the caller's."""

    def __init__(
        self, nursery: trio.Nursery, sink: Sink, new_client: Callable[[], Awaitable[Ask]] = dns_client
    ) -> None:
        self._nursery = nursery
        self._sink = sink
        self._new_client = new_client
        self._followed: dict[Source, Followed] = {}
        self.failures: dict[str, int] = {}
        """Looks that failed, wholly or in part, by pool. Of those that look no more, too."""
        self._news = trio.Event()

    async def begin(self, config: Config) -> None:
        """Follow what is new in this configuration, too, and wait for the first look at it, FIRST_LOOK at most."""
        new = [self._follow(source, way) for source, way in sources(config).items() if source not in self._followed]
        with trio.move_on_after(FIRST_LOOK):
            for followed in new:
                await followed.looked.wait()
        for source, followed in self._followed.items():
            if followed in new and not followed.looked.is_set():
                self._take(source, followed, (), (f"no answer in {FIRST_LOOK:g} s, still waiting",))

    def keep_to(self, config: Config) -> None:
        """Follow the sources of this configuration and no others."""
        wanted = sources(config)
        for source, followed in list(self._followed.items()):
            if source not in wanted:
                followed.scope.cancel()
                del self._followed[source]
            elif followed.way != wanted[source]:
                followed.scope.cancel()
                self._follow(source, wanted[source], followed.known)

    def complete(self, config: Config) -> Config:
        """The configuration with the servers that are known now."""
        return complete(config, {source: followed.known.servers for source, followed in self._followed.items()})

    async def news(self) -> None:
        """Wait until other servers are known than at the end of the last wait."""
        await self._news.wait()
        self._news = trio.Event()

    def _follow(self, source: Source, way: Way, known: Known | None = None) -> Followed:
        self._followed[source] = followed = Followed(way, known or Known())
        self.failures.setdefault(source.pool, 0)
        self._nursery.start_soon(self._look, source, followed)
        return followed

    def _take(
        self, source: Source, followed: Followed, servers: tuple[ServerSpec, ...], errors: tuple[str, ...]
    ) -> None:
        before = followed.known.servers
        event = followed.known.take(source, servers, errors)
        self.failures[source.pool] += bool(followed.known.failures)
        if event is not None:
            self._sink(event)
        if followed.known.servers != before:
            self._news.set()

    async def _look(self, source: Source, followed: Followed) -> None:
        def found(servers: tuple[ServerSpec, ...], errors: tuple[str, ...]) -> None:
            self._take(source, followed, servers, errors)
            followed.looked.set()

        def fault(exception: Exception) -> None:
            self._sink(Fault(f"pool {source.pool}: {source.text}", exception))

        with followed.scope:
            if isinstance(followed.way, DnsWay):
                await _watch_dns(followed.way, await self._new_client(), found, fault)
            else:
                await _watch_file(followed.way.path, found)


Found: TypeAlias = Callable[[tuple[ServerSpec, ...], tuple[str, ...]], None]


async def _watch_dns(way: DnsWay, ask: Ask, found: Found, fault: Callable[[Exception], None]) -> NoReturn:
    last: Round | None = None
    while True:
        now = Round(last)
        errors: tuple[str, ...]
        try:
            servers = await _look_up(way, partial(_answer, now, ask, way.nameservers))
        except Exception as exception:  # noqa: BLE001 - a library that chokes on an answer must cost no more than this look
            fault(exception)
            servers, errors = (), (type(exception).__name__,)
        else:
            last, errors = now, now.errors
        found(servers, errors)
        await trio.sleep(pause(now.ttl, failed=bool(errors) or not servers))


async def _look_up(way: DnsWay, answered: Callable[[Sequence[Question]], Awaitable[Round]]) -> tuple[ServerSpec, ...]:
    """One look: the addresses of the name, or its services and then their addresses."""
    if way.port:
        return servers_at(way.port, (await answered(_both_kinds(way.dns))).addresses(way.dns))
    services = (await answered([Question(way.dns, "SRV")])).services(way.dns)
    targets = sorted({service.target for service in services} - {""})
    answers = await answered([question for target in targets for question in _both_kinds(target)])
    return servers_of(services, {target: answers.addresses(target) for target in targets})


def _both_kinds(name: str) -> list[Question]:
    return [Question(name, "A"), Question(name, "AAAA")]


async def _answer(now: Round, ask: Ask, nameservers: Sequence[Address], questions: Sequence[Question]) -> Round:
    """Ask them all, some at once; the answers are in the round."""
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def answer(question: Question) -> None:
        async with limiter:
            now.take(question, await ask(question, nameservers))

    async with trio.open_nursery() as nursery:
        for question in questions:
            nursery.start_soon(answer, question)
    return now


async def _watch_file(path: str, found: Found) -> NoReturn:
    last: bytes | str | None = None
    while True:
        content = await _read(path)
        if content != last:
            last = content = await _settled(path, content)
            if isinstance(content, str):
                found((), (content,))
            else:
                servers, errors = await trio.to_thread.run_sync(parse_servers_file, content, path)
                found(() if errors else servers, errors)
        await trio.sleep(FILE_INTERVAL)


async def _settled(path: str, content: bytes | str) -> bytes | str:
    """What it is once it stays the same."""
    while True:
        await trio.sleep(SETTLED)
        before, content = content, await _read(path)
        if content == before:
            return content


async def _read(path: str) -> bytes | str:
    """The content, or why there is none. In a thread, which a file system that hangs may keep."""
    try:
        return await trio.to_thread.run_sync(read, path, abandon_on_cancel=True)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror or error}"
