"""The listing of a server that is not ours: FastAPI, uvicorn and pydantic."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

import aiohttp
import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query
from fastapi.security import HTTPBearer
from foreign import (
    PaginatedResponse,
    PhoneRegisterResponseSchema,
    PhoneRegisterStatus,
    TelephonyProvider,
)
from model_api import ids

from diga_async import (
    DigaClient,
    InvalidResponseError,
    Phone,
    PhoneStatus,
    UnprocessableEntityError,
)

KEY = "sk-0123456789abcdef"
AGENT = UUID(int=77)
START = datetime(2026, 1, 1, tzinfo=UTC)


def made(number: int) -> PhoneRegisterResponseSchema:
    statuses = list(PhoneRegisterStatus)
    return PhoneRegisterResponseSchema(
        id=UUID(int=number),
        number=f"+3491{number:07}",
        telephony_provider=TelephonyProvider.NETELIP,
        status=statuses[number % len(statuses)],
        assigned_at=START + timedelta(hours=number),
        inbound_agent_id=AGENT if number % 3 == 0 else None,
    )


class Project:
    """The phones of one test; some servers number their pages, some do not."""

    def __init__(self) -> None:
        self.phones = {UUID(int=number): made(number) for number in range(1, 251)}
        self.numbered = True
        self.requests: list[str] = []


project = Project()
service = FastAPI(dependencies=[Depends(HTTPBearer())])


@service.get("/v1/phone/")
async def list_phones(  # noqa: PLR0913, PLR0917 - as published
    after: UUID | None = None,
    before: UUID | None = None,
    page: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "desc",
    inbound_agent_id: UUID | None = None,
    outbound_agent_id: UUID | None = None,
    status: PhoneRegisterStatus | None = None,
    start_assigned_at: datetime | None = None,
    end_assigned_at: datetime | None = None,
) -> PaginatedResponse:
    project.requests.append("list")
    if after and before:
        raise HTTPException(422, "Cannot specify both 'before' and 'after'")
    shown = [
        phone
        for phone in project.phones.values()
        if (status is None or phone.status is status)
        and inbound_agent_id in {None, phone.inbound_agent_id}
        and outbound_agent_id in {None, phone.outbound_agent_id}
        and (start_assigned_at is None or phone.assigned_at >= start_assigned_at)
        and (end_assigned_at is None or phone.assigned_at <= end_assigned_at)
    ]
    if order == "desc":
        shown.reverse()
    begin = ((page or 1) - 1) * limit
    if after is not None:
        order_of = {phone.id: at for at, phone in enumerate(shown)}
        if after not in order_of:
            return PaginatedResponse(data=[], has_more=False)
        begin = order_of[after] + 1
    data = shown[begin : begin + limit]
    numbered = project.numbered and after is None
    return PaginatedResponse(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=begin + limit < len(shown),
        current_page=(page or 1) if numbered else None,
        total_pages=-(-len(shown) // limit) if numbered else None,
    )


@service.get("/v1/phone/{phone_id}")
async def get_phone(phone_id: UUID) -> PhoneRegisterResponseSchema:
    project.requests.append("get")
    if phone_id not in project.phones:
        raise HTTPException(404)
    return project.phones[phone_id]


@pytest.fixture
async def url() -> AsyncIterator[str]:
    vars(project).update(vars(Project()))
    config = uvicorn.Config(
        service, "127.0.0.1", 0, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    (listening,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    await server.shutdown()


@pytest.fixture
async def diga(url: str) -> AsyncIterator[DigaClient]:
    async with DigaClient(KEY, base_url=url) as client:
        yield client


async def listed(diga: DigaClient, **options: Any) -> list[UUID]:
    async with diga.phones.list(**options) as phones:
        return [phone.id async for phone in phones]


async def test_the_server_publishes_the_parameters_that_we_send(url: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json") as answer,
    ):
        published = await answer.json()

    parameters = published["paths"]["/v1/phone/"]["get"]["parameters"]
    assert {parameter["name"] for parameter in parameters} == {
        *("after", "before", "page", "limit", "order", "status"),
        *("inbound_agent_id", "outbound_agent_id"),
        *("start_assigned_at", "end_assigned_at"),
    }


@pytest.mark.parametrize("numbered", [True, False])
async def test_every_phone_is_listed_once_in_order(
    diga: DigaClient,
    numbered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    project.numbered = numbered

    assert await listed(diga, order="asc") == ids(250)
    assert await listed(diga, page_size=7) == ids(250)[::-1]
    assert len(project.requests) == 3 + 36


async def test_a_listed_phone_equals_the_phone_looked_up(diga: DigaClient) -> None:
    async with diga.phones.list() as phones:
        first = await anext(phones)

    assert first == await diga.phones.get(first.id)
    served = project.phones[first.id].model_dump_json()
    assert first == Phone.from_json(served)


async def test_every_filter_is_understood(diga: DigaClient) -> None:
    wanted = await listed(
        diga,
        status=PhoneStatus.ASSIGNED,
        inbound_agent_id=AGENT,
        assigned_from=START + timedelta(hours=10),
        assigned_until=START + timedelta(hours=200),
        order="asc",
    )

    assert wanted == [
        i
        for i, phone in project.phones.items()
        if phone.status.value == "assigned"
        and phone.inbound_agent_id == AGENT
        and 10 <= i.int <= 200
    ]


async def test_an_unknown_status_is_answered_422(diga: DigaClient) -> None:
    with pytest.raises(UnprocessableEntityError) as caught:
        await listed(diga, status="sold")

    assert caught.value.details[0].loc == ("query", "status")


async def test_a_deleted_cursor_does_not_end_the_listing(diga: DigaClient) -> None:
    read = []
    async with diga.phones.list(page_size=20, order="asc") as phones:
        async for phone in phones:
            read.append(phone.id)
            project.phones.pop(UUID(int=60), None)

    assert read == [i for i in ids(250) if i.int != 60]
    with pytest.raises(InvalidResponseError, match="is gone"):
        await diga.phones.list_page(after=UUID(int=60))


async def test_pages_are_handed_on_by_their_cursors(diga: DigaClient) -> None:
    read, page = [], await diga.phones.list_page(page_size=100)
    read += page.phones
    while page.has_more:
        page = await diga.phones.list_page(page_size=100, after=page.cursor)
        read += page.phones

    assert [phone.id for phone in read] == ids(250)[::-1]


@pytest.mark.parametrize(
    ("via", "numbered", "requests"),
    [
        ("list", True, 3 + 2),
        ("auto", True, 3 + 2),
        ("list", False, 3 + 2),
        ("auto", False, 1 + 150 + 2),
        ("each", True, 252),
    ],
)
async def test_many_ids_are_looked_up_in_both_kinds_of_paging(
    diga: DigaClient,
    via: Any,
    numbered: bool,  # noqa: FBT001 - a parameter of the test
    requests: int,
) -> None:
    project.numbered = numbered
    unknown = ids(2, start=1000)
    batch = await diga.phones.get_many([*ids(250), *unknown], via=via)

    assert list(batch.phones) == ids(250)
    assert batch.missing == tuple(unknown)
    assert len(project.requests) == requests
