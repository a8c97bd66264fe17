"""Look up one phone, and handle each kind of error."""

import asyncio
import logging

from diga_async import (
    APIConnectionError,
    AuthenticationError,
    DigaClient,
    DigaError,
    InternalServerError,
    InvalidPhoneIdError,
    InvalidResponseError,
    NotFoundError,
    PermissionDeniedError,
    Phone,
    RateLimitError,
)

logger = logging.getLogger("phones")


async def find(diga: DigaClient, phone_id: str) -> Phone | None:
    try:
        return await diga.phones.get(phone_id)
    except NotFoundError:
        return None
    except InvalidPhoneIdError:
        logger.warning("the id is malformed")
        return None
    except (AuthenticationError, PermissionDeniedError) as error:
        # Every later lookup would fail as well: alert the owner of the key.
        logger.critical("check the key: %s", error)
        raise
    except (RateLimitError, APIConnectionError, InternalServerError) as error:
        # The client has already retried.
        logger.warning("try later (%s attempts): %r", error.attempts, error)
        raise
    except InvalidResponseError as error:
        # `problems` has paths and types, never values.
        logger.error("not a phone: %s", "; ".join(error.problems))
        raise
    except DigaError as error:
        logger.error("%s: %r", error.phone_id, error)
        raise


async def main() -> None:
    async with DigaClient() as diga:
        phone = await find(diga, "3c90c3cc-0d44-4b50-8888-8dd25736052a")
    print("no such phone" if phone is None else phone.number)


if __name__ == "__main__":
    asyncio.run(main())
