from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from fastapi import FastAPI

from diga_async import DigaClient, Phone

diga = DigaClient()  # opens at the first lookup


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with diga:
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/phones/{phone_id}")
async def show_phone(phone_id: UUID) -> Phone:
    return await diga.phones.get(phone_id)
