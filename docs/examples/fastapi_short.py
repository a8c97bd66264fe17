from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request

from diga_async import DigaClient, Phone


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    async with DigaClient() as diga:
        yield {"diga": diga}


app = FastAPI(lifespan=lifespan)


@app.get("/phones/{phone_id}")
async def show_phone(phone_id: UUID, request: Request) -> Phone:
    diga: DigaClient = request.state.diga
    return await diga.phones.get(phone_id)
