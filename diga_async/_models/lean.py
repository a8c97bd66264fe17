"""
Decoders for the common case: a record in which every value matches the schema.

They are generated as source text for each class, as attrs does for ``__init__``: no
loop over fields, no call for a text or a null. Where a value is anything else, they
raise, and the strict hooks of `decoding` decode it again and say what is wrong.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from types import NoneType
from typing import Any, TypeVar, get_args
from uuid import UUID

import attrs

T = TypeVar("T")

Decoder = Callable[[Any], Any]


class UncommonError(Exception):
    """A value needs the strict hooks."""


@attrs.frozen(eq=False, repr=False)
class Helpers:
    """
    Functions shared with the strict hooks; each raises for a wrong value.

    Attributes:
        check_text: Checks a text that is not ASCII.
        own_id: Makes the id of a record, which comes once.
        id_of: Makes another id, which comes again and again.
        moment: Makes a date-time.
        extra: Makes the ``extra`` of a record with fields that are not known.
        no_extra: The ``extra`` of any other record.
    """

    check_text: Callable[[str], object]
    own_id: Callable[[Any], UUID]
    id_of: Callable[[Any], UUID]
    moment: Callable[[Any], datetime]
    extra: Callable[[Any, frozenset[str]], Any]
    no_extra: Any


def decoder_of(kind: type[T], helpers: Helpers) -> Callable[[Any], T]:
    """
    Return a decoder for an attrs class; it raises for every value that is not common.

    The type of the error has no meaning. Where only its own ``__init__`` can make an
    instance of the class, the decoder always raises.
    """
    if not _is_plain(kind):
        return _never
    fields = [a for a in attrs.fields(kind) if a.name != "extra"]  # type: ignore[arg-type]
    names = frozenset(a.name for a in fields)
    known: dict[str, Any] = {
        "names": names,
        "Uncommon": UncommonError,
        "kind": kind,
        "Twin": twin_of(kind),
        **attrs.asdict(helpers, recurse=False),
    }
    lines = [
        "def decode(value):",
        "    if type(value) is not dict: raise Uncommon",
        "    get, new = value.get, Twin()",
        "    new.extra = no_extra if names.issuperset(value) else extra(value, names)",
        *(f"    {line}" for a in fields for line in _lines_of(a, known, helpers)),
        "    new.__class__ = kind",
        "    return new",
    ]
    exec("\n".join(lines), known)  # noqa: S102 - the text is of the class's fields only
    decode: Callable[[Any], T] = known["decode"]
    return decode


def _never(_: Any) -> Any:
    raise UncommonError


def _is_plain(kind: type[Any]) -> bool:
    """Whether the ``__init__`` of a class does nothing but set its fields."""
    made = vars(kind).get("__init__")
    if "__attrs_attrs__" not in vars(kind) or hasattr(kind, "__attrs_post_init__"):
        return False
    if made is None or not made.__code__.co_filename.startswith("<attrs generated"):
        return False
    if any(
        a.validator or (a.converter and a.name != "extra") for a in attrs.fields(kind)
    ):
        return False
    try:
        twin_of(kind)().__class__ = kind
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def twin_of(kind: type[Any]) -> type[Any]:
    """
    Return a class with the layout of *kind*, whose instances can be changed.

    A frozen instance costs a call for each field that is set; an instance of the twin
    becomes one of *kind* when it is complete.
    """
    free = {
        "__slots__": (),
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    return type(kind.__name__, (kind,), free)


def _lines_of(attribute: Any, known: dict[str, Any], helpers: Helpers) -> Iterator[str]:
    """Yield the lines that decode one field."""
    name, kind = attribute.name, attribute.type
    inner = [a for a in get_args(kind) if a is not NoneType]
    is_optional = NoneType in get_args(kind) or attribute.default is not attrs.NOTHING
    yield f"x = get({name!r})"
    if is_optional:
        known[f"{name}_default"] = attribute.default
        yield f"if x is None: new.{name} = {name}_default"
        yield "else:"
    indent = "    " if is_optional else ""
    kind = inner[0] if NoneType in get_args(kind) else kind
    for line in _value_lines(
        name, kind, known, helpers, is_own=name == "id" and not is_optional
    ):
        yield indent + line


def _value_lines(
    name: str, kind: Any, known: dict[str, Any], helpers: Helpers, *, is_own: bool
) -> Iterator[str]:
    if kind is str:
        yield "if type(x) is not str: raise Uncommon"
        yield "if not x.isascii(): check_text(x)"
        yield f"new.{name} = x"
    elif kind is UUID:
        yield f"new.{name} = {'own_id' if is_own else 'id_of'}(x)"
    elif kind is datetime:
        yield f"new.{name} = moment(x)"
    elif kind == tuple[str, ...]:
        yield "if type(x) is not list: raise Uncommon"
        yield "for y in x:"
        yield "    if type(y) is not str or not y.isascii(): raise Uncommon"
        yield f"new.{name} = tuple(x)"
    elif attrs.has(kind):
        known[f"{name}_decoder"] = _at_first_use(kind, helpers)
        yield f"new.{name} = {name}_decoder(x)"
    else:  # an open enum
        known[f"{name}_members"] = kind._value2member_map_
        yield f"new.{name} = {name}_members[x]"


def _at_first_use(kind: type[Any], helpers: Helpers) -> Decoder:
    """Return a decoder that is made when it is needed: a class may refer to itself."""
    made: list[Decoder] = []

    def decode(value: Any) -> Any:
        if not made:
            made.append(decoder_of(kind, helpers))
        return made[0](value)

    return decode
