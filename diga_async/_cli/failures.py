"""The failed ids of a fetch: which they are, and what can be done about them."""

from collections.abc import Iterator
from uuid import UUID

import attrs

from diga_async import APIStatusError, DigaError, Failed, InvalidPhoneIdError
from diga_async._api.phones import phone_id_of
from diga_async._cli.exit_codes import message_of
from diga_async._cli.ids import Id
from diga_async._cli.redaction import shown
from diga_async._cli.rows import reason_in
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
        has_answer: Whether an error of this run is one that Diga answered.
        missing: How many ids are missing, and have not failed.
        first_missing: The first of these.
    """

    malformed: int = 0
    lasting: int = 0
    passing: int = 0
    first: list[str] = attrs.field(factory=list)
    has_answer: bool = False
    missing: int = 0
    first_missing: list[str] = attrs.field(factory=list)

    @property
    def count(self) -> int:
        """How many failed."""
        return self.malformed + self.lasting + self.passing

    def add(self, failed: Failed) -> None:
        """Add an outcome of this run."""
        self._count(failed.phone_id, failed.error)
        self.has_answer = self.has_answer or is_from_diga(failed.error)
        self._keep(_line(failed.phone_id, message_of(failed.error)))

    def add_earlier(self, text: str, record: bytes) -> None:
        """Add the id in a row of an earlier run; *record* is the whole row."""
        try:
            phone_id: Id = phone_id_of(text)
            reason = "failed in an earlier run"
            if len(self.first) < SHOWN and (earlier := reason_in(record)):
                reason = f"{reason}: {earlier}"
        except InvalidPhoneIdError as error:
            phone_id, reason = text, message_of(error)
        self._count(phone_id, None)
        self._keep(_line(phone_id, reason))

    def add_missing(self, phone_id: str) -> None:
        """Add an id that the key's project does not have."""
        self.missing += 1
        if len(self.first_missing) < SHOWN:
            self.first_missing.append(phone_id)

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

    def advice(
        self, source: str, retry: str | None, check: str | None = None
    ) -> str | None:
        """
        Return what to do next; None when there is nothing to do.

        Args:
            source: Where the ids come from.
            retry: The command that looks the failed ids up again; None without OUT.
            check: The command that tells what is wrong with the server; None when
                the server answered as Diga does.
        """
        if self.malformed:
            ids = "1 is not a phone id; correct it"
            if self.malformed > 1:
                ids = f"{self.malformed:,} are not phone ids; correct them"
            again = "" if retry is None else f", then: {retry}"
            return f"{ids} in {source}{again}"
        if check is not None and self.count:
            return f"{check} says why"
        if self.passing:
            return retry and f"to look up the failed ids again: {retry}"
        if self.lasting:
            return "another attempt would fail for the same reason"
        return self._about_missing() if self.missing else None

    def _about_missing(self) -> str:
        others = self.missing - len(self.first_missing)
        more = f" and {counted(others, 'other id')}" if others else ""
        named = ", ".join(self.first_missing)
        return f"missing: {named}{more}; another attempt does not change that"


def is_from_diga(error: DigaError) -> bool:
    """Whether the body of a refusal has the form of Diga's errors."""
    if not isinstance(error, APIStatusError):
        return False
    return bool(error.error_code or error.details)


def _line(phone_id: Id, reason: str) -> str:
    named = str(phone_id) if isinstance(phone_id, UUID) else shown(phone_id)
    return f"failed: {named}: {reason}"
