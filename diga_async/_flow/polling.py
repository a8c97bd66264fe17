"""When the next poll begins: a pure rule."""

JITTER = 0.1


def next_start(begun: float, now: float, every: float, chance: float) -> float:
    """
    Return when the poll after one that began at *begun* starts.

    That is *every* seconds later, give or take a tenth; where the poll took longer,
    at the first multiple that is still to come.

    Args:
        begun: When the last poll began.
        now: When it ended.
        every: Seconds from start to start.
        chance: Between 0 and 1, for the jitter; 0.5 is none.

    >>> next_start(100.0, 101.0, 30.0, chance=0.5)
    130.0
    >>> next_start(100.0, 165.0, 30.0, chance=1.0)
    193.0
    """
    jitter = every * JITTER * (2.0 * chance - 1.0)
    late = now - begun - jitter
    if late <= every:
        return max(now, begun + every + jitter)
    return now + -late % every
