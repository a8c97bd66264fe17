"""What the sandbox says, worded as FastAPI and Diga word it."""

import json
import re
from http import HTTPStatus
from random import Random
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import attrs

_JSON: Final = "application/json"
_HTML: Final = "text/html"
_NO_HEADERS: Final = MappingProxyType[str, str]({})
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_UUID_LENGTH: Final = 32


@attrs.frozen
class Answer:
    """A status, a body, and the headers that belong to them."""

    status: int = attrs.field(converter=int)
    body: bytes
    content_type: str = _JSON
    headers: MappingProxyType[str, str] = _NO_HEADERS


def found(record: dict[str, Any]) -> Answer:
    """Answer with a phone."""
    return _json(HTTPStatus.OK, record)


def phone_not_found(phone_id: UUID) -> Answer:
    """Answer that the project has no such phone."""
    return _diga(
        HTTPStatus.NOT_FOUND, "PHONE_NOT_FOUND", f"Phone with id {phone_id} not found"
    )


def rate_limited(retry_after: float | str | None) -> Answer:
    """Answer that there were too many requests, and perhaps for how long."""
    answer = _diga(
        HTTPStatus.TOO_MANY_REQUESTS, "RATE_LIMIT_EXCEEDED", "Too many requests"
    )
    if retry_after is None:
        return answer
    text = retry_after if isinstance(retry_after, str) else f"{retry_after:g}"
    return attrs.evolve(answer, headers=MappingProxyType({"Retry-After": text}))


def server_error(status: int, chance: Random) -> Answer:
    """Answer with a failure, in Diga's words or in those of a proxy before it."""
    if chance.choice((True, False)):
        return _diga(status, "INTERNAL_SERVER_ERROR", "An unexpected error occurred")
    page = f"<html><head><title>{status}</title></head><body>nginx</body></html>\r\n"
    return Answer(status, page.encode(), _HTML)


def garbage(chance: Random) -> Answer:
    """Answer 200 with something that is no JSON."""
    return chance.choice(_GARBAGE)


def not_a_uuid(text: str) -> Answer:
    """
    Answer that *text* is no UUID, as FastAPI's validation does.

    >>> not_a_uuid("nope").status
    422
    """
    reason = _why_not(text)
    detail = {
        "type": "uuid_parsing",
        "loc": ["path", "phone_id"],
        "msg": f"Input should be a valid UUID, {reason}",
        "input": text,
        "ctx": {"error": reason},
    }
    return _json(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": [detail]})


def _why_not(text: str) -> str:
    odd = re.search(r"[^0-9A-Fa-f-]", text)
    if odd:
        return f"invalid character: found `{odd[0]}` at {odd.start()}"
    digits = text.replace("-", "")
    if len(digits) != _UUID_LENGTH:
        return f"invalid length: found {len(digits)}"
    return "invalid group length"


def _json(status: int, content: Any) -> Answer:
    # A lone surrogate has no UTF-8, but its escape is good JSON.
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
FORBIDDEN: Final = _diga(  # the code lies, the status does not: so does Diga
    HTTPStatus.FORBIDDEN,
    "INTERNAL_SERVER_ERROR",
    "Missing required permissions: phones:read",
)
PATH_NOT_FOUND: Final = _json(HTTPStatus.NOT_FOUND, {"detail": "Not Found"})
METHOD_NOT_ALLOWED: Final = attrs.evolve(
    _json(HTTPStatus.METHOD_NOT_ALLOWED, {"detail": "Method Not Allowed"}),
    headers=MappingProxyType({"Allow": "GET"}),
)
