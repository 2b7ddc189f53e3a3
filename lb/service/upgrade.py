"""Upgrade (SIGUSR2): a new process, of the version installed now, takes over without interrupting a connection.

The successor inherits the listening sockets. Once it serves, this process stops accepting and lets its connections
finish. If the successor fails, this process continues unchanged.
"""

from __future__ import annotations

import signal

import attrs
import trio

from lb.admin.admin import Admin
from lb.announce.announcer import Announcer
from lb.cluster.cluster import Cluster
from lb.control.balancer import Balancer
from lb.control.inherited import RuntimeState
from lb.events import Fault, Sink
from lb.events.process import UpgradeDone, UpgradeFailed, UpgradeIgnored, UpgradeStarted
from lb.net.activation import GivenSockets
from lb.net.errors import describe_error
from lb.service.notify import Notifier
from lb.service.successor import Successor, SuccessorError

__all__ = ["Upgrades"]

UPGRADE_TIMEOUT = 60.0
"""Seconds until a successor without a report counts as failed. A guess: many times what 10,000 servers take."""


class Upgrades:
    """Runs upgrades, one at a time. ``changing`` is held during every change of the configuration or the process."""

    def __init__(
        self,
        balancer: Balancer,
        admin: Admin,
        announcer: Announcer,
        cluster: Cluster,
        given: GivenSockets,
        sink: Sink,
        notifier: Notifier,
        changing: trio.Lock,
    ) -> None:
        self.successor: Successor | None = None
        """The process that has taken over; None before."""
        self._balancer = balancer
        self._admin = admin
        self._announcer = announcer
        self._cluster = cluster
        self._given = given
        self._sink = sink
        self._notifier = notifier
        self._changing = changing
        self._attempt: trio.CancelScope | None = None

    async def run(self) -> None:
        """Try an upgrade; on success let the connections of this process finish."""
        if self._balancer.stop_begun:
            self._sink(UpgradeIgnored("this process stops"))
            return
        if self._attempt is not None:
            self._sink(UpgradeIgnored("an upgrade is under way"))
            return
        with trio.CancelScope() as attempt:
            self._attempt = attempt
            balancer = self._balancer
            async with self._changing, balancer.changing, balancer.overriding:  # no change of the state meanwhile
                await self._try()
        self._attempt = None
        if self.successor is not None:
            await self._balancer.drain()

    def cancel(self) -> None:
        """Cancel an upgrade whose successor does not serve yet, as this process stops."""
        if self._attempt is not None and self.successor is None:
            self._attempt.cancel()
            self._sink(UpgradeFailed("this process was told to stop"))

    async def _try(self) -> None:
        try:
            sockets = {**self._balancer.listening, **self._admin.listening}
            await self._hand_over(Successor(sockets, self._given, self._balancer.secret))
        except SuccessorError as error:
            self._sink(UpgradeFailed(str(error)))
        except OSError as error:
            self._sink(UpgradeFailed(f"cannot be started: {describe_error(error)}"))
        except Exception as exception:  # noqa: BLE001 - a bug here or in the other version; this process continues
            self._sink(Fault("upgrade", exception))
            self._sink(UpgradeFailed(f"{type(exception).__name__}: {exception}"))

    def _runtime_state(self) -> RuntimeState:
        return attrs.evolve(self._balancer.runtime_state(), cluster=self._cluster.as_json())

    async def _hand_over(self, successor: Successor) -> None:
        self._sink(UpgradeStarted(successor.pid))
        taken = None
        try:
            with trio.move_on_after(UPGRADE_TIMEOUT):
                taken = await successor.ready(self._runtime_state)
            if taken is None:
                raise SuccessorError(f"it did not serve in {UPGRADE_TIMEOUT:g} s")
        finally:
            if taken is None:
                with trio.CancelScope(shield=True):
                    await successor.kill()
        with trio.CancelScope(shield=True):  # the successor serves: no rollback from here
            self.successor = successor
            self._sink(UpgradeDone(successor.pid))
            self._notifier.succeeded_by(successor.pid)
            announced = await self._announcer.hand_over()  # before the stop begins, which removes addresses
            self._admin.leave(taken)
            self._cluster.hand_over()
            await self._balancer.succeeded(signal.SIGUSR2.name, taken)
            await self._notifier.all_sent()  # else the service manager would not know the new main process
            await successor.left(announced)
