"""Values of an object that are computed when they are asked for first, and kept in the object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

__all__ = ["derived"]

T = TypeVar("T")


class derived(Generic[T]):  # noqa: N801 - a decorator, as property is
    """As :class:`functools.cached_property`, which takes a lock in Python 3.11, and so three times as long."""

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self._name = function.__name__
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = self._function(instance)
        setattr(instance, self._name, value)
        return value
