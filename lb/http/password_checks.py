"""Checks of passwords: in threads, shared by all who ask at the same time, remembered for a minute, fair to clients.

What a check answers depends on the user, the password and the hash in the file alone, so what is remembered stays
right: after a change of the file, the hash is another one. Remembered are keyed hashes, no passwords.
"""

from __future__ import annotations

import math
import os
from functools import partial
from hashlib import blake2b

import trio

from lb.http.fair_turns import FairTurns
from lb.http.users import holds_interpreter, verify
from lb.model.address import address_of
from lb.net.shared_calls import SharedCalls
from lb.net.threads import Threads
from lb.proxy.context import ConnectionContext
from lb.proxy.source_limits import source_of

__all__ = ["CrowdedError", "PasswordChecks"]

MOST_THREADS = 2
"""Checks at a time. A guess: each uses a core for its time."""
CHECK_TIMEOUT = 10.0
"""Seconds of a check. The dearest hashes that a configuration may have take about four."""
LONGEST_WAIT = 5.0
"""Seconds that a check may wait for its turn."""
PER_SOURCE = 8
"""Checks of a client that may wait: of different passwords, as equal ones are one check. A guess: more are guesses."""
TOTAL = 128
"""Checks that may wait."""
REMEMBERED_FOR = 60.0
MOST_REMEMBERED = 8192
"""Results of either kind: about 1 MB."""
PAUSE_AFTER = 0.005
"""Seconds of pause after a check that held the interpreter, which takes half a millisecond: a tenth for such checks."""

_threads = Threads(MOST_THREADS, CHECK_TIMEOUT)


class CrowdedError(OSError):
    """Too many checks wait. ``by_client``: too many of this client."""

    def __init__(self, message: str, *, by_client: bool) -> None:
        super().__init__(message)
        self.by_client = by_client


class _Remembered:
    """Keys that were added in the last REMEMBERED_FOR seconds. When it is full, the oldest is forgotten."""

    def __init__(self) -> None:
        self._times: dict[bytes, float] = {}
        """The oldest first."""

    def has(self, key: bytes, now: float) -> bool:
        return now - self._times.get(key, -math.inf) < REMEMBERED_FOR

    def add(self, key: bytes, now: float) -> None:
        """Remember a key from now on."""
        times = self._times
        times.pop(key, None)
        while times:
            oldest = next(iter(times))
            if now - times[oldest] < REMEMBERED_FOR and len(times) < MOST_REMEMBERED:
                break
            del times[oldest]
        times[key] = now


class PasswordChecks:
    """The checks of a process, of all its listeners."""

    def __init__(self, context: ConnectionContext) -> None:
        self._clock = context.clock
        self._secret = os.urandom(32)
        self._right = _Remembered()
        """A minute since the last use: who goes on working waits for no check again."""
        self._wrong = _Remembered()
        """Apart from those that are right, so that a flood of wrong ones pushes none of them out."""
        self._under_way: SharedCalls[bytes, bool] = SharedCalls()
        self._turns = FairTurns(MOST_THREADS, per_source=PER_SOURCE, total=TOTAL)

    def key(self, credentials: bytes, password_hash: str) -> bytes:
        """Return what a check is remembered by. ``credentials`` are ``user:password``, without control characters."""
        return blake2b(b"%b\0%b" % (credentials, password_hash.encode()), digest_size=16, key=self._secret).digest()

    def remembered(self, key: bytes) -> bool | None:
        """Return the result of a check; None if it has to be made."""
        now = self._clock()
        if self._right.has(key, now):
            self._right.add(key, now)
            return True
        return False if self._wrong.has(key, now) else None

    async def check(self, key: bytes, password: bytes, password_hash: str, client: str) -> bool:
        """Check a password and remember the result. ``client`` is an IP address; empty for a unix socket.

        Raises CrowdedError, and TimeoutError if there was no turn in LONGEST_WAIT seconds.
        """
        return await self._under_way.run(key, partial(self._check, key, password, password_hash, client))

    async def _check(self, key: bytes, password: bytes, password_hash: str, client: str) -> bool:
        address = address_of(client)
        source = source_of(address) if address is not None else b""
        if self._turns.full_of(source):
            raise CrowdedError("too many passwords of this client wait for their check", by_client=True)
        if self._turns.full:
            raise CrowdedError("too many passwords wait for their check", by_client=False)
        with trio.move_on_after(LONGEST_WAIT) as wait:
            async with self._turns.turn(source):
                wait.deadline = math.inf
                right = await _threads.run(verify, password, password_hash)
                (self._right if right else self._wrong).add(key, self._clock())
                if holds_interpreter(password_hash):
                    await trio.sleep(PAUSE_AFTER)
                return right
        raise TimeoutError(f"no turn in {LONGEST_WAIT:g} s")
