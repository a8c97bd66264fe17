"""
A Diga server on loopback that misbehaves on request.

It imports nothing of the client: it has its own records, words and HTTP, so that the
two cannot agree on a mistake.
"""

from diga_async.sandbox._faults import Fault, Faults
from diga_async.sandbox._sandbox import Sandbox, SeenRequest

__all__ = ["Fault", "Faults", "Sandbox", "SeenRequest"]

for _public in (Fault, Faults, Sandbox, SeenRequest):
    _public.__module__ = __name__
