"""The operation that lists phones: what is sent, and how a page is read."""

import json
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
from fakes import PHONE_ID, phone_fields, response

from diga_async import ConfigurationError, InvalidResponseError, Phone, PhoneStatus
from diga_async._api.listing import (
    PhoneQuery,
    check_page_size,
    list_phones,
    query_of,
)
from diga_async._api.messages import Secret

AGENT = UUID(int=5)
NOON = datetime(2026, 7, 22, 12, tzinfo=timezone(timedelta(hours=2)))


def sent(operation):
    parts = urlsplit(operation.path)
    assert parts.path == "/v1/phone/"
    return dict(parse_qsl(parts.query))


def read(content, *, page_size=100, key="sk-0123456789"):
    operation = list_phones(PhoneQuery(), page_size=page_size)
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return operation.answer(response(200, body), Secret(f"Bearer {key}"))


def page_of(*records, has_more=False, **fields):
    return {"data": list(records), "has_more": has_more, **fields}


class TestRequests:
    def test_nothing_that_was_not_asked_for(self):
        assert sent(list_phones(PhoneQuery())) == {"limit": "100", "order": "desc"}

    def test_every_filter_under_the_name_of_the_api(self):
        query = query_of(
            status=PhoneStatus.ASSIGNED,
            inbound_agent_id=AGENT,
            outbound_agent_id=str(AGENT),
            assigned_from=NOON,
            assigned_until=NOON,
            order="asc",
        )

        assert sent(list_phones(query, page_size=7, after=AGENT)) == {
            "limit": "7",
            "after": str(AGENT),
            "order": "asc",
            "inbound_agent_id": str(AGENT),
            "outbound_agent_id": str(AGENT),
            "status": "assigned",
            "start_assigned_at": "2026-07-22T12:00:00+02:00",
            "end_assigned_at": "2026-07-22T12:00:00+02:00",
        }

    def test_an_offset_is_percent_encoded(self):
        assert "%2B02%3A00" in list_phones(query_of(assigned_from=NOON)).path

    def test_a_status_of_tomorrow_is_sent_as_it_is(self):
        operation = list_phones(query_of(status="on hold & +more"))

        assert sent(operation)["status"] == "on hold & +more"

    def test_an_offset_with_seconds_is_sent_as_utc(self):
        madrid = timezone(-timedelta(minutes=14, seconds=44))
        query = query_of(assigned_from=datetime(1890, 1, 1, tzinfo=madrid))

        sent_at = sent(list_phones(query))["start_assigned_at"]
        assert sent_at == "1890-01-01T00:14:44+00:00"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"status": 1},
            {"status": "\ud800"},
            {"inbound_agent_id": "agent"},
            {"outbound_agent_id": 1},
            {"assigned_from": datetime(2026, 1, 1)},  # noqa: DTZ001 - naive
            {"assigned_until": "2026-01-01"},
            {"order": "up"},
            {"order": None},
            {"order": []},
        ],
    )
    def test_a_filter_of_the_wrong_type_is_rejected(self, wrong):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            query_of(**wrong)

    @pytest.mark.parametrize("page_size", [0, 101, True, 10.0, "10", None])
    def test_a_page_has_1_to_100_phones(self, page_size):
        with pytest.raises(ConfigurationError, match="page_size"):
            check_page_size(page_size)


class TestReading:
    def test_a_page_as_the_api_writes_it(self):
        page = read(
            page_of(
                phone_fields(),
                has_more=True,
                first_id=PHONE_ID,
                last_id=PHONE_ID,
                current_page=1,
                total_pages=3,
            )
        )

        assert page.phones == (Phone.from_dict(phone_fields()),)
        assert (page.has_more, page.number, page.total_pages) == (True, 1, 3)
        assert page.cursor == UUID(PHONE_ID)

    def test_the_last_phone_is_the_cursor_where_none_is_sent(self):
        assert read(page_of(phone_fields())).cursor == UUID(PHONE_ID)
        assert read(page_of()).cursor is None

    @pytest.mark.parametrize("total", [0, -1, 1.5, "3", True, None, [3]])
    def test_a_total_that_is_not_a_positive_number_is_ignored(self, total):
        assert read(page_of(total_pages=total)).total_pages is None

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ([], "$: expected an object"),
            ({"has_more": False}, "$.data: expected an array"),
            ({"data": {}, "has_more": False}, "$.data: expected an array"),
            ({"data": []}, "$.has_more: expected a boolean"),
            ({"data": [], "has_more": 1}, "$.has_more: expected a boolean"),
            (page_of(last_id="end"), "$.last_id: not a UUID"),
        ],
    )
    def test_a_wrong_shape_names_its_path(self, content, problem):
        error = read(content)

        assert isinstance(error, InvalidResponseError)
        assert (error.problems, error.status) == ((problem,), 200)

    def test_a_bad_record_names_its_path_and_its_id_and_spares_the_others(self):
        bad = phone_fields(UUID(int=9), number=7)
        page = read(page_of(phone_fields(), bad, None, phone_fields()))

        assert len(page.phones) == 2
        first, second = (record.error for record in page.bad_records)
        assert first.problems == ("$.data[1].number: expected a string, got a number",)
        assert (first.phone_id, first.status) == (UUID(int=9), 200)
        assert second.problems == ("$.data[2]: expected an object, got null",)
        assert second.phone_id is None

    def test_a_bad_record_shows_no_key_that_the_server_made_a_name_of(self):
        page = read(
            page_of(phone_fields(secretsecret={"x": "\ud800"})), key="secretsecret"
        )

        (record,) = page.bad_records
        assert "secretsecret" not in str(record.error)
        assert "***" in str(record.error)

    def test_a_page_may_be_as_large_as_all_of_its_phones(self):
        text = "x" * 60_000
        phones = [phone_fields(UUID(int=n), nickname=text) for n in range(100)]

        assert len(read(page_of(*phones)).phones) == 100

    def test_a_page_of_one_may_be_as_large_as_a_phone_looked_up(self):
        large = phone_fields(nickname="x" * 1_000_000)

        assert len(read(page_of(large), page_size=1).phones) == 1

    def test_a_page_beyond_its_bound_is_not_read(self):
        values = page_of(*([0] * (100 * 2048 + 1)))

        assert "unreasonable size" in str(read(values))

    def test_a_page_with_an_emoji_takes_no_more_memory_as_text(self):
        wide = page_of(phone_fields(nickname="x" * 2_000_000 + "😀"))

        assert "unreasonable size" in str(read(wide))

    def test_a_page_of_broken_records_alone_is_not_read_to_its_end(self):
        most = read(page_of(*([0] * 100)))
        more = read(page_of(*([0] * 100_000)))

        assert len(most.bad_records) == 100
        assert more.problems == ("$.data: over 100 records that are not phones",)


class TestFilters:
    @pytest.mark.parametrize(
        ("query", "fields", "expected"),
        [
            ({}, {}, True),
            ({"status": "assigned"}, {}, True),
            ({"status": "released"}, {}, False),
            ({"inbound_agent_id": AGENT}, {"inbound_agent_id": str(AGENT)}, True),
            ({"inbound_agent_id": AGENT}, {}, False),
            ({"outbound_agent_id": AGENT}, {"outbound_agent_id": str(AGENT)}, True),
            ({"assigned_from": NOON}, {}, False),
            ({"assigned_from": NOON}, {"assigned_at": "2026-07-22T10:00:00Z"}, True),
            ({"assigned_from": NOON}, {"assigned_at": "2026-07-22T09:59:59Z"}, False),
            ({"assigned_until": NOON}, {"assigned_at": "2026-07-22T10:00:00Z"}, True),
            ({"assigned_until": NOON}, {"assigned_at": "2026-07-22T10:00:01Z"}, False),
        ],
    )
    def test_a_phone_matches_as_the_server_says(self, query, fields, expected):
        phone = Phone.from_dict(phone_fields(**fields))

        assert query_of(**query).matches(phone) is expected
