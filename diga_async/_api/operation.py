"""`Operation`: one call of the API as a value, and how its response is read."""

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeAlias, TypeVar
from uuid import UUID

import attrs

from diga_async._api.headers import body_of
from diga_async._api.messages import Endpoint, Request, Response, Secret
from diga_async._api.problems import clean, key_of, problem_of
from diga_async._models.decoding import MAX_BODY_BYTES
from diga_async._models.errors import DigaError, InvalidResponseError
from diga_async._models.events import AnswerKind

T = TypeVar("T")

Answer: TypeAlias = T | DigaError
"""The meaning of a response: the value asked for, or why there is none."""


@attrs.define(eq=False)  # not frozen, which costs a call a field; nothing changes it
class Operation(Generic[T]):
    """
    One call of the API: what is sent, and how a success is read.

    Attributes:
        path: Path and query below the base URL, encoded, with its first slash.
            Concurrent calls of the same path may share a request.
        read: Makes the value of the body of a 200; raises `InvalidResponseError`
            when the body is not that value.
        subject: The id that errors, outcomes and events name; None when the
        operation is not about one record.
        success: How statistics and events count a success.
        max_body: The largest body that is read, in bytes.
        redact: Applies a function that removes secrets to whatever text of the
            server's a value quotes; None when it quotes none.
    """

    path: str
    read: Callable[[bytes], T]
    subject: UUID | None = None
    success: AnswerKind = "found"
    max_body: int = MAX_BODY_BYTES
    redact: Callable[[T, Callable[[str], str]], T] | None = None

    def request(self, endpoint: Endpoint, authorization: Secret) -> Request:
        """Build the request for *endpoint*."""
        return Request(endpoint, self.path, authorization, self.max_body)

    def answer(self, response: Response, authorization: Secret) -> Answer[T]:
        """Read *response*: the value, or the error that it means."""
        try:
            if response.status != 200:  # noqa: PLR2004
                return problem_of(response, key_of(authorization))
            value = self.read(body_of(response, self.max_body))
        except InvalidResponseError as error:
            # The names of fields are the server's text as well.
            key = key_of(authorization)
            problems = [clean(problem, key) for problem in error.problems]
            return attrs.evolve(error, status=response.status, problems=problems)
        if self.redact is None:
            return value
        return self.redact(value, partial(clean, key=key_of(authorization)))
