"""The failed ids of a fetch: which they are, and what can be done about them."""

from collections.abc import Iterator
from uuid import UUID

import attrs

from diga_async import DigaError, Failed, InvalidPhoneIdError
from diga_async._api.phones import phone_id_of
from diga_async._cli.exit_codes import message_of
from diga_async._cli.ids import Id
from diga_async._cli.redaction import shown
from diga_async._cli.terminal import counted

SHOWN = 3


@attrs.define
class Failures:
    """
    The failed ids that OUT has.

    Attributes:
        malformed: How many are not phone ids.
        lasting: How many would fail again: the same request has the same answer.
        passing: How many may be found at the next attempt.
        first: The first of them, with the reason.
    """

    malformed: int = 0
    lasting: int = 0
    passing: int = 0
    first: list[str] = attrs.field(factory=list)

    @property
    def count(self) -> int:
        """How many failed."""
        return self.malformed + self.lasting + self.passing

    def add(self, failed: Failed) -> None:
        """Add an outcome of this run."""
        self._count(failed.phone_id, failed.error)
        self._keep(_line(failed.phone_id, message_of(failed.error)))

    def add_earlier(self, text: str) -> None:
        """Add the id in a row of an earlier run, whose error is not read."""
        try:
            phone_id: Id = phone_id_of(text)
            reason = "failed in an earlier run"
        except InvalidPhoneIdError as error:
            phone_id, reason = text, message_of(error)
        self._count(phone_id, None)
        self._keep(_line(phone_id, reason))

    def _count(self, phone_id: Id, error: DigaError | None) -> None:
        if isinstance(phone_id, str) or isinstance(error, InvalidPhoneIdError):
            self.malformed += 1
        elif error is None or error.transient:
            self.passing += 1
        else:
            self.lasting += 1

    def _keep(self, line: str) -> None:
        if len(self.first) < SHOWN:
            self.first.append(line)

    def lines(self) -> Iterator[str]:
        """Yield a line for each of the first."""
        yield from self.first
        if self.count > len(self.first):
            yield f"failed: {counted(self.count - len(self.first), 'other id')}"

    def advice(self, source: str, retry: str | None) -> str | None:
        """
        Return what to do next; None when there is nothing to do.

        Args:
            source: Where the ids come from.
            retry: The command that looks the failed ids up again; None without OUT.
        """
        if self.malformed:
            ids = "1 is not a phone id; correct it"
            if self.malformed > 1:
                ids = f"{self.malformed:,} are not phone ids; correct them"
            again = "" if retry is None else f", then: {retry}"
            return f"{ids} in {source}{again}"
        if self.passing:
            return retry and f"to look up the failed ids again: {retry}"
        if self.lasting:
            return "another attempt would fail for the same reason"
        return None


def _line(phone_id: Id, reason: str) -> str:
    named = str(phone_id) if isinstance(phone_id, UUID) else shown(phone_id)
    return f"failed: {named}: {reason}"
