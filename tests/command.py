"""Fixtures for tests of the command `diga`: it runs in this process, in a sandbox."""

import sys

import pytest

from diga_async.sandbox import Sandbox


@pytest.fixture
def blocking_is_fine(nothing_blocks):
    """Allow blocking calls: a command may block while it writes a row."""
    nothing_blocks.deactivate()
    yield
    nothing_blocks.activate()


@pytest.fixture
def sandbox(monkeypatch):
    """Serve 20 phones to the commands of a test."""
    with Sandbox(20) as sandbox:
        monkeypatch.setenv("DIGA_BASE_URL", sandbox.url)
        monkeypatch.setenv("DIGA_API_KEY", sandbox.api_key)
        yield sandbox


@pytest.fixture
def ids(sandbox, tmp_path):
    """Return a file with the ids of all phones."""
    path = tmp_path / "ids.txt"
    path.write_text("".join(f"{i}\n" for i in sandbox.phone_ids))
    return path


@pytest.fixture
def diga(blocking_is_fine, monkeypatch, capfd, tmp_path):
    """Run the command; return its exit code, its output and its messages."""
    from diga_async import __main__  # noqa: PLC0415 - few tests need it

    monkeypatch.chdir(tmp_path)

    def diga(*arguments):
        monkeypatch.setattr(sys, "argv", ["diga", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return int(ended.value.code), captured.out, captured.err

    return diga
