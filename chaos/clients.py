"""Clients of every kind, each of which enters into the ledger what it sees."""

from __future__ import annotations

import random
import socket

import attrs
import trio

from chaos.ledger import ORDERLY_END, Ledger, Session, source_of
from chaos.talk import Checked, Talk

__all__ = ["KINDS", "Clients", "Kind"]

PATIENCE = 60.0
"""Seconds after which a session counts as stuck: far more than all the pauses that a storm makes."""
HOLD_PATIENCE = PATIENCE / 2
"""Seconds in which all that are to be held at once have to be served."""


@attrs.frozen
class Kind:
    """A kind of session. Pairs are the least and the most."""

    weight: int
    rounds: tuple[int, int] = (1, 1)
    up: tuple[int, int] = (0, 2_000)
    """Bytes in each round; likewise ``down``."""
    down: tuple[int, int] = (1, 20_000)
    pause: float = 0.0
    """Seconds at most between rounds, and before the first."""
    half_closed: bool = False
    """It ends its direction before the last answer, not after."""
    rude: bool = False
    """It resets the connection in the middle."""


KINDS = {
    "short": Kind(8),
    "kept": Kind(3, rounds=(2, 20), pause=0.05),
    "half-closed": Kind(3, down=(1, 200_000), half_closed=True),
    "bulk": Kind(1, up=(0, 1_000_000), down=(0, 3_000_000)),
    "idle": Kind(1, pause=2.0),
    "rude": Kind(1, rounds=(2, 5), down=(1, 200_000), rude=True),
}
OTHER = Kind(0, up=(1, 100))
MOSTLY_SMALL = 3
"""The size is the least of so many drawn, so that large ones are rare."""


class Held:
    """A place where sessions wait for each other."""

    def __init__(self, count: int) -> None:
        self.there = 0
        self.all_there = trio.Event()
        self.may_go = trio.Event()
        self._count = count

    async def here(self) -> None:
        self.there += 1
        if self.there == self._count:
            self.all_there.set()
        await self.may_go.wait()


class Clients:
    """Sessions with the balancer at ``port``, whose kind and content follow from the seed and their number."""

    def __init__(self, ledger: Ledger, port: int, seed: int) -> None:
        self._ledger = ledger
        self._port = port
        self._seed = seed

    async def at_once(self, count: int, more: int) -> tuple[int, int]:
        """Hold so many connections open at once, and try to have more, whose kind is then ``refused``.

        Returns how many of each were answered.
        """
        held = Held(count)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.session, "held", held)
            with trio.move_on_after(HOLD_PATIENCE):
                await held.all_there.wait()
            served = held.there
            async with trio.open_nursery() as beyond:
                for _ in range(more):
                    beyond.start_soon(self.session, "refused")
            held.may_go.set()
        refused = [session for session in self._ledger.sessions.values() if session.kind == "refused"]
        return served, sum(session.failure is None for session in refused)

    async def one_after_another(self, until: trio.Event) -> None:
        """One client."""
        while not until.is_set():
            await self.session()

    async def session(self, kind: str | None = None, held: Held | None = None) -> None:
        """One session, of this kind or any. Never raises: what went wrong is in the ledger."""
        rng = random.Random(f"{self._seed} {len(self._ledger.sessions)}")
        kind = kind or rng.choices([*KINDS], [each.weight for each in KINDS.values()])[0]
        session = self._ledger.begin(kind, trio.current_time())
        try:
            with trio.fail_after(PATIENCE):
                await self._talk(session, KINDS.get(kind, OTHER), rng, held)
        except trio.TooSlowError:
            session.failure = f"stuck for {PATIENCE:g} s"
        except EndedEarlyError as error:
            session.failure = str(error)
        except OSError as error:
            session.failure = error.strerror or str(error)
        session.ended = trio.current_time()

    async def _talk(self, session: Session, kind: Kind, rng: random.Random, held: Held | None) -> None:
        talk = Talk(session.number, rng.randint(*kind.rounds), _size(rng, kind.up), _size(rng, kind.down))
        upload, heard = talk.upload, Checked(talk.download)
        with trio.socket.socket() as sock:
            await sock.bind((source_of(session.number), 0))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await sock.connect(("127.0.0.1", self._port))
            chunk = talk.header
            for number in range(talk.rounds):
                await trio.sleep(rng.uniform(0, kind.pause))
                chunk += upload[number * talk.up : (number + 1) * talk.up]
                await _send(sock, chunk, session)
                chunk = b""
                if kind.rude and number + 2 >= talk.rounds:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return
                if kind.half_closed and number + 1 == talk.rounds:
                    sock.shutdown(socket.SHUT_WR)
                await self._hear(sock, session, heard, (number + 1) * talk.down)
                if held is not None:
                    await held.here()
            if not kind.half_closed:
                sock.shutdown(socket.SHUT_WR)
            await self._hear(sock, session, heard, None)

    async def _hear(self, sock: trio.socket.SocketType, session: Session, heard: Checked, count: int | None) -> None:
        """Receive up to so many bytes of the session, or its end."""
        while count is None or heard.count < count:
            chunk = await sock.recv(1 << 18)
            if not chunk:
                if count is None and heard.complete:
                    return
                raise EndedEarlyError(ORDERLY_END)
            if wrong := heard.take(chunk):
                self._ledger.wrong.append(f"session {session.number}, at its client: {wrong}")
                raise EndedEarlyError("wrong bytes")
            session.received = heard.count


class EndedEarlyError(Exception):
    """The answer was not what it should be."""


async def _send(sock: trio.socket.SocketType, chunk: bytes, session: Session) -> None:
    rest = memoryview(chunk)
    while rest:
        sent = await sock.send(rest)
        session.sent += sent
        rest = rest[sent:]


def _size(rng: random.Random, bounds: tuple[int, int]) -> int:
    return min(rng.randint(*bounds) for _ in range(MOSTLY_SMALL))
