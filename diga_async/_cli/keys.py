"""Keys that were given in a form that no key has, and what to do about it."""

import re

#: Too few bytes to tell UTF-16 from other bytes.
SHORT = 8

ASSIGNMENT = re.compile(
    r"^\s*(export\s+)?[A-Z_]*(API_?KEY|TOKEN)\s*=", re.IGNORECASE | re.MULTILINE
)
_VARIABLE = re.compile(r"\$\{?\w+\}?|%\w+%|\$env:\w+", re.IGNORECASE)
_IN_BRACKETS = re.compile(r"\{.*\}|\[.*\]|<.*>|\(.*\)", re.DOTALL)
_PLACEHOLDER = re.compile(r"sk-(\.{2,}|\u2026|x{3,}|\*{3,})", re.IGNORECASE)


def form_of_value(key: str) -> str | None:
    """
    Return what is wrong with a key from a variable, without showing it.

    >>> form_of_value("sk-..."), form_of_value("sk-0123456789")
    ('is the sk-... of the documentation; put a key of yours there', None)
    """
    text = key.strip()
    if ASSIGNMENT.match(text):
        return "holds NAME=value; leave the key alone in it"
    if _VARIABLE.fullmatch(text):
        return (
            "holds the name of a variable, not its value; in single quotes, a shell "
            "does not replace it"
        )
    if _PLACEHOLDER.fullmatch(text):
        return "is the sk-... of the documentation; put a key of yours there"
    if _IN_BRACKETS.fullmatch(text):
        return "has brackets around the key; leave the key alone in it"
    return None


def form_of_file(content: bytes) -> str | None:
    """
    Return what is wrong with the content of a key file, without showing it.

    >>> form_of_file(b'{"api_key": "sk-0123456789"}')
    'holds JSON; leave the key alone in it'
    """
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    halves = content[::2], content[1::2]
    is_long = len(content) > SHORT
    if marked or (is_long and any(not half.strip(b"\0") for half in halves)):
        return "is UTF-16; save it as UTF-8 (in PowerShell: -Encoding ascii)"
    text = content.decode(errors="replace").strip()
    if re.match(r"\{\s*\"|\[\s*[\"{]", text):
        return "holds JSON; leave the key alone in it"
    return None if ASSIGNMENT.search(text) else form_of_value(text)
