"""
How pydantic, and so FastAPI, reads and writes the values of this library.

The classes say so by ``__get_pydantic_core_schema__``; pydantic is imported only when
it asks. In JSON a value is what its ``to_dict`` returns.
"""

from collections.abc import Callable
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, get_args, get_origin
from uuid import UUID

import attrs

from diga_async._models.decoding import structure, unstructure
from diga_async._models.errors import InvalidResponseError
from diga_async._models.open_enum import OpenStrEnum

TEXT = {"type": "string"}
UUID_TEXT = {**TEXT, "format": "uuid"}
NULL: dict[str, Any] = {"type": "null"}


def describe_object(title: str | None, **properties: Any) -> dict[str, Any]:
    """Return the JSON schema of an object that has all of its fields."""
    return {
        **({} if title is None else {"title": title}),
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def describe_list(items: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a list."""
    return {"type": "array", "items": items}


def describe_map(values: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object whose names are ids."""
    return {"type": "object", "additionalProperties": values}


ERROR = describe_object(
    None,
    type=dict(TEXT),
    status={"anyOf": [{"type": "integer"}, NULL]},
    message=dict(TEXT),
)


def record_schema(kind: type[Any]) -> Any:
    """Return pydantic's schema of a record of the API."""

    def read(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            return structure(value, kind)
        except InvalidResponseError as error:
            raise ValueError(str(error)) from None

    return _schema(read, unstructure)


def row_schema(kind: type[Any], row_of: Callable[[Any], dict[str, Any]]) -> Any:
    """Return pydantic's schema of a result, which is written and never read."""

    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        raise ValueError(f"not a {kind.__name__}")

    return _schema(check, row_of)


def _schema(read: Callable[[Any], Any], write: Callable[[Any], dict[str, Any]]) -> Any:
    from pydantic_core import core_schema  # noqa: PLC0415 - only pydantic asks

    return core_schema.no_info_plain_validator_function(
        read, serialization=core_schema.plain_serializer_function_ser_schema(write)
    )


def describe_record(kind: type[Any], *, written: bool) -> dict[str, Any]:
    """
    Return the JSON schema of a record.

    Args:
        kind: The class.
        written: Whether the schema is of what is written, where no field is missing.
    """
    fields = [a for a in attrs.fields(kind) if a.name != "extra"]
    return {
        "title": kind.__name__,
        "type": "object",
        "properties": {a.name: _describe(a.type, written=written) for a in fields},
        "required": [a.name for a in fields if written or a.default is attrs.NOTHING],
        "additionalProperties": True,
    }


_FORMATS = {
    UUID: UUID_TEXT,
    datetime: {**TEXT, "format": "date-time"},
    str: TEXT,
}


def _describe(kind: Any, *, written: bool) -> dict[str, Any]:
    if kind in _FORMATS:
        return dict(_FORMATS[kind])
    if get_origin(kind) is UnionType:
        inner = next(a for a in get_args(kind) if a is not NoneType)
        return {"anyOf": [_describe(inner, written=written), NULL]}
    if get_origin(kind) is tuple:
        return describe_list(_describe(get_args(kind)[0], written=written))
    if attrs.has(kind):
        return describe_record(kind, written=written)
    return _describe_enum(kind)


def _describe_enum(kind: type[OpenStrEnum]) -> dict[str, Any]:
    """Name the known members, and allow any other text."""
    known = [str(member) for member in kind]
    return {"title": kind.__name__, "anyOf": [{**TEXT, "enum": known}, dict(TEXT)]}


def describe_row(
    outcome: str, phone: dict[str, Any], error: dict[str, Any]
) -> dict[str, Any]:
    """Return the JSON schema of an outcome's row."""
    return describe_object(
        outcome.capitalize(),
        phone_id=dict(TEXT),
        outcome={**TEXT, "const": outcome},
        phone=phone,
        error=error,
    )
