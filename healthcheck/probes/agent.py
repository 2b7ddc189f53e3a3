"""The agent probe: reads a line in which a server reports its health and the share of traffic that it requests.

The protocol is HAProxy's agent-check, so that agents written for it work here.
Source: HAProxy's configuration manual, ``agent-check``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from healthcheck.conversation import Conversation, Steps, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.probe import ProbeFailed, Word
from healthcheck.probes import options
from healthcheck.result import Advice, one_line

__all__ = ["AgentProbe", "read_words"]

_BETWEEN = re.compile(r"[ \t,]+")
_SHARE = re.compile(r"([0-9]{1,9})%")
_LIMIT = re.compile(r"maxconn:[0-9]{1,9}")
_MOST_WORDS = 64  # in a line; with more, the rest counts as one word, which is unknown
_VERDICTS = {"up": True, "down": False, "fail": False, "failed": False, "stopped": False}
_ADMIN: Final[Mapping[str, Literal["ready", "drain", "maint"]]] = {"ready": "ready", "drain": "drain", "maint": "maint"}


class AgentProbe(ConversationProbe):
    """Connect, send ``send`` if given, and read a line of words.

    ``up`` passes; ``down``, ``fail``, ``failed`` and ``stopped`` fail, and the text after a ``#`` is the reason.
    ``75%`` is the requested share of the weight. ``drain`` requests no new connections, ``maint`` also takes the server
    down, ``ready`` cancels both. ``maxconn:30`` is accepted and ignored. Values that a line lacks stay as they were,
    but a line without a failure word passes.
    """

    def __init__(self, send: str = "") -> None:
        self._send = options.text("send", send).encode()

    def talk(self, conversation: Conversation) -> Steps[Word]:
        conversation.send(self._send)
        return read_words((yield from conversation.line(or_end=True)))


def read_words(line: bytes) -> Word:
    """Parse a line. Of two words for the same value, the later one counts.

    Raises ProbeFailed for an empty line, and for one with an unknown word; the whole line is ignored then.
    """
    text, _, reason = line.decode(errors="replace").partition("#")
    words = [word for word in _BETWEEN.split(text.strip().lower(), _MOST_WORDS) if word]
    verdict, advice = "", Advice()
    for word in words:
        if share := _SHARE.fullmatch(word):
            advice = advice.then(Advice(share=min(100, int(share[1]))))
        elif word in _ADMIN:
            advice = advice.then(Advice(admin=_ADMIN[word]))
        elif word in _VERDICTS:
            verdict = word
        elif not _LIMIT.fullmatch(word):
            raise ProbeFailed(_invalid(line))
    if not words:
        raise ProbeFailed(_invalid(line))
    if _VERDICTS.get(verdict, True):
        return Word(passed=True, detail=" ".join(words), advice=advice)
    reason = one_line(reason)
    return Word(passed=False, detail=f"{verdict}: {reason}" if reason else verdict, advice=advice)


def _invalid(line: bytes) -> str:
    return f"not an agent-check reply: {quoted(line)}"
