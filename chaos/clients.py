"""Clients of several kinds. Each records its sessions in the ledger."""

from __future__ import annotations

import random
import socket

import attrs
import trio

from chaos.ledger import ORDERLY_END, Ledger, Session, source_of
from chaos.talk import Checked, Talk

__all__ = ["KINDS", "Clients", "Kind"]

PATIENCE = 60.0
"""Seconds after which a session counts as stuck: far more than all pauses of a storm."""
HOLD_PATIENCE = PATIENCE / 2
"""Seconds in which all sessions to be held at once must be served."""


@attrs.frozen
class Kind:
    """A kind of session. Pairs are minimum and maximum."""

    weight: int
    rounds: tuple[int, int] = (1, 1)
    up: tuple[int, int] = (0, 2_000)
    """Bytes in each round; likewise ``down``."""
    down: tuple[int, int] = (1, 20_000)
    pause: float = 0.0
    """Maximum seconds between rounds, and before the first."""
    half_closed: bool = False
    """The client half-closes before the last reply, not after it."""
    rude: bool = False
    """The client resets the connection in the middle."""


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
"""A size is the minimum of this number of random values, so that large ones are rare."""


class Barrier:
    """Lets sessions wait for each other."""

    def __init__(self, count: int) -> None:
        self.arrived = 0
        self.all_arrived = trio.Event()
        self.may_go = trio.Event()
        self._count = count

    async def wait(self) -> None:
        self.arrived += 1
        if self.arrived == self._count:
            self.all_arrived.set()
        await self.may_go.wait()


class Clients:
    """Runs sessions with the balancer at ``port``. Seed and number determine kind and content of a session."""

    def __init__(self, ledger: Ledger, port: int, seed: int) -> None:
        self._ledger = ledger
        self._port = port
        self._seed = seed

    async def at_once(self, count: int, more: int) -> tuple[int, int]:
        """Hold ``count`` connections open at once, and try ``more``, of the kind ``refused``.

        Returns how many of each were served.
        """
        barrier = Barrier(count)
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.session, "held", barrier)
            with trio.move_on_after(HOLD_PATIENCE):
                await barrier.all_arrived.wait()
            served = barrier.arrived
            async with trio.open_nursery() as beyond:
                for _ in range(more):
                    beyond.start_soon(self.session, "refused")
            barrier.may_go.set()
        refused = [session for session in self._ledger.sessions.values() if session.kind == "refused"]
        return served, sum(session.failure is None for session in refused)

    async def one_after_another(self, until: trio.Event) -> None:
        """Run sessions until ``until`` is set."""
        while not until.is_set():
            await self.session()

    async def session(self, kind: str | None = None, barrier: Barrier | None = None) -> None:
        """Run a session of this kind, or of a random one. Never raises: failures go into the ledger."""
        rng = random.Random(f"{self._seed} {len(self._ledger.sessions)}")
        kind = kind or rng.choices([*KINDS], [each.weight for each in KINDS.values()])[0]
        session = self._ledger.begin(kind, trio.current_time())
        try:
            with trio.fail_after(PATIENCE):
                await self._talk(session, KINDS.get(kind, OTHER), rng, barrier)
        except trio.TooSlowError:
            session.failure = f"stuck for {PATIENCE:g} s"
        except EndedEarlyError as error:
            session.failure = str(error)
        except OSError as error:
            session.failure = error.strerror or str(error)
        session.ended = trio.current_time()

    async def _talk(self, session: Session, kind: Kind, rng: random.Random, barrier: Barrier | None) -> None:
        talk = Talk(session.number, rng.randint(*kind.rounds), _size(rng, kind.up), _size(rng, kind.down))
        upload, checked = talk.upload, Checked(talk.download)
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
                await self._receive(sock, session, checked, (number + 1) * talk.down)
                if barrier is not None:
                    await barrier.wait()
            if not kind.half_closed:
                sock.shutdown(socket.SHUT_WR)
            await self._receive(sock, session, checked, None)

    async def _receive(
        self, sock: trio.socket.SocketType, session: Session, checked: Checked, count: int | None
    ) -> None:
        """Receive up to ``count`` bytes of the session, or up to its end."""
        while count is None or checked.count < count:
            chunk = await sock.recv(1 << 18)
            if not chunk:
                if count is None and checked.complete:
                    return
                raise EndedEarlyError(ORDERLY_END)
            if wrong := checked.take(chunk):
                self._ledger.wrong.append(f"session {session.number}, at its client: {wrong}")
                raise EndedEarlyError("wrong bytes")
            session.received = checked.count


class EndedEarlyError(Exception):
    """The reply was wrong or incomplete."""


async def _send(sock: trio.socket.SocketType, chunk: bytes, session: Session) -> None:
    rest = memoryview(chunk)
    while rest:
        sent = await sock.send(rest)
        session.sent += sent
        rest = rest[sent:]


def _size(rng: random.Random, bounds: tuple[int, int]) -> int:
    return min(rng.randint(*bounds) for _ in range(MOSTLY_SMALL))
