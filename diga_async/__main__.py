"""The command `diga`; without the extra `cli`, one line that says how to get it."""

import sys

_EXTRA_MODULES = {"click", "rich", "rich_click"}


def main() -> None:
    """
    Run the command line; exit with its code.

    .. versionadded:: 0.1.0
    """
    try:
        from diga_async._cli import app  # noqa: PLC0415 - the extra may be missing
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA_MODULES:
            raise
        sys.exit(_without_extra())
    app.run()


def _without_extra() -> int:
    sys.stderr.write(
        'diga: the command line needs an extra: pip install "diga-async[cli]"\n'
    )
    return 2


if __name__ == "__main__":  # pragma: no cover - runs in processes of its own
    main()
