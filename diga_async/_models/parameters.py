"""`PhoneIds`, `Statuses`, `Via`, `Order`: the types of arguments of `Phones`."""

from collections.abc import AsyncIterable, Iterable
from typing import Literal
from uuid import UUID

from diga_async._models.phone import PhoneStatus

PhoneIds = Iterable[UUID | str] | AsyncIterable[UUID | str]
Statuses = PhoneStatus | str | Iterable[PhoneStatus | str]
Via = Literal["each", "list", "auto"]
Order = Literal["asc", "desc"]
