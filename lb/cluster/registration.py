"""This node's entry in its cluster: a key that lives as long as the lease that the node keeps alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn

import trio

from lb.cluster.node_state import NodeNameError
from lb.etcd.client import EtcdClient
from lb.etcd.errors import EtcdError
from lb.etcd.messages import Comparison, Put, RangeRequest

__all__ = ["Registration"]

LEASE = 5
"""Seconds that a node stays in the list after its death."""
RENEW_INTERVAL = 1.0
"""Seconds between two signs of life."""
RENEW_TIMEOUT = 2.0
"""Seconds that an endpoint has for an answer before the next one is asked: two of them fit into a lease."""
GRACE = 3.0
"""Seconds of failures that are not reported: one sign of life that is late harms nobody."""
SILENT = 2.0
"""Seconds that a lease has left at most if its node has died: a living one renews it earlier."""
WATCHED = 3.0
"""Seconds after which another node's lease that is not silent is taken for alive."""
LEASE_LOOKS = 0.25
"""Seconds between two looks at another's lease."""


class Registration:
    """Keeps the key of the node ``name``, whose value is ``state()``, and its lease, which may be a predecessor's.

    ``leased`` is called with each new lease: keys under the one before are gone.
    """

    def __init__(
        self,
        client: EtcdClient,
        key: bytes,
        name: str,
        state: Callable[[], bytes],
        leased: Callable[[], None],
        lease: int = 0,
    ) -> None:
        self.lease = lease
        """0 = none yet."""
        self._client = client
        self._key = key
        self._name = name
        self._state = state
        self._leased = leased
        self._written = b""  # the value that the key has; empty if there may be none
        self._renewing = trio.Lock()

    def gone(self) -> None:
        """Note that the key is gone: it is written again."""
        self._written = b""

    async def run(self, done: Callable[[tuple[str, ...]], None]) -> NoReturn:
        """Give a sign of life each second, and write the key when it changes. ``done`` gets the errors, if they last.

        A key that another balancer holds may be that of this node's last process: it waits for the end of that lease.
        """
        well = trio.current_time()
        while True:
            begun = trio.current_time()
            try:
                await self._renew()
            except EtcdError as error:
                if begun > well + GRACE:
                    done(error.texts)
            except NodeNameError as error:
                if begun > well + LEASE + RENEW_INTERVAL:
                    done((str(error),))
            else:
                well = begun
                done(())
            await trio.sleep_until(begun + RENEW_INTERVAL)

    async def begin(self) -> None:
        """Register this node at its start. Raises EtcdError, and NodeNameError if another balancer of its name lives.

        One that has died is followed: then this returns, and the key is written once the other's lease has run out.
        """
        try:
            with trio.move_on_after(RENEW_TIMEOUT):
                await self._renew()
        except NodeNameError:
            if await self._other_lives():
                raise

    async def end(self) -> None:
        """Leave the cluster: the lease ends, and its keys with it. Raises EtcdError."""
        if self.lease:
            await self._client.revoke(self.lease, within=RENEW_TIMEOUT)

    async def _renew(self) -> None:
        """Give a sign of life, and write the key if it has changed. Raises EtcdError and NodeNameError."""
        async with self._renewing:
            if self.lease and not await self._client.keep_alive(self.lease, within=RENEW_TIMEOUT):
                self.lease = 0
            if not self.lease:
                self.lease = await self._client.grant(LEASE, within=RENEW_TIMEOUT)
                self._written = b""
                self._leased()
            state = self._state()
            if state != self._written:
                await self._write(state)

    async def _write(self, state: bytes) -> None:
        put = Put(self._key, state, self.lease)
        ours = Comparison(self._key, "LEASE", "EQUAL", self.lease)
        nobodys = Comparison(self._key, "CREATE", "EQUAL", 0)
        for condition in (ours, nobodys):
            if (await self._client.txn((condition,), (put,), within=RENEW_TIMEOUT)).succeeded:
                self._written = state
                return
        raise NodeNameError(f"another balancer is the node {self._name!r} of this cluster")

    async def _other_lives(self) -> bool:
        """Return whether the balancer that holds the key keeps its lease alive."""
        with trio.move_on_after(WATCHED):
            while True:
                found = (await self._client.range(RangeRequest(self._key), within=RENEW_TIMEOUT)).found
                if not found or await self._client.time_to_live(found[0].lease, within=RENEW_TIMEOUT) <= SILENT:
                    return False
                await trio.sleep(LEASE_LOOKS)
        return True
