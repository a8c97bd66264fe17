"""
Bytes to values, strictly; every complaint with its path and without its value.

One cattrs converter, made once, structures JSON into any frozen attrs class:
nothing is coerced, unpublished fields are kept in the class's ``extra``.
"""

import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin
from uuid import UUID, SafeUUID

import attrs
from cattrs import AttributeValidationNote, ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from diga_async._models.errors import InvalidResponseError
from diga_async._models.lean import Helpers, UncommonError, decoder_of, twin_of
from diga_async._models.open_enum import NO_EXTRA, Extra, OpenStrEnum

_T = TypeVar("_T")

MAX_BODY_BYTES = 1 << 20
MAX_INTEGER_DIGITS = 100
MAX_DEPTH = 64
#: A phone has some twenty values. As objects, they weigh up to eighty times their text.
MAX_VALUES = 1 << 15
#: Python 3.11 to 3.13 stop at about this depth; 3.14 goes on while its stack lasts,
#: and 30,000 nested objects take 5 MiB.
MAX_NESTING = 1000
MAX_NEW_PATH_CHARACTERS = 40

#: A character above U+FFFF begins with one of these, in UTF-8 or escaped.
_ASTRAL = (*(bytes((lead,)) for lead in range(0xF0, 0xF5)), b"\\ud", b"\\uD")

#: RFC 9562 section 4, with the ASCII hexadecimal digits only.
UUID_TEXT = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    re.ASCII | re.IGNORECASE,
)
#: RFC 3339 section 5.6, the offset left out where the server is naive.
_DATE_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
#: A string, even one that is cut off, or a bracket; compiled for a hostile body only.
_STRING_OR_BRACKET = r'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|[\]}]'
_Nothing = type(attrs.NOTHING)
_UNKNOWN = SafeUUID.unknown
_is_uuid = UUID_TEXT.fullmatch
_is_date_time = _DATE_TIME.fullmatch
#: A field as the API names them; anything else may be data, or a secret.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}", re.ASCII)
_KINDS = {
    NoneType: "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class _Mismatch(Exception):  # noqa: N818 - never leaves this module
    """One value is not what the schema says."""

    def __init__(self, complaint: str, where: str = "") -> None:
        self.complaint = complaint
        self.where = where

    @classmethod
    def of_kind(cls, expected: str, value: object, where: str = "") -> "_Mismatch":
        found = _KINDS.get(type(value), "something that is not JSON")
        return cls(f"expected {expected}, got {found}", where)


# --- bytes to JSON


class _Unbounded(Exception):  # noqa: N818 - never leaves this module
    """A number that is too long, or too many values."""


def _integer(digits: str) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise _Unbounded
    return int(digits)


_JSON = json.JSONDecoder(parse_int=_integer)


def read_json(
    body: bytes | bytearray | memoryview | str,
    most: int = MAX_VALUES,
    size: int = MAX_BODY_BYTES,
) -> Any:
    """
    Read one JSON document of UTF-8, 16 or 32 (RFC 8259 section 8.1).

    Args:
        body: The document.
        most: How many values it may have.
        size: How many bytes it may take as text, unless it is ASCII or text already.

    Raises:
        InvalidResponseError: It is not JSON, or too large.
        TypeError: *body* is neither bytes nor text.
    """
    try:
        text = body if isinstance(body, str) else _text_of(body, size)
        return _document(text, most)
    except (_Unbounded, RecursionError):
        is_bounded = False
    except ValueError:
        is_bounded = True
    # Outside the handler, or the error would keep json's, and so the body.
    if not is_bounded:
        raise InvalidResponseError("the body is JSON of unreasonable size")
    complaint = "the body is not JSON" if body else "the body is empty"
    raise InvalidResponseError(complaint, undecodable=True)


def _document(text: str, most: int) -> Any:
    if len(text) > MAX_NESTING:
        _require_bounded(text, most)
    if text.startswith("{"):
        document, end = _JSON.raw_decode(text)
        if end == len(text):
            return document
    return _JSON.decode(text)  # which also checks the text around it


def _require_bounded(text: str, most: int) -> None:
    # A list of small values takes 26 times as much memory as its text, and nested
    # lists have no commas: 27 MiB of them fit between 32,000.
    openings = text.count("[") + text.count("{")
    if openings >= most or text.count(",") >= most:
        raise _Unbounded
    if openings > MAX_NESTING and _is_deep(text):
        raise _Unbounded


def _is_deep(text: str) -> bool:
    """Whether brackets outside of strings are nested more than `MAX_NESTING` deep."""
    depth = 0
    for token in re.finditer(_STRING_OR_BRACKET, text):
        if token[1]:
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif not token[0].startswith('"'):
            depth -= 1
    return False


def _text_of(body: bytes | bytearray | memoryview, size: int) -> str:
    if type(body) is not bytes:
        body = _bytes_of(body)
    if len(body) * 4 > size and len(body) * _width_of(body) > size:
        raise _Unbounded
    # UTF-16 and UTF-32 have a zero byte next to an ASCII brace.
    if body[:1] == b"{" and body[1:2] != b"\0":
        return body.decode()
    return body.decode(json.detect_encoding(body))


def _width_of(body: bytes) -> int:
    """
    Return how many bytes each character may take as text: as many as the widest.

    One emoji makes four megabytes of a megabyte of ASCII, and as many of the value.
    """
    if any(mark in body for mark in _ASTRAL):
        return 4
    return 1 if body.isascii() and b"\\u" not in body and b"\0" not in body else 2


def _bytes_of(body: object) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"a body is bytes or text, not {type(body).__name__}")


def inflate(body: bytes, encoding: str, most: int = MAX_BODY_BYTES) -> bytes:
    """
    Undo a Content-Encoding (RFC 9110 section 8.4.1), up to *most* bytes.

    The client asks for no encoding, but a proxy may apply one.

    Raises:
        InvalidResponseError: It is corrupt, cut short, unknown or too large.
    """
    if encoding in {"", "identity"}:
        return body
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise InvalidResponseError("unknown Content-Encoding", undecodable=True)
    inflating = zlib.decompressobj(zlib.MAX_WBITS | 32)
    plain = None
    with suppress(zlib.error):
        plain = inflating.decompress(body, most + 1)
    if plain is None:
        raise InvalidResponseError("corrupt encoding", undecodable=True)
    if len(plain) > most:
        raise InvalidResponseError(f"the body is larger than {most >> 20} MiB")
    if not inflating.eof:
        raise InvalidResponseError("truncated encoding", undecodable=True)
    return plain


# --- JSON to values


_FreeUUID = twin_of(UUID)


def uuid_of(text: str) -> UUID:
    """
    Make a UUID of its canonical text, in a third of the time that `UUID` takes.

    >>> uuid_of("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    UUID('3c90c3cc-0d44-4b50-8888-8dd25736052a')
    """
    made: Any = _FreeUUID()
    made.int = int(text.replace("-", ""), 16)
    made.is_safe = _UNKNOWN
    made.__class__ = UUID
    return made  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def _checked_uuid(text: str) -> UUID:
    """Read an id: a project has few agents, whose ids come with thousands of phones."""
    if _is_uuid(text) is None:
        raise _Mismatch("not a UUID")
    return uuid_of(text)


def _text(value: Any, _: Any = str) -> str:
    if type(value) is not str:
        raise _Mismatch.of_kind("a string", value)
    if not value.isascii():
        _require_encodable(value)
    return value


def _require_encodable(text: str, where: str = "") -> None:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate: nothing can print or send it
        raise _Mismatch("text that is not Unicode", where) from None


def _texts(value: Any, _: Any) -> tuple[str, ...]:
    if type(value) is not list:
        raise _Mismatch.of_kind("an array", value)
    for position, item in enumerate(value):
        try:
            _text(item)
        except _Mismatch as mismatch:
            raise _Mismatch(mismatch.complaint, f"[{position}]") from None
    return tuple(value)


def _member(value: Any, kind: type[OpenStrEnum]) -> OpenStrEnum:
    text = _text(value)
    known = kind._value2member_map_.get(text)
    return kind(text) if known is None else known  # type: ignore[return-value]


def _uuid(value: Any, _: Any = UUID) -> UUID:
    if type(value) is not str:
        raise _Mismatch.of_kind("a string", value)
    return _checked_uuid(value)


def _own_uuid(value: Any, kind: Any = UUID) -> UUID:
    """Read a record's own id, which no other record has: a cache would only miss."""
    if type(value) is str and _is_uuid(value):
        return uuid_of(value)
    return _uuid(value, kind)


def _moment(value: Any, _: Any = datetime) -> datetime:
    if type(value) is not str:
        raise _Mismatch.of_kind("a string", value)
    if _is_date_time(value) is None:
        raise _Mismatch("not a date-time")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise _Mismatch("not a date-time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _kept(value: Any, where: str, depth: int = 0) -> Any:
    """Copy an unpublished value, so that no caller can change the original."""
    if depth > MAX_DEPTH:
        raise _Mismatch("nested too deeply", where)
    if isinstance(value, str):
        _require_encodable(value, where)
    elif isinstance(value, Mapping):
        return {
            _text(name): _kept(item, _longer(where, _shown(name)), depth + 1)
            for name, item in value.items()
        }
    elif isinstance(value, list | tuple):
        return [
            _kept(item, _longer(where, f"[{position}]"), depth + 1)
            for position, item in enumerate(value)
        ]
    elif isinstance(value, float) and not math.isfinite(value):
        raise _Mismatch("a number without a finite value", where)
    elif type(value) not in _KINDS:
        raise _Mismatch.of_kind("JSON", value, where)
    return value


def _shown(name: str) -> str:
    """Return a name of the server's, or a star if it may be more than a name."""
    return f".{name}" if _NAME.fullmatch(name) else ".*"


def _longer(where: str, step: str) -> str:
    """Go one step down, as long as the path stays short: half a name shows data."""
    longer = where + step
    return longer if len(longer) <= MAX_NEW_PATH_CHARACTERS else where


def _is_optional(kind: Any) -> bool:
    arguments = get_args(kind)
    return (
        get_origin(kind) is UnionType and len(arguments) == 2 and NoneType in arguments  # noqa: PLR2004
    )


def _optional(kind: Any) -> Callable[[Any, Any], Any]:
    (inner,) = (argument for argument in get_args(kind) if argument is not NoneType)
    structure = _CONVERTER.get_structure_hook(inner)

    def structure_optional(value: Any, _: Any) -> Any:
        return None if value is None else structure(value, inner)

    return structure_optional


def _record(kind: type[_T]) -> Callable[[Any, Any], _T]:
    fields = [a for a in attrs.fields(kind) if a.name != "extra"]  # type: ignore[arg-type]
    names = frozenset(a.name for a in fields)
    hooks: dict[str, Any] = {
        a.name: override(struct_hook=_or_default(a)) for a in fields if _has_value(a)
    }
    if "id" in names:
        hooks["id"] = override(struct_hook=_own_uuid)
    structure = make_dict_structure_fn(kind, _CONVERTER, **hooks)

    def structure_record(value: Any, target: Any) -> _T:
        if not isinstance(value, Mapping):
            raise _Mismatch.of_kind("an object", value)
        if not names.issuperset(value):
            value = _with_extra(value, names)
        return structure(value, target)

    return structure_record


def _has_value(attribute: Any) -> bool:
    """Whether the default of a field is a value other than None."""
    return not isinstance(attribute.default, NoneType | _Nothing | attrs.Factory)


def _or_default(attribute: Any) -> Callable[[Any, Any], Any]:
    """Read null as a missing field: the field is optional."""
    kind, default = attribute.type, attribute.default
    structure = _CONVERTER.get_structure_hook(kind)

    def structure_or_default(value: Any, _: Any) -> Any:
        return default if value is None else structure(value, kind)

    return structure_or_default


def _with_extra(value: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    known = {name: value[name] for name in value if name in names}
    return {**known, "extra": _extra_of(value, names)}


def _extra_of(value: Mapping[str, Any], names: frozenset[str]) -> Extra:
    unknown = {name: value[name] for name in value if name not in names}
    return Extra(_kept(unknown, ""))


def _as_record(kind: type[Any]) -> Callable[[Any], dict[str, Any]]:
    unstructure = make_dict_unstructure_fn(kind, _CONVERTER, extra=override(omit=True))

    def unstructure_record(record: Any) -> dict[str, Any]:
        return {**unstructure(record), **_kept(record.extra, "")}

    return unstructure_record


_CONVERTER = Converter()
# A hook for str also catches every StrEnum, but the nearer class wins.
_CONVERTER.register_structure_hook(str, _text)
_CONVERTER.register_structure_hook(OpenStrEnum, _member)
_CONVERTER.register_structure_hook(UUID, _uuid)
_CONVERTER.register_structure_hook(datetime, _moment)
_CONVERTER.register_structure_hook(Extra, lambda extra, _: extra)
_CONVERTER.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _texts)
_CONVERTER.register_structure_hook_factory(_is_optional, _optional)
_CONVERTER.register_structure_hook_factory(attrs.has, _record)
_CONVERTER.register_unstructure_hook(UUID, str)
_CONVERTER.register_unstructure_hook(datetime, datetime.isoformat)
_CONVERTER.register_unstructure_hook(OpenStrEnum, str.__str__)
_CONVERTER.register_unstructure_hook_func(lambda kind: kind == tuple[str, ...], list)
_CONVERTER.register_unstructure_hook_factory(attrs.has, _as_record)


_HELPERS = Helpers(
    check_text=_require_encodable,
    own_id=_own_uuid,
    id_of=_uuid,
    moment=_moment,
    extra=_extra_of,
    no_extra=NO_EXTRA,
)


#: What the lean decoder raises. It reads common records; the hooks read all, and say
#: what is wrong.
_UNCOMMON = (UncommonError, _Mismatch, KeyError, TypeError)


@cache
def _lean(kind: Any) -> Callable[[Any], Any]:
    return decoder_of(kind, _HELPERS)


def structure(value: Any, kind: type[_T], path: str = "$") -> _T:
    """
    Make a frozen value of JSON, strictly.

    Args:
        value: JSON that is already read.
        kind: The class of the value.
        path: Where *value* is in its document.

    Raises:
        InvalidResponseError: It does not fit; `problems` say where.
    """
    try:
        record: _T | None = _lean(kind)(value)  # type: ignore[arg-type]  # hashable
    except _UNCOMMON:
        record = None
    return strictly(value, kind, path) if record is None else record


def structure_each(
    values: list[Any], kind: type[_T], path: str = "$"
) -> Iterator[_T | InvalidResponseError]:
    """Make a frozen value of each item of an array, or say why there is none."""
    decode = _lean(kind)  # type: ignore[arg-type]  # hashable
    for position, value in enumerate(values):
        record: _T | InvalidResponseError | None
        try:
            record = decode(value)
        except _UNCOMMON:
            record = None
        if record is None:
            try:
                record = strictly(value, kind, f"{path}[{position}]")
            except InvalidResponseError as error:
                record = error.with_traceback(None)
        yield record


def strictly(value: Any, kind: type[_T], path: str = "$") -> _T:
    """Make a frozen value of JSON by the hooks alone, as `structure` does."""
    try:
        return _CONVERTER.structure(value, kind)
    except (_Mismatch, ClassValidationError) as error:
        problems = tuple(_problems(error, path))
    raise InvalidResponseError(f"not a {kind.__name__}", problems=problems)


def unstructure(record: Any) -> dict[str, Any]:
    """Make JSON of a frozen value: every known field, unknown ones in place."""
    plain: dict[str, Any] = _CONVERTER.unstructure(record)
    return plain


def _problems(error: BaseException, path: str) -> Iterator[str]:
    match error:
        case _Mismatch(complaint=complaint, where=where):
            yield f"{path}{where}: {complaint}"
        case ClassValidationError():
            for inner in error.exceptions:
                yield from _problems(inner, f"{path}.{_attribute(inner)}")
        case _:  # a KeyError of the generated code
            yield f"{path}: missing"


def _attribute(error: BaseException) -> str:
    notes = getattr(error, "__notes__", ())
    return next(n.name for n in notes if isinstance(n, AttributeValidationNote))
