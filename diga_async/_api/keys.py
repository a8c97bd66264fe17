"""API keys: what a key may look like, and what is wrong with one that does not."""

import re
from collections.abc import Iterator

from diga_async._api.messages import NotText, Secret, conceal
from diga_async._models.errors import ConfigurationError

MAX_CHARACTERS = 4096

_BYTE_ORDER_MARKS = ("\ufeff", "\xef\xbb\xbf")
_SCHEME = r"(?i)(authorization:\s*)?bearer\s+"  # compiled for a bad key only


def check_key(key: object, name: str = "the API key") -> Secret:
    """
    Return *key* as the value of an Authorization header (RFC 6750 section 2.1).

    Args:
        key: The key.
        name: What it is called in the message.

    Raises:
        ConfigurationError: It is not text, empty or longer than 4,096 characters,
            or it is not printable ASCII without blanks and without quotes around it.
            The message says which, and never shows the key.
    """
    kind, is_text = type(key).__name__, isinstance(key, str)
    key = conceal(key)
    if isinstance(key, NotText):
        raise ConfigurationError(f"{name} must be text, not bytes")
    if not (is_text and isinstance(key, str)):
        raise ConfigurationError(f"{name} must be text, not {kind}")
    if faults := list(_faults_of(key)):
        raise ConfigurationError(f"{name} {' and '.join(faults)}")
    return Secret(f"Bearer {key}")


def _faults_of(key: str) -> Iterator[str]:
    """Yield what is wrong with *key*; each part of it is reported once at most."""
    if not key:
        yield "is empty"
    if len(key) > MAX_CHARACTERS:
        yield f"is longer than {MAX_CHARACTERS:,} characters"
    if key.startswith(_BYTE_ORDER_MARKS):
        yield "begins with a byte order mark (BOM)"
        key = key.lstrip("".join(_BYTE_ORDER_MARKS))
    if key.splitlines() not in ([], [key]):
        at_the_end = key.rstrip("\r\n").splitlines() in ([], [key.rstrip("\r\n")])
        yield "ends with a line break" if at_the_end else "contains a line break"
        key = "".join(key.splitlines())
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'`":
        yield "has quotes around it"
        key = key[1:-1]
    if scheme := re.match(_SCHEME, key):
        yield "begins with 'Bearer ', which the client adds"
        key = key[scheme.end() :]
    if any(character.isspace() for character in key):
        yield "contains a space" if key == key.strip() else "has a space at an end"
        key = "".join(key.split())
    if not (key.isascii() and key.isprintable()):
        yield "contains a character that is not printable ASCII"
