"""One connection of a probe, without I/O: PROXY header, TLS, the probe's script, and a graceful end.

Bytes go in and out, and a verdict comes out. :mod:`healthcheck.epoll_runner` and :mod:`healthcheck.over_stream` carry
the bytes.
"""

from __future__ import annotations

import ssl
from typing import TypeAlias

from healthcheck.conversation import MOST_BYTES, Conversation, Script, TimedOut
from healthcheck.probe import Passed, ProbeFailed, Secure, Word
from healthcheck.tls_layer import TlsLayer

__all__ = ["MOST_PIECES", "MOST_RECEIVED", "Outcome", "ProbeConnection"]

Outcome: TypeAlias = str | Passed | Word | Exception
"""What a script returned or raised."""

MOST_RECEIVED = MOST_BYTES + 32_768
"""Limit for all bytes of a check: an answer, a TLS handshake, and what a server still sends after the verdict."""
MOST_PIECES = 512
"""Limit for how often bytes of a server are handled: 20 ms of work. An answer of 64 KiB takes 45 segments."""
MOST_TLS_RECORDS = 256
"""Limit for the records of TLS: 10 ms of work, if they are updates of the key."""


class ProbeConnection:
    """One connection, from the connect to the end.

    Call a method for each thing that happens to the socket. Then send ``outgoing``, look at ``outcome``, shut down
    sending if ``ends_sending`` says so, and close if ``finished``.

    A plain close with unread data, or before the server's greeting arrives, resets the connection, and the server logs
    an error for each check. So after the verdict, this sends the protocol's end of a session, ends sending, and reads
    until the server closes.
    """

    __slots__ = (
        "_conversation",
        "_pieces",
        "_received",
        "_script",
        "_tls",
        "ends_sending",
        "finished",
        "kept",
        "outcome",
        "outgoing",
    )

    def __init__(self, script: Script, conversation: Conversation, secure: Secure | None) -> None:
        self._script = script
        self._conversation = conversation
        self._tls = None if secure is None else TlsLayer(secure)
        self._pieces = self._received = 0
        self.outgoing = b""
        """Bytes to send. The owner removes what it has sent."""
        self.outcome: Outcome | None = None
        """The verdict, once there is one."""
        self.kept = False
        """The check has passed, and the connection waits for another one, see :meth:`again`."""
        self.ends_sending = False
        """Nothing will be sent after ``outgoing``."""
        self.finished = False
        """Close now."""

    def connected(self, ms: float, header: bytes) -> None:
        """The connection is there, ``ms`` after the start of the check. Begins with the PROXY header, or without."""
        self._conversation.ms = ms
        self.outgoing = header
        if self._tls is None:
            self._resume()
        else:
            self._advance(self._tls)

    def again(self, script: Script, conversation: Conversation) -> None:
        """Make another check over the kept connection."""
        self._script, self._conversation = script, conversation
        self.outcome = None
        self.kept = False
        self._pieces = self._received = 0
        if self._tls is not None:
            self._tls.records = 0
            conversation.tls = self._tls.session
        self._resume()

    def received(self, data: bytes, ms: float) -> None:
        """Bytes of the server have arrived."""
        self._conversation.ms = ms
        self._pieces += 1
        self._received += len(data)
        if self._pieces > MOST_PIECES:
            self._interrupt(ProbeFailed(f"sends its answer in more than {MOST_PIECES} pieces"))
        elif self._received > MOST_RECEIVED:
            self._interrupt(ProbeFailed(f"sends more than {MOST_RECEIVED} bytes"))
        elif self._tls is None or self.ends_sending:
            self._take(data)
        else:
            self._tls.received(data)
            self._advance(self._tls)

    def closed(self, ms: float) -> None:
        """The server has closed its side."""
        self.received(b"", ms)
        self.finished = True

    def broke(self, error: OSError) -> None:
        """The connection failed, or could not be made. The outcome is the error, unless the script has a better one."""
        self._interrupt(error)

    def timed_out(self) -> None:
        """The check has taken too long. The outcome is TimedOut, unless the script has a better reason."""
        self._interrupt(TimedOut())

    def _interrupt(self, exception: Exception) -> None:
        self.finished = True
        if self.outcome is None:
            try:
                self._script.throw(exception)
            except StopIteration as done:
                self.outcome = done.value
            except Exception as raised:  # noqa: BLE001 - the owner tells a failure from a bug of the probe
                self.outcome = raised

    def _advance(self, tls: TlsLayer) -> None:
        """Go on with the handshake, the plain bytes, or the end of TLS, as far as the received bytes allow."""
        if tls.records > MOST_TLS_RECORDS:
            self._interrupt(ProbeFailed(f"sends more than {MOST_TLS_RECORDS} TLS records"))
            return
        try:
            if not tls.secured and tls.shake_hands():
                self._conversation.tls = tls.session
                self._resume()
            plain, ended = b" ", False
            while plain and tls.secured and (self.outcome is None or self.kept):
                plain, ended = tls.read()
                if plain:
                    self._take(plain)
            if ended and (self.outcome is None or self.kept):
                self._take(b"")
            if self.outcome is not None and not self.kept:
                self.ends_sending = tls.close()
            self.outgoing += tls.outgoing()
        except ssl.SSLError as error:
            self.broke(error)

    def _take(self, data: bytes) -> None:
        """Handle plain bytes; none are the end of the stream."""
        if self.outcome is None:
            self._conversation.unread += data
            self._conversation.ended = not data
            self._resume()
        else:
            self.finished |= self.kept or not data

    def _resume(self) -> None:
        """Run the script until it needs more bytes, or has the verdict."""
        try:
            next(self._script)
        except StopIteration as done:
            self.outcome = done.value
            self.kept = self._conversation.keeps
        except Exception as raised:  # noqa: BLE001 - the owner tells a failure from a bug of the probe
            self.outcome = raised
        self._send(self._conversation.outgoing)
        self._conversation.outgoing = b""
        if self.outcome is not None and not self.kept:
            self._send(self._conversation.closing_message)
            self.ends_sending = self._tls is None

    def _send(self, data: bytes) -> None:
        if self._tls is None:
            self.outgoing += data
        elif data:
            self._tls.write(data)
            self.outgoing += self._tls.outgoing()
