"""
An AWS Lambda function behind a function URL or an API gateway: /phones/{phone_id}.

Set ``DIGA_API_KEY`` in the function's configuration.

Close: Lambda freezes the process between calls, and ends it without a notice.
Errors: mapped to a status; Lambda logs what is not a `DigaError`.
"""

import asyncio
import json
import logging
from typing import Any

from diga_async import DigaClient, DigaError, InvalidPhoneIdError, NotFoundError

MARGIN = 1.0  # seconds to answer in, after a lookup that takes as long as it may

logger = logging.getLogger("phones")

# One event loop and one client for all calls: connections and the rate are kept.
runner = asyncio.Runner()
diga = DigaClient()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN
    status, body = runner.run(answer(event["pathParameters"]["phone_id"], seconds))
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps(body),
    }


async def answer(phone_id: str, seconds: float) -> tuple[int, dict[str, Any]]:
    try:
        phone = await diga.phones.get(phone_id, timeouts=seconds)
    except (InvalidPhoneIdError, NotFoundError):
        return 404, {"error": "there is no such phone"}
    except DigaError as error:
        logger.warning("%s: %r", phone_id, error)
        return (503 if error.transient else 502), {"error": "Diga is not available"}
    return 200, {"number": phone.number, "status": phone.status}
