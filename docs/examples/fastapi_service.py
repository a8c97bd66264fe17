"""
A FastAPI service with one client for all requests.

Run it with ``uvicorn fastapi_service:app`` and ``DIGA_API_KEY`` set.

Close: the lifespan closes the client after uvicorn has drained in-flight requests.
Errors: one handler maps each to a status, by the table below.
Log: errors that the caller cannot fix, with the id; no data of a phone.
"""

import logging
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict, cast
from uuid import UUID

import attrs
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from diga_async import (
    APIConnectionError,
    APITimeoutError,
    DigaClient,
    DigaError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)

logger = logging.getLogger("phones")

# The first matching class decides. The last one covers what the caller cannot fix:
# a refused key or a malformed answer.
STATUSES: dict[type[DigaError], int] = {
    NotFoundError: 404,
    RateLimitError: 503,
    APITimeoutError: 504,
    APIConnectionError: 503,
    InternalServerError: 503,
    DigaError: 502,
}


class State(TypedDict):
    diga: DigaClient


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    async with DigaClient(timeouts=8.0) as diga:
        yield {"diga": diga}


def diga_of(request: Request) -> DigaClient:
    return cast("DigaClient", request.state.diga)


Diga = Annotated[DigaClient, Depends(diga_of)]

app = FastAPI(lifespan=lifespan)


@app.get("/phones/{phone_id}")
async def show_phone(phone_id: UUID, diga: Diga) -> dict[str, Any]:
    phone = await diga.phones.get(phone_id)
    return {"number": phone.number, "status": phone.status}


@app.get("/health")
async def show_health(diga: Diga) -> dict[str, Any]:
    return attrs.asdict(diga.stats)


@app.exception_handler(DigaError)
async def answer_error(_request: Request, error: DigaError) -> JSONResponse:
    status = next(s for kind, s in STATUSES.items() if isinstance(error, kind))
    if status != STATUSES[NotFoundError]:
        level = logging.ERROR if status == STATUSES[DigaError] else logging.WARNING
        facts = (error.phone_id, error.attempts, error)
        logger.log(level, "%s after %s attempts: %r", *facts)
    retry_after = getattr(error, "retry_after", None)
    headers = {"Retry-After": str(math.ceil(retry_after))} if retry_after else None
    return JSONResponse({"detail": type(error).__name__}, status, headers)
