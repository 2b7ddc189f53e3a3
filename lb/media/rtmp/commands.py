"""Commands: their names, the codes of their answers, and how one is read."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from lb.media.rtmp.amf0 import AmfValue, decode_amf0
from lb.media.rtmp.errors import ProtocolError
from lb.media.rtmp.message import MessageKind, RtmpMessage

__all__ = ["Command", "read_command", "status_object"]


@attrs.frozen
class Command:
    """``arguments`` follow the transaction: mostly an object or None first, then what the command needs."""

    name: str
    transaction: float
    """0 = no answer is awaited."""
    arguments: list[AmfValue]
    stream: int

    def text(self, number: int) -> str:
        """Return an argument, "" if it is not there or no text."""
        value = self._argument(number)
        return value if isinstance(value, str) else ""

    def number(self, number: int) -> float:
        """Return an argument, 0 if it is not there or no number."""
        value = self._argument(number)
        return value if isinstance(value, int | float) else 0.0

    def fields(self, number: int) -> Mapping[str, AmfValue]:
        """Return an argument, an empty object if it is not there or none."""
        value = self._argument(number)
        return value if isinstance(value, Mapping) else {}

    def _argument(self, number: int) -> AmfValue:
        return self.arguments[number] if number < len(self.arguments) else None


def read_command(message: RtmpMessage) -> Command | None:
    """Return the command in a message, None if the message is of another kind. Raises ProtocolError."""
    if message.kind == MessageKind.COMMAND:
        values = decode_amf0(message.payload)
    elif message.kind == MessageKind.COMMAND_AMF3:  # a byte 0, then AMF0
        values = decode_amf0(message.payload[1:])
    else:
        return None
    if not values or not isinstance(values[0], str):
        raise ProtocolError("a command has no name")
    transaction = values[1] if len(values) > 1 else 0.0
    if not isinstance(transaction, int | float):
        raise ProtocolError("the transaction of a command is not a number")
    return Command(values[0], transaction, values[2:], message.stream)


def status_object(code: str, description: str, *, level: str = "status") -> dict[str, AmfValue]:
    """Return what tells the result of a command. ``level`` is ``status`` or ``error``."""
    return {"level": level, "code": code, "description": description}
