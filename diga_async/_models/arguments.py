"""
Arguments that have another name or another type here: what to say about them.

Python's own error names the argument that is wrong. These name the one that is right
as well. Signatures stay what they are, for people and for type checkers.
"""

import inspect
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import wraps
from types import FrameType
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Any])

_MOST_DIGITS = 12
_MOST_SHOWN = 36


def not_this(value: object) -> str:
    """
    Say what was given instead: a short number itself, of anything else the type.

    >>> not_this(0), not_this(None), not_this("sk-secret")
    ('not 0', 'not None', 'not str')
    """
    kind = type(value)  # and nothing that the value itself could answer
    is_short = kind is float or kind is bool or value is None
    if is_short or (type(value) is int and abs(value) < 10**_MOST_DIGITS):
        return f"not {value!r}"
    return f"not {kind.__name__}"


def not_one_of(value: object, choices: Iterable[str] = ()) -> str:
    """
    Say which text was given instead of one of *choices*, and which was meant.

    Only for values that are never secret: not for keys, headers and addresses.

    >>> not_one_of("ASC", ["asc", "desc"])
    "not 'ASC': did you mean 'asc'?"
    """
    if not isinstance(value, str):
        return not_this(value)
    shown = value if len(value) <= _MOST_SHOWN else f"{value[:_MOST_SHOWN]}..."
    near = similar(value.strip(), choices) or next(
        (c for c in choices if value.lower().startswith(c)), None
    )
    return f"not {shown!r}" + (f": did you mean {near!r}?" if near else "")


class Signature:
    """
    What a function takes, to explain a call that does not fit.

    Args:
        function: A method; its first argument is never given.
        hints: What to do instead, for names that other libraries have.

    Attributes:
        known: The names of its arguments.
        positional: How many of them may be given by position.
    """

    def __init__(self, function: Callable[..., Any], hints: Mapping[str, str]) -> None:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        self._called = _called(function.__qualname__)
        self._hints = hints
        self._names = names[1:]
        self.known = frozenset(self._names)
        self.positional = code.co_argcount - 1

    def check(self, positional: int, names: Collection[str]) -> None:
        """
        Reject a call that the function cannot take.

        Args:
            positional: How many arguments are given by position.
            names: The names of the others.

        Raises:
            TypeError: It names the argument, and what to pass instead.
        """
        if not self.known.issuperset(names):
            name = next(name for name in names if name not in self.known)
            remedy = self._hints.get(name) or _other_name(name, self._names)
            raise TypeError(f"{self._called} has no {name!r}: {remedy}")
        if positional > self.positional:
            taken = _listed(self._names[: self.positional]) or "no argument"
            by_name = _listed(f"{n}=" for n in self._names[self.positional :])
            ending = f"; pass by name: {by_name}" if by_name else ""
            raise TypeError(f"{self._called} takes {taken} by position{ending}")


def explains(hints: Mapping[str, str]) -> Callable[[F], F]:
    """
    Decorate a method so that its `TypeError` says what it takes instead.

    Args:
        hints: What to do instead, for names that other libraries have.
    """

    def decorate(method: F) -> F:
        signature = Signature(method, hints)
        # Looked at here, as the check is one more call for each lookup.
        most, known = signature.positional, signature.known

        @wraps(method)
        def call(self: Any, *args: Any, **options: Any) -> Any:
            if len(args) > most or not known.issuperset(options):
                signature.check(len(args), options)
            return method(self, *args, **options)

        @wraps(method)
        async def call_and_wait(self: Any, *args: Any, **options: Any) -> Any:
            if len(args) > most or not known.issuperset(options):
                signature.check(len(args), options)
            return await method(self, *args, **options)

        # Mocks, among others, look whether a function is one that is awaited.
        is_awaited = inspect.iscoroutinefunction(method)
        return call_and_wait if is_awaited else call  # type: ignore[return-value]

    return decorate


def explains_options(hints: Mapping[str, str]) -> Callable[[C], C]:
    """Decorate a class in the same way: its ``__init__`` says what it takes."""

    def decorate(kind: C) -> C:
        kind.__init__ = explains(hints)(kind.__init__)
        return kind

    return decorate


def _called(qualified: str) -> str:
    """
    Return how a call looks in a program.

    >>> _called("Phones.get"), _called("Limits.__init__")
    ('get()', 'Limits()')
    """
    owner, _, name = qualified.rpartition(".")
    return f"{owner if name == '__init__' else name}()"


def _other_name(name: str, known: Iterable[str]) -> str:
    near = similar(name, known)
    return f"did you mean {near!r}?" if near else f"it has {_listed(known)}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def similar(text: str, known: Iterable[str]) -> str | None:
    """
    Return the one of *known* that was probably meant; None when none is near.

    >>> similar("Asigned", ["assigned", "finished"])
    'assigned'
    """
    import difflib  # noqa: PLC0415 - only mistakes need it

    near = difflib.get_close_matches(text.lower(), list(known), n=1, cutoff=0.8)
    return near[0] if near else None


def warn(text: str) -> None:
    """Warn of a probable mistake, at the line of the program that made it."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and _is_ours(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, UserWarning, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith("diga_async.")
