"""Values that the server may add: open enums, and fields not published yet."""

import copy
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Self, final


class OpenStrEnum(StrEnum):
    """
    A `StrEnum` that accepts any text.

    An unknown value keeps its text and equals it, but is not a member, and its
    `known` is false. It is not cached, so that a server cannot fill the memory.
    A ``match`` over the members therefore always needs a ``case _``.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = unknown._value_ = str(value)
        return unknown

    @property
    def known(self) -> bool:
        """Whether this library knows the value."""
        return self._value_ in type(self)._value2member_map_

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by value; the first releases of Python 3.11 look for a name."""
        return type(self), (self._value_,)

    def __repr__(self) -> str:
        """Show the member, or the unknown text."""
        return (
            super().__repr__() if self.known else f"<{type(self).__name__}: {self!s}>"
        )


@final
class Extra(Mapping[str, Any]):
    """
    Fields this library does not know, as the server sent them; read-only.

    Each read returns a copy, so that the inside of a frozen value cannot change.

    >>> extra = Extra({"colors": ["red"]})
    >>> extra["colors"].append("blue")
    >>> extra["colors"]
    ['red']
    """

    __module__ = "diga_async"

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any] | None = None) -> None:
        self._fields = dict(fields or {})

    def __getitem__(self, name: str) -> Any:
        """Return a copy of the field of that name."""
        return copy.deepcopy(self._fields[name])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the server's order."""
        return iter(self._fields)

    def __len__(self) -> int:
        """Count the fields."""
        return len(self._fields)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every protocol: the oldest two do not support slots."""
        return Extra, (self._fields,)

    def __repr__(self) -> str:
        """Show the names alone: unpublished fields may be personal."""
        return f"<Extra: {', '.join(self._fields)}>"


NO_EXTRA = Extra()
"""The value of nearly every record; it is immutable, so all share it."""
