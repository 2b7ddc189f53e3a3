"""The base class of probes whose check is a conversation over one connection, without I/O."""

from __future__ import annotations

import abc

from healthcheck.connection import ProbeConnection
from healthcheck.conversation import Conversation, Script
from healthcheck.over_stream import over_stream
from healthcheck.probe import Passed, Probe, Secure, Target, Word

__all__ = ["ConversationProbe"]


class ConversationProbe(Probe):
    """A probe given by its script. The runner carries the bytes: an epoll loop, or with :meth:`check` trio."""

    @abc.abstractmethod
    def talk(self, conversation: Conversation) -> Script:
        """Check the server. Starts once the connection is there, and secured if it uses TLS."""

    def secure(self, target: Target) -> Secure | None:
        """Return the TLS settings, None for plain connections. Raises ProbeFailed."""
        return target.tls

    def open(self, target: Target) -> ProbeConnection:
        """Return the connection of one check. Raises ProbeFailed."""
        conversation = Conversation(target)
        return ProbeConnection(self.talk(conversation), conversation, self.secure(target))

    def talk_again(self, target: Target, connection: ProbeConnection) -> None:
        """Make another check over a kept connection."""
        conversation = Conversation(target)
        connection.again(self.talk(conversation), conversation)

    @property
    def is_plain(self) -> bool:
        """False if a plug-in derives from a built-in probe, and defines :meth:`check` itself."""
        return type(self).check is ConversationProbe.check

    async def check(self, target: Target) -> str | Passed | Word:
        return await over_stream(self.open(target), target)
