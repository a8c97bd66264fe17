"""A wrong address is reported; it never makes ids missing."""

import asyncio
from uuid import UUID, uuid4

import attrs
import pytest
from aiohttp import web
from byte_server import ByteServer, Wire, answer, is_listing, says
from fakes import KEY, phone_fields, quick_client

from diga_async import ConfigurationError, DigaClient, NotFoundError

NGINX = answer(
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx/1.27.0</center>\r\n"
    b"</body>\r\n</html>\r\n",
    "404 Not Found",
    Content_Type="text/html",
)
FASTAPI = answer({"detail": "Not Found"}, "404 Not Found")
GATEWAY = answer({"message": "no Route matched with those values"}, "404 Not Found")


@pytest.mark.parametrize("page", [NGINX, FASTAPI, GATEWAY])
async def test_a_server_without_the_api_makes_no_id_missing(page: bytes) -> None:
    phone_ids = [uuid4() for _ in range(100)]
    async with ByteServer(says(page)) as server, quick_client(server.url) as diga:
        with pytest.raises(ConfigurationError, match="check base_url") as caught:
            await diga.phones.get_many(phone_ids)

        assert server.url in str(caught.value)
        partial = caught.value.partial
        assert (partial.missing, partial.failures) == ((), {})
        assert len(partial.unanswered) <= 100
        asked = server.attempts

        with pytest.raises(ConfigurationError):
            await diga.phones.get_many(phone_ids, concurrency=1)
        assert server.attempts == asked + 1


async def test_a_get_names_the_url() -> None:
    phone_id = uuid4()
    async with ByteServer(says(NGINX)) as server, quick_client(server.url) as diga:
        with pytest.raises(NotFoundError) as caught:
            await diga.phones.get(phone_id)

    assert f"GET {server.url}/v1/phone/{phone_id}" in str(caught.value)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/apis/v1", "/v1///"])
def test_an_address_with_the_version_is_refused_at_construction(path: str) -> None:
    with pytest.raises(ConfigurationError, match="must not end in /v1"):
        DigaClient(KEY, base_url=f"https://api.diga.io{path}")


@pytest.mark.parametrize("path", ["/v10", "/xv1", "/v1/eu", "/v2"])
def test_other_paths_are_accepted(path: str) -> None:
    DigaClient(KEY, base_url=f"https://api.diga.io{path}")


@attrs.define
class Gateway:
    """Serves the API below a path; every phone of it is missing."""

    listings: int = 0
    phones: frozenset[UUID] = frozenset()

    async def list(self, _: web.Request) -> web.Response:
        self.listings += 1
        return web.json_response({"data": [], "has_more": False})

    async def get(self, request: web.Request) -> web.Response:
        phone_id = UUID(request.match_info["id"])
        if phone_id not in self.phones:
            raise web.HTTPNotFound
        return web.json_response(phone_fields(phone_id))


async def test_an_api_below_a_path_is_found_there_and_only_there() -> None:
    gateway = Gateway()
    app = web.Application()
    app.router.add_get("/apis/diga/v1/phone/", gateway.list)
    app.router.add_get("/apis/diga/v1/phone/{id}", gateway.get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    phone_ids = [uuid4() for _ in range(30)]

    async with DigaClient(KEY, base_url=f"{url}/apis/diga") as diga:
        batch = await diga.phones.get_many(phone_ids)
        assert len(batch.missing) == 30
        assert (diga.stats.listed, gateway.listings) == (1, 1)
        await diga.phones.get_many(phone_ids)
        assert gateway.listings == 1
    async with DigaClient(KEY, base_url=f"{url}/apis") as diga:
        with pytest.raises(ConfigurationError, match="/apis:"):
            await diga.phones.get_many(phone_ids)
    await runner.cleanup()


async def test_runs_at_the_same_time_share_the_question() -> None:
    listings = 0

    async def move(wire: Wire) -> None:
        nonlocal listings
        if is_listing(wire.requests[-1]):
            listings += 1
            await asyncio.sleep(0.05)
            await wire.send(answer({"data": [], "has_more": False}))
        else:
            await wire.send(FASTAPI)

    async with ByteServer(move) as server, quick_client(server.url) as diga:
        runs = (diga.phones.get_many([uuid4() for _ in range(20)]) for _ in range(5))
        batches = await asyncio.gather(*runs)

    assert [len(batch.missing) for batch in batches] == [20] * 5
    assert listings == 1


def test_the_next_loop_remembers_a_wrong_address() -> None:
    diga = DigaClient(KEY, base_url="http://127.0.0.1")
    runtime_of = diga._lifecycle.open

    async def address() -> object:
        return runtime_of().engine.address.check

    first, second = asyncio.run(address()), asyncio.run(address())
    asyncio.run(diga.close())

    assert first is second
