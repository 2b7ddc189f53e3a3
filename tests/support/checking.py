"""One check by the epoll runner, in the shape of :meth:`healthcheck.probe.Probe.check`."""

import trio

from healthcheck.check import Checks, ServerCheck
from healthcheck.conversation import TimedOut
from healthcheck.epoll_runner import EpollRunner
from lb.model import HealthSpec


class OutcomeOf(ServerCheck):
    """Keeps the outcomes of a probe's checks of one server."""

    def __init__(self, probe, target, timeout=1000.0):
        self._address = target
        server = Checks(
            [probe],
            HealthSpec(),
            targets=[lambda: self._address],
            interval=lambda: 2.0,
            report=lambda result: None,
        )
        super().__init__(server, "", probe, lambda: self._address, timeout)
        self.outcomes = []

    def move_to(self, target):
        """The server's address changes."""
        self._address = target

    def done(self, outcome, now):
        self.running = None
        self.outcomes.append(outcome)


async def turn(runner):
    with trio.CancelScope(deadline=runner.next_look):
        await runner.readable()
    runner.look(trio.current_time())


async def by_epoll(probe, target):
    """Check a server once, and wait until the connection is closed. A cancel is the timeout."""
    runner, check = EpollRunner(), OutcomeOf(probe, target)
    runner.start(check, trio.current_time())
    try:
        while runner.in_flight:
            await turn(runner)
    except trio.Cancelled:
        after = trio.current_time() + 2 * check.timeout
        runner.looked = after
        for queue in [runner.timeouts(check.timeout), runner.closing]:
            while (wait := queue.pop_due(after)) is not None:
                wait.expired(queue)
        if isinstance(check.outcomes[0], TimedOut):
            raise
    finally:
        runner.close()
    (outcome,) = check.outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
