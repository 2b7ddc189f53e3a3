"""The exchange probe: sends and expects bytes, in one or more steps; for protocols without a probe of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs

from healthcheck.conversation import Conversation, Script, Steps, TimedOut, quoted
from healthcheck.conversation_probe import ConversationProbe
from healthcheck.pattern import Pattern
from healthcheck.probe import ProbeFailed, Target
from healthcheck.probes import options
from healthcheck.probes.template import message_template, pattern_template
from lb.net.errors import describe_error, is_local_error

__all__ = ["ExchangeProbe"]


@attrs.frozen
class _Step:
    """Bytes to send, then a pattern to expect in the bytes after the previous step's match."""

    send: Callable[[Target], bytes]
    expect: Callable[[Target], Pattern | None]
    label: str = ""
    """The label in failure reasons: ``step 2 (login)``."""

    def run(self, conversation: Conversation) -> Steps[bytes]:
        """Run the step and return the answer up to the end of the match.

        Raises ProbeFailed; on a timeout too, if there is a better reason than "no answer in 1 s".
        """
        conversation.send(self.send(conversation.target))
        pattern = self.expect(conversation.target)
        if pattern is None:
            return b""
        try:
            return (yield from conversation.until(pattern))
        except ProbeFailed as failure:
            raise ProbeFailed(self._named(str(failure))) from failure
        except TimedOut:
            if conversation.unread:
                raise ProbeFailed(self._named(f"answer {quoted(conversation.unread)} does not match")) from None
            if self.label:
                raise ProbeFailed(self._named("no answer in time")) from None
            raise
        except OSError as error:
            if not self.label or is_local_error(error):
                raise
            raise ProbeFailed(self._named(describe_error(error))) from error

    def _named(self, reason: str) -> str:
        return f"{self.label}: {reason}" if self.label else reason


class ExchangeProbe(ConversationProbe):
    r"""Connect, send ``send``, and read until ``expect`` matches the bytes so far; or do so for each of ``steps``.

    ``send`` is text, sent as UTF-8; ``\xNN`` in it is a byte. Omit it for protocols where the server speaks first.
    ``expect`` is a regular expression for bytes; without it, the server passes if it accepts the connection and the
    bytes sent. Each of ``steps`` is a table with these two keys and an optional ``name`` for failure reasons. In all
    these texts ``{host}``, ``{port}`` and ``{server}`` stand for what is checked.
    """

    secrets = ("send", "steps")  # may contain a login

    def __init__(self, send: str = "", expect: str = "", steps: Sequence[object] = ()) -> None:
        if steps and (send or expect):
            raise ValueError("steps: put 'send' and 'expect' into the steps")
        if not (steps or send or expect):
            raise ValueError("exchange needs 'send', 'expect' or both, or 'steps'")
        self._steps = tuple(_read_steps(steps)) if steps else (_make_step(send, expect),)

    def talk(self, conversation: Conversation) -> Script:
        answer = b""
        for step in self._steps:
            answer = (yield from step.run(conversation)) + conversation.unread
        if answer:
            return f"answer {quoted(answer)}"
        return f"sent {sum(len(step.send(conversation.target)) for step in self._steps)} bytes"


def _make_step(send: object, expect: object, label: str = "") -> _Step:
    """Raises ValueError ``"send: …"`` or ``"expect: …"``."""
    message = message_template("send", options.secret("send", send))
    return _Step(message, pattern_template("expect", options.text("expect", expect)), label)


def _read_steps(steps: Sequence[object]) -> Iterator[_Step]:
    """Read the option ``steps``. Raises ValueError ``"steps: …"`` if it is not a list of tables with valid keys."""
    for number, step in enumerate(options.items("steps", steps), start=1):
        content = options.table(f"steps: step {number}", step)
        try:
            yield _read_step(number, content)
        except ValueError as error:
            raise ValueError(f"steps: step {number}: {error}") from error


def _read_step(number: int, step: dict[str, object]) -> _Step:
    unknown = [key for key in step if key not in ("send", "expect", "name")]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; a step has send, expect and name")
    send, expect = step.get("send", ""), step.get("expect", "")
    name = options.text("name", step.get("name", ""))
    if not (send or expect):
        raise ValueError("needs 'send', 'expect' or both")
    return _make_step(send, expect, f"step {number} ({name})" if name else f"step {number}")
