"""
Responses that are not a success: which error they mean, and what the server says.

The API documents 200 and 422 only (https://docs.diga.io, *Get phone*); the other
statuses are those that the rest of the API answers with. The class of an error
follows the status alone: error codes have been seen to contradict it.
"""

import re
from typing import Any

from diga_async._api.headers import body_of, header, retry_after
from diga_async._api.messages import Response, Secret
from diga_async._models.decoding import read_json
from diga_async._models.errors import (
    APIStatusError,
    AuthenticationError,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    UnprocessableEntityError,
    ValidationDetail,
    shorten,
)

ERRORS: dict[int, type[APIStatusError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}

# A server may quote its records, or the request, in the text of an error.
_PERSONAL = re.compile(
    r"\+\d[\d ]{6,18}\d|\b(?:https?|sips?):\S+|\bsk-[0-9a-z]{8,}", re.IGNORECASE
)
MIN_DISTINCT_CHARACTERS = 8
"""A key of letters alone that is shorter may be an ordinary word."""
#: Compiled for a key as short as those in tests only.
_QUOTED = r"""(?i)((?<=\bBearer )|(?<=[:=] )|(?<=[:='"`]))\w+"""


def problem_of(response: Response, key: Secret) -> DigaError:
    """
    Return the error that *response* means.

    Raises:
        InvalidResponseError: It is a success other than 200.
    """
    status = response.status
    if 200 < status < 300:  # noqa: PLR2004
        raise InvalidResponseError(f"{status} is not an answer to this request")
    said = _ErrorBody(response, key)
    return _class_for(status)(
        status=status,
        error_code=said.text("error_code"),
        message=said.text("message") or said.text("detail"),
        details=said.details(),
        request_id=request_id(response, Secret(f"Bearer {key}")),
        retry_after=retry_after(
            header(response, "Retry-After"), header(response, "Date")
        ),
    )


def request_id(response: Response, authorization: Secret) -> str | None:
    """Return the ``X-Request-Id`` of *response*, without secrets; None without one."""
    if "X-Request-Id" not in response.headers:
        return None
    text = header(response, "X-Request-Id")
    if text is None:
        return None
    return shorten(clean(text, key_of(authorization)))


def _class_for(status: int) -> type[APIStatusError]:
    if 500 <= status < 600:  # noqa: PLR2004
        return InternalServerError
    return ERRORS.get(status, APIStatusError)


def key_of(authorization: Secret) -> Secret:
    """Return the key in the value of an Authorization header."""
    return Secret(authorization.removeprefix("Bearer "))


def clean(text: str, key: Secret) -> str:
    """Remove the key and what may be personal from *text*."""
    known = _without(key, text)[:2000]
    printable = "".join(c if c.isprintable() else " " for c in known)
    return _PERSONAL.sub("***", printable)


def _without(key: Secret, text: str) -> str:
    if len(key) >= MIN_DISTINCT_CHARACTERS or not key.isalpha():
        return text.replace(key, "***")
    # A key used in tests, such as "key": removed where a key is quoted, kept in prose.
    return re.sub(_QUOTED, lambda m: "***" if m[0] == key else m[0], text)


class _ErrorBody:
    """The body of an error, in FastAPI's shape, in Diga's, or in neither."""

    def __init__(self, response: Response, key: Secret) -> None:
        self._key = key
        try:
            content = read_json(body_of(response))
        except InvalidResponseError:
            content = None
        self._fields = content if isinstance(content, dict) else {}

    def clean(self, text: object) -> str | None:
        """Return *text* without secrets; None when it is not text."""
        return clean(text, self._key) if isinstance(text, str) else None

    def text(self, name: str) -> str | None:
        """Return the field of that name; None when it is not text."""
        return self.clean(self._fields.get(name))

    def details(self) -> tuple[ValidationDetail, ...]:
        """Return FastAPI's list of complaints; empty when there is none."""
        complaints = self._fields.get("detail")
        if not isinstance(complaints, list):
            return ()
        return tuple(self._detail(c) for c in complaints[:100] if isinstance(c, dict))

    def _detail(self, complaint: dict[str, Any]) -> ValidationDetail:
        loc = complaint.get("loc")
        return ValidationDetail(
            tuple(self._step(s) for s in loc[:8]) if isinstance(loc, list) else (),
            self.clean(complaint.get("msg")) or "",
            self.clean(complaint.get("type")) or "",
        )

    def _step(self, step: object) -> str | int:
        if isinstance(step, int):
            return step
        return (self.clean(step) or "")[:100]
