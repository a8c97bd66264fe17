"""
A Celery task that looks up a list of phones.

Run it with ``celery -A celery_tasks worker`` and ``DIGA_API_KEY`` set;
it needs ``celery[redis]`` and a Redis server.

Close: each task opens its own client and closes it.
Errors: what ends the run early fails the task; Celery retries it if it is transient.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from celery import Celery, Task

from diga_async import DigaClient, DigaError, PhoneBatch

app = Celery("phones", broker="redis://localhost")


@app.task(bind=True, max_retries=3)
def fetch(task: Task, phone_ids: Sequence[str]) -> dict[str, Any]:
    try:
        batch = asyncio.run(look_up(phone_ids))
    except DigaError as error:
        if error.transient:
            raise task.retry(exc=error) from None
        raise
    return {str(phone_id): phone.to_dict() for phone_id, phone in batch.phones.items()}


async def look_up(phone_ids: Sequence[str]) -> PhoneBatch:
    async with DigaClient() as diga:
        return await diga.phones.get_many(phone_ids)
