"""Whether a socket has something to read, asked without waiting."""

import asyncio
import select
import sys

if sys.platform == "win32":  # pragma: no cover - tests run on POSIX

    class Poller:
        """Asks the system about sockets, by their descriptors."""

        def is_readable(self, descriptor: int) -> bool:
            """Whether the system holds bytes of a socket, or its end."""
            return bool(select.select([descriptor], [], [], 0)[0])

else:

    class Poller:
        """Asks the system about sockets, by their descriptors."""

        # A poll knows only a number, so it serves any socket that has that number.
        # A fork during a poll would leave it unusable, so each guard has its own.
        def __init__(self) -> None:
            self._polls: dict[int, select.poll] = {}

        def is_readable(self, descriptor: int) -> bool:
            """Whether the system holds bytes of a socket, or its end."""
            poll = self._polls.get(descriptor)
            if poll is None:
                poll = self._polls[descriptor] = select.poll()
                poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(0))


def is_readable(transport: asyncio.BaseTransport | None, poller: Poller) -> bool:
    """Whether the system holds bytes of a connection, or its end, for asyncio."""
    sock = None if transport is None else transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    return descriptor >= 0 and poller.is_readable(descriptor)
