"""API keys: which are accepted, and the message about the others."""

from typing import Any

import pytest
from fakes import KEY
from hypothesis import example, given, strategies as st

from diga_async import ConfigurationError
from diga_async._api.keys import check_key
from diga_async._api.messages import Secret


def fault_of(key: Any) -> str:
    """Return the faults that the message names; it never shows the key."""
    with pytest.raises(ConfigurationError) as caught:
        check_key(key)
    message = str(caught.value)
    assert KEY not in message
    assert message.startswith("the API key ")
    return message.removeprefix("the API key ")


@pytest.mark.parametrize(
    "key", [KEY, "x", "!~", "sk-a.b_c~d+e/f==", 'a"b', '"a', "bearer", "x" * 4096]
)
def test_a_key_is_any_printable_ascii(key: str) -> None:
    secret = check_key(key)

    assert secret == f"Bearer {key}"
    assert isinstance(secret, Secret)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("", "is empty"),
        (f"{KEY}\n", "ends with a line break"),
        (f"{KEY}\r\n", "ends with a line break"),
        (f"{KEY}\n\n", "ends with a line break"),
        (f"{KEY}\n{KEY}", "contains a line break"),
        (f"\n{KEY}", "contains a line break"),
        (f" {KEY}", "has a space at an end"),
        (f"{KEY}\t", "has a space at an end"),
        (f"{KEY} {KEY}", "contains a space"),
        (f"\ufeff{KEY}", "begins with a byte order mark (BOM)"),
        (f"\xef\xbb\xbf{KEY}", "begins with a byte order mark (BOM)"),
        (f'"{KEY}"', "has quotes around it"),
        (f"'{KEY}'", "has quotes around it"),
        (f"Bearer {KEY}", "begins with 'Bearer ', which the client adds"),
        (
            f"Authorization: bearer {KEY}",
            "begins with 'Bearer ', which the client adds",
        ),
        (f"{KEY}\u2014", "contains a character that is not printable ASCII"),
        (f"{KEY}\x00", "contains a character that is not printable ASCII"),
        ("sk-\ud800", "contains a character that is not printable ASCII"),
        ("x" * 4097, "is longer than 4,096 characters"),
        (f'"{KEY}"\n', "ends with a line break and has quotes around it"),
        (None, "must be text, not NoneType"),
        (KEY.encode(), "must be text, not bytes"),
        ([KEY], "must be text, not list"),
    ],
)
def test_the_message_says_what_is_wrong_with_a_key(key: object, fault: str) -> None:
    assert fault_of(key) == fault


@given(key=st.text(min_size=1, max_size=6))
@example("\x1c")
@example("\xa0a")
def test_every_text_is_taken_as_it_is_or_has_a_fault(key: str) -> None:
    printable = all("\x21" <= character <= "\x7e" for character in key)
    quoted = len(key) > 1 and key[0] == key[-1] and key[0] in "\"'`"

    if printable and not quoted:
        assert check_key(key) == f"Bearer {key}"
    else:
        assert fault_of(key)
