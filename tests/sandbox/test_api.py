"""The answers of the sandbox, compared with those of a real FastAPI service."""

import json
from collections.abc import MutableMapping
from datetime import datetime
from enum import StrEnum
from random import Random
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, Query

from diga_async.sandbox import _api as api
from diga_async.sandbox._api import Answer, Asked, Project, perform
from diga_async.sandbox._listing import NO_PHONES, CursorGoneError, Page
from diga_async.sandbox._query import ListingQuery

KEY = "sk-0"
PHONE_ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")


async def only_with_key(
    authorization: Annotated[str | None, Header()] = None,
) -> None:
    if authorization != f"Bearer {KEY}":
        raise HTTPException(401)


service = FastAPI(dependencies=[Depends(only_with_key)])


class Status(StrEnum):
    RESERVED = "reserved"
    PENDING_VERIFICATION = "pending_verification"
    ASSIGNED = "assigned"
    RELEASED = "released"
    FINISHED = "finished"


@service.get("/v1/phone/")
async def phones(  # noqa: PLR0913, PLR0917 - the published parameters
    after: UUID | None = None,
    before: UUID | None = None,
    page: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    inbound_agent_id: UUID | None = None,
    outbound_agent_id: UUID | None = None,
    status: Status | None = None,
    start_assigned_at: datetime | None = None,
    end_assigned_at: datetime | None = None,
) -> dict[str, Any]:
    return locals()


@service.get("/v1/phone/{phone_id}")
async def phone(phone_id: UUID) -> dict[str, str]:
    return {"id": str(phone_id)}


async def real(
    method: str, target: str, authorization: str
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[MutableMapping[str, Any]] = []
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"authorization", authorization.encode())],
        "server": ("diga.test", 80),
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await service(scope, receive, send)
    start, *bodies = sent
    body = b"".join(message.get("body", b"") for message in bodies)
    return start["status"], dict(start["headers"]), body


def ours(
    target: str,
    *,
    method: str = "GET",
    authorization: str | None = f"Bearer {KEY}",
    **settings: Any,
) -> Answer:
    path, _, query = target.partition("?")
    given: dict[str, Any] = {
        "api_key": KEY,
        "permitted": True,
        "gone_cursor": 200,
        "record_of": lambda phone_id: {"id": str(phone_id)},
        "page_of": lambda _: NO_PHONES,
    } | settings
    return perform(Asked(method, path, query, authorization), Project(**given))


def without_wording(body: bytes) -> Any:
    """Leave out texts that pydantic changes from release to release."""
    content = json.loads(body) if body else None
    if content and isinstance(content.get("detail"), list):
        for detail in content["detail"]:
            del detail["msg"]
            detail.pop("ctx", None)
    return content


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/phone",
        "/v1/phone?limit=1",
        "/v1/phone//",
        f"/v1/phone/{PHONE_ID}/",
        f"/v1/phone/{PHONE_ID}/calls",
        f"/v2/phone/{PHONE_ID}",
        f"/v1/phone/{PHONE_ID}",
        f"/v1/phone/{PHONE_ID.hex}",
        f"/v1/phone/{str(PHONE_ID).upper()}",
        f"/v1/phone/{PHONE_ID.urn}",
        f"/v1/phone/{{{PHONE_ID}}}",
        "/v1/phone/nope",
        "/v1/phone/ ",
        "/v1/phone/+c90c3cc-0d44-4b50-8888-8dd25736052a",
        "/v1/phone/3c90c3cc",
        "/v1/phone/3c90-c3cc0d44-4b5088888dd25736052a",
    ],
)
async def test_a_path_is_answered_as_fastapi_answers_it(method: str, path: str) -> None:
    status, headers, body = await real(method, path, f"Bearer {KEY}")
    answer = ours(path, method=method)

    assert answer.status == status
    assert without_wording(answer.body) == without_wording(body)
    assert answer.headers.get("Allow", "").encode() == headers.get(b"allow", b"")
    location = headers.get(b"location", b"").removeprefix(b"http://diga.test")
    assert answer.headers.get("Location", "").encode() == location
    if body:
        assert answer.content_type == headers[b"content-type"].decode()


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_listing_with_another_method_is_answered_as_fastapi_answers_it(
    method: str,
) -> None:
    status, headers, body = await real(method, "/v1/phone/", f"Bearer {KEY}")
    answer = ours("/v1/phone/", method=method)

    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["Allow"].encode() == headers[b"allow"]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "unknown=1",
        "&&",
        f"after={PHONE_ID}",
        f"after={PHONE_ID.hex}",
        "after=",
        "after=nope",
        f"before={PHONE_ID}",
        "before=3c90c3cc",
        "page=1",
        "page=0",
        "page=-1",
        "page=x",
        "page=99999999999999999999999",
        "limit=1",
        "limit=100",
        "limit=0",
        "limit=101",
        "limit=",
        "limit=1.0",
        "limit=1.5",
        "limit=1e1",
        "limit=%201%20",
        "limit=1_0",
        "limit=%2B5",
        "limit=05",
        "limit=x&limit=2",
        "limit=2&limit=x",
        "order=asc",
        "order=desc",
        "order=",
        "order=ASC",
        "status=assigned",
        "status=pending_verification",
        "status=suspended",
        "status=",
        f"inbound_agent_id={PHONE_ID}",
        "inbound_agent_id=me",
        f"outbound_agent_id={PHONE_ID}",
        "outbound_agent_id=me",
        "start_assigned_at=2026-07-01",
        "start_assigned_at=2026-07-01T10:00:00Z",
        "start_assigned_at=2026-07-01T10:00:00.123456789Z",
        "start_assigned_at=2026-07-01T10:00:00",
        "start_assigned_at=2026-07-01%2010:00",
        "start_assigned_at=2026-07-01T10:00:00%2B02:00",
        "start_assigned_at=2026-07-01T10:00:00+02:00",
        "start_assigned_at=2026-13-01T10:00:00Z",
        "start_assigned_at=2026-07-01T25:00:00Z",
        "start_assigned_at=2026-W01-1",
        "start_assigned_at=20260701",
        "start_assigned_at=1700000000",
        "start_assigned_at=1700000000000",
        "start_assigned_at=yesterday",
        "start_assigned_at=",
        "end_assigned_at=2026-07-01T10:00:00Z",
        "end_assigned_at=nope",
        "order=up&limit=x&page=0&before=me",
    ],
)
async def test_parameters_are_read_as_fastapi_reads_them(query: str) -> None:
    asked: list[ListingQuery] = []

    def page_of(query: ListingQuery) -> Page:
        asked.append(query)
        return NO_PHONES

    status, _, body = await real("GET", f"/v1/phone/?{query}", f"Bearer {KEY}")
    answer = ours(f"/v1/phone/?{query}", page_of=page_of)

    assert answer.status == status
    if status == 422:
        assert without_wording(answer.body) == without_wording(body)
    else:
        assert as_sent(asked[0]) == as_sent(ListingQuery(**json.loads(body)))


def as_sent(query: ListingQuery) -> dict[str, Any]:
    """Return the query, with dates as timestamps: a naive one is UTC."""
    names = ("after", "before", "page", "limit", "order", "status")
    agents = ("inbound_agent_id", "outbound_agent_id")
    dates = ("start_assigned_at", "end_assigned_at")
    return {
        **{name: str(getattr(query, name)) for name in (*names, *agents)},
        **{name: timestamp(getattr(query, name)) for name in dates},
    }


def timestamp(moment: datetime | str | None) -> float | None:
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    utc = moment if moment.tzinfo else datetime.fromisoformat(f"{moment.isoformat()}Z")
    return utc.timestamp()


@pytest.mark.parametrize("authorization", ["", "Bearer sk-1", KEY, f"Basic {KEY}"])
@pytest.mark.parametrize("segment", ["nope", PHONE_ID, "", "?limit=0"])
async def test_the_key_is_checked_before_the_parameters(
    authorization: str, segment: object
) -> None:
    path = f"/v1/phone/{segment}"

    assert ours(path, authorization=authorization).status == 401
    assert (await real("GET", path, authorization))[0] == 401


async def test_the_method_is_checked_before_the_key() -> None:
    assert ours("/v1/phone/nope", method="PUT", authorization="").status == 405
    assert (await real("PUT", "/v1/phone/nope", ""))[0] == 405


@pytest.mark.parametrize("target", [f"/v1/phone/{PHONE_ID}", "/v1/phone/"])
@pytest.mark.parametrize(
    ("settings", "status", "error_code", "message"),
    [
        ({"authorization": None}, 401, "INVALID_API_KEY", "Invalid or missing API key"),
        (
            {"permitted": False},
            403,
            "INTERNAL_SERVER_ERROR",
            "Missing required permissions: phones:read",
        ),
    ],
)
def test_a_refused_key_is_answered_in_digas_words(
    settings: dict[str, Any], status: int, error_code: str, message: str, target: str
) -> None:
    answer = ours(target, **settings)

    assert answer.status == status
    assert json.loads(answer.body) == {
        "status": "error",
        "error_code": error_code,
        "message": message,
    }


def test_an_unknown_phone_is_answered_in_digas_words() -> None:
    answer = ours(f"/v1/phone/{PHONE_ID}", record_of={}.get)

    assert answer.status == 404
    assert json.loads(answer.body) == {
        "status": "error",
        "error_code": "PHONE_NOT_FOUND",
        "message": f"Phone with id {PHONE_ID} not found",
    }


def test_both_cursors_together_are_answered_in_digas_words() -> None:
    answer = ours(f"/v1/phone/?after={PHONE_ID}&before={PHONE_ID}")

    assert answer.status == 422
    assert json.loads(answer.body) == {
        "status": "error",
        "error_code": "INVALID_PAGINATION_PARAMETERS",
        "message": "Cannot specify both 'before' and 'after' parameters",
    }


@pytest.mark.parametrize(
    ("status", "error_code"),
    [
        (400, "NOT_VALID_FIELD"),
        (404, "PHONE_NOT_FOUND"),
        (422, "INVALID_PAGINATION_PARAMETERS"),
    ],
)
def test_a_cursor_whose_phone_is_gone_can_be_an_error(
    status: int, error_code: str
) -> None:
    answer = ours(f"/v1/phone/?after={PHONE_ID}", page_of=gone, gone_cursor=status)

    assert answer.status == status
    assert json.loads(answer.body)["error_code"] == error_code


def test_a_cursor_whose_phone_is_gone_can_be_an_empty_page() -> None:
    answer = ours(f"/v1/phone/?after={PHONE_ID}", page_of=gone, gone_cursor=200)

    assert answer.status == 200
    assert json.loads(answer.body) == {
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
        "current_page": None,
        "total_pages": None,
    }


def gone(_: ListingQuery) -> Page:
    raise CursorGoneError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nope", "invalid character: found `n` at 0"),
        ("3c90c3cc", "invalid length: found 8"),
        (f"{PHONE_ID.hex[:4]}-{PHONE_ID.hex[4:]}", "invalid group length"),
    ],
)
def test_a_422_gives_the_reason(text: str, reason: str) -> None:
    answer = ours(f"/v1/phone/{text}")

    assert json.loads(answer.body)["detail"] == [
        {
            "type": "uuid_parsing",
            "loc": ["path", "phone_id"],
            "msg": f"Input should be a valid UUID, {reason}",
            "input": text,
            "ctx": {"error": reason},
        }
    ]


def test_a_request_does_not_show_its_key() -> None:
    assert KEY not in repr(Asked("GET", "/", "", f"Bearer {KEY}"))


def test_json_is_written_as_fastapi_writes_it() -> None:
    answer = api.found({"nickname": "Recepción Cádiz", "region_codes": []})

    assert answer.body == '{"nickname":"Recepción Cádiz","region_codes":[]}'.encode()
    assert answer.content_type == "application/json"


def test_a_lone_surrogate_is_served_as_its_escape() -> None:
    assert api.found({"nickname": "\ud800"}).body == b'{"nickname":"\\ud800"}'


def test_a_429_is_answered_in_digas_words() -> None:
    answer = api.rate_limited(None)

    assert answer.status == 429
    assert json.loads(answer.body) == {
        "status": "error",
        "error_code": "RATE_LIMIT_EXCEEDED",
        "message": "Too many requests",
    }


@pytest.mark.parametrize(
    ("retry_after", "headers"),
    [
        (None, {}),
        (0, {"Retry-After": "0"}),
        (2, {"Retry-After": "2"}),
        (3600.0, {"Retry-After": "3600"}),
        (0.5, {"Retry-After": "0.5"}),
        ("soon", {"Retry-After": "soon"}),
    ],
)
def test_a_429_has_a_retry_after_only_if_it_is_set(
    retry_after: float | str | None, headers: dict[str, str]
) -> None:
    assert api.rate_limited(retry_after).headers == headers


def test_server_errors_are_worded_as_digas_and_as_a_proxys() -> None:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    drawn = [api.server_error(502, chance) for _ in range(50)]

    assert {answer.status for answer in drawn} == {502}
    assert {answer.content_type: answer.body[:9] for answer in drawn} == {
        "application/json": b'{"status"',
        "text/html": b"<html><he",
    }


def test_garbage_is_a_200_that_is_not_json() -> None:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    drawn = {answer.body: answer for answer in map(api.garbage, [chance] * 50)}

    assert len(drawn) == 4
    for answer in drawn.values():
        assert answer.status == 200
        with pytest.raises(ValueError, match="line 1"):
            json.loads(answer.body)
