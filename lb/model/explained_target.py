"""A target that somebody asks a forward proxy for, and whether it may be reached. Values only: no I/O."""

from __future__ import annotations

import attrs

__all__ = ["AskedTarget", "JudgedAddress", "JudgedTarget"]


@attrs.frozen
class AskedTarget:
    """A target as a person writes it: ``example.com:443``."""

    text: str
    user: str | None = None
    """Who asks; None: nobody has logged in."""


@attrs.frozen
class JudgedAddress:
    """An address of a target."""

    address: str
    refused: str = ""
    """The rule that refuses it; empty if it may be reached."""


@attrs.frozen
class JudgedTarget:
    """What a forward proxy does with a target."""

    target: str
    """In the form in which it is judged: ``example.com:443``, ``127.0.0.1:80`` for ``0x7f.1:80``."""
    why: str
    """Why it may be reached, or why not, in one line."""
    allowed: bool
    addresses: tuple[JudgedAddress, ...] = ()
    """Those of its name, or its own; none if it was refused before, or if parents look it up."""
    pool: str = ""
    """That of the parents through which it is reached; empty if it is reached without."""
