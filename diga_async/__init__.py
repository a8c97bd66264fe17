"""
Asyncio client for the Diga API: read phones by id, by the million, or by listing.

Names resolve on first use (PEP 562), so that importing the package alone
loads no aiohttp.
"""

from importlib import import_module

from diga_async._version import __version__ as __version__

# Type checkers know the name; to import it from `typing` takes longer than the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from diga_async._client import DigaClient
    from diga_async._models.change import Change, WatchStats
    from diga_async._models.errors import (
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
        WaitError,
        WaitTimeoutError,
        WrongLoopError,
    )
    from diga_async._models.events import AttemptEvent, Event, LookupEvent
    from diga_async._models.listing import ListingStats, PhonePage
    from diga_async._models.options import Limits, RetryPolicy, Timeouts
    from diga_async._models.outcomes import (
        Failed,
        Found,
        Missing,
        Outcome,
        PhoneBatch,
    )
    from diga_async._models.phone import (
        Phone,
        PhoneStatus,
        SipConfig,
        SipMediaEncryption,
        TelephonyProvider,
    )
    from diga_async._models.stats import ClientStats, LookupStats
    from diga_async._phones.listing import PhoneListing
    from diga_async._phones.lookups import PhoneLookups
    from diga_async._phones.phones import Phones
    from diga_async._phones.watching import PhoneChanges

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AttemptEvent",
    "AuthenticationError",
    "Change",
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
    "ListingStats",
    "LookupEvent",
    "LookupStats",
    "Missing",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "Phone",
    "PhoneBatch",
    "PhoneChanges",
    "PhoneListing",
    "PhoneLookups",
    "PhonePage",
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
    "WaitError",
    "WaitTimeoutError",
    "WatchStats",
    "WrongLoopError",
    "__version__",
]

_MODULES = {
    "_client": ("DigaClient",),
    "_models.change": ("Change", "WatchStats"),
    "_models.events": ("AttemptEvent", "Event", "LookupEvent"),
    "_models.listing": ("ListingStats", "PhonePage"),
    "_models.options": ("Limits", "RetryPolicy", "Timeouts"),
    "_models.outcomes": (
        "Failed",
        "Found",
        "Missing",
        "Outcome",
        "PhoneBatch",
    ),
    "_models.open_enum": ("Extra",),
    "_models.phone": (
        "Phone",
        "PhoneStatus",
        "SipConfig",
        "SipMediaEncryption",
        "TelephonyProvider",
    ),
    "_models.stats": ("ClientStats", "LookupStats"),
    "_phones.listing": ("PhoneListing",),
    "_phones.lookups": ("PhoneLookups",),
    "_phones.phones": ("Phones",),
    "_phones.watching": ("PhoneChanges",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
# Pickles of phones name `Extra`, but users only meet it as a mapping.
_NAMES = {*__all__, "Extra"}


def __getattr__(name: str) -> "Any":
    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Every other name is an error.
    module = import_module(f"{__name__}.{_MODULE_OF.get(name, '_models.errors')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
