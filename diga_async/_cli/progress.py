"""Where a run stands, and the lines that say so where nothing can be redrawn."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import attrs

from diga_async import ClientStats, LookupStats
from diga_async._cli.rows import OUTCOMES

LINE_SECONDS = 30.0
#: A server that is silent for this long is mentioned.
SILENT_SECONDS = 4.0


@attrs.frozen(kw_only=True)
class Standing:
    """
    Where a run stands.

    Attributes:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
        settled: How many of *total* are done.
        total: How many ids there are; None when only the end will tell.
        outage: Whether the run waits for a server that does not answer.
    """

    outcomes: Counter[str]
    stats: LookupStats
    settled: int
    total: int | None
    outage: bool

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate of the time left; None when there is nothing to go by."""
        if self.total is None or not self.stats.rate:
            return None
        return max(0, self.total - self.settled) / self.stats.rate


def time_left(seconds: float | None) -> str:
    """
    Write a time to wait.

    >>> time_left(3725.2)
    '1:02:06'
    """
    if seconds is None:
        return "-:--:--"
    return str(timedelta(seconds=int(seconds) + (seconds % 1 > 0)))


def tally(outcomes: Counter[str]) -> str:
    """
    Write how many outcomes there are of each kind.

    >>> tally(Counter(found=1200, failed=4))
    '1,200 found, 0 missing, 4 failed'
    """
    return ", ".join(f"{outcomes[name]:,} {name}" for name in OUTCOMES)


class Bulletin:
    """
    Decides when a run prints a line, and what it says.

    It is pure: the time and the state of the run are arguments.

    Args:
        server: Where the run asks.
        max_outage: Seconds without an answer after which the run ends.
        now: When the run begins.
        periodic: Whether to print where the run stands, every 30 seconds.
    """

    def __init__(
        self, server: str, max_outage: float, now: float, *, periodic: bool
    ) -> None:
        self._server = server
        self._max_outage = max_outage
        self._next_line = now + LINE_SECONDS if periodic else float("inf")
        self._answered_at = now
        self._answers = 0
        self._server_errors = 0
        self._is_silent = False

    def lines(
        self, now: float, standing: Standing, client: ClientStats
    ) -> Iterator[str]:
        """Yield the lines that are due *now*."""
        yield from self._about_the_server(now, client)
        if now >= self._next_line:
            self._next_line += LINE_SECONDS * (
                (now - self._next_line) // LINE_SECONDS + 1
            )
            yield _progress_line(standing)

    def _about_the_server(self, now: float, client: ClientStats) -> Iterator[str]:
        answers = (
            client.found
            + client.missing
            + client.listed
            + client.throttled
            + client.rejected
            + client.invalid
        )
        if answers != self._answers:
            if self._is_silent:
                yield f"{self._server} answers again"
            self._is_silent = False
            self._answers = answers
            self._server_errors = client.server_errors
            self._answered_at = now
            return
        if not (client.outage or client.in_flight):
            self._answered_at = now  # nothing is asked, so no answer is due
        silence = now - self._answered_at
        if silence >= SILENT_SECONDS and not self._is_silent:
            self._is_silent = True
            has_errors = client.server_errors != self._server_errors
            what = "only server errors (5xx)" if has_errors else "no answer"
            yield (
                f"{what} from {self._server} for {silence:.0f} s; the run ends after "
                f"{self._max_outage:.0f} s of that, Ctrl-C ends it now"
            )


def _progress_line(standing: Standing) -> str:
    whole = "" if standing.total is None else f" of {standing.total:,}"
    line = f"{standing.settled:,}{whole}: {tally(standing.outcomes)}"
    line += f"; {standing.stats.rate:,.0f} a second"
    if standing.stats.throttled:
        line += f", {standing.stats.throttled:,} throttled"
    if standing.remaining_seconds is not None:
        line += f", {time_left(standing.remaining_seconds)} left"
    return line


def summary(outcomes: Counter[str], stats: LookupStats) -> Iterator[str]:
    """
    Yield a line or two on the outcomes of a run.

    Args:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
    """
    yield tally(outcomes)
    asked = stats.found + stats.missing + stats.failed
    if asked:
        rate = asked / stats.elapsed if stats.elapsed else 0.0
        yield (
            f"{asked:,} looked up in {stats.elapsed:,.1f} s, {rate:,.0f} a second; "
            f"{stats.retries:,} retried, {stats.throttled:,} throttled"
        )
