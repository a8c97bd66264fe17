"""
An aiohttp.web service with one client for all its requests.

Run it with ``python aiohttp_service.py``.
"""

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from diga_async import (
    APIConnectionError,
    DigaClient,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    NotFoundError,
    RateLimitError,
)

logger = logging.getLogger("phones")

DIGA = web.AppKey("DIGA", DigaClient)


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with DigaClient(timeouts=8.0) as diga:
        app[DIGA] = diga
        yield


async def show_phone(request: web.Request) -> web.Response:
    try:
        phone = await request.app[DIGA].phones.get(request.match_info["phone_id"])
    except InvalidPhoneIdError:
        raise web.HTTPBadRequest(text="not a phone id") from None
    except NotFoundError:
        raise web.HTTPNotFound(text="no such phone") from None
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning(
            "%s after %s attempts: %r", error.phone_id, error.attempts, error
        )
        raise web.HTTPServiceUnavailable(text="try later") from None
    except DigaError as error:
        logger.error("%s: %r", error.phone_id, error)
        raise web.HTTPBadGateway(text="Diga did not answer as expected") from None
    return web.json_response({"number": phone.number, "status": phone.status})


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/phones/{phone_id}", show_phone)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=8080)
