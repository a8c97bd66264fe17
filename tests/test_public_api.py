"""The names that users import."""

import importlib.metadata
import inspect
import subprocess
import sys

import pytest

import diga_async
from diga_async import DigaClient

CONTRACT = {
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "Change",
    "ClientClosedError",
    "ConfigurationError",
    "DigaClient",
    "DigaError",
    "Failed",
    "Found",
    "InternalServerError",
    "InvalidPhoneIdError",
    "InvalidResponseError",
    "Limits",
    "Missing",
    "NotFoundError",
    "Outcome",
    "PermissionDeniedError",
    "Phone",
    "PhoneBatch",
    "PhoneChanges",
    "PhoneListing",
    "PhonePage",
    "PhoneStatus",
    "RateLimitError",
    "RetryPolicy",
    "SipConfig",
    "SipMediaEncryption",
    "TelephonyProvider",
    "Timeouts",
    "UnprocessableEntityError",
    "ValidationDetail",
    "WaitError",
    "WaitTimeoutError",
    "WrongLoopError",
}


def test_all_is_sorted_and_complete():
    assert diga_async.__all__ == sorted(diga_async.__all__)
    assert set(diga_async.__all__) >= CONTRACT
    assert dir(diga_async) == diga_async.__all__


@pytest.mark.parametrize("name", diga_async.__all__)
def test_every_name_resolves_once(name):
    assert getattr(diga_async, name) is getattr(diga_async, name)
    assert name in vars(diga_async)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'Fone'"):
        _ = diga_async.Fone


def test_the_version_is_that_of_the_metadata():
    assert diga_async.__version__ == importlib.metadata.version("diga-async")


def public_things():
    for name in diga_async.__all__:
        thing = getattr(diga_async, name)
        if inspect.isclass(thing):
            yield name, thing
            for attribute, member in vars(thing).items():
                if not attribute.startswith("_") and callable(member):
                    yield f"{name}.{attribute}", member


@pytest.mark.parametrize(("name", "thing"), list(public_things()))
def test_every_public_thing_says_what_it_does(name, thing):
    assert inspect.getdoc(thing)


@pytest.mark.parametrize(
    ("name", "thing"),
    [(n, t) for n, t in public_things() if inspect.isclass(t)],
)
def test_every_public_class_says_since_when(name, thing):
    assert ".. versionadded::" in inspect.getdoc(thing)


def test_the_package_alone_loads_no_library():
    code = "import sys, diga_async; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"aiohttp", "attr", "cattrs", "asyncio"} & set(loaded)


def test_the_signature_of_the_client_names_its_options():
    """IDEs, notebooks and the reference show it; `__new__` takes anything."""
    _self, *options = inspect.signature(DigaClient.__init__).parameters.values()

    assert list(inspect.signature(DigaClient).parameters.values()) == options
    assert {"api_key", "base_url", "timeouts"} <= {option.name for option in options}
