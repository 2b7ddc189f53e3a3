"""The demo's clients: short sessions one after another, and a few long ones, each judged when it is over."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

import trio

from lb.address import Client
from lb.demo.ledger import Ledger
from lb.demo.process import ServerProcess
from lb.errors import describe_error
from lb.events import ConnectionClosed

__all__ = ["Load"]

SHORT_CLIENTS, LONG_CLIENTS = 4, 3
LONG_QUESTIONS = 20
LONG_PAUSE = 0.1
"""Seconds between the questions of a long session."""
SHORT_PAUSE = 0.02
"""Seconds between two short sessions of a client: a light load."""
PATIENCE = 5.0
"""Seconds to wait for an answer."""
GRACE = 1.0
"""Seconds in which the balancer's record of a broken session, and the news of its server's death, must arrive."""


class WrongAnswerError(Exception):
    """An answer to another question, or more than was asked for."""


class EndedEarlyError(Exception):
    """The end of the stream where an answer should be."""


class Load:
    """Clients of the balancer. :meth:`closed` must be told of each connection that the balancer records."""

    def __init__(self, servers: Mapping[str, ServerProcess], ledger: Ledger) -> None:
        self._servers = servers
        self._ledger = ledger
        self._questions = count(1)
        self._broken: dict[str, ConnectionClosed] = {}
        """Records by client, of connections that were not ended by the client, as all should be."""
        self._recorded = trio.Event()

    async def run(self, port: int) -> None:
        """Ask until cancelled. Sessions that the cancellation interrupts are not counted."""
        async with trio.open_nursery() as nursery:
            for _ in range(SHORT_CLIENTS):
                nursery.start_soon(self._client, port, 1, SHORT_PAUSE)
            for _ in range(LONG_CLIENTS):
                nursery.start_soon(self._client, port, LONG_QUESTIONS, LONG_PAUSE)

    async def _client(self, port: int, questions: int, pause: float) -> None:
        while True:
            await self._session(port, questions, pause)
            await trio.sleep(pause)

    async def _session(self, port: int, questions: int, pause: float) -> None:
        """One connection from beginning to end, and its line in the ledger."""
        started = trio.current_time()
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError as error:
            self._ledger.failures[f"cannot connect: {describe_error(error)}"] += 1
            return
        client = str(Client(*stream.socket.getsockname()))
        try:
            async with stream:
                await self._converse(stream, questions, pause)
        except (EndedEarlyError, trio.BrokenResourceError):
            await self._judge_broken(client, started)
        except WrongAnswerError as error:
            self._ledger.failures[f"wrong answer: {error}"] += 1
        except trio.TooSlowError:
            self._ledger.failures[f"no answer in {PATIENCE:g} s"] += 1
        else:
            self._ledger.ok += 1

    async def _converse(self, stream: trio.SocketStream, questions: int, pause: float) -> None:
        """Ask, read, and ask again; half-close, and read to the end. One server must answer all."""
        answered_by = set()
        for number in range(questions):
            if number:
                await trio.sleep(pause)
            question = f"question {next(self._questions)}"
            with trio.fail_after(PATIENCE):
                await stream.send_all(f"{question}\n".encode())
                answer = await _read_line(stream)
            server, _, echoed = answer.removesuffix("\n").partition(" ")
            answered_by.add(server)
            if echoed != question or len(answered_by) > 1 or server not in self._servers:
                raise WrongAnswerError(f"{answer!r} to {question!r}")
        with trio.fail_after(PATIENCE):
            await stream.send_eof()
            if rest := await stream.receive_some():
                raise WrongAnswerError(f"{rest!r} after the last question")

    def closed(self, record: ConnectionClosed) -> None:
        """Take note of the balancer's record of a connection."""
        if record.ended_by != "client":
            self._broken[str(record.client)] = record
            self._recorded.set()
            self._recorded = trio.Event()

    async def _judge_broken(self, client: str, started: float) -> None:
        """Cut by a kill, or failed? Asked when both ends are closed, which is when there is a record.

        A connection that reached a server which then died was open at that moment: one made later would have been
        refused, and tried elsewhere. Anything else is the balancer's to answer for.
        """
        reason = "broken without a record"
        with trio.move_on_after(GRACE):
            while client not in self._broken:
                await self._recorded.wait()
            record = self._broken.pop(client)
            reason = f"{record.reason}, ended by {record.ended_by}"
            if record.server is not None:
                await self._servers[record.server].dead_since(started)
                self._ledger.cut += 1
                return
        self._ledger.failures[reason] += 1


async def _read_line(stream: trio.SocketStream) -> str:
    line = b""
    while b"\n" not in line:
        chunk = await stream.receive_some()
        if not chunk:
            raise EndedEarlyError
        line += chunk
    return line.decode(errors="replace")
