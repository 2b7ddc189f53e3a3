"""The tcp probe: the server passes if it accepts a connection."""

from __future__ import annotations

from healthcheck.conversation import Conversation, Script
from healthcheck.conversation_probe import ConversationProbe

__all__ = ["TcpProbe"]


class TcpProbe(ConversationProbe):
    """Connect, then close without sending anything.

    HAProxy resets the connection so early that the server's program does not see it. Here the server sees a complete,
    short connection that ends with a FIN: this works through any middlebox, and servers that speak first (SMTP, SSH)
    send their greeting and log no error.
    """

    def talk(self, conversation: Conversation) -> Script:
        yield from ()
        return f"connected in {conversation.ms:.1f} ms"
