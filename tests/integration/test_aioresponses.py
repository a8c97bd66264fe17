"""A table of requests and answers, with aiohttp's own request replaced."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID

import aiohttp
import aioresponses.core
import aioresponses_shim
import pytest
from aioresponses import aioresponses as Answers  # noqa: N812 - a class it is
from fakes import PHONE_ID, phone_fields
from installed import AIOHTTP
from strategies import PAYLOADS, payload
from yarl import URL

from diga_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    DigaClient,
    DigaError,
    Found,
    InternalServerError,
    InvalidResponseError,
    Missing,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RateLimitError,
    RetryPolicy,
    UnprocessableEntityError,
)

KEY = "sk-0123456789abcdef"
X = UUID(PHONE_ID)
SOON = RetryPolicy(base_delay=1e-6, throttle_delay=1e-6)
PLAIN_RESPONSE = aioresponses.core.ClientResponse  # type: ignore[attr-defined]


def url_of(phone_id: object = X) -> str:
    return f"https://api.diga.io/v1/phone/{phone_id}"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    monkeypatch.setattr(aioresponses.core, "ClientResponse", PLAIN_RESPONSE)
    aioresponses_shim.install()
    with Answers() as made:
        yield made


@pytest.fixture
async def diga() -> AsyncIterator[DigaClient]:
    async with DigaClient(KEY, retry=SOON) as client:
        yield client


@pytest.mark.skipif(AIOHTTP < (3, 14), reason="older aiohttp needs no shim")
async def test_the_shim_is_still_needed() -> None:
    """When this fails, remove the shim: aioresponses works without it."""
    with Answers() as made:
        made.get(url_of(), payload=phone_fields())
        async with aiohttp.ClientSession() as session:
            with pytest.raises(TypeError, match="stream_writer"):
                await session.get(url_of())


@pytest.mark.parametrize("version", PAYLOADS)
async def test_every_published_answer_is_found(
    answers: Answers, diga: DigaClient, version: str
) -> None:
    sent = payload(version)
    answers.get(url_of(sent["id"]), body=PAYLOADS[version].read_bytes())

    assert await diga.phones.get(sent["id"]) == Phone.from_dict(sent)


async def test_the_request_is_what_the_operation_asks_for(
    answers: Answers, diga: DigaClient
) -> None:
    answers.get(url_of(), payload=phone_fields())
    await diga.phones.get(PHONE_ID.upper())

    ((method, url),) = answers.requests
    ((call,),) = answers.requests.values()
    assert (method, url) == ("GET", URL(url_of()))
    assert call.kwargs["headers"]["Authorization"] == f"Bearer {KEY}"
    assert call.kwargs["allow_redirects"] is False
    assert KEY not in repr(answers.requests)


DIGA = {"status": "error", "error_code": "INTERNAL_SERVER_ERROR", "message": "No"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "requests"),
    [
        (301, "", APIStatusError, 1),
        (400, json.dumps(DIGA), APIStatusError, 1),
        (401, '{"detail": "Not authenticated"}', AuthenticationError, 1),
        (403, json.dumps(DIGA), PermissionDeniedError, 1),
        (404, '{"detail": "Not Found"}', NotFoundError, 1),
        (404, "<h1>Not Found</h1>", NotFoundError, 1),
        (405, '{"detail": "Method Not Allowed"}', APIStatusError, 1),
        (408, "", APIStatusError, 4),
        (410, "", APIStatusError, 1),
        (422, '{"detail": []}', UnprocessableEntityError, 1),
        (422, json.dumps(DIGA), UnprocessableEntityError, 1),
        (425, "", APIStatusError, 4),
        (500, json.dumps(DIGA), InternalServerError, 4),
        (502, "<h1>Bad Gateway</h1>", InternalServerError, 4),
        (503, "", InternalServerError, 4),
        (504, "", InternalServerError, 4),
        (520, "", InternalServerError, 4),
        (204, "", InvalidResponseError, 1),
        (200, "", InvalidResponseError, 4),
        (200, "<h1>Log in</h1>", InvalidResponseError, 4),
        (200, "[]", InvalidResponseError, 1),
        (200, json.dumps(phone_fields(status=None)), InvalidResponseError, 1),
        (200, json.dumps(phone_fields(UUID(int=1))), InvalidResponseError, 4),
    ],
)
async def test_each_response_has_its_error_and_its_number_of_requests(  # noqa: PLR0913
    answers: Answers,
    diga: DigaClient,
    *,
    status: int,
    body: str,
    kind: type[DigaError],
    requests: int,
) -> None:
    headers = {"Location": "https://evil.example/"} if status == 301 else {}
    answers.get(url_of(), status=status, body=body, headers=headers, repeat=True)

    with pytest.raises(kind) as caught:
        await diga.phones.get(X)

    assert type(caught.value) is kind
    assert (caught.value.phone_id, caught.value.attempts) == (X, requests)
    assert {url: len(calls) for (_, url), calls in answers.requests.items()} == {
        URL(url_of()): requests
    }


@pytest.mark.parametrize(
    ("exception", "kind", "phase"),
    [
        (aiohttp.ClientConnectionError("refused"), APIConnectionError, "connect"),
        (aiohttp.ServerDisconnectedError(), APIConnectionError, "connect"),
        (aiohttp.ServerTimeoutError(), APITimeoutError, "connect"),
        (TimeoutError(), APITimeoutError, "connect"),
        (OSError("too many open files"), APIConnectionError, "connect"),
    ],
)
async def test_an_exception_of_aiohttp_never_reaches_a_user(
    answers: Answers,
    diga: DigaClient,
    exception: Exception,
    kind: type[DigaError],
    phase: str,
) -> None:
    answers.get(url_of(), exception=exception, repeat=True)

    with pytest.raises(kind) as caught:
        await diga.phones.get(X)

    assert isinstance(caught.value, APIConnectionError)
    assert (caught.value.phase, caught.value.attempts) == (phase, 4)
    assert caught.value.__cause__ is None


async def test_a_transient_failure_is_found_after_retries(
    answers: Answers, diga: DigaClient
) -> None:
    answers.get(url_of(), status=503)
    answers.get(url_of(), status=429, headers={"Retry-After": "0"})
    answers.get(url_of(), payload=phone_fields())

    assert (await diga.phones.get(X)).id == X
    assert diga.stats.requests == 3
    assert (diga.stats.retries, diga.stats.throttled) == (2, 1)


async def test_a_retry_after_beyond_the_deadline_is_not_waited_for(
    answers: Answers, diga: DigaClient
) -> None:
    answers.get(url_of(), status=429, headers={"Retry-After": "3600"})

    with pytest.raises(RateLimitError) as caught:
        await diga.phones.get(X)
    assert caught.value.retry_after == 3600.0


async def test_a_run_has_an_outcome_for_every_id(
    answers: Answers, diga: DigaClient
) -> None:
    ids = [UUID(int=n) for n in range(20)]
    for n, phone_id in enumerate(ids):
        if n % 2:
            answers.get(url_of(phone_id), payload=phone_fields(phone_id))
        else:
            answers.get(url_of(phone_id), status=404)

    found: dict[Any, type[Any]] = {}
    async with diga.phones.iter_many(ids, concurrency=4) as lookups:
        async for outcome in lookups:
            found[outcome.phone_id] = type(outcome)

    assert found == {i: Found if n % 2 else Missing for n, i in enumerate(ids)}


async def test_a_lent_session_is_no_different(answers: Answers) -> None:
    """Its own defaults are not sent."""
    answers.get(url_of(), payload=phone_fields())
    async with aiohttp.ClientSession(headers={"X-Bot": "1"}) as session:
        async with DigaClient(KEY, session=session) as client:
            assert (await client.phones.get(X)).id == X
        assert not session.closed

    ((call,),) = answers.requests.values()
    assert "X-Bot" not in call.kwargs["headers"]


async def test_an_unmocked_request_is_a_connection_error(
    answers: Answers, diga: DigaClient
) -> None:
    with pytest.raises(APIConnectionError):
        await diga.phones.get(X)
