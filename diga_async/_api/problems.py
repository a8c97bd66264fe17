"""
Responses that are not a success: which error they mean, and what the server says.

The API documents 200 and 422 only (https://docs.diga.io, *Get phone*); the other
statuses are those that the rest of the API answers with. The class of an error
follows the status alone: error codes have been seen to contradict it.
"""

import re
from typing import Any

import attrs

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

_MEANINGS: dict[type[DigaError], str] = {
    AuthenticationError: " refused the key",
    PermissionDeniedError: " does not let this key read phones",
    RateLimitError: " throttles this client",
    InternalServerError: ", or a proxy before it, failed",
}

# A server may quote its records, or the request, in the text of an error.
_PERSONAL = re.compile(
    r"\+\d[\d ]{6,18}\d|\b(?:https?|sips?):\S+|\bsk-[0-9a-z]{8,}", re.IGNORECASE
)
#: Texts, which are compiled when an answer needs them.
_TARGET = (
    r"(?i)(?P<scheme>https?://)?(?(scheme)|//)([^/?#\\]*@)?"
    r"(?P<host>([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?)(?=[/?#]|$)"
)
_MEDIA = r"[a-zA-Z0-9.+-]{1,40}/[a-zA-Z0-9.+-]{1,40}(?=\s*(;|$))"
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


def explained(
    error: DigaError, response: Response, key: Secret, server: str
) -> DigaError:
    """
    Return *error* with a reason that names the server and says what it means.

    Args:
        error: What *response* means.
        response: The response.
        key: The key that was sent, which no text shows.
        server: What the request was sent to.
    """
    match error:
        case InvalidResponseError(undecodable=True):
            media = _foreign_media_of(response)
            reason = f"{error.reason}: {server} sent {media}" if media else ""
        case APIStatusError():
            reason = _meaning_of(error, response, key, server)
        case _:
            return error
    return attrs.evolve(error, reason=reason) if reason else error


def _meaning_of(
    error: APIStatusError, response: Response, key: Secret, server: str
) -> str:
    match error.status:
        case 429 | 503 if error.retry_after:
            meaning = f" asks to wait {error.retry_after:g} s"
        case 301 | 302 | 303 | 307 | 308:
            meaning = f" redirects to {_target_of(response, key)}; check base_url"
        case 405:
            meaning = " does not take this request; check base_url"
        case _:
            meaning = _MEANINGS.get(type(error), "")
    return meaning and f"{server}{meaning}"


def _target_of(response: Response, key: Secret) -> str:
    """Return where a redirect leads: its scheme and host, which are not secret."""
    target = re.match(_TARGET, header(response, "Location") or "")
    if target is None:
        return "another path"
    return shorten(_without(key, f"{target['scheme'] or '//'}{target['host']}"))


def _foreign_media_of(response: Response) -> str | None:
    """Return the media type of a body that does not claim to be JSON, else None."""
    media = re.match(_MEDIA, header(response, "Content-Type") or "")
    return None if media is None or "json" in media[0].lower() else media[0]


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
