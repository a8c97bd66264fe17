"""The command `diga`, or one line that says what it lacks."""

import sys

_OF_THE_EXTRA = {"click", "rich", "rich_click"}


def main() -> None:
    """
    Run the command line; exits with its code.

    .. versionadded:: 0.1.0
    """
    try:
        from diga_async._cli import app  # noqa: PLC0415 - the extra may not be there
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        sys.exit(_without_extra())
    app.run()


def _without_extra() -> int:
    sys.stderr.write(
        'diga: the command line needs an extra: pip install "diga-async[cli]"\n'
    )
    return 2


if __name__ == "__main__":  # pragma: no cover - by processes of their own
    main()
