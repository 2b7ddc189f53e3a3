"""Changes of a head's fields: those that a route configures, and others that are applied in the same way."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from lb.http.templates import Template, TemplateValues
from lb.model.http import HeaderEdits

__all__ = ["FieldChange", "FieldEdits"]


@attrs.frozen
class FieldChange:
    """Fields with these names (in lower case) are left out, then ``fields`` are added at the end."""

    names: frozenset[bytes] = frozenset()
    fields: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def lines(self) -> bytes:
        """The lines that are added, each with its CRLF."""
        return b"".join([b"%s: %s\r\n" % field for field in self.fields])

    def apply(self, fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the changed fields."""
        names = self.names
        return [*(field for field in fields if field[0].lower() not in names), *self.fields]

    def then(self, later: FieldChange) -> FieldChange:
        """Return the change that does this one first, and the other after it."""
        return FieldChange(self.names | later.names, tuple(later.apply(self.fields)))


class FieldEdits:
    """The ``request_headers`` or ``response_headers`` of a route, compiled: remove, then set, then add.

    A field whose value is empty is not sent: to set an empty value removes the field.
    """

    def __init__(self, spec: HeaderEdits) -> None:
        replaced = (*spec.remove, *(name for name, _ in spec.set))
        self._names = frozenset(name.lower().encode() for name in replaced)
        self._fields = [(name.encode(), Template(text)) for name, text in (*spec.set, *spec.add)]
        self.variables = frozenset(name for _, template in self._fields for name in template.names)
        self.varying = frozenset(name.lower() for name, template in self._fields if template.names)
        """The fields, in lower case, that are not the same for all requests."""
        self.constant: FieldChange | None = None
        """The change, if it is the same for all requests: what is made of a head once serves them all."""
        if not self.variables:
            self.constant = self._change((name, template.constant or b"") for name, template in self._fields)

    def __bool__(self) -> bool:
        return bool(self._names or self._fields)

    def change(self, values: TemplateValues) -> FieldChange:
        """Return the change for a request."""
        if self.constant is not None:
            return self.constant
        return self._change((name, template.render(values)) for name, template in self._fields)

    def _change(self, fields: Iterable[tuple[bytes, bytes]]) -> FieldChange:
        return FieldChange(self._names, tuple(field for field in fields if field[1]))
