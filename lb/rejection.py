"""Why a change to another configuration has failed, in the words of the log."""

from __future__ import annotations

from collections.abc import Iterator

from lb.carrier import CarrierError
from lb.events import ConfigRejected, Event, Fault

__all__ = ["why_rejected"]


def why_rejected(where: str, exception: Exception) -> Iterator[Event]:
    """What is to be said of what a change has raised; ``where`` names what wanted the change, for a fault."""
    match exception:
        case OSError():
            yield ConfigRejected((exception.strerror or str(exception),))
        case CarrierError():
            yield ConfigRejected((str(exception),))
        case _:  # a strategy that cannot take the new list
            yield Fault(where, exception)
            yield ConfigRejected((f"{type(exception).__name__}: {exception}",))
