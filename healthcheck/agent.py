"""The agent probe: a server says of itself, in a line of words, how it is and how much it wants to get.

The words are those of HAProxy's agent-check, so that agents written for it work here.
Source: HAProxy's configuration manual, ``agent-check``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from healthcheck import options
from healthcheck.advice import Advice
from healthcheck.conversation import conversation, quoted
from healthcheck.probe import Probe, ProbeFailed, Target, Word
from healthcheck.result import one_line

__all__ = ["AgentProbe", "read_words"]

_BETWEEN = re.compile(r"[ \t,]+")
_SHARE = re.compile(r"([0-9]{1,9})%")
_LIMIT = re.compile(r"maxconn:[0-9]{1,9}")
_VERDICTS = {"up": True, "down": False, "fail": False, "failed": False, "stopped": False}
_ADMIN: Final[Mapping[str, Literal["ready", "drain", "maint"]]] = {"ready": "ready", "drain": "drain", "maint": "maint"}


class AgentProbe(Probe):
    """Connect, say ``send`` if there is any, and read a line of words.

    ``up`` passes, ``down``, ``fail``, ``failed`` and ``stopped`` fail, with what follows a ``#`` as the reason.
    ``75%`` is the share of its weight that the server wants; ``drain`` wants no new connections, ``maint`` fails as
    well, ``ready`` takes either back. ``maxconn:30`` is understood, and changes nothing. What a line does not speak of
    stays as it was, but a line without a word of failure passes.
    """

    def __init__(self, send: str = "") -> None:
        self._send = options.text("send", send).encode()

    async def check(self, target: Target) -> Word:
        async with conversation(target) as talk:
            if self._send:
                await talk.say(self._send)
            return read_words(await talk.line(or_end=True))


def read_words(line: bytes) -> Word:
    """What a line says; of two words about the same the later one holds.

    Raises ProbeFailed if one of its words is none of an agent's, and heeds none of them then.
    """
    text, _, reason = line.decode(errors="replace").partition("#")
    words = [word for word in _BETWEEN.split(text.strip().lower()) if word]
    verdict, advice = "", Advice()
    for word in words:
        if share := _SHARE.fullmatch(word):
            advice = advice.then(Advice(share=min(100, int(share[1]))))
        elif word in _ADMIN:
            advice = advice.then(Advice(admin=_ADMIN[word]))
        elif word in _VERDICTS:
            verdict = word
        elif not _LIMIT.fullmatch(word):
            raise ProbeFailed(_foreign(line))
    if not words:
        raise ProbeFailed(_foreign(line))
    if _VERDICTS.get(verdict, True):
        return Word(passed=True, detail=" ".join(words), advice=advice)
    reason = one_line(reason)
    return Word(passed=False, detail=f"{verdict}: {reason}" if reason else verdict, advice=advice)


def _foreign(line: bytes) -> str:
    return f"not the words of an agent: {quoted(line)}"
