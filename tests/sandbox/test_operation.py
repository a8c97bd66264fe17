"""The operation as the sandbox performs it, beside a real FastAPI service."""

import json
from collections.abc import MutableMapping
from typing import Annotated, Any
from uuid import UUID

import pytest
from fastapi import Depends, FastAPI, Header, HTTPException

from diga_async.sandbox._answers import Answer
from diga_async.sandbox._operation import perform, read

KEY = "sk-0"
PHONE_ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")


async def only_with_key(
    authorization: Annotated[str | None, Header()] = None,
) -> None:
    if authorization != f"Bearer {KEY}":
        raise HTTPException(401)


service = FastAPI(dependencies=[Depends(only_with_key)])


@service.get("/v1/phone/{phone_id}")
async def phone(phone_id: UUID) -> dict[str, str]:
    return {"id": str(phone_id)}


async def real(
    method: str, path: str, authorization: str
) -> tuple[int, dict[bytes, bytes], Any]:
    sent: list[MutableMapping[str, Any]] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", authorization.encode())],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await service(scope, receive, send)
    start, *bodies = sent
    body = b"".join(message.get("body", b"") for message in bodies)
    return start["status"], dict(start["headers"]), json.loads(body)


def ours(method: str, path: str, authorization: str | None, **settings: Any) -> Answer:
    given: dict[str, Any] = {
        "permitted": True,
        "record_of": lambda phone_id: {"id": str(phone_id)},
    } | settings
    return perform(read(method, path, authorization), api_key=KEY, **given)


def without_wording(content: dict[str, Any]) -> dict[str, Any]:
    """Leave out what pydantic words anew from release to release."""
    for detail in content["detail"] if isinstance(content.get("detail"), list) else []:
        del detail["msg"], detail["ctx"]
    return content


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/phone",
        "/v1/phone/",
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
async def test_it_answers_as_fastapi_does(method: str, path: str) -> None:
    status, headers, content = await real(method, path, f"Bearer {KEY}")
    answer = ours(method, path, f"Bearer {KEY}")

    assert answer.status == status
    assert without_wording(json.loads(answer.body)) == without_wording(content)
    assert answer.content_type == headers[b"content-type"].decode()
    assert answer.headers.get("Allow", "").encode() == headers.get(b"allow", b"")


@pytest.mark.parametrize("authorization", ["", "Bearer sk-1", KEY, f"Basic {KEY}"])
@pytest.mark.parametrize("segment", ["nope", PHONE_ID])
async def test_as_in_fastapi_the_key_comes_before_the_id(
    authorization: str, segment: object
) -> None:
    path = f"/v1/phone/{segment}"

    assert ours("GET", path, authorization).status == 401
    assert (await real("GET", path, authorization))[0] == 401


async def test_as_in_fastapi_the_method_comes_before_the_key() -> None:
    assert ours("PUT", "/v1/phone/nope", "").status == 405
    assert (await real("PUT", "/v1/phone/nope", ""))[0] == 405


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
        (
            {"record_of": {}.get},
            404,
            "PHONE_NOT_FOUND",
            f"Phone with id {PHONE_ID} not found",
        ),
    ],
)
def test_what_diga_itself_refuses_it_words_its_own_way(
    settings: dict[str, Any], status: int, error_code: str, message: str
) -> None:
    settings = {"authorization": f"Bearer {KEY}"} | settings
    answer = ours("GET", f"/v1/phone/{PHONE_ID}", **settings)

    assert answer.status == status
    assert json.loads(answer.body) == {
        "status": "error",
        "error_code": error_code,
        "message": message,
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nope", "invalid character: found `n` at 0"),
        ("3c90c3cc", "invalid length: found 8"),
        (f"{PHONE_ID.hex[:4]}-{PHONE_ID.hex[4:]}", "invalid group length"),
    ],
)
def test_a_422_says_why(text: str, reason: str) -> None:
    answer = ours("GET", f"/v1/phone/{text}", f"Bearer {KEY}")

    assert json.loads(answer.body)["detail"] == [
        {
            "type": "uuid_parsing",
            "loc": ["path", "phone_id"],
            "msg": f"Input should be a valid UUID, {reason}",
            "input": text,
            "ctx": {"error": reason},
        }
    ]


def test_what_is_asked_never_shows_the_key() -> None:
    assert KEY not in repr(read("GET", "/", f"Bearer {KEY}"))
