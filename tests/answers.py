"""Responses as the operation of one phone reads them."""

from typing import Any
from uuid import UUID

from fakes import PHONE_ID, response

from diga_async import APIStatusError, InvalidResponseError, Phone
from diga_async._api.messages import Response, Secret
from diga_async._api.operation import Answer
from diga_async._api.phones import get_phone

X = UUID(PHONE_ID)
KEY = "sk-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
AUTHORIZATION = Secret(f"Bearer {KEY}")


def read(response: Response, phone_id: UUID, authorization: Secret) -> Answer[Phone]:
    return get_phone(phone_id).answer(response, authorization)


def answer(status: int = 200, body: Any = None, **headers: str) -> Answer[Phone]:
    return read(response(status, body, **headers), X, AUTHORIZATION)


def refusal(status: int, body: Any = b"", **headers: str) -> APIStatusError:
    refused = answer(status, body, **headers)
    assert isinstance(refused, APIStatusError)
    return refused


def invalid(status: int = 200, body: Any = b"", **headers: str) -> InvalidResponseError:
    refused = answer(status, body, **headers)
    assert isinstance(refused, InvalidResponseError)
    assert refused.status == status
    return refused
