"""The sandbox as its user meets it."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest

from diga_async.sandbox import Fault, Faults, Sandbox, SeenRequest


async def answer(
    sandbox: Sandbox, path: str, *, key: str | None = None, method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    """Ask once, on a connection of its own."""
    headers = {"Authorization": f"Bearer {sandbox.api_key if key is None else key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{sandbox.url}{path}") as response,
    ):
        return response.status, response.headers, await response.read()


async def look_up(
    sandbox: Sandbox, phone_id: UUID
) -> tuple[int, Mapping[str, str], bytes]:
    return await answer(sandbox, f"/v1/phone/{phone_id}")


async def statuses(sandbox: Sandbox, times: int) -> list[int]:
    phone_id = sandbox.phone_ids[0]
    return [(await look_up(sandbox, phone_id))[0] for _ in range(times)]


async def test_it_serves_its_phones() -> None:
    async with Sandbox(20) as sandbox:
        for phone_id, phone in sandbox.phones.items():
            status, headers, body = await look_up(sandbox, phone_id)

            assert status == 200
            assert headers["Content-Type"] == "application/json"
            assert json.loads(body) == phone


async def test_phone_ids_are_those_it_finds() -> None:
    async with Sandbox(5) as sandbox:
        assert sandbox.phone_ids == tuple(sandbox.phones)
        assert len(sandbox.phone_ids) == 5
        assert (await look_up(sandbox, uuid4()))[0] == 404


async def test_a_changed_phone_is_served_changed_and_a_removed_one_not_at_all() -> None:
    async with Sandbox(2) as sandbox:
        changed, removed = sandbox.phone_ids
        sandbox.phones[changed]["number"] = None
        del sandbox.phones[removed]

        assert json.loads((await look_up(sandbox, changed))[2])["number"] is None
        assert (await look_up(sandbox, removed))[0] == 404
        assert sandbox.phone_ids == (changed,)


async def test_a_thousand_phones_are_made_unless_told_otherwise() -> None:
    assert len(Sandbox().phones) == 1000
    assert Sandbox(0).phones == {}


async def test_the_seed_decides_on_phones_and_key() -> None:
    assert Sandbox(5, seed=4).phones == Sandbox(5, seed=4).phones
    assert Sandbox(5, seed=4).phones != Sandbox(5, seed=5).phones
    assert Sandbox(5, seed=4).api_key == Sandbox(9, seed=4).api_key
    assert Sandbox(5, seed=4).api_key != Sandbox(5, seed=5).api_key


@pytest.mark.parametrize("given", [None, "sk-mine"])
async def test_only_its_key_opens(given: str | None) -> None:
    async with Sandbox(1, api_key=given) as sandbox:
        path = f"/v1/phone/{sandbox.phone_ids[0]}"

        assert (await answer(sandbox, path))[0] == 200
        assert (await answer(sandbox, path, key="sk-other"))[0] == 401
        assert given in {None, sandbox.api_key}


async def test_a_new_key_revokes_the_old_one() -> None:
    async with Sandbox(1) as sandbox:
        path, old = f"/v1/phone/{sandbox.phone_ids[0]}", sandbox.api_key
        sandbox.api_key = "sk-new"

        assert (await answer(sandbox, path, key=old))[0] == 401
        assert (await answer(sandbox, path, key="sk-new"))[0] == 200


async def test_without_any_key_it_answers_401() -> None:
    async with Sandbox(1) as sandbox, aiohttp.ClientSession() as session:
        path = f"/v1/phone/{sandbox.phone_ids[0]}"
        async with session.get(f"{sandbox.url}{path}") as response:
            assert response.status == 401
            assert (await response.json())["error_code"] == "INVALID_API_KEY"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/phone/nope", 422),
        ("GET", "/v1/phone/%20", 422),
        ("GET", "/v1/phone/a%2Fb", 404),
        ("GET", "/elsewhere", 404),
        ("POST", "/v1/phone/nope", 405),
    ],
)
async def test_other_requests_are_answered_as_fastapi_would(
    method: str, path: str, status: int
) -> None:
    async with Sandbox(1) as sandbox:
        found, _, body = await answer(sandbox, path, method=method)

        assert found == status
        assert json.loads(body).keys() == {"detail"}


async def test_it_notes_what_it_saw() -> None:
    async with Sandbox(1) as sandbox:
        phone_id = sandbox.phone_ids[0]
        _, found, _ = await answer(sandbox, f"/v1/phone/{phone_id}?page=1")
        _, missing, _ = await answer(sandbox, "/x", method="POST")

        first, second = sandbox.requests
        assert first == SeenRequest(
            request_id=found["X-Request-Id"],
            method="GET",
            path=f"/v1/phone/{phone_id}?page=1",
            phone_id=phone_id,
            status=200,
            fault=None,
            at=first.at,
        )
        assert second == SeenRequest(
            request_id=missing["X-Request-Id"],
            method="POST",
            path="/x",
            phone_id=None,
            status=404,
            fault=None,
            at=second.at,
        )
        assert 0 < first.at < second.at
        assert first.request_id != second.request_id


async def test_what_it_shows_of_itself_never_holds_the_key() -> None:
    sandbox = Sandbox(3)
    assert repr(sandbox) == "<Sandbox not entered yet, 3 phones>"

    async with sandbox:
        await look_up(sandbox, sandbox.phone_ids[0])
        assert repr(sandbox) == f"<Sandbox {sandbox.url}, 3 phones>"
        assert sandbox.api_key not in repr(sandbox.requests)


async def test_it_keeps_the_newest_requests_only() -> None:
    async with Sandbox(1, keep_requests=5) as sandbox:
        await statuses(sandbox, 9)

        numbers = [int(seen.request_id[-1]) for seen in sandbox.requests]
        assert numbers == [7, 8, 9]


async def test_what_it_saw_can_be_forgotten() -> None:
    async with Sandbox(1, keep_requests=1) as sandbox:
        await statuses(sandbox, 3)
        assert len(sandbox.requests) == 1

        sandbox.requests.clear()
        await statuses(sandbox, 1)
        assert len(sandbox.requests) == 1


async def test_every_answer_has_its_own_request_id() -> None:
    async with Sandbox(1, per_second=0.001, burst=1) as sandbox:
        answers = [await look_up(sandbox, sandbox.phone_ids[0]) for _ in range(3)]
        request_ids = {headers["X-Request-Id"] for _, headers, _ in answers}

        assert [status for status, _, _ in answers] == [200, 200, 429]
        assert len(request_ids) == 3


async def test_beyond_the_rate_and_its_burst_it_answers_429() -> None:
    async with Sandbox(1, per_second=0.001, burst=2) as sandbox:
        assert await statuses(sandbox, 5) == [200, 200, 200, 429, 429]


async def test_a_limit_can_be_set_and_lifted_while_it_runs() -> None:
    async with Sandbox(1) as sandbox:
        sandbox.per_second, sandbox.burst = 0.001, 0
        assert await statuses(sandbox, 2) == [200, 429]

        sandbox.per_second = None
        assert await statuses(sandbox, 2) == [200, 200]


@pytest.mark.parametrize(("given", "sent"), [(None, None), (30, "30"), ("x", "x")])
async def test_a_429_asks_for_patience_only_if_told_to(
    given: str | None, sent: str | None
) -> None:
    async with Sandbox(1, per_second=0.001, burst=0, retry_after=given) as sandbox:
        await statuses(sandbox, 1)
        status, headers, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 429
        assert headers.get("Retry-After") == sent
        assert json.loads(body)["error_code"] == "RATE_LIMIT_EXCEEDED"


@pytest.mark.parametrize("latency", [0.05, (0.05, 0.06)])
async def test_latency_comes_before_every_answer(
    latency: float | tuple[float, float],
) -> None:
    async with Sandbox(1, latency=latency) as sandbox:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await statuses(sandbox, 1) == [200]

        assert loop.time() - began >= 0.049


async def test_requests_wait_out_their_latency_side_by_side() -> None:
    async with Sandbox(1, latency=0.2) as sandbox, asyncio.timeout(4):
        await asyncio.gather(*(statuses(sandbox, 1) for _ in range(40)))


async def test_while_it_is_down_every_connection_is_reset() -> None:
    async with Sandbox(1) as sandbox:
        sandbox.down = True
        with pytest.raises(aiohttp.ClientError):
            await statuses(sandbox, 1)
        assert {seen.status for seen in sandbox.requests} == {None}

        sandbox.down = False
        assert await statuses(sandbox, 1) == [200]


async def test_errors_come_with_their_status_in_json_and_html() -> None:
    faults = Faults(errors=1.0, error_status=502)
    async with Sandbox(1, faults=faults) as sandbox:
        answers = [await look_up(sandbox, sandbox.phone_ids[0]) for _ in range(20)]

        assert {status for status, _, _ in answers} == {502}
        assert {headers["Content-Type"] for _, headers, _ in answers} == {
            "application/json",
            "text/html",
        }


async def test_garbage_is_a_200_that_is_no_json() -> None:
    async with Sandbox(1, faults=Faults(garbage=1.0)) as sandbox:
        status, _, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 200
        with pytest.raises(ValueError, match="line 1"):
            json.loads(body)


async def test_forbidden_is_as_for_a_key_that_may_not_read_phones() -> None:
    async with Sandbox(1, faults=Faults(forbidden=1.0)) as sandbox:
        status, _, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 403
        assert json.loads(body)["error_code"] == "INTERNAL_SERVER_ERROR"


async def test_a_wrong_id_is_on_an_otherwise_right_record() -> None:
    async with Sandbox(1, faults=Faults(wrong_ids=1.0)) as sandbox:
        ((phone_id, phone),) = sandbox.phones.items()
        record = json.loads((await look_up(sandbox, phone_id))[2])

        assert UUID(record["id"]) != phone_id
        assert record | {"id": phone["id"]} == phone


async def test_new_fields_and_values_come_together_if_asked() -> None:
    faults = Faults(unknown_fields=1.0, unknown_values=1.0)
    async with Sandbox(1, faults=faults) as sandbox:
        record = json.loads((await look_up(sandbox, sandbox.phone_ids[0]))[2])

        assert record["status"] == "suspended"
        assert record["country_code"] == "ES"


async def test_faults_can_be_set_while_it_runs() -> None:
    async with Sandbox(1) as sandbox:
        assert await statuses(sandbox, 1) == [200]
        sandbox.faults = Faults(errors=1.0)
        assert await statuses(sandbox, 1) == [503]
        assert [seen.fault for seen in sandbox.requests] == [None, Fault.ERRORS]


async def test_faults_befall_the_same_requests_every_time() -> None:
    async def befallen() -> list[int]:
        faults = Faults(errors=0.3, forbidden=0.2)
        async with Sandbox(1, seed=1, faults=faults) as sandbox:
            return await statuses(sandbox, 50)

    first = await befallen()

    assert Counter(first).keys() == {200, 403, 503}
    assert await befallen() == first


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("latency", -1),
        ("latency", math.nan),
        ("latency", math.inf),
        ("latency", (0.2, 0.1)),
        ("latency", (0.1, 0.2, 0.3)),
        ("per_second", 0),
        ("per_second", -1),
        ("per_second", math.nan),
        ("per_second", math.inf),
        ("burst", -1),
        ("keep_requests", 0),
        ("port", -1),
        ("port", 65536),
        ("api_key", ""),
        ("api_key", "with a blank"),
    ],
)
def test_a_setting_out_of_range_is_refused_at_once_and_when_changed(
    setting: str, value: float
) -> None:
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(ValueError, match=r"must|unpack"):
        Sandbox(1, **settings)
    sandbox = Sandbox(1)
    with pytest.raises(ValueError, match=r"must|unpack"):
        setattr(sandbox, setting, value)


def test_a_number_of_phones_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="must be >= 0"):
        Sandbox(-1)


def test_it_has_no_url_before_it_is_entered() -> None:
    with pytest.raises(RuntimeError, match="before its block is entered"):
        _ = Sandbox(1).url


async def test_it_listens_on_loopback_and_a_free_port() -> None:
    async with Sandbox(1) as first, Sandbox(1) as second:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", first.url)
        assert first.url != second.url


async def test_a_stopped_sandbox_refuses_connections_and_can_run_again() -> None:
    sandbox = Sandbox(1)
    async with sandbox:
        assert await statuses(sandbox, 1) == [200]
    with pytest.raises(aiohttp.ClientConnectorError):
        await statuses(sandbox, 1)

    async with sandbox:
        assert await statuses(sandbox, 1) == [200]


async def test_a_running_sandbox_cannot_be_entered() -> None:
    async with Sandbox(1) as sandbox:
        with pytest.raises(RuntimeError, match="running already"):
            sandbox.__enter__()
        with pytest.raises(RuntimeError, match="running already"):
            await sandbox.__aenter__()
        assert await statuses(sandbox, 1) == [200]


async def test_a_port_in_use_is_an_os_error() -> None:
    async with Sandbox(1) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            await Sandbox(1, port=port).__aenter__()


async def test_a_loopback_of_version_6_has_brackets_in_its_url() -> None:
    async with Sandbox(1, host="::1") as sandbox:
        assert sandbox.url.startswith("http://[::1]:")
        assert await statuses(sandbox, 1) == [200]


def test_a_plain_with_serves_from_a_thread() -> None:
    with Sandbox(1) as sandbox:
        assert asyncio.run(statuses(sandbox, 2)) == [200, 200]
        sandbox.faults = Faults(errors=1.0)
        assert asyncio.run(statuses(sandbox, 1)) == [503]
    with pytest.raises(aiohttp.ClientConnectorError):
        asyncio.run(statuses(sandbox, 1))
