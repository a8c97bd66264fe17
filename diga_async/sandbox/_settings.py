"""What is wrong with a setting, an argument or a field, and what it should be."""

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from reprlib import repr as shortened
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    import attrs

C = TypeVar("C", bound=type[Any])
Check: TypeAlias = Callable[[object, "attrs.Attribute[Any]", Any], None]


def explains_settings(hints: Mapping[str, str]) -> Callable[[C], C]:
    """
    Decorate an attrs class so that an unknown setting is answered with what exists.

    Args:
        hints: What to do instead, for names that are set elsewhere.
    """

    def decorate(kind: C) -> C:
        make = kind.__init__
        known = list(inspect.signature(make).parameters)[1:]

        @wraps(make)
        def make_or_explain(self: Any, *args: Any, **settings: Any) -> None:
            for name in settings:
                if name not in known:
                    remedy = hints.get(name) or _other_name(name, known)
                    raise TypeError(f"{kind.__name__}() has no {name!r}: {remedy}")
            make(self, *args, **settings)

        kind.__init__ = make_or_explain
        return kind

    return decorate


def _other_name(name: str, known: list[str]) -> str:
    near = _near(name, known)
    return f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"


def _near(name: str, known: Iterable[str]) -> str | None:
    near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.8)
    return near[0] if near else None


def is_of(value: object, *types: type) -> bool:
    """
    Whether *value* is of one of *types*.

    A bool is an int to Python, but not here.

    >>> is_of(1, int), is_of(True, int), is_of(True, bool)
    (True, False, True)
    """
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)


def of_type(wanted: str, *types: type) -> Check:
    """Return a validator for values of these *types*, which are *wanted*."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        check_type(str(attribute.alias), value, wanted, *types)

    return check


def check_type(name: str, value: object, wanted: str, *types: type) -> None:
    """
    Reject a *value* that is of none of these *types*.

    Raises:
        TypeError: It says that *name* must be what is *wanted*.
    """
    if not is_of(value, *types):
        raise TypeError(f"{name!r} must be {wanted}, not {shortened(value)}")


def one_of(*values: object) -> Check:
    """Return a validator for these *values*; attrs' own shows its internals."""

    def check(_: object, attribute: "attrs.Attribute[Any]", value: Any) -> None:
        if value not in values:
            raise ValueError(
                f"{attribute.alias!r} must be in {values!r}, not {shortened(value)}"
            )

    return check


a_flag: Final = of_type("True or False", bool)
a_number: Final = of_type("a number", int, float)
a_text: Final = of_type("a text", str)
a_whole_number: Final = of_type("a whole number", int)


def as_id(name: str, value: object) -> UUID:
    """
    Return the id that is given as the argument *name*.

    Raises:
        TypeError: It is neither a UUID nor a text.
        ValueError: The text is not that of a UUID.
    """
    if isinstance(value, UUID):
        return value
    wanted = f"{name!r} must be a UUID or its text, not {shortened(value)}"
    if not isinstance(value, str):
        raise TypeError(wanted)
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(wanted) from None


def warn_of_misspelt(fields: Iterable[str], known: Iterable[str]) -> None:
    """Warn the caller's caller of a field that is not *known*, but close to one."""
    for field in fields:
        near = None if field in known else _near(field, known)
        if near is not None:
            text = f"a phone of the API has no field {field!r}: did you mean {near!r}?"
            warnings.warn(text, UserWarning, stacklevel=3)
