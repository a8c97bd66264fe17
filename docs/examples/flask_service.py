"""
A Flask service whose threads share one client.

Run it with ``flask --app flask_service run`` and ``DIGA_API_KEY`` set.
"""

import atexit
import functools
from typing import Any
from uuid import UUID

from flask import Flask, abort
from sync_phones import SyncPhones

from diga_async import APIStatusError, DigaError, NotFoundError

app = Flask(__name__)


@functools.cache
def phones() -> SyncPhones:
    """Create the client at the first request: after the server has forked."""
    created = SyncPhones()
    atexit.register(created.close)
    return created


@app.get("/phones/<uuid:phone_id>")
def show_phone(phone_id: UUID) -> dict[str, Any]:
    try:
        phone = phones().get(phone_id)
    except NotFoundError:
        abort(404)
    except DigaError as error:
        status = error.status if isinstance(error, APIStatusError) else None
        app.logger.warning("%s: %r, status %s", phone_id, error, status)
        abort(503 if error.transient else 502)
    return {"number": phone.number, "status": phone.status}
