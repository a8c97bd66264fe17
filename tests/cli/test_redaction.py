"""A key that was given in the wrong place."""

import pytest

from diga_async._cli.redaction import bare, may_be_key, shown, without_keys

KEY = "sk-fa17ed00fa17ed00fa17ed00"
ID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


@pytest.mark.parametrize(
    "word",
    [
        KEY,
        "sk_live_1234567890",
        f"Bearer {KEY}",
        f"DIGA_API_KEY='{KEY}'",
        "export KEY=sk-12345678",
        "eyJhbGciOiJIUzI1NiJ9abcdefghijklm",
    ],
)
def test_what_looks_like_a_key_may_be_one(word):
    assert may_be_key(word)
    assert shown(word) == "*** (it may be the key)"
    assert bare(word) == "***"


@pytest.mark.parametrize(
    "word",
    [
        *(ID, ID.upper(), ID.replace("-", ""), f"{{{ID}}}", ID[:-1], ""),
        *("ids.txt", "asigned", "/data/2026/11/29/phone_ids_of_the_whole_project"),
        "phone_ids_2026_11_29_of_the_whole_project.csv",
    ],
)
def test_an_id_or_the_name_of_a_file_is_shown(word):
    assert not may_be_key(word)
    assert shown(word) == repr(word)
    assert bare(word) == word


def test_the_key_itself_is_never_shown(monkeypatch):
    monkeypatch.setenv("DIGA_API_KEY", "plain")
    assert may_be_key("plain")
    assert may_be_key("DIGA_API_KEY=plain")
    assert not may_be_key("other")


def test_a_long_word_is_cut():
    assert len(shown("x " * 200)) == 102


def test_a_text_loses_only_the_words_that_may_be_keys():
    words = ["check", f"--key={KEY}", "x", KEY]
    assert without_keys(f"check x {KEY}", words) == "check x ***"
    assert without_keys("nothing", words) == "nothing"
