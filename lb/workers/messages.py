"""What the supervisor and its workers say to each other."""

from __future__ import annotations

import signal
from typing import Literal

import attrs

from healthcheck.mirror import Standing
from lb.address import Address, SocketAddress
from lb.binds import Place
from lb.figures import Wanted
from lb.model import Config

__all__ = [
    "SIGNALS",
    "Abandon",
    "Ask",
    "CloseAll",
    "Commit",
    "ConnectFailed",
    "Connected",
    "Done",
    "Judged",
    "Lines",
    "Prepare",
    "Resolved",
    "Start",
    "StopListening",
]

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""The supervisor obeys them, for all. It blocks them in a worker from its birth, until the worker ignores them."""

# From the supervisor. Start, Prepare, Commit, Ask and StopListening are orders, which a worker answers with Done.


@attrs.frozen
class Start:
    """The first message; with it go the board and, for each worker, the eventfd that makes it look again."""

    index: int
    workers: int


@attrs.frozen
class Prepare:
    """Get ready for another configuration. With it go the sockets of ``opened``."""

    config: Config
    slots: dict[str, int]
    opened: tuple[tuple[Place, int], ...]
    """Whose they are, and how many each."""


@attrs.frozen
class Commit:
    """Change to what was prepared, now."""

    standings: dict[tuple[str, str], Standing]
    """By pool and server, of those about whom there is anything to say."""
    targets: dict[Address, tuple[SocketAddress, ...]]
    """What host names resolve to."""


@attrs.frozen
class Abandon:
    """Forget what was prepared, or is being prepared."""


@attrs.frozen
class Judged:
    """How it stands with a server now."""

    pool: str
    server: str
    standing: Standing


@attrs.frozen
class Resolved:
    """The addresses of a server, the best first."""

    pool: str
    server: str
    targets: tuple[SocketAddress, ...]


@attrs.frozen
class StopListening:
    """Accept what waits, then nobody; end by yourself once no connection is open."""

    elsewhere: frozenset[Place]
    """Whose sockets another process has taken over, with who waits there."""


@attrs.frozen
class CloseAll:
    """End now; what is open is closed as ``stopped``."""


@attrs.frozen
class Ask:
    """A question about the traffic; the answer is what the method of :class:`lb.traffic.Traffic` says."""

    about: Literal["survey", "timings", "live", "cut"]
    wanted: Wanted


# From a worker


@attrs.frozen
class Done:
    """The answer to an order of this kind."""

    to: type[object]
    error: str = ""
    """Why it cannot be; empty if all is well."""
    answer: object = None
    """To a question."""


@attrs.frozen
class ConnectFailed:
    """A connect to this server failed, by the server's or the network's fault."""

    pool: str
    server: str
    error: str


@attrs.frozen
class Connected:
    """A connect to this server worked, and that matters."""

    pool: str
    server: str


@attrs.frozen
class Lines:
    """Lines of the log, without the last one's end."""

    text: str
    count: int
