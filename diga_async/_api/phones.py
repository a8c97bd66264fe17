"""The operations on phones, https://docs.diga.io: what is sent, and what is read."""

from collections.abc import Mapping
from functools import partial
from uuid import UUID

from diga_async._api.operation import Operation
from diga_async._models.arguments import not_this
from diga_async._models.decoding import UUID_TEXT, read_json, structure, uuid_of
from diga_async._models.errors import InvalidPhoneIdError, InvalidResponseError
from diga_async._models.phone import Phone

_CHARACTERS, _DIGITS = 36, 32
_EXPECTED = "a phone id is a UUID or its canonical 36 characters"


def phone_id_of(value: object) -> UUID:
    """
    Check a phone id before anything is sent.

    `uuid.UUID` also reads braces, ``urn:`` and digits of other scripts, and reads
    some texts as another id: only the canonical form is accepted.

    Raises:
        InvalidPhoneIdError: *value* is not a UUID, nor the canonical text of one.
    """
    if type(value) is UUID:
        return value
    if isinstance(value, UUID):
        return UUID(int=value.int)  # a database driver's subclass, of any text
    if isinstance(value, str):
        match = UUID_TEXT.fullmatch(value)
        if match is not None:
            return uuid_of(match[0])
        raise InvalidPhoneIdError(f"{_EXPECTED}, not {_form_of(value)}")
    raise InvalidPhoneIdError(f"{_EXPECTED}, {not_this(value)}{_remedy_of(value)}")


def _remedy_of(value: object) -> str:
    if isinstance(value, Phone):
        return ": pass its id"
    if isinstance(value, Mapping):
        return ": pass the id that it holds"
    if isinstance(value, list | tuple | set | frozenset):
        return ": get_many() and iter_many() take several"
    return ""


def _form_of(text: str) -> str:
    """
    Say what is wrong with a text that is not a phone id, without repeating it.

    >>> _form_of("3c90c3cc0d444b5088888dd25736052a")
    'one without hyphens'
    """
    if UUID_TEXT.fullmatch(text.strip()):
        return "one with blanks or a line break around it"
    if UUID_TEXT.fullmatch(text.removeprefix("urn:uuid:").strip("{}")):
        return "one with a prefix or braces"
    if len(text) == _DIGITS and text.isalnum():
        return "one without hyphens"
    if len(text) == _CHARACTERS:
        return "36 others (a wrong digit, or a misplaced hyphen)"
    return f"a text of {len(text)} character{'s' * (len(text) != 1)}"


def get_phone(phone_id: UUID) -> Operation[Phone]:
    """Return the operation that reads one phone: ``GET /v1/phone/{phone_id}``."""
    return Operation(f"/v1/phone/{phone_id}", partial(_read_phone, phone_id), phone_id)


def _read_phone(phone_id: UUID, body: bytes) -> Phone:
    phone = structure(read_json(body), Phone)
    if phone.id == phone_id:
        return phone
    raise InvalidResponseError(
        "the server sent another phone",
        status=200,
        problems=("$.id: not the id asked for",),
        foreign=True,
    )
