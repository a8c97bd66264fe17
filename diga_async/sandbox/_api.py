"""Diga's API as pure functions: a request in, an answer worded as Diga's out."""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import attrs

from diga_async.sandbox._listing import NO_PHONES, CursorGoneError, Page
from diga_async.sandbox._query import ListingQuery, read_query, read_uuid, uuid_detail

LISTING_PATH: Final = "/v1/phone/"

_LOOKUP_PATH: Final = re.compile(r"/v1/phone/([^/]+)")
_JSON: Final = "application/json"
_HTML: Final = "text/html"
_NO_HEADERS: Final = MappingProxyType[str, str]({})
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@attrs.frozen
class Asked:
    """
    The target of a request.

    Attributes:
        path: Decoded, without the query.
        query: As sent.
    """

    method: str
    path: str
    query: str = ""
    authorization: str | None = attrs.field(default=None, repr=False)

    @property
    def is_listing(self) -> bool:
        """Whether the path is that of the listing."""
        return self.path == LISTING_PATH

    @property
    def segment(self) -> str | None:
        """The last part of a lookup's path, where the id goes; None for other paths."""
        match = _LOOKUP_PATH.fullmatch(self.path)
        return match[1] if match else None

    @property
    def phone_id(self) -> UUID | None:
        """The phone that a lookup is for; None if the path holds no UUID."""
        return read_uuid(self.segment or "")


@attrs.frozen
class Answer:
    """A status, a body, and the headers that belong to them."""

    status: int = attrs.field(converter=int)
    body: bytes
    content_type: str = _JSON
    headers: MappingProxyType[str, str] = _NO_HEADERS


@attrs.frozen(kw_only=True)
class Project:
    """
    The state on which answers depend.

    Attributes:
        api_key: The only key that is accepted.
        permitted: Whether the key may read phones.
        gone_cursor: The status that answers a cursor whose phone is gone.
        record_of: Returns a phone's JSON object; None if there is no such phone.
        page_of: Returns a page of the listing, or raises `CursorGoneError`.
    """

    api_key: str = attrs.field(repr=False)
    permitted: bool
    gone_cursor: int
    record_of: Callable[[UUID], dict[str, Any] | None]
    page_of: Callable[[ListingQuery], Page]


def perform(asked: Asked, project: Project) -> Answer:
    """Answer in FastAPI's order of checks: path, method, key, parameters; then data."""
    if not asked.is_listing and asked.segment is None:
        return _redirected(asked) or PATH_NOT_FOUND
    if asked.method != "GET":
        return METHOD_NOT_ALLOWED
    if asked.authorization != f"Bearer {project.api_key}":
        return UNAUTHORIZED
    return (_list if asked.is_listing else _look_up)(asked, project)


def _look_up(asked: Asked, project: Project) -> Answer:
    phone_id = asked.phone_id
    if phone_id is None:
        return not_a_uuid(asked.segment or "")
    if not project.permitted:
        return FORBIDDEN
    record = project.record_of(phone_id)
    return phone_not_found(phone_id) if record is None else found(record)


def _list(asked: Asked, project: Project) -> Answer:
    query = read_query(asked.query)
    if not isinstance(query, ListingQuery):
        return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": query})
    if not project.permitted:
        return FORBIDDEN
    if query.after and query.before:
        return TWO_CURSORS
    try:
        return found(project.page_of(query).to_dict())
    except CursorGoneError:
        return CURSOR_GONE[project.gone_cursor]


def _redirected(asked: Asked) -> Answer | None:
    """Redirect, as Starlette does, if only a slash at the end keeps a path from one."""
    stripped = asked.path.rstrip("/")
    path = stripped if stripped != asked.path else f"{asked.path}/"
    if path != LISTING_PATH and not _LOOKUP_PATH.fullmatch(path):
        return None
    location = f"{quote(path)}?{asked.query}" if asked.query else quote(path)
    headers = MappingProxyType({"Location": location})
    return Answer(HTTPStatus.TEMPORARY_REDIRECT, b"", headers=headers)


def found(content: dict[str, Any]) -> Answer:
    """Answer with a phone, or a page of phones."""
    return _json(HTTPStatus.OK, content)


def phone_not_found(phone_id: UUID) -> Answer:
    """Answer that the project has no such phone."""
    return _diga(
        HTTPStatus.NOT_FOUND, "PHONE_NOT_FOUND", f"Phone with id {phone_id} not found"
    )


def rate_limited(retry_after: float | str | None) -> Answer:
    """Answer that there were too many requests; say when to come back if told to."""
    answer = _diga(
        HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", "Too many requests"
    )
    if retry_after is None:
        return answer
    text = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
    return attrs.evolve(answer, headers=MappingProxyType({"Retry-After": text}))


def server_error(status: int, chance: Random) -> Answer:
    """Answer with a failure, worded as Diga's or as that of a proxy before it."""
    if chance.choice((True, False)):
        return _diga(status, "INTERNAL_SERVER_ERROR", "An unexpected error occurred")
    page = f"<html><head><title>{status}</title></head><body>nginx</body></html>\r\n"
    return Answer(status, page.encode(), _HTML)


def garbage(chance: Random) -> Answer:
    """Answer 200 with a body that is not JSON."""
    return chance.choice(_GARBAGE)


def not_a_uuid(text: str) -> Answer:
    """
    Answer that *text* is not a UUID, as FastAPI's validation does.

    >>> not_a_uuid("nope").status
    422
    """
    detail = uuid_detail(text) | {"loc": ["path", "phone_id"], "input": text}
    return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": [detail]})


def _json(status: int, content: Any) -> Answer:
    # A lone surrogate has no UTF-8, but its escape is valid JSON.
    return Answer(status, _ENCODER.encode(content).encode(errors="backslashreplace"))


def _diga(status: int, error_code: str, message: str) -> Answer:
    return _json(
        status, {"status": "error", "error_code": error_code, "message": message}
    )


_GARBAGE: Final = (
    Answer(HTTPStatus.OK, b"<!doctype html><title>Diga</title>\n", _HTML),
    Answer(HTTPStatus.OK, b"upstream says hello"),
    Answer(HTTPStatus.OK, b'{"id": "'),
    Answer(HTTPStatus.OK, b""),
)

UNAUTHORIZED: Final = _diga(
    HTTPStatus.UNAUTHORIZED, "INVALID_API_KEY", "Invalid or missing API key"
)
FORBIDDEN: Final = _diga(  # Diga sends this misleading code with a 403
    HTTPStatus.FORBIDDEN,
    "INTERNAL_SERVER_ERROR",
    "Missing required permissions: phones:read",
)
PATH_NOT_FOUND: Final = _json(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
METHOD_NOT_ALLOWED: Final = attrs.evolve(
    _json(HTTPStatus.METHOD_NOT_ALLOWED, {"detail": "Method Not Allowed"}),
    headers=MappingProxyType({"Allow": "GET"}),
)
TWO_CURSORS: Final = _diga(
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "INVALID_PAGINATION_PARAMETERS",
    "Cannot specify both 'before' and 'after' parameters",
)
CURSOR_GONE: Final = {
    200: found(NO_PHONES.to_dict()),
    400: _diga(400, "NOT_VALID_FIELD", "Invalid field value in query parameters"),
    404: _diga(404, "PHONE_NOT_FOUND", "Phone of the cursor not found"),
    422: _diga(422, "INVALID_PAGINATION_PARAMETERS", "Invalid cursor"),
}
