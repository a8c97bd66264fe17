"""The rules for every test: no task, socket or asyncio complaint is left behind."""

import asyncio
import gc
import importlib
import inspect
import logging
import os
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from blockbuster import BlockBuster

pytest_plugins = ["pytester", "command"]

DESCRIPTORS = Path("/proc/self/fd")


def pytest_addoption(parser):
    parser.addoption("--uvloop", action="store_true", help="run tests under uvloop")
    parser.addoption(
        "--through-session",
        action="store_true",
        help="send every request through aiohttp's session",
    )


class LoopsOfUvloop:
    """Gives pytest-asyncio the loop: Python 3.14 deprecates policies."""

    @staticmethod
    def pytest_asyncio_loop_factories(config, item):
        return {"uvloop": importlib.import_module("uvloop").new_event_loop}


def pytest_configure(config):
    if config.getoption("--uvloop"):
        if sys.version_info >= (3, 14):
            config.pluginmanager.register(LoopsOfUvloop())
        else:
            uvloop = importlib.import_module("uvloop")
            asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    if config.getoption("--through-session"):
        check = importlib.import_module("diga_async._transport.self_check")
        check._VERDICT.is_known = True
        check._VERDICT.methods = check.methods()
        check.disable("the tests ask for it")


def pytest_collection_modifyitems(items):
    """Refuse ids that differ between two runs: pytest-xdist compares them."""
    unstable = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if unstable:
        raise pytest.UsageError(f"ids with an address: {unstable}")


@pytest.fixture(scope="session", autouse=True)
def programs_keep_their_bytecode():
    """Save some sixty programs that tests start from compiling the library."""
    before = os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    yield
    if before is not None:
        os.environ["PYTHONDONTWRITEBYTECODE"] = before


@pytest.fixture(scope="session", autouse=True)
def aiohttp_is_checked():
    """Check it before a test replaces its methods: the result is one for a process."""
    check = importlib.import_module("diga_async._transport.self_check")

    async def check_once():
        check.check()

    with closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(check_once())


@pytest.fixture(scope="session", autouse=True)
def nothing_blocks():
    """Fail what blocks the event loop inside the library."""
    watch = BlockBuster(scanned_modules=["diga_async"])
    watch.activate()
    yield watch
    watch.deactivate()


@pytest.fixture(scope="module", autouse=True)
def old_objects_rest():
    """Let tests collect their own garbage, not that of every library."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Keep the developer's own key and proxies out of the tests."""
    for name in list(os.environ):
        if name.startswith("DIGA_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def nothing_left(request, caplog):
    """Fail a test that leaves something behind, or makes asyncio complain."""
    caplog.set_level(logging.WARNING, logger="asyncio")
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("nothing_left_in_loop")
    yield
    complaints = [r.getMessage() for r in caplog.records if r.name == "asyncio"]
    assert complaints == []


@pytest.fixture
async def nothing_left_in_loop():
    """Compare tasks and sockets of the loop before and after."""
    tasks, sockets = asyncio.all_tasks(), open_sockets()
    yield
    for _ in range(20):  # transports close in a later turn of the loop
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    assert left == set()
    assert open_sockets() - sockets == set()


def open_sockets():
    """Return the connections this process has open, where the system tells."""
    if not DESCRIPTORS.exists():
        return set()
    return {link for d in os.listdir(DESCRIPTORS) if (link := connection_of(d))}  # noqa: PTH208


def connection_of(descriptor):
    """Return the name of a socket of TCP or UDP: loops have pairs of their own."""
    # A descriptor of the listing may be closed by now, as that of the listing is.
    with suppress(OSError):
        link = os.readlink(DESCRIPTORS / descriptor)  # noqa: PTH115 - not a path
        if link.startswith("socket:"):
            with socket.socket(fileno=os.dup(int(descriptor))) as copy:
                return link if copy.family != socket.AF_UNIX else None
    return None
