"""What a server's agent asks for beside its verdict."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["Advice"]


@attrs.frozen
class Advice:
    """How much a server wants to get. None means that nothing was ever said about it: as configured."""

    share: int | None = None
    """Of its weight, percent, 0 to 100."""
    admin: Literal["ready", "drain", "maint"] | None = None

    def then(self, later: Advice) -> Advice:
        """What holds after a later word, which leaves as it was what it does not speak of."""
        return Advice(self.share if later.share is None else later.share, later.admin or self.admin)

    @property
    def percent(self) -> int:
        """The share that it wants, 100 if it never said."""
        return 100 if self.share is None else self.share

    @property
    def wants_new(self) -> bool:
        """New connections are welcome."""
        return self.share != 0 and self.admin not in ("drain", "maint")
