"""The client against an independent server: FastAPI, uvicorn and pydantic."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any
from uuid import UUID

import aiohttp
import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from foreign import PhoneRegisterResponseSchema, SipConfigResponseSchema
from hypothesis import given
from pydantic import TypeAdapter, ValidationError
from strategies import PAYLOADS, mutations, payload, phones

from diga_async import (
    APIStatusError,
    AuthenticationError,
    DigaClient,
    Failed,
    Found,
    InvalidPhoneIdError,
    InvalidResponseError,
    Missing,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RetryPolicy,
    UnprocessableEntityError,
)

KEY = "sk-0123456789abcdef"
BLIND_KEY = "sk-fedcba9876543210"
NOWHERE = UUID(int=0)
PHONES = {UUID(payload(version)["id"]): payload(version) for version in PAYLOADS}


SCHEMA = TypeAdapter(PhoneRegisterResponseSchema)
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


def only_with_key(bearer: Bearer) -> None:
    if bearer.credentials == BLIND_KEY:
        raise HTTPException(403, "Not authorized to read phones")
    if bearer.credentials != KEY:
        raise HTTPException(401, "Invalid or missing API key")


service = FastAPI()


@service.get("/v1/phone/{phone_id}", dependencies=[Depends(only_with_key)])
async def get_phone(phone_id: UUID) -> PhoneRegisterResponseSchema:
    if phone_id not in PHONES or phone_id == FUTURE:
        raise HTTPException(404)
    return SCHEMA.validate_json(json.dumps(PHONES[phone_id]))


@service.get("/future/v1/phone/{phone_id}")
async def get_future_phone(phone_id: UUID) -> dict[str, Any]:
    return PHONES[phone_id]


@service.get("/picky/v1/phone/{phone_id}")
async def get_picky_phone(phone_id: int, since: datetime) -> int:
    return phone_id + since.year


@service.post("/posted/v1/phone/{phone_id}")
async def post_phone(phone_id: UUID) -> UUID:
    return phone_id


@service.get("/moved/v1/phone/{phone_id}/")
async def get_moved_phone(phone_id: UUID) -> UUID:
    return phone_id


@service.get("/broken/v1/phone/{phone_id}")
async def get_broken_phone(phone_id: UUID) -> Response:
    return Response(status_code=500, content="Internal Server Error")


FUTURE = UUID(payload("future")["id"])
KNOWN = [phone_id for phone_id in PHONES if phone_id != FUTURE]


@pytest.fixture
async def server() -> AsyncIterator[uvicorn.Server]:
    config = uvicorn.Config(
        service, "127.0.0.1", 0, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server
    await server.shutdown()


@pytest.fixture
def url(server: uvicorn.Server) -> str:
    (listening,) = server.servers[0].sockets
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
async def diga(url: str) -> AsyncIterator[DigaClient]:
    async with DigaClient(KEY, base_url=url) as client:
        yield client


async def refusal(url: str, prefix: str = "", key: str = KEY) -> APIStatusError:
    retry = RetryPolicy(base_delay=1e-6)
    async with DigaClient(key, base_url=url + prefix, retry=retry) as client:
        with pytest.raises(APIStatusError) as caught:
            await client.phones.get(NOWHERE)
    return caught.value


# --- over the wire


async def test_the_server_publishes_the_operation_that_we_call(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json") as answer,
    ):
        published = await answer.json()

    operation = published["paths"]["/v1/phone/{phone_id}"]["get"]
    (parameter,) = operation["parameters"]
    assert parameter["schema"]["format"] == "uuid"
    assert operation["security"] == [{"HTTPBearer": []}]
    schema = published["components"]["schemas"]["PhoneRegisterResponseSchema"]
    assert schema["required"] == ["id", "number", "telephony_provider", "status"]
    assert (
        schema["properties"].keys()
        == Phone.from_dict(PHONES[KNOWN[0]]).to_dict().keys()
    )


async def test_every_served_phone_is_found_completely(
    diga: DigaClient,
) -> None:
    for phone_id in KNOWN:
        served = SCHEMA.validate_json(json.dumps(PHONES[phone_id]))
        found = await diga.phones.get(phone_id)

        assert found == Phone.from_json(served.model_dump_json())
        assert found.to_dict() == Phone.from_dict(PHONES[phone_id]).to_dict()


async def test_phones_of_a_newer_server_are_found(url: str) -> None:
    async with DigaClient(KEY, base_url=f"{url}/future") as client:
        found = await client.phones.get(FUTURE)

    assert found == Phone.from_dict(PHONES[FUTURE])
    assert not found.status.known


async def test_its_404_is_not_found(url: str) -> None:
    refused = await refusal(url)

    assert type(refused) is NotFoundError
    assert (refused.message, refused.attempts) == ("Not Found", 1)


async def test_the_401_of_its_bearer_check_is_a_refused_key(url: str) -> None:
    refused = await refusal(url, key="sk-0000000000000000")

    assert type(refused) is AuthenticationError
    assert refused.message == "Invalid or missing API key"


async def test_its_403_is_permission_denied(url: str) -> None:
    refused = await refusal(url, key=BLIND_KEY)

    assert type(refused) is PermissionDeniedError
    assert refused.message == "Not authorized to read phones"


async def test_its_422_lists_what_pydantic_complains_about(url: str) -> None:
    refused = await refusal(url, "/picky")

    assert type(refused) is UnprocessableEntityError
    assert [(d.loc, d.type) for d in refused.details] == [
        (("path", "phone_id"), "int_parsing"),
        (("query", "since"), "missing"),
    ]
    assert all(d.msg for d in refused.details)
    assert (refused.message, refused.attempts) == (None, 1)


async def test_its_405_is_a_status_error(url: str) -> None:
    refused = await refusal(url, "/posted")

    assert type(refused) is APIStatusError
    assert (refused.status, refused.message) == (405, "Method Not Allowed")


async def test_its_redirect_to_a_slash_is_not_followed(url: str) -> None:
    refused = await refusal(url, "/moved")

    assert (type(refused), refused.status, refused.attempts) == (APIStatusError, 307, 1)


async def test_its_500_without_json_is_retried(url: str) -> None:
    refused = await refusal(url, "/broken")

    assert (refused.status, refused.message, refused.attempts) == (500, None, 4)


async def test_many_phones_come_over_few_connections(
    diga: DigaClient, server: uvicorn.Server
) -> None:
    ids: list[UUID | str] = [*KNOWN, NOWHERE, "nope"] * 20

    outcomes = [o async for o in diga.phones.iter_many(ids, concurrency=3)]

    kinds = dict.fromkeys(KNOWN, Found) | {NOWHERE: Missing, "nope": Failed}
    assert 0 < len(server.server_state.connections) <= 3
    assert len(outcomes) == len(ids)
    assert all(type(o) is kinds[o.phone_id] for o in outcomes)
    errors = {type(o.error) for o in outcomes if isinstance(o, Failed)}
    assert errors == {InvalidPhoneIdError}


async def test_a_batch_of_all_phones(diga: DigaClient) -> None:
    batch = await diga.phones.get_many([*KNOWN, NOWHERE, *KNOWN])

    assert list(batch.phones) == KNOWN
    assert batch.missing == (NOWHERE,)
    batch.raise_for_failures()


async def test_concurrent_gets_get_their_own_phones(
    diga: DigaClient,
) -> None:
    found = await asyncio.gather(*(diga.phones.get(p) for p in KNOWN * 10))

    assert [phone.id for phone in found] == KNOWN * 10


# --- beside pydantic


@given(fields=phones())
def test_phones_written_by_strict_pydantic_are_read_alike(
    fields: dict[str, Any],
) -> None:
    try:
        served = SCHEMA.validate_json(json.dumps(fields))
    except ValidationError:
        return  # a future value, an error to pydantic
    found = Phone.from_json(served.model_dump_json())

    for name, value in served:
        ours = getattr(found, name)
        match value:
            case datetime():
                assert ours - aware(value, ours) == timedelta(0)
            case Enum():
                assert ours == value.value
            case list():
                assert list(ours) == value
            case SipConfigResponseSchema():
                sip = found.to_dict()["sip_config"]
                assert value.model_dump(mode="json").items() <= sip.items()
            case _:
                assert ours == value


def aware(moment: datetime, beside: datetime) -> datetime:
    """A naive moment is UTC to us; pydantic keeps it naive."""
    return moment if moment.tzinfo else moment.replace(tzinfo=beside.tzinfo)


@given(body=mutations())
def test_strict_pydantic_reads_our_phones_except_unknown_values(
    body: bytes,
) -> None:
    """Two readers that share no code agree on what a phone is."""
    try:
        found = Phone.from_json(body)
    except InvalidResponseError:
        return
    try:
        SCHEMA.validate_json(json.dumps(found.to_dict()))
    except ValidationError as error:
        assert {e["type"] for e in error.errors()} == {"enum"}  # noqa: PT017 - if any
