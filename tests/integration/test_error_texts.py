"""Errors name the server, say what its answer means, and what to check."""

import gc
import re
import warnings
from typing import Any
from uuid import uuid4

import pytest
from byte_server import ByteServer, answer, phone, says
from fakes import KEY, PHONE_ID, quick_client

from diga_async import (
    APIStatusError,
    AuthenticationError,
    DigaClient,
    DigaError,
    InternalServerError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
)

HTML = answer(b"<html>welcome</html>", Content_Type="text/html; charset=utf-8")
NOT_FOUND = {
    "JSON": answer({"detail": "Not Found"}, "404 Not Found"),
    "HTML": answer(b"<html>404</html>", "404 Not Found", Content_Type="text/html"),
}


async def text_of(diga: DigaClient, kind: type[DigaError], **options: Any) -> str:
    """Return the text of the error of a `get`, without what names the lookup."""
    with pytest.raises(kind) as caught:
        await diga.phones.get(PHONE_ID, **options)
    return caught.value.describe()


@pytest.mark.parametrize("body", NOT_FOUND)
async def test_a_404_before_any_200_says_that_nothing_was_found_there(
    body: str,
) -> None:
    async with (
        ByteServer(says(NOT_FOUND[body])) as server,
        quick_client(f"{server.url}/wrong") as diga,
    ):
        text = await text_of(diga, NotFoundError)
        assert server.attempts == 1

    hint = f"; nothing was found at {server.url}/wrong yet: check base_url"
    assert text.endswith(f"GET {server.url}/wrong/v1/phone/{PHONE_ID}{hint}")


async def test_a_404_after_a_200_only_names_the_url() -> None:
    moves = says(phone()), says(NOT_FOUND["JSON"])
    async with ByteServer(*moves) as server, quick_client(server.url) as diga:
        await diga.phones.get(PHONE_ID)
        text = await text_of(diga, NotFoundError)

    assert text == f"404: Not Found: GET {server.url}/v1/phone/{PHONE_ID}"


async def test_a_404_with_a_code_of_the_api_only_names_the_url() -> None:
    body = {"error_code": "PHONE_NUMBER_NOT_FOUND", "message": "no such phone"}
    reply = answer(body, "404 Not Found")
    async with ByteServer(says(reply)) as server, quick_client(server.url) as diga:
        text = await text_of(diga, NotFoundError)

    assert text.endswith(f": GET {server.url}/v1/phone/{PHONE_ID}")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "target"),
    [
        (f"https://login.example:8443/{KEY}?key={KEY}", "https://login.example:8443"),
        (f"https://user:{KEY}@login.example", "https://login.example"),
        (f"https://a@{KEY}@Login.example/#x", "https://Login.example"),
        (f"https://{KEY}.example/", "https://***.example"),
        ("//login.example/x", "//login.example"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("/v1/phone", "another path"),
        ("https://exa mple/", "another path"),
        ("", "another path"),
    ],
)
async def test_a_redirect_names_the_server_and_the_host_it_leads_to(
    status: int, location: str, target: str
) -> None:
    there = answer(b"", f"{status} There", Location=location)
    async with ByteServer(says(there)) as server, quick_client(server.url) as diga:
        batch = await diga.phones.get_many([uuid4(), uuid4()])

    assert {error.describe() for error in batch.failures.values()} == {
        f"{status}: 127.0.0.1:{server.port} redirects to {target}; check base_url"
    }


async def test_a_captive_portal_is_named_with_what_to_check() -> None:
    async with ByteServer(says(HTML)) as server, quick_client(server.url) as diga:
        text = await text_of(diga, InvalidResponseError)
        batch = await diga.phones.get_many([PHONE_ID])

    assert text == (
        f"the body is not JSON: 127.0.0.1:{server.port} sent text/html; "
        "check base_url or the proxy"
    )
    assert [error.describe() for error in batch.failures.values()] == [text]


async def test_html_after_a_phone_is_no_fault_of_the_address() -> None:
    async with (
        ByteServer(says(phone()), says(HTML)) as server,
        quick_client(server.url) as diga,
    ):
        await diga.phones.get(PHONE_ID)
        text = await text_of(diga, InvalidResponseError)

    assert text == f"the body is not JSON: 127.0.0.1:{server.port} sent text/html"


@pytest.mark.parametrize("media", [None, "application/json", "x" * 5000, "<b>/<i>"])
async def test_a_body_that_claims_no_other_type_is_only_called_unreadable(
    media: str | None,
) -> None:
    cut = answer(b'{"id": ', Content_Type=media)
    async with ByteServer(says(cut)) as server, quick_client(server.url) as diga:
        assert await text_of(diga, InvalidResponseError) == "the body is not JSON"


@pytest.mark.parametrize(
    ("status", "kind", "meaning"),
    [
        (401, AuthenticationError, "{} refused the key"),
        (403, PermissionDeniedError, "{} does not let this key read phones"),
        (500, InternalServerError, "{}, or a proxy before it, failed"),
        (429, RateLimitError, "{} throttles this client"),
        (405, APIStatusError, "{} does not take this request; check base_url"),
    ],
)
async def test_a_status_is_followed_by_the_server_and_the_meaning(
    status: int, kind: type[APIStatusError], meaning: str
) -> None:
    says_so = says(answer({"detail": "No"}, f"{status} No"))
    async with (
        ByteServer(says_so) as server,
        quick_client(server.url, attempts=1) as diga,
    ):
        text = await text_of(diga, kind)

    assert text == f"{status}: No: {meaning.format(f'127.0.0.1:{server.port}')}"


async def test_a_429_names_the_limit_that_its_delay_exceeds() -> None:
    slow_down = says(answer(b"", "429 Slow down", Retry_After="120"))
    async with ByteServer(slow_down) as server, quick_client(server.url) as diga:
        name = f"127.0.0.1:{server.port}"
        first = await text_of(diga, RateLimitError, timeouts=30)
        second = await text_of(diga, RateLimitError, timeouts=20)
        assert server.attempts == 1

    beyond = "beyond the deadline of"
    assert first == f"429: {name} asks to wait 120 s, {beyond} 30 s"
    assert re.fullmatch(
        f"429: nothing was sent: an earlier Retry-After of {name} is not over for "
        rf"1\d\d\.\d s, {beyond} 20 s",
        second,
    )


async def test_a_run_names_max_outage_when_a_delay_exceeds_it() -> None:
    slow_down = says(answer(b"", "429 Slow down", Retry_After="120"))
    retry = RetryPolicy(max_outage=60.0)
    async with (
        ByteServer(slow_down) as server,
        quick_client(server.url, retry=retry) as diga,
    ):
        with pytest.raises(RateLimitError) as caught:
            await diga.phones.get_many([PHONE_ID])

    assert caught.value.describe().endswith(
        "asks to wait 120 s, beyond max_outage of 60 s"
    )


async def test_a_429_within_the_deadline_names_no_limit() -> None:
    async with (
        ByteServer(says(answer(b"", "429 Slow down", Retry_After="1"))) as server,
        quick_client(server.url, attempts=1) as diga,
    ):
        text = await text_of(diga, RateLimitError)

    assert text == f"429: 127.0.0.1:{server.port} asks to wait 1 s"


@pytest.mark.parametrize("call", ["get", "get_many", "list_page", "wait_until"])
def test_a_call_that_is_not_awaited_has_the_name_that_the_program_used(
    call: str,
) -> None:
    phones = DigaClient(KEY).phones
    options: dict[str, Any] = {
        "get": {"phone_id": PHONE_ID},
        "get_many": {"phone_ids": [PHONE_ID]},
        "wait_until": {"phone_id": PHONE_ID, "status": "assigned"},
    }.get(call, {})

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        getattr(phones, call)(**options)
        gc.collect()

    (warning,) = caught
    name = str(warning.message).split("'")[1]
    assert name.rpartition(".")[2] == call
