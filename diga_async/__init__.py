"""
Asyncio client for the Diga API: look up phones by id, one by one or by the million.

Names resolve on first use (PEP 562), so that importing the package alone
loads no aiohttp.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from diga_async._version import __version__ as __version__

if TYPE_CHECKING:
    from diga_async._client import DigaClient
    from diga_async._errors import (
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        ClientClosedError,
        ConfigurationError,
        DigaError,
        InternalServerError,
        InvalidPhoneIdError,
        InvalidResponseError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        UnprocessableEntityError,
        ValidationDetail,
        WrongLoopError,
    )
    from diga_async._events import AttemptEvent, Event, LookupEvent
    from diga_async._outcome import (
        ClientStats,
        Failed,
        Found,
        LookupStats,
        Missing,
        Outcome,
        PhoneBatch,
    )
    from diga_async._phone import (
        Phone,
        PhoneStatus,
        SipConfig,
        SipMediaEncryption,
        TelephonyProvider,
    )
    from diga_async._phones import PhoneLookups, Phones
    from diga_async._policy import Limits, RetryPolicy, Timeouts

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AttemptEvent",
    "AuthenticationError",
    "ClientClosedError",
    "ClientStats",
    "ConfigurationError",
    "DigaClient",
    "DigaError",
    "Event",
    "Failed",
    "Found",
    "InternalServerError",
    "InvalidPhoneIdError",
    "InvalidResponseError",
    "Limits",
    "LookupEvent",
    "LookupStats",
    "Missing",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "Phone",
    "PhoneBatch",
    "PhoneLookups",
    "PhoneStatus",
    "Phones",
    "RateLimitError",
    "RetryPolicy",
    "SipConfig",
    "SipMediaEncryption",
    "TelephonyProvider",
    "Timeouts",
    "UnprocessableEntityError",
    "ValidationDetail",
    "WrongLoopError",
    "__version__",
]

_ROOMS = {
    "_client": ("DigaClient",),
    "_events": ("AttemptEvent", "Event", "LookupEvent"),
    "_outcome": (
        "ClientStats",
        "Failed",
        "Found",
        "LookupStats",
        "Missing",
        "Outcome",
        "PhoneBatch",
    ),
    "_phone": (
        "Phone",
        "PhoneStatus",
        "SipConfig",
        "SipMediaEncryption",
        "TelephonyProvider",
    ),
    "_phones": ("PhoneLookups", "Phones"),
    "_policy": ("Limits", "RetryPolicy", "Timeouts"),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Whatever has no other room is one of the errors.
    room = import_module(f"{__name__}.{_ROOM_OF.get(name, '_errors')}")
    value = globals()[name] = getattr(room, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
