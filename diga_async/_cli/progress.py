"""The progress of a run, and its lines where nothing can be redrawn."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

import attrs

from diga_async import APIConnectionError, ClientStats, DigaError, LookupStats
from diga_async._cli.exit_codes import message_of
from diga_async._cli.rows import OUTCOMES
from diga_async._cli.terminal import counted

LINE_SECONDS = 30.0
#: A server that is silent for this long is mentioned.
SILENT_SECONDS = 4.0
#: Writes the progress, with how long the server has been silent if it has.
Line = Callable[[str | None], str]
#: Rates below are written with a decimal.
FEW = 10


@attrs.frozen(kw_only=True)
class Standing:
    """
    The progress of a run.

    Attributes:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
        settled: How many of *total* are done.
        total: How many ids there are; None when only the end will tell.
        outage: Whether the run waits for a server that does not answer.
        limit: Requests a second that the server's throttling allows; None when it
            holds nothing back.
    """

    outcomes: Counter[str]
    stats: LookupStats
    settled: int
    total: int | None
    outage: bool
    limit: float | None = None

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate of the time left; None when there is nothing to go by."""
        if self.total is None or not self.stats.rate:
            return None
        return max(0, self.total - self.settled) / self.stats.rate

    def line(self, silence: str | None = None) -> str:
        """
        Write the progress of the run, for a log.

        Args:
            silence: How long the server has been silent; None while it answers.
        """
        whole = "" if self.total is None else f" of {self.total:,}"
        line = f"{self.settled:,}{whole}: {tally(self.outcomes)}"
        if silence is not None:
            return f"{line}; {silence}"
        line += f"; {self.stats.rate:,.0f} a second"
        if self.stats.throttled:
            line += f", {throttled_words(self.stats.throttled, self.limit)}"
        if self.remaining_seconds is not None:
            line += f", {time_left(self.remaining_seconds)} left"
        return line


@attrs.frozen(kw_only=True)
class ListStanding:
    """
    The progress of a listing.

    Attributes:
        phones: How many phones were read.
        pages: How many pages were read.
        total_pages: How many there are; None when the server does not say.
        throttled: How many requests the server throttled.
        outage: As in `Standing`.
        limit: As in `Standing`.
    """

    phones: int
    pages: int
    total_pages: int | None
    throttled: int
    outage: bool
    limit: float | None = None

    def line(self, silence: str | None = None) -> str:
        """
        Write the progress of the listing, for a log.

        Args:
            silence: How long the server has been silent; None while it answers.
        """
        whole = "" if self.total_pages is None else f" of {self.total_pages:,}"
        line = f"{counted(self.phones, 'phone')}, page {self.pages:,}{whole}"
        if silence is not None:
            return f"{line}; {silence}"
        if self.throttled:
            line += f", {throttled_words(self.throttled, self.limit)}"
        return line


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
        server: The server of the run.
        in_the_end: What becomes of a run whose server stays silent.
        now: When the run begins.
        periodic: Whether to print the progress every 30 seconds.
        polls: Whether the run sends requests at intervals: after a failure it keeps
            expecting an answer between them.
    """

    def __init__(
        self,
        server: str,
        in_the_end: str,
        now: float,
        *,
        periodic: bool,
        polls: bool = False,
    ) -> None:
        self._server = server
        self._in_the_end = in_the_end
        self._next_line = now + LINE_SECONDS if periodic else float("inf")
        self._answered_at = now
        self._answers = 0
        self._lost = 0
        self._server_errors = 0
        self._polls = polls
        self._is_silent = False
        self._has_told_why = False

    def lines(self, now: float, client: ClientStats, standing: Line) -> Iterator[str]:
        """Yield the lines that are due *now*; *standing* writes the periodic one."""
        yield from self._about_the_server(now, client)
        if now >= self._next_line:
            self._next_line += LINE_SECONDS * (
                (now - self._next_line) // LINE_SECONDS + 1
            )
            yield standing(self._silence(now, client) if self._is_silent else None)

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
            self._lost, self._server_errors = client.lost, client.server_errors
            self._answered_at = now
            return
        has_errors = client.server_errors != self._server_errors
        has_failed = has_errors or client.lost != self._lost
        is_due = client.outage or client.in_flight or (self._polls and has_failed)
        if not is_due:
            self._answered_at = now  # nothing is asked, so no answer is due
        silence = now - self._answered_at
        if silence >= SILENT_SECONDS and not self._is_silent:
            self._is_silent = True
            yield (
                f"{self._silence(now, client, f' from {self._server}')}"
                f"{self._reason(client)}; {self._in_the_end}"
            )
        elif self._is_silent and not self._has_told_why and client.last_error:
            yield f"still no answer from {self._server}{self._reason(client)}"

    def _silence(self, now: float, client: ClientStats, whose: str = "") -> str:
        has_errors = client.server_errors != self._server_errors
        what = "only server errors (5xx)" if has_errors else "no answer"
        return f"{what}{whose} for {now - self._answered_at:.0f} s"

    def _reason(self, client: ClientStats) -> str:
        """Return why, once an attempt has failed."""
        error = client.last_error
        self._has_told_why = error is not None
        return "" if error is None else f": {reason_in_words(error)}"


def reason_in_words(error: DigaError) -> str:
    """
    Return what *error* says, without the server where a line names it already.

    >>> reason_in_words(APIConnectionError("refused", host="diga.example", port=443))
    'refused'
    """
    if isinstance(error, APIConnectionError) and error.proxy is None:
        error = attrs.evolve(error, host=None)
    return message_of(error)


def server_limit(client: ClientStats) -> float | None:
    """
    Return the requests a second that the server's throttling allows.

    None when no such limit is known, and when only a cap of the user's own limits.
    """
    return client.rate if client.limiter == "limited" else None


def throttled_words(throttled: int, limit: float | None) -> str:
    """
    Write how much the server throttles.

    >>> throttled_words(1200, None), throttled_words(12, 197.6)
    ('1,200 throttled', 'throttled by the server to 198/s')
    """
    if limit is None:
        return f"{throttled:,} throttled"
    return f"throttled by the server to {rate_text(limit)}/s"


def rate_text(rate: float) -> str:
    """
    Write a rate; a small one has a decimal.

    >>> rate_text(1234.5), rate_text(2.25)
    ('1,234', '2.2')
    """
    return f"{rate:,.{0 if rate >= FEW else 1}f}"


def summary(outcomes: Counter[str], stats: LookupStats) -> Iterator[str]:
    """
    Yield a line or two on the outcomes of a run.

    Args:
        outcomes: How many are found, missing and failed, earlier runs included.
        stats: Of this run.
    """
    yield tally(outcomes)
    asked = stats.found + stats.missing + stats.failed
    if asked and outcomes.total():  # else what ended the run has no row
        rate = asked / stats.elapsed if stats.elapsed else 0.0
        yield (
            f"{asked:,} looked up in {stats.elapsed:,.1f} s, {rate:,.0f} a second; "
            f"{stats.retries:,} retried, {stats.throttled:,} throttled"
        )
