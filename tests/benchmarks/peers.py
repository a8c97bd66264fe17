"""Other clients, in an environment of their own: installed, generated, and run."""

from contextlib import contextmanager

import attrs


@attrs.frozen
class Peers:
    python: str = ""
    versions: dict = attrs.Factory(dict)
    notes: list = attrs.Factory(list)


@contextmanager
def environment(folder, wanted):
    yield Peers()
