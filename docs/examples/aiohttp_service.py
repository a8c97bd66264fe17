"""
An aiohttp.web service with one client for all requests.

Run it with ``python aiohttp_service.py`` and ``DIGA_API_KEY`` set.

Close: `cleanup_ctx` closes the client after in-flight requests are drained.
Errors: each becomes a status that tells the caller what to do.
Log: errors that the caller cannot fix, with the id; no data of a phone.
"""

import logging
from collections.abc import AsyncIterator

from aiohttp import web

from diga_async import (
    APIConnectionError,
    APITimeoutError,
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
    phone_id = request.match_info["phone_id"]
    try:
        phone = await request.app[DIGA].phones.get(phone_id)
    except InvalidPhoneIdError:
        raise web.HTTPBadRequest(text="not a phone id") from None
    except NotFoundError:
        raise web.HTTPNotFound(text="no such phone") from None
    except APITimeoutError as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        raise web.HTTPGatewayTimeout(text="try later") from None
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        logger.warning("%s after %s attempts: %r", phone_id, error.attempts, error)
        raise web.HTTPServiceUnavailable(text="try later") from None
    except DigaError as error:
        # A refused key or a malformed answer: the caller cannot fix these.
        logger.error("%s: %r", phone_id, error)
        raise web.HTTPBadGateway(text="Diga did not answer as expected") from None
    return web.json_response({"number": phone.number, "status": phone.status})


def make_app() -> web.Application:
    app = web.Application()
    app.cleanup_ctx.append(open_client)
    app.router.add_get("/phones/{phone_id}", show_phone)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    web.run_app(make_app(), port=8080)
