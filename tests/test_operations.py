"""An operation that the library does not have uses every layer of it."""

import asyncio
import json
from uuid import UUID

import attrs
import pytest
from byte_server import ByteServer, answer, hangs, says
from fakes import quick_client

from diga_async import APITimeoutError, InternalServerError, NotFoundError
from diga_async._api.operation import Operation
from diga_async._calls import send
from diga_async._runs import send_many

A, B = UUID(int=1), UUID(int=2)
BUSY = says(answer(b"", "503 Busy"))
SLOW_DOWN = says(answer(b"", "429 Slow down", Retry_After="0"))
GONE = says(answer(b"", "404 Not Found"))


@attrs.frozen
class Agent:
    id: UUID
    name: str


def read_agent(body: bytes) -> Agent:
    fields = json.loads(body)
    return Agent(UUID(fields["id"]), fields["name"])


def get_agent(agent_id: UUID) -> Operation[Agent]:
    return Operation(f"/v1/agent/{agent_id}", read_agent, agent_id)


def agent(agent_id: UUID = A) -> object:
    return says(answer({"id": str(agent_id), "name": "Ana"}))


@pytest.mark.parametrize("first", [BUSY, SLOW_DOWN], ids=["503", "429"])
async def test_an_operation_is_retried(first: object) -> None:
    async with ByteServer(first, agent()) as server, quick_client(server.url) as diga:
        assert await send(diga, get_agent(A)) == Agent(A, "Ana")

        assert server.heads[1].startswith(f"GET /v1/agent/{A} ".encode())
        assert (diga.stats.retries, diga.stats.found) == (1, 1)


async def test_its_deadline_is_kept_and_names_its_subject() -> None:
    async with ByteServer(hangs()) as server, quick_client(server.url) as diga:
        with pytest.raises(APITimeoutError) as caught:
            await send(diga, get_agent(A), timeouts=0.05)

        assert caught.value.phone_id == A


async def test_concurrent_calls_share_one_request() -> None:
    async with ByteServer(agent()) as server, quick_client(server.url) as diga:
        agents = await asyncio.gather(*(send(diga, get_agent(A)) for _ in range(10)))

        assert agents == [Agent(A, "Ana")] * 10
        assert server.attempts == 1


async def test_many_are_sent_as_one_run() -> None:
    async with (
        ByteServer(BUSY, agent(A), GONE) as server,
        quick_client(server.url) as diga,
        send_many(
            diga, [get_agent(A), get_agent(B)], concurrency=1, ordered=True
        ) as run,
    ):
        first, second = [result async for result in run]

        assert (first.answer, first.attempts) == (Agent(A, "Ana"), 2)
        assert first.operation.subject == A
        assert isinstance(second.answer, NotFoundError)
        assert (run.stats.found, run.stats.missing, run.stats.retries) == (1, 1, 1)


async def test_a_failure_is_the_result_of_its_own_operation() -> None:
    async with ByteServer(BUSY) as server, quick_client(server.url) as diga:
        run = send_many(diga, [get_agent(A)])
        (result,) = [result async for result in run]

        assert isinstance(result.answer, InternalServerError)
        assert result.attempts == 3
