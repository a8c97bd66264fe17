"""The sandbox's words."""

import json
from random import Random

import pytest

from diga_async.sandbox import _answers as answers


def test_json_is_written_as_fastapi_writes_it() -> None:
    answer = answers.found({"nickname": "Recepción Cádiz", "region_codes": []})

    assert answer.body == '{"nickname":"Recepción Cádiz","region_codes":[]}'.encode()
    assert answer.content_type == "application/json"


def test_a_lone_surrogate_is_served_as_its_escape() -> None:
    assert answers.found({"nickname": "\ud800"}).body == b'{"nickname":"\\ud800"}'


def test_a_rate_limit_is_worded_as_diga_words_its_errors() -> None:
    answer = answers.rate_limited(None)

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
def test_retry_after_is_sent_only_if_asked_for(
    retry_after: float | str | None, headers: dict[str, str]
) -> None:
    assert answers.rate_limited(retry_after).headers == headers


def test_server_errors_come_in_diga_s_words_and_in_a_proxy_s() -> None:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    drawn = [answers.server_error(502, chance) for _ in range(50)]

    assert {answer.status for answer in drawn} == {502}
    assert {answer.content_type: answer.body[:9] for answer in drawn} == {
        "application/json": b'{"status"',
        "text/html": b"<html><he",
    }


def test_garbage_is_a_200_that_is_no_json() -> None:
    chance = Random(0)  # noqa: S311 - repeatable on purpose
    drawn = {answer.body: answer for answer in map(answers.garbage, [chance] * 50)}

    assert len(drawn) == 4
    for answer in drawn.values():
        assert answer.status == 200
        with pytest.raises(ValueError, match="line 1"):
            json.loads(answer.body)
