"""A lock on an open file, which ends with the process however that ends."""

import os
import sys

if sys.platform == "win32":  # pragma: no cover - tests run on POSIX
    import msvcrt

    # Others cannot read locked bytes, so the locked one lies beyond any row.
    _FAR = 2**31 - 2

    def lock(descriptor: int) -> bool:
        """Lock an open file for this process; return whether it was free."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock an open file for this process; return whether it was free."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_at(descriptor: int, path: str) -> bool:
    """Whether *path* still names the open file, and no other replaced it."""
    try:
        there = os.stat(path)  # noqa: PTH116 - the twin of fstat
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
