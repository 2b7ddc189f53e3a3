"""SIGUSR2: a new process, of the version that is installed now, takes this one's place; no connection notices.

It inherits the listening sockets. Once it serves, this process accepts nobody any more, and lets its connections
finish. If it cannot, this process goes on as if nothing had happened.
"""

from __future__ import annotations

import signal

import trio

from lb.admin.admin import Admin
from lb.errors import describe_error
from lb.events import Fault, Sink
from lb.server import Balancer
from lb.service.given_sockets import GivenSockets
from lb.service.notify import Notifier
from lb.service.successor import Successor, SuccessorError
from lb.service_events import UpgradeDone, UpgradeFailed, UpgradeIgnored, UpgradeStarted

__all__ = ["Upgrades"]

PATIENCE = 60.0
"""Seconds until a new process that says nothing counts as failed. A guess: many times what 10,000 servers take."""


class Upgrades:
    """One after another; ``changing`` is held while anything about the configuration or the process changes."""

    def __init__(
        self,
        balancer: Balancer,
        admin: Admin,
        given: GivenSockets,
        sink: Sink,
        notifier: Notifier,
        changing: trio.Lock,
    ) -> None:
        self.successor: Successor | None = None
        """Who serves in this process's place."""
        self._balancer = balancer
        self._admin = admin
        self._given = given
        self._sink = sink
        self._notifier = notifier
        self._changing = changing
        self._attempt: trio.CancelScope | None = None

    async def run(self) -> None:
        """Try, and if it works let the connections finish."""
        if self._balancer.stopping:
            self._sink(UpgradeIgnored("this process stops"))
            return
        if self._attempt is not None:
            self._sink(UpgradeIgnored("an upgrade is under way"))
            return
        with trio.CancelScope() as attempt:
            self._attempt = attempt
            async with self._changing, self._balancer.changing:  # what it knows shall not change while it hands it over
                await self._try()
        self._attempt = None
        if self.successor is not None:
            await self._balancer.drain()

    def abandon(self) -> None:
        """The process stops: what has not served yet shall not."""
        if self._attempt is not None and self.successor is None:
            self._attempt.cancel()
            self._sink(UpgradeFailed("this process was told to stop"))

    async def _try(self) -> None:
        try:
            await self._succeed(Successor({**self._balancer.listening, **self._admin.listening}, self._given))
        except SuccessorError as error:
            self._sink(UpgradeFailed(str(error)))
        except OSError as error:
            self._sink(UpgradeFailed(f"cannot be started: {describe_error(error)}"))
        except Exception as exception:  # noqa: BLE001 - a bug here, or in the other version; this process goes on
            self._sink(Fault("upgrade", exception))
            self._sink(UpgradeFailed(f"{type(exception).__name__}: {exception}"))

    async def _succeed(self, successor: Successor) -> None:
        self._sink(UpgradeStarted(successor.pid))
        taken = None
        try:
            with trio.move_on_after(PATIENCE):
                taken = await successor.ready(self._balancer.knowledge)
            if taken is None:
                raise SuccessorError(f"it did not serve in {PATIENCE:g} s")
        finally:
            if taken is None:
                with trio.CancelScope(shield=True):
                    await successor.kill()
        with trio.CancelScope(shield=True):  # it serves: there is no way back
            self.successor = successor
            self._sink(UpgradeDone(successor.pid))
            self._notifier.succeeded_by(successor.pid)
            self._admin.leave(taken)
            await self._balancer.stop_listening(signal.SIGUSR2.name, taken)
            await self._notifier.all_said()  # or the service manager would not know who speaks to it next
            await successor.left()
