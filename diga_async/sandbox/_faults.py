"""What may go wrong in the sandbox, and how often."""

import math
from enum import StrEnum
from random import Random
from typing import Any

import attrs
from attrs import validators


def _share() -> float:
    # What is declared is a float: type checkers see the field's own type.
    field: float = attrs.field(
        default=0.0, validator=[validators.ge(0.0), validators.le(1.0)]
    )
    return field


class Fault(StrEnum):
    """
    What went wrong with one request; named as the field of :class:`Faults`.

    .. versionadded:: 0.1.0
    """

    ERRORS = "errors"
    RESETS = "resets"
    HANGS = "hangs"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    SLOW_BODIES = "slow_bodies"
    REPEATED = "repeated"
    WRONG_IDS = "wrong_ids"
    FORBIDDEN = "forbidden"


@attrs.frozen(kw_only=True)
class Faults:
    """
    How often the sandbox does which wrong, as shares between 0 and 1.

    At most one of the first nine befalls a request, so they may not add up to more
    than 1. The sandbox draws from its seed, in the order requests arrive.

    Attributes:
        errors: Answered *error_status*, as Diga's JSON or as a proxy's HTML.
        resets: The connection is reset before an answer.
        hangs: Nothing comes back until the client leaves.
        truncated: The connection is closed in the middle of the body.
        garbage: 200 with a body that is no JSON.
        slow_bodies: The body drips for *drip_seconds*.
        repeated: The same answer comes a second time, unasked, on the connection.
        wrong_ids: 200 with a record that bears another id.
        forbidden: 403, as for a key without *Phones: read*.
        unknown_fields: Phones with fields that nobody announced.
        unknown_values: Phones with enum values that nobody announced.
        error_status: The status of *errors*, 500 to 599.
        drip_seconds: How long a slow body takes.

    Raises:
        ValueError: A share is not between 0 and 1, or they add up to more than 1.

    .. versionadded:: 0.1.0
    """

    errors: float = _share()
    resets: float = _share()
    hangs: float = _share()
    truncated: float = _share()
    garbage: float = _share()
    slow_bodies: float = _share()
    repeated: float = _share()
    wrong_ids: float = _share()
    forbidden: float = _share()
    unknown_fields: float = _share()
    unknown_values: float = _share()
    error_status: int = attrs.field(
        default=503, validator=[validators.ge(500), validators.le(599)]
    )
    drip_seconds: float = attrs.field(
        default=5.0, validator=[validators.ge(0), validators.lt(math.inf)]
    )

    def __attrs_post_init__(self) -> None:
        """Refuse shares that no single draw can honour."""
        total = math.fsum(getattr(self, fault) for fault in Fault)
        if total > 1 + 1e-9:
            raise ValueError(f"The shares of faults add up to {total:g}, more than 1.")

    def draw(self, chance: Random) -> Fault | None:
        """
        Draw what goes wrong with one request; None when nothing does.

        .. versionadded:: 0.1.0
        """
        drawn = chance.random()
        for fault in Fault:
            drawn -= getattr(self, fault)
            if drawn < 0:
                return fault
        return None

    def alter(self, record: dict[str, Any], chance: Random) -> dict[str, Any]:
        """
        Return *record* with what is new to its reader; itself when nothing is.

        .. versionadded:: 0.1.0
        """
        if chance.random() < self.unknown_fields:
            record = _with_unknown_fields(record)
        if chance.random() < self.unknown_values:
            record = _with_unknown_values(record)
        return record


def _with_unknown_fields(record: dict[str, Any]) -> dict[str, Any]:
    news = {"country_code": "ES", "capabilities": {"voice": True, "sms": False}}
    return record | news | _sip_config_with(record, {"transport": "tls"})


def _with_unknown_values(record: dict[str, Any]) -> dict[str, Any]:
    news = {"status": "suspended", "telephony_provider": "operator"}
    return (
        record | news | _sip_config_with(record, {"inbound_media_encryption": "dtls"})
    )


def _sip_config_with(record: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
    sip_config = record.get("sip_config")
    return {"sip_config": sip_config | news} if sip_config else {}
