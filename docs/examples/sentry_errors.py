"""
Report errors to Sentry, without personal data and without slower lookups.

Run it with ``SENTRY_DSN`` and ``DIGA_API_KEY`` set. It needs sentry-sdk.
"""

import asyncio
import os
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.aiohttp import AioHttpIntegration
from sentry_sdk.types import Event

from diga_async import APIStatusError, DigaClient, DigaError


def set_up_sentry() -> None:
    sentry_sdk.init(
        os.environ["SENTRY_DSN"],
        # A phone in a local variable is personal data.
        include_local_variables=False,
        # It replaces methods of aiohttp, and lookups then cost more.
        disabled_integrations=[AioHttpIntegration],
        before_send=describe,
    )


def describe(event: Event, hint: dict[str, Any]) -> Event | None:
    """Group errors by class; add what helps to trace one; drop transient ones."""
    error = hint["exc_info"][1] if "exc_info" in hint else None
    if not isinstance(error, DigaError):
        return event
    if error.transient:
        return None  # counted in diga.stats; alert on a rate, not on each
    event["fingerprint"] = [type(error).__name__]
    facts: dict[str, object] = {"phone_id": str(error.phone_id)}
    if isinstance(error, APIStatusError):
        facts |= {"status": error.status, "request_id": error.request_id}
    event["extra"] = facts
    return event


async def main() -> None:
    set_up_sentry()
    async with DigaClient() as diga:
        try:
            phone = await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
            await diga.phones.get("00000000-0000-4000-8000-000000000000")
        except DigaError as error:
            sentry_sdk.capture_exception(error)
        else:
            print(phone.number)


if __name__ == "__main__":
    asyncio.run(main())
