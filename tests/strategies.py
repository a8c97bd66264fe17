"""Phones as a server may write them, and ways to spoil them."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from diga_async import PhoneStatus, SipMediaEncryption, TelephonyProvider
from diga_async._models.open_enum import OpenStrEnum

PAYLOADS = {p.stem: p for p in Path(__file__).with_name("payloads").glob("*.json")}
REQUIRED = ("id", "number", "telephony_provider", "status")


def payload(version: str) -> dict[str, Any]:
    """Return a sample answer of the server in that version."""
    fields: dict[str, Any] = json.loads(PAYLOADS[version].read_bytes())
    return fields


def json_values(leaves: int = 6) -> st.SearchStrategy[Any]:
    """Return any JSON (RFC 8259 has no NaN), not very deep."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=12)
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        ),
        max_leaves=leaves,
    )


def date_times() -> st.SearchStrategy[str]:
    """Return what `datetime.isoformat` and pydantic write, and naive times."""
    offsets = st.integers(-14 * 60, 14 * 60).map(
        lambda minutes: timezone(timedelta(minutes=minutes))
    )
    moments = st.builds(
        datetime.replace,
        st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
        tzinfo=st.none() | st.just(UTC) | offsets,
    )
    return st.builds(
        lambda moment, zulu: moment.isoformat().replace("+00:00", zulu),
        moments,
        st.sampled_from(["+00:00", "Z"]),
    )


def members(kind: type[OpenStrEnum]) -> st.SearchStrategy[str]:
    """Return values that are published, and values that are not."""
    return st.sampled_from([member.value for member in kind]) | st.text(max_size=20)


def _or_null(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


def _unpublished(known: set[str]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.text(max_size=8).filter(lambda name: name not in known)
    return st.dictionaries(names, json_values(), max_size=2)


def _records(
    required: dict[str, st.SearchStrategy[Any]],
    optional: dict[str, st.SearchStrategy[Any]],
) -> st.SearchStrategy[dict[str, Any]]:
    published = st.fixed_dictionaries(required, optional=optional)
    unpublished = _unpublished({*required, *optional})
    return st.builds(lambda one, other: one | other, published, unpublished)


def sip_configs() -> st.SearchStrategy[dict[str, Any]]:
    """Return a `SipConfig` as the server writes it, some of it left out."""
    text = st.text(max_size=20)
    return _records(
        {},
        {
            "termination_uri": _or_null(text),
            "username": _or_null(text),
            "inbound_media_encryption": members(SipMediaEncryption),
            "outbound_media_encryption": members(SipMediaEncryption),
            "allowed_addresses": _or_null(st.lists(text, max_size=3)),
        },
    )


def phones() -> st.SearchStrategy[dict[str, Any]]:
    """Return a `Phone` as the server writes it, some of it left out."""
    text, uuids = st.text(max_size=20), st.uuids().map(str)
    moments = _or_null(date_times())
    return _records(
        {
            "id": uuids,
            "number": text,
            "telephony_provider": members(TelephonyProvider),
            "status": members(PhoneStatus),
        },
        {
            "nickname": _or_null(text),
            "released_at": moments,
            "scheduled_release_at": moments,
            "assigned_at": moments,
            "inbound_agent_id": _or_null(uuids),
            "outbound_agent_id": _or_null(uuids),
            "sip_config": _or_null(sip_configs()),
            "checkout_url": _or_null(text),
            "reservation_expires_at": moments,
            "region_codes": st.lists(text, max_size=2),
        },
    )


# --- mutations


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every ``(container, key)`` inside a JSON value."""
    keys: Any = ()
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = range(len(value))
    return [place for key in keys for place in [(value, key), *places(value[key])]]


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3.9, 1e308, 10**99, 10**101),
    *("", "abc", "null", "\ud800", "\0", "x" * 5000, "\U0001f4de" * 300),
    *([], ["abc"], [None], [["abc"]], [1, "abc"]),
    *({}, {"": None}, {"\udfff": 1}, {"extra": {}}, {"id": {"id": []}}),
    "2026-07-22T10:15:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.9999999-14:00",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
)


def published() -> st.SearchStrategy[dict[str, Any]]:
    """Return one of the samples."""
    return st.sampled_from(sorted(PAYLOADS)).map(payload)


@st.composite
def spoiled_records(draw: st.DrawFn) -> dict[str, Any]:
    """Change one to three places of a sample: another value, or none at all."""
    record = draw(published())
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(record)))
        if draw(st.booleans()):
            container[key] = copy.deepcopy(draw(st.sampled_from(_VALUES)))
        else:
            del container[key]
    return record


def _cut(body: bytes, at: int, _: bytes) -> bytes:
    return body[:at]


def _insert(body: bytes, at: int, more: bytes) -> bytes:
    return body[:at] + more + body[at:]


def _overwrite(body: bytes, at: int, more: bytes) -> bytes:
    return body[:at] + more + body[at + len(more) :]


def _repeat(body: bytes, at: int, more: bytes) -> bytes:
    return body[:at] + body[at : at + 8] * (len(more) + 1) + body[at:]


_SURGERY: tuple[Callable[[bytes, int, bytes], bytes], ...] = (
    _cut,
    _insert,
    _overwrite,
    _repeat,
)
_NASTY = st.binary(max_size=4) | st.sampled_from(
    [
        b"\\ud800",
        b"NaN",
        b"1e999",
        b"-Infinity",
        b"9" * 5000,
        b"[" * 3000,
        b'{"":' * 3000,
        b"\xef\xbb\xbf",
        b"\x00",
        b"null",
        b'"',
        b"}{",
    ]
)


@st.composite
def spoiled_bodies(draw: st.DrawFn) -> bytes:
    """Write a sample in some encoding and cut, overwrite or insert bytes."""
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-32-be"]))
    body = json.dumps(draw(published()), ensure_ascii=draw(st.booleans()))
    raw = body.encode(encoding)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(raw) - 1)))
        raw = draw(st.sampled_from(_SURGERY))(raw, at, draw(_NASTY))
    return raw


def mutations() -> st.SearchStrategy[bytes]:
    """Return answers that were once a phone."""
    return spoiled_bodies() | spoiled_records().map(
        lambda record: json.dumps(record).encode()
    )
