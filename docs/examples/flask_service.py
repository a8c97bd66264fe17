"""
A Flask service whose threads share one client.

Run it with ``flask --app flask_service run`` and ``DIGA_API_KEY`` set.
"""

import atexit
import functools
from typing import Any
from uuid import UUID

from flask import Flask
from sync_phones import SyncPhones

from diga_async import DigaError, NotFoundError

app = Flask(__name__)


@functools.cache
def phones() -> SyncPhones:
    """Create the client at the first request: after the server has forked."""
    created = SyncPhones()
    atexit.register(created.close)
    return created


@app.get("/phones/<uuid:phone_id>")
def show_phone(phone_id: UUID) -> tuple[dict[str, Any], int]:
    try:
        phone = phones().get(phone_id)
    except NotFoundError:
        return {"detail": "no such phone"}, 404
    except DigaError as error:
        app.logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        return {"detail": type(error).__name__}, 503 if error.transient else 502
    return {"number": phone.number, "status": phone.status}, 200
