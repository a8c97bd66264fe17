"""Code of the other system runs here, with its modules replaced."""

import importlib.util
import os
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import diga_async
from diga_async._cli import lock as lock_here
from diga_async._transport import polling as polling_here

PACKAGE = Path(diga_async.__file__).parent
Load = Callable[..., ModuleType]


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load a module as Windows would, with stand-ins for modules of Windows."""

    def load(name: str, **stand_ins: object) -> ModuleType:
        spec = importlib.util.spec_from_file_location("on_windows", PACKAGE / name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "platform", "win32")
            for stand_in, value in stand_ins.items():
                patch.setitem(sys.modules, stand_in, value)
            spec.loader.exec_module(module)
        return module

    return load


class Locks:
    """The part of `msvcrt` that locks, as its documentation describes it."""

    LK_NBLCK = 2

    def __init__(self) -> None:
        self.locked: set[tuple[int, int, int]] = set()

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        """Lock bytes from the position of the file on, or raise `PermissionError`."""
        assert mode == self.LK_NBLCK
        inode = os.fstat(descriptor).st_ino
        place = (inode, os.lseek(descriptor, 0, os.SEEK_CUR), count)
        if place in self.locked:
            raise PermissionError
        self.locked.add(place)


@pytest.fixture(params=["here", "on Windows"])
def lock(request: pytest.FixtureRequest, on_windows: Load) -> Callable[[int], bool]:
    if request.param == "here":
        return lock_here.lock
    locking: Callable[[int], bool] = on_windows("_cli/lock.py", msvcrt=Locks()).lock
    return locking


def test_a_file_is_locked_once(lock: Callable[[int], bool], tmp_path: Path) -> None:
    path = tmp_path / "rows"
    with path.open("w") as first, path.open("w") as second:
        assert lock(first.fileno())
        assert not lock(second.fileno())


def test_on_windows_the_lock_lies_beyond_any_row(
    on_windows: Load, tmp_path: Path
) -> None:
    """Others could not read a locked row there."""
    locks = Locks()
    lock = on_windows("_cli/lock.py", msvcrt=locks).lock
    with (tmp_path / "rows").open("w") as file:
        lock(file.fileno())

    ((_, position, count),) = locks.locked
    assert (position, count) == (2**31 - 2, 1)


@pytest.fixture(params=["here", "on Windows"])
def poller(request: pytest.FixtureRequest, on_windows: Load) -> Any:
    if request.param == "here":
        return polling_here.Poller()
    import select  # noqa: PLC0415 - the part of it that Windows has

    only_select = SimpleNamespace(select=select.select)
    return on_windows("_transport/polling.py", select=only_select).Poller()


def test_a_socket_is_readable_once_it_has_bytes_or_has_ended(poller: Any) -> None:
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        assert not poller.is_readable(ours.fileno())
        theirs.send(b"x")
        assert poller.is_readable(ours.fileno())
        ours.recv(1)
        assert not poller.is_readable(ours.fileno())
        theirs.close()
        assert poller.is_readable(ours.fileno())
