"""The operation itself: a method, a path and a key in, an answer out."""

import re
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import attrs

from diga_async.sandbox import _answers as answers
from diga_async.sandbox._answers import Answer

_PATH: Final = re.compile(r"/v1/phone/([^/]+)")
_UUID: Final = re.compile(  # as pydantic reads them, which is more than one way
    r"\{?(?:urn:uuid:)?"
    r"([0-9a-f]{32}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\}?",
    re.IGNORECASE,
)


@attrs.frozen
class Asked:
    """
    What a request asks for.

    Attributes:
        segment: The path's last part, where the id goes. None for any other path.
        phone_id: None when *segment* is no UUID.
    """

    method: str
    segment: str | None
    phone_id: UUID | None
    authorization: str | None = attrs.field(repr=False)


def read(method: str, path: str, authorization: str | None) -> Asked:
    """
    Read what is asked for.

    >>> read("GET", "/v1/phone/nope", None).segment
    'nope'
    """
    match = _PATH.fullmatch(path)
    segment = match[1] if match else None
    return Asked(method, segment, _phone_id(segment or ""), authorization)


def perform(
    asked: Asked,
    *,
    api_key: str,
    permitted: bool,
    record_of: Callable[[UUID], dict[str, Any] | None],
) -> Answer:
    """Answer in the order FastAPI checks: path, method, key, id; then the data."""
    if asked.segment is None:
        return answers.PATH_NOT_FOUND
    if asked.method != "GET":
        return answers.METHOD_NOT_ALLOWED
    if asked.authorization != f"Bearer {api_key}":
        return answers.UNAUTHORIZED
    if asked.phone_id is None:
        return answers.not_a_uuid(asked.segment)
    if not permitted:
        return answers.FORBIDDEN
    return _phone(asked.phone_id, record_of(asked.phone_id))


def _phone(phone_id: UUID, record: dict[str, Any] | None) -> Answer:
    return (
        answers.phone_not_found(phone_id) if record is None else answers.found(record)
    )


def _phone_id(text: str) -> UUID | None:
    match = _UUID.fullmatch(text)
    return UUID(match[1]) if match else None
