"""
Write the library's log as JSON lines with structlog.

It needs structlog.
"""

import asyncio
import logging
from typing import Any

import attrs
import structlog
from structlog.typing import EventDict

from diga_async import DigaClient

EVENTS = ("attempt", "lookup", "run")  # each is an attribute of its log record


def add_fields(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """Add the fields of the library's events, instead of its line of text."""
    record = line["_record"]
    for name in EVENTS:
        if record.name == "diga_async" and hasattr(record, name):
            fields = attrs.asdict(getattr(record, name), recurse=False)
            line.update(fields, event=name)
    return line


def set_up_logging() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso"),
                add_fields,
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("diga_async").setLevel(logging.DEBUG)  # every attempt and lookup


async def main() -> None:
    set_up_logging()
    async with DigaClient() as diga:
        await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")


if __name__ == "__main__":
    asyncio.run(main())
