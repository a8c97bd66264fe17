"""`Phone` and its parts, as the API describes them."""

import copy
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import attrs
from attrs import field

from diga_async._models.decoding import read_json, structure, unstructure
from diga_async._models.open_enum import NO_EXTRA, Extra, OpenStrEnum
from diga_async._models.pydantic_schema import describe_record, record_schema


class PhoneStatus(OpenStrEnum):
    """
    The state of a phone.

    The server may send values that are not listed here: see `known`.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    RESERVED = "reserved"
    """Held while a purchase is in checkout."""
    PENDING_VERIFICATION = "pending_verification"
    """Paid for, and waiting for the company to be verified."""
    ASSIGNED = "assigned"
    """Assigned to a company."""
    RELEASED = "released"
    """Released; for sale again after 30 days."""
    FINISHED = "finished"
    """For sale again; this record no longer changes."""


class TelephonyProvider(OpenStrEnum):
    """
    The provider that carries a phone's calls.

    The server may send values that are not listed here: see `known`.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    NETELIP = "netelip"
    """A number bought from Diga."""
    CUSTOM = "custom"
    """An imported number, over SIP."""


class SipMediaEncryption(OpenStrEnum):
    """
    Whether the media of SIP calls is encrypted.

    The server may send values that are not listed here: see `known`.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    DISABLE = "disable"
    """Never."""
    ALLOW = "allow"
    """If the other side offers it."""
    REQUIRE = "require"
    """Always."""


def _value_repr(value: str | None) -> str:
    return repr(None if value is None else str(value))


def _extra() -> Any:
    return field(default=NO_EXTRA, converter=_read_only, hash=False, repr=False)


def _read_only(fields: Mapping[str, Any]) -> Extra:
    return fields if isinstance(fields, Extra) else Extra(copy.deepcopy(dict(fields)))


def _pydantic_schema(cls: type[Any], _source: Any, _handler: Any) -> Any:
    """Let pydantic, and FastAPI, read and write the value as `to_dict` has it."""
    return record_schema(cls)


def _json_schema(cls: type[Any], _schema: Any, handler: Any) -> dict[str, Any]:
    """Describe the value as JSON."""
    return describe_record(cls, written=handler.mode == "serialization")


@attrs.frozen(kw_only=True)
class SipConfig:
    """
    The SIP trunk of an imported phone.

    Attributes:
        termination_uri: Host or address that outbound calls are sent to;
            None when there is none.
        username: User for digest authentication; None when there is none.
        inbound_media_encryption: For calls coming in; `ALLOW` when not sent or null.
        outbound_media_encryption: For calls going out; `ALLOW` when not sent or null.
        allowed_addresses: Addresses or CIDR blocks that calls may come from;
            None when not set.
        extra: Fields this library does not know, read-only; each read is a copy.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    termination_uri: str | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    inbound_media_encryption: SipMediaEncryption = field(
        default=SipMediaEncryption.ALLOW, repr=_value_repr
    )
    outbound_media_encryption: SipMediaEncryption = field(
        default=SipMediaEncryption.ALLOW, repr=_value_repr
    )
    allowed_addresses: tuple[str, ...] | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = _extra()

    __get_pydantic_core_schema__ = classmethod(_pydantic_schema)
    __get_pydantic_json_schema__ = classmethod(_json_schema)


@attrs.frozen(kw_only=True)
class Phone:
    """
    A phone number registered to a Diga project, as the server described it.

    Fields newer than the first published answer are None or empty
    when the server does not send them, or sends null.
    The ``repr`` omits the payment link and the SIP data.

    Attributes:
        id: The phone's id.
        number: The number in E.164 form, or a SIP identifier.
        telephony_provider: The provider that carries its calls.
        status: Its state.
        nickname: The name that its owners gave it; None when it has none.
        released_at: When it was released; None when it was not.
        scheduled_release_at: When it will be released; None when not planned.
        assigned_at: When it was assigned; None when it was not.
        inbound_agent_id: The agent that answers its calls; None when there is none.
        outbound_agent_id: The agent that calls from it; None when there is none.
        sip_config: For imported phones; else None.
        checkout_url: A live payment link while it is in checkout; else None.
        reservation_expires_at: When a reservation ends; None when not reserved.
        region_codes: Spanish regions of its prefix; empty when it has none.
        extra: Fields this library does not know, read-only; each read is a copy.

    Every date-time is aware; one that the server sent without an offset is UTC.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"

    id: UUID
    number: str
    telephony_provider: TelephonyProvider = field(repr=_value_repr)
    status: PhoneStatus = field(repr=_value_repr)
    nickname: str | None = None
    released_at: datetime | None = field(default=None, repr=False)
    scheduled_release_at: datetime | None = field(default=None, repr=False)
    assigned_at: datetime | None = field(default=None, repr=False)
    inbound_agent_id: UUID | None = field(default=None, repr=False)
    outbound_agent_id: UUID | None = field(default=None, repr=False)
    sip_config: SipConfig | None = field(default=None, repr=False)
    checkout_url: str | None = field(default=None, repr=False)
    reservation_expires_at: datetime | None = field(default=None, repr=False)
    region_codes: tuple[str, ...] = field(default=(), repr=False)
    extra: Mapping[str, Any] = _extra()

    @classmethod
    def from_json(cls, body: bytes | bytearray | memoryview | str) -> Self:
        """
        Read a response of the server.

        Args:
            body: One JSON object; bytes of UTF-8, 16 or 32, or text.

        Raises:
            InvalidResponseError: It is not JSON, or not a phone;
                `problems` say where, without the value.
            TypeError: *body* is neither bytes nor text.

        .. versionadded:: 0.1.0
        """
        return cls.from_dict(read_json(body))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """
        Make a phone from JSON that is already parsed.

        Args:
            fields: The JSON object; it is copied, not kept.

        Raises:
            InvalidResponseError: It is not a phone; `problems` say where,
                without the value.

        .. versionadded:: 0.1.0
        """
        return structure(fields, cls)

    def to_dict(self) -> dict[str, Any]:
        """
        Return the phone as JSON types; the reverse of `from_dict`.

        Returns:
            Every known field, even null or empty ones, and the unknown fields in
            their places.

        .. versionadded:: 0.1.0
        """
        return unstructure(self)

    def to_json(self) -> str:
        """
        Return the phone as JSON text; the reverse of `from_json`.

        .. versionadded:: 0.2.0
        """
        return json.dumps(self.to_dict(), ensure_ascii=False)

    __get_pydantic_core_schema__ = classmethod(_pydantic_schema)
    __get_pydantic_json_schema__ = classmethod(_json_schema)
