"""One run for one file: a lock that ends with the process, however it ends."""

import os
import sys

if sys.platform == "win32":  # pragma: no cover - nobody here has one
    import msvcrt

    # Locked bytes cannot be read by others: take one where no row will be.
    _FAR = 2**31 - 2

    def lock(descriptor: int) -> bool:
        """Lock an open file for this process; say whether nobody else had."""
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def lock(descriptor: int) -> bool:
        """Lock an open file for this process; say whether nobody else had."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_at(descriptor: int, path: str) -> bool:
    """Whether *path* still names the open file, and no other has taken its place."""
    try:
        there = os.stat(path)  # noqa: PTH116 - the twin of fstat
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
