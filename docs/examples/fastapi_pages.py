"""
A FastAPI endpoint that pages through the phones: cursor in, cursor out.

Run it with ``uvicorn fastapi_pages:app`` and ``DIGA_API_KEY`` set.

Close: the lifespan closes the client after uvicorn has drained in-flight requests.
Errors: a cursor whose phone is gone is a 410, so that the caller starts anew; a wrong
status is a 422; everything else a 502.
Log: errors that the caller cannot fix; no data of a phone.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict, cast
from uuid import UUID

from fastapi import Depends, FastAPI, HTTPException, Query, Request

from diga_async import (
    DigaClient,
    DigaError,
    InvalidResponseError,
    NotFoundError,
    UnprocessableEntityError,
)

logger = logging.getLogger("phones")


class State(TypedDict):
    diga: DigaClient


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
    async with DigaClient(timeouts=8.0) as diga:
        yield {"diga": diga}


def diga_of(request: Request) -> DigaClient:
    return cast("DigaClient", request.state.diga)


app = FastAPI(lifespan=lifespan)


@app.get("/phones")
async def list_phones(
    diga: Annotated[DigaClient, Depends(diga_of)],
    cursor: UUID | None = None,
    status: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    try:
        page = await diga.phones.list_page(page_size=limit, after=cursor, status=status)
    except DigaError as error:
        raise refusal(error, cursor) from error
    return {
        "phones": [phone.to_dict() for phone in page.phones],
        "next_cursor": page.cursor,
    }


def refusal(error: DigaError, cursor: UUID | None) -> HTTPException:
    if isinstance(error, UnprocessableEntityError):
        return HTTPException(422, "no such status")
    is_gone = isinstance(error, InvalidResponseError) and error.phone_id == cursor
    if cursor and (is_gone or isinstance(error, NotFoundError)):
        return HTTPException(410, "this cursor is gone; start without one")
    logger.error("no page: %r", error)
    return HTTPException(502, "the phones cannot be listed now")
