"""A key that was given in the wrong place, and is not printed."""

import os
import re

HIDDEN = "***"
SHOWN_CHARACTERS = 100
#: Keys of many services begin so; the rest of a name is not an extension or a path.
_PREFIXED = re.compile(r"(sk|pk|rk|key)[-_][\w-]{8,}", re.IGNORECASE)
_OPAQUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w+=-]{32,}", re.ASCII)
_AROUND = re.compile(r"[\s=:'\"`]+")
_HEXADECIMAL = re.compile(r"[{(]?[0-9a-f-]{32,38}[)}]?", re.IGNORECASE)


def may_be_key(word: str) -> bool:
    """
    Whether *word* may be an API key: nothing that is printed shows it.

    >>> may_be_key("sk-1234567890"), may_be_key("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    (True, False)
    """
    key = os.environ.get("DIGA_API_KEY")
    if key and key in word:
        return True
    # It may have a name, a scheme or quotes: DIGA_API_KEY="sk-..."
    return any(map(_looks_like_key, [word, *_AROUND.split(word)]))


def _looks_like_key(word: str) -> bool:
    if _HEXADECIMAL.fullmatch(word):  # a UUID, or almost one
        return False
    return bool(_PREFIXED.fullmatch(word) or _OPAQUE.fullmatch(word))


def bare(word: str) -> str:
    """Return *word* without quotes, unless it may be the key."""
    return HIDDEN if may_be_key(word) else word


def shown(word: str) -> str:
    """
    Return *word* as a message shows it, in quotes.

    >>> shown("asigned"), shown("sk-1234567890")
    ("'asigned'", '*** (it may be the key)')
    """
    if may_be_key(word):
        return f"{HIDDEN} (it may be the key)"
    return repr(word[:SHOWN_CHARACTERS])


def without_keys(text: str, words: list[str]) -> str:
    """Replace each of *words* that may be a key, and is in *text*."""
    for word in words:
        # An option may hold it: --key=sk-...
        for part in (word, word.partition("=")[2]):
            if part and may_be_key(part):
                text = text.replace(part, HIDDEN)
    return text
