"""The sandbox as a test uses it, over HTTP."""

import asyncio
import json
import math
import pickle
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from yarl import URL

from diga_async.sandbox import Fault, Faults, Sandbox, SeenRequest


async def answer(
    sandbox: Sandbox, path: str, *, key: str | None = None, method: str = "GET"
) -> tuple[int, Mapping[str, str], bytes]:
    """Send one request on its own connection."""
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


async def test_it_has_no_other_phones_than_its_phone_ids() -> None:
    async with Sandbox(5) as sandbox:
        assert sandbox.phone_ids == tuple(sandbox.phones)
        assert len(sandbox.phone_ids) == 5
        assert (await look_up(sandbox, uuid4()))[0] == 404


async def test_its_dictionary_of_phones_can_be_changed_directly() -> None:
    async with Sandbox(2) as sandbox:
        changed, removed = sandbox.phone_ids
        sandbox.phones[changed]["number"] = None
        del sandbox.phones[removed]

        assert json.loads((await look_up(sandbox, changed))[2])["number"] is None
        assert (await look_up(sandbox, removed))[0] == 404
        assert sandbox.phone_ids == (changed,)


async def test_it_has_a_thousand_phones_by_default() -> None:
    assert len(Sandbox().phones) == 1000
    assert Sandbox(0).phones == {}


async def test_phones_and_key_follow_from_the_seed() -> None:
    assert Sandbox(5, seed=4).phones == Sandbox(5, seed=4).phones
    assert Sandbox(5, seed=4).phones != Sandbox(5, seed=5).phones
    assert Sandbox(5, seed=4).api_key == Sandbox(9, seed=4).api_key
    assert Sandbox(5, seed=4).api_key != Sandbox(5, seed=5).api_key


@pytest.mark.parametrize("given", [None, "sk-mine"])
async def test_only_its_key_is_accepted(given: str | None) -> None:
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


async def test_a_request_without_a_key_is_answered_401() -> None:
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
        ("GET", "/v1/phone/?limit=0", 422),
        ("POST", "/v1/phone/", 405),
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


async def test_it_records_the_requests_it_has_seen() -> None:
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


async def test_its_repr_and_its_requests_do_not_show_the_key() -> None:
    sandbox = Sandbox(3)
    assert repr(sandbox) == "<Sandbox not entered yet, 3 phones>"

    async with sandbox:
        await look_up(sandbox, sandbox.phone_ids[0])
        assert repr(sandbox) == f"<Sandbox {sandbox.url}, 3 phones>"
        assert sandbox.api_key not in repr(sandbox.requests)


async def test_it_keeps_only_the_newest_requests() -> None:
    async with Sandbox(1, keep_requests=5) as sandbox:
        await statuses(sandbox, 9)

        numbers = [int(seen.request_id[-1]) for seen in sandbox.requests]
        assert numbers == [7, 8, 9]


async def test_its_requests_can_be_cleared() -> None:
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


async def test_requests_beyond_the_rate_and_its_burst_are_answered_429() -> None:
    async with Sandbox(1, per_second=0.001, burst=2) as sandbox:
        assert await statuses(sandbox, 5) == [200, 200, 200, 429, 429]


async def test_a_limit_can_be_set_and_lifted_while_it_runs() -> None:
    async with Sandbox(1) as sandbox:
        sandbox.per_second, sandbox.burst = 0.001, 0
        assert await statuses(sandbox, 2) == [200, 429]

        sandbox.per_second = None
        assert await statuses(sandbox, 2) == [200, 200]


@pytest.mark.parametrize(("given", "sent"), [(None, None), (30, "30"), ("x", "x")])
async def test_a_429_has_a_retry_after_only_if_it_is_set(
    given: str | None, sent: str | None
) -> None:
    async with Sandbox(1, per_second=0.001, burst=0, retry_after=given) as sandbox:
        await statuses(sandbox, 1)
        status, headers, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 429
        assert headers.get("Retry-After") == sent
        assert json.loads(body)["error_code"] == "RATE_LIMIT_EXCEEDED"


@pytest.mark.parametrize("latency", [0.05, (0.05, 0.06)])
async def test_every_answer_waits_for_the_latency(
    latency: float | tuple[float, float],
) -> None:
    async with Sandbox(1, latency=latency) as sandbox:
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert await statuses(sandbox, 1) == [200]

        assert loop.time() - began >= 0.049


async def test_the_latencies_of_concurrent_requests_overlap() -> None:
    async with Sandbox(1, latency=0.2) as sandbox, asyncio.timeout(4):
        await asyncio.gather(*(statuses(sandbox, 1) for _ in range(40)))


async def test_it_resets_every_connection_while_it_is_down() -> None:
    async with Sandbox(1) as sandbox:
        sandbox.down = True
        with pytest.raises(aiohttp.ClientError):
            await statuses(sandbox, 1)
        assert {seen.status for seen in sandbox.requests} == {None}

        sandbox.down = False
        assert await statuses(sandbox, 1) == [200]


async def test_errors_have_their_status_and_come_as_json_and_html() -> None:
    faults = Faults(errors=1.0, error_status=502)
    async with Sandbox(1, faults=faults) as sandbox:
        answers = [await look_up(sandbox, sandbox.phone_ids[0]) for _ in range(20)]

        assert {status for status, _, _ in answers} == {502}
        assert {headers["Content-Type"] for _, headers, _ in answers} == {
            "application/json",
            "text/html",
        }


async def test_garbage_is_a_200_that_is_not_json() -> None:
    async with Sandbox(1, faults=Faults(garbage=1.0)) as sandbox:
        status, _, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 200
        with pytest.raises(ValueError, match="line 1"):
            json.loads(body)


async def test_forbidden_is_the_403_of_a_key_that_may_not_read_phones() -> None:
    async with Sandbox(1, faults=Faults(forbidden=1.0)) as sandbox:
        status, _, body = await look_up(sandbox, sandbox.phone_ids[0])

        assert status == 403
        assert json.loads(body)["error_code"] == "INTERNAL_SERVER_ERROR"


async def test_wrong_ids_change_only_the_id_of_a_record() -> None:
    async with Sandbox(1, faults=Faults(wrong_ids=1.0)) as sandbox:
        ((phone_id, phone),) = sandbox.phones.items()
        record = json.loads((await look_up(sandbox, phone_id))[2])

        assert UUID(record["id"]) != phone_id
        assert record | {"id": phone["id"]} == phone


async def test_unknown_fields_and_values_can_come_together() -> None:
    faults = Faults(unknown_fields=1.0, unknown_values=1.0)
    async with Sandbox(1, faults=faults) as sandbox:
        record = json.loads((await look_up(sandbox, sandbox.phone_ids[0]))[2])

        assert record["status"] == "suspended"
        assert record["country_code"] == "ES"


async def test_faults_can_be_changed_while_it_runs() -> None:
    async with Sandbox(1) as sandbox:
        assert await statuses(sandbox, 1) == [200]
        sandbox.faults = Faults(errors=1.0)
        assert await statuses(sandbox, 1) == [503]
        assert [seen.fault for seen in sandbox.requests] == [None, Fault.ERRORS]


async def test_the_same_requests_have_the_same_faults_every_time() -> None:
    async def run() -> list[int]:
        faults = Faults(errors=0.3, forbidden=0.2)
        async with Sandbox(1, seed=1, faults=faults) as sandbox:
            return await statuses(sandbox, 50)

    first = await run()

    assert Counter(first).keys() == {200, 403, 503}
    assert await run() == first


async def page(sandbox: Sandbox, query: str = "") -> dict[str, Any]:
    status, _, body = await answer(sandbox, f"/v1/phone/?{query}")
    assert status == 200
    content: dict[str, Any] = json.loads(body)
    return content


def ids(page: dict[str, Any]) -> tuple[UUID, ...]:
    return tuple(UUID(record["id"]) for record in page["data"])


async def test_the_listing_serves_its_phones_the_newest_first() -> None:
    async with Sandbox(5) as sandbox:
        records = list(sandbox.phones.values())[::-1]

        assert await page(sandbox) == {
            "data": records,
            "first_id": records[0]["id"],
            "last_id": records[-1]["id"],
            "has_more": False,
            "current_page": 1,
            "total_pages": 1,
        }


async def test_the_listing_can_be_followed_by_cursor_and_by_number() -> None:
    async with Sandbox(5) as sandbox:
        newest_first = sandbox.phone_ids[::-1]
        first = await page(sandbox, "limit=3")
        second = await page(sandbox, f"limit=3&after={first['last_id']}")

        assert ids(first) + ids(second) == newest_first
        assert (first["has_more"], second["has_more"]) == (True, False)
        assert (second["current_page"], second["total_pages"]) == (None, None)
        numbered = await page(sandbox, "limit=3&page=2")
        assert ids(numbered) == ids(second)
        assert (numbered["current_page"], numbered["total_pages"]) == (2, 2)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("start_assigned_at=2026-07-01T00:00:00%2B02:00", 200),
        ("start_assigned_at=2026-07-01T00:00:00+02:00", 422),
        ("limit=%31", 200),
        ("limit=%2531", 422),
    ],
)
async def test_the_query_of_a_listing_is_decoded_once(query: str, status: int) -> None:
    async with Sandbox(1) as sandbox:
        # A client that is given a string would encode it again.
        url = URL(f"{sandbox.url}/v1/phone/?{query}", encoded=True)
        headers = {"Authorization": f"Bearer {sandbox.api_key}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(url) as response,
        ):
            assert response.status == status


async def test_the_settings_of_the_listing_can_be_changed_while_it_runs() -> None:
    async with Sandbox(5) as sandbox:
        sandbox.numbered_pages = False
        sandbox.sort_by = "number"
        by_number = sorted(sandbox.phones.values(), key=lambda phone: phone["number"])
        found = await page(sandbox, "order=asc")

        assert found["data"] == by_number
        assert found["total_pages"] is None


async def test_a_hidden_phone_is_looked_up_but_not_listed() -> None:
    async with Sandbox(3) as sandbox:
        first, second, third = sandbox.phone_ids
        sandbox.hidden.add(second)

        assert ids(await page(sandbox)) == (third, first)
        assert (await look_up(sandbox, second))[0] == 200


async def test_a_cursor_of_a_removed_phone_is_answered_as_set() -> None:
    async with Sandbox(3, gone_cursor=404) as sandbox:
        cursor = sandbox.phone_ids[1]
        sandbox.remove(cursor)
        assert (await answer(sandbox, f"/v1/phone/?after={cursor}"))[0] == 404

        sandbox.gone_cursor = 200
        assert ids(await page(sandbox, f"after={cursor}")) == ()


async def test_a_cursor_can_be_gone_once_its_phone_leaves_the_filter() -> None:
    async with Sandbox(20, gone_cursor=422) as sandbox:
        query = "status=assigned&limit=1"
        cursor = (await page(sandbox, query))["last_id"]
        sandbox.change(cursor, status="released")
        assert len(ids(await page(sandbox, f"{query}&after={cursor}"))) == 1

        sandbox.filtered_cursors = True
        assert (await answer(sandbox, f"/v1/phone/?{query}&after={cursor}"))[0] == 422


async def test_a_listing_is_seen_with_its_query_and_without_a_phone() -> None:
    async with Sandbox(1, faults=Faults(empty_pages=1.0)) as sandbox:
        assert ids(await page(sandbox, "limit=5&order=asc")) == ()

        (seen,) = sandbox.requests
        assert (seen.path, seen.phone_id) == ("/v1/phone/?limit=5&order=asc", None)
        assert (seen.status, seen.fault) == (200, Fault.EMPTY_PAGES)


async def test_a_listing_meets_the_faults_of_every_request() -> None:
    async with Sandbox(1, per_second=0.001, burst=0) as sandbox:
        sandbox.down = True
        with pytest.raises(aiohttp.ClientError):
            await page(sandbox)

        sandbox.down = False
        statuses = [(await answer(sandbox, "/v1/phone/"))[0] for _ in range(2)]
        assert statuses == [200, 429]

        sandbox.per_second = None
        for faults, status in (
            (Faults(errors=1.0, error_status=502), 502),
            (Faults(forbidden=1.0), 403),
        ):
            sandbox.faults = faults
            assert (await answer(sandbox, "/v1/phone/"))[0] == status


async def test_a_listing_has_unknown_fields_and_values_if_set() -> None:
    faults = Faults(unknown_fields=1.0, unknown_values=1.0)
    async with Sandbox(2, faults=faults) as sandbox:
        records = (await page(sandbox))["data"]

        assert [record["status"] for record in records] == ["suspended"] * 2
        assert [record["country_code"] for record in records] == ["ES"] * 2


async def test_a_broken_record_is_served_by_the_listing_only() -> None:
    async with Sandbox(2, faults=Faults(broken_records=1.0)) as sandbox:
        records = (await page(sandbox))["data"]
        served = [json.loads((await look_up(sandbox, i))[2]) for i in sandbox.phone_ids]

        assert sum(record in served for record in records) == 1
        assert served == list(sandbox.phones.values())


async def test_a_phone_can_be_changed_while_it_runs() -> None:
    async with Sandbox(2) as sandbox:
        phone_id, other = sandbox.phone_ids
        before = sandbox.phones[phone_id]
        untouched = dict(before)
        sandbox.change(phone_id, status="released", inbound_agent_id=other)

        _, _, body = await look_up(sandbox, phone_id)
        changed = untouched | {"status": "released", "inbound_agent_id": str(other)}
        assert json.loads(body) == changed
        assert (await page(sandbox))["data"] == [sandbox.phones[other], changed]
        assert before == untouched


async def test_a_phone_can_be_added_while_it_runs() -> None:
    async with Sandbox(5) as sandbox:
        phone_id = sandbox.add(status="reserved", nickname="Front desk")

        assert sandbox.phone_ids[-1] == phone_id
        assert ids(await page(sandbox))[0] == phone_id
        record = json.loads((await look_up(sandbox, phone_id))[2])
        assert (record["status"], record["nickname"]) == ("reserved", "Front desk")
        assert record["checkout_url"]


async def test_an_added_phone_is_the_next_of_the_seed() -> None:
    sandbox, larger = Sandbox(5, seed=3), Sandbox(6, seed=3)
    sandbox.add()

    assert sandbox.phones == larger.phones


@pytest.mark.parametrize("convert", [UUID, str])
def test_a_phone_can_be_added_with_an_id(convert: Callable[[str], object]) -> None:
    text = "3c90c3cc-0d44-4b50-8888-8dd25736052a"
    sandbox = Sandbox(1)

    assert sandbox.add(id=convert(text)) == UUID(text)
    assert sandbox.phones[UUID(text)]["id"] == text


def test_a_phone_is_not_added_twice() -> None:
    sandbox = Sandbox(1)

    with pytest.raises(ValueError, match="already has a phone with id"):
        sandbox.add(id=sandbox.phone_ids[0])
    assert len(sandbox.phones) == 1


@pytest.mark.parametrize("convert", [UUID, str])
async def test_a_phone_can_be_removed_while_it_runs(
    convert: Callable[[str], UUID | str],
) -> None:
    async with Sandbox(2) as sandbox:
        first, second = sandbox.phone_ids
        sandbox.remove(convert(str(first)))

        assert (await look_up(sandbox, first))[0] == 404
        assert ids(await page(sandbox)) == (second,)


@pytest.mark.parametrize("method", ["change", "remove"])
def test_an_unknown_phone_cannot_be_changed_or_removed(method: str) -> None:
    phone_id = uuid4()

    with pytest.raises(KeyError, match=f"no phone {phone_id} in the sandbox"):
        getattr(Sandbox(1), method)(phone_id)


@pytest.mark.parametrize("method", ["change", "remove"])
@pytest.mark.parametrize(("value", "error"), [("abc", ValueError), (3, TypeError)])
def test_what_is_not_an_id_is_named(
    method: str, value: object, error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"'phone_id' must be a UUID .*, not {value!r}"):
        getattr(Sandbox(1), method)(value)


@pytest.mark.parametrize(("value", "error"), [("abc", ValueError), (3, TypeError)])
def test_an_id_that_is_not_one_is_not_added(
    value: object, error: type[Exception]
) -> None:
    sandbox, twin = Sandbox(1), Sandbox(1)

    with pytest.raises(error, match=f"'id' must be a UUID .*, not {value!r}"):
        sandbox.add(id=value)
    assert sandbox.add() == twin.add()


def test_a_misspelt_field_is_stored_with_a_warning_where_it_was_written() -> None:
    sandbox = Sandbox(1)
    (phone_id,) = sandbox.phone_ids

    wanted = "'statuss': did you mean 'status'"
    with pytest.warns(UserWarning, match=wanted) as of_change:
        sandbox.change(phone_id, statuss="released")
    with pytest.warns(UserWarning, match=wanted) as of_add:
        sandbox.add(statuss="released")

    assert {warning.filename for warning in (*of_change, *of_add)} == {__file__}
    assert sandbox.phones[phone_id]["statuss"] == "released"


def test_a_field_that_only_newer_servers_have_is_stored_without_a_warning() -> None:
    sandbox = Sandbox(1)
    (phone_id,) = sandbox.phone_ids
    sandbox.change(phone_id, country_code="ES", created_at=None)

    assert sandbox.phones[phone_id]["country_code"] == "ES"


def test_a_value_that_is_not_json_is_not_stored() -> None:
    sandbox = Sandbox(1)
    before = dict(sandbox.phones)

    with pytest.raises(TypeError, match="cannot be written as JSON"):
        sandbox.change(sandbox.phone_ids[0], nickname=object())
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        sandbox.add(nickname=object())
    assert sandbox.phones == before


def test_threads_can_change_it_at_the_same_time_and_lose_nothing() -> None:
    sandbox = Sandbox(1)
    (phone_id,) = sandbox.phone_ids

    def change(number: int) -> None:
        for step in range(50):
            sandbox.change(phone_id, **{f"field_{number}_{step}": step})
            sandbox.remove(sandbox.add())

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(change, range(4)))

    assert len(sandbox.phones[phone_id].keys() - Sandbox(1).phones[phone_id]) == 200
    assert sandbox.phone_ids == (phone_id,)


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
        ("sort_by", "colour"),
        ("sort_by", "sip_config"),
        ("gone_cursor", 500),
    ],
)
def test_a_setting_out_of_range_is_rejected_when_made_and_when_changed(
    setting: str, value: float
) -> None:
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(ValueError, match=r"must|unpack"):
        Sandbox(1, **settings)
    sandbox = Sandbox(1)
    with pytest.raises(ValueError, match=r"must|unpack"):
        setattr(sandbox, setting, value)


@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("api_key", 3, "a text of printable ASCII"),
        ("host", 3, "a text, not 3"),
        ("port", "80", "a whole number, not '80'"),
        ("latency", "1", "seconds, or the least and the most of them"),
        ("latency", [1, 2], "a tuple of two"),
        ("per_second", "5", "a number"),
        ("per_second", True, "a number"),
        ("burst", 1.5, "a whole number"),
        ("retry_after", [1], "seconds, a text or None"),
        ("faults", {"errors": 1}, r"a Faults\(\.\.\.\)"),
        ("keep_requests", "9", "a whole number"),
        ("numbered_pages", "no", "True or False"),
        ("filtered_cursors", 1, "True or False"),
    ],
)
def test_a_setting_of_the_wrong_type_is_rejected_when_made_and_when_changed(
    setting: str, value: object, wanted: str
) -> None:
    settings: dict[str, Any] = {setting: value}
    with pytest.raises(TypeError, match=f"'{setting}' must be .*{wanted}"):
        Sandbox(1, **settings)
    with pytest.raises(TypeError, match=f"'{setting}' must be .*{wanted}"):
        setattr(Sandbox(1), setting, value)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({"phones": [1]}, "'phones' must be how many to make"),
        ({"seed": "x"}, "'seed' must be a whole number, not 'x'"),
    ],
)
def test_what_it_is_made_from_must_be_numbers(
    settings: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(TypeError, match=wanted):
        Sandbox(**settings)


def test_the_message_about_a_key_does_not_show_it() -> None:
    key: Any = b"sk-mine"

    with pytest.raises(TypeError, match="not bytes") as caught:
        Sandbox(1, api_key=key)
    assert "sk-mine" not in str(caught.value)


def test_down_is_a_flag() -> None:
    value: Any = "no"

    with pytest.raises(TypeError, match="'down' must be True or False, not 'no'"):
        Sandbox(1).down = value


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("per_sec", "did you mean 'per_second'"),
        ("colour", "it has phones, seed, "),
        ("errors", r"pass faults=Faults\(errors=\.\.\.\)"),
        ("down", "set sandbox.down = True once it is made"),
        ("hidden", "add ids to sandbox.hidden once it is made"),
    ],
)
def test_an_unknown_setting_is_answered_with_what_exists(
    setting: str, remedy: str
) -> None:
    settings: dict[str, Any] = {setting: 1}

    with pytest.raises(TypeError, match=rf"Sandbox\(\) has no '{setting}': {remedy}"):
        Sandbox(**settings)


def test_a_negative_number_of_phones_is_rejected() -> None:
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


async def test_a_running_sandbox_cannot_be_entered_again() -> None:
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


async def test_the_url_of_ipv6_loopback_has_brackets() -> None:
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


def test_its_public_classes_are_those_of_the_public_package() -> None:
    for public in (Fault, Faults, Sandbox, SeenRequest):
        assert public.__module__ == "diga_async.sandbox"


@pytest.mark.parametrize(
    "value",
    [
        Fault.ERRORS,
        Faults(errors=0.5, empty_pages=0.5),
        SeenRequest("1", "GET", "/v1/phone/", None, 200, Fault.EMPTY_PAGES, 0.5),
    ],
)
def test_a_pickle_names_no_private_module(value: object) -> None:
    pickled = pickle.dumps(value)

    assert pickle.loads(pickled) == value
    assert b"diga_async.sandbox" in pickled
    assert b"sandbox._" not in pickled


def test_it_imports_nothing_of_the_client() -> None:
    program = (
        "import sys, diga_async.sandbox\n"
        "print(*(name for name in sys.modules if name.startswith('diga_async')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    imported = {name for name in run.stdout.split() if "sandbox" not in name}

    assert imported == {"diga_async", "diga_async._version"}
