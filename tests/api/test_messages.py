"""`Request` and `Response`, and a key that nothing shows."""

import pickle
import traceback
from typing import Any

import attrs
import pytest
from multidict import CIMultiDict
from yarl import URL

from diga_async._api.messages import (
    Endpoint,
    Request,
    Response,
    Secret,
    conceal,
)

KEY = "sk-0123456789abcdef"
ENDPOINT = Endpoint(URL("https://x"), {"Host": "x", "Accept": "text/css"})


def test_a_secret_equals_its_text_and_hides_it() -> None:
    secret = Secret(KEY)

    assert secret == KEY
    assert hash(secret) == hash(KEY)
    assert f"Bearer {secret}" == f"Bearer {KEY}"
    assert secret.encode() == KEY.encode()
    assert repr(secret) == "'***'"
    assert f"{secret!r} {[secret]} { ({'k': secret}) }".count("***") == 3


def test_a_request_does_not_show_its_key() -> None:
    request = Request(ENDPOINT, "/v1/phone/x", Secret(f"Bearer {KEY}"))

    assert KEY not in repr(request)
    assert request.headers["Authorization"] == f"Bearer {KEY}"


def test_a_request_is_the_same_in_parts_and_as_bytes() -> None:
    request = Request(ENDPOINT, "/v1/phone/x", Secret(f"Bearer {KEY}"))

    first, *headers, empty, end = bytes(request).decode("ascii").split("\r\n")
    assert (first, empty, end) == ("GET /v1/phone/x HTTP/1.1", "", "")
    assert dict(header.split(": ") for header in headers) == request.headers
    assert list(request.headers) == ["Host", "Accept", "Authorization"]
    assert str(request.url) == "https://x/v1/phone/x"


def test_headers_keep_the_secret_itself() -> None:
    """So no frame of aiohttp that holds them shows the key."""
    headers = CIMultiDict({"Authorization": Secret(KEY)})

    assert type(headers["authorization"]) is Secret
    assert KEY not in repr(headers)


def test_a_frame_with_a_secret_does_not_show_it() -> None:
    def fail(authorization: str) -> None:
        raise KeyError

    with pytest.raises(KeyError) as caught:
        fail(Secret(KEY))
    frames = traceback.TracebackException.from_exception(
        caught.value, capture_locals=True
    )
    frame = frames.stack[-1]

    assert frame.locals == {"authorization": "'***'"}


@pytest.mark.parametrize("value", [KEY, Secret(KEY)])
def test_concealing_text_makes_a_secret(value: str) -> None:
    assert (type(conceal(value)), conceal(value)) == (Secret, KEY)


def test_a_key_of_bytes_is_dropped() -> None:
    concealed = conceal(KEY.encode())

    assert isinstance(concealed, Secret)
    assert concealed == ""
    assert conceal(concealed) is concealed


@pytest.mark.parametrize("value", [None, 1, len, [KEY]], ids=repr)
def test_concealing_leaves_other_values_alone(value: Any) -> None:
    assert conceal(value) is value


@pytest.mark.parametrize(
    "value",
    [ENDPOINT, Request(ENDPOINT, "/", Secret()), Response(200, CIMultiDict(), b"")],
)
def test_all_are_values(value: Any) -> None:
    assert attrs.evolve(value) == value
    assert not hasattr(value, "__dict__")


def test_a_secret_that_is_pickled_on_purpose_stays_one() -> None:
    assert type(pickle.loads(pickle.dumps(Secret(KEY)))) is Secret
