"""`PhoneLookups`: the stream of outcomes of many lookups; `collect` reads it all."""

from uuid import UUID

from diga_async._bulk.source import Source
from diga_async._bulk.stream import Stream
from diga_async._calls import Client
from diga_async._models.errors import DigaError
from diga_async._models.options import Timeouts, check_flag
from diga_async._models.outcomes import Failed, Found, Missing, Outcome, PhoneBatch
from diga_async._models.parameters import PhoneIds, Via
from diga_async._phones.outcomes import PhoneOutcomes
from diga_async._runs import make_plan, starter


class PhoneLookups(Stream[Outcome]):
    """
    A run: an async context manager and an async iterator of outcomes.

    It starts on entering the block, or with the first outcome asked for.
    Cancelling one ``anext()`` loses no outcome and does not end the run.
    It is read once: after it was closed, as at the end of its block, ``async for``
    raises `RuntimeError`.

    .. versionadded:: 0.1.0
    """

    __module__ = "diga_async"


def look_up_many(  # noqa: PLR0913 - every one is a decision of the user's
    client: Client,
    phone_ids: PhoneIds,
    *,
    concurrency: int | None,
    timeouts: Timeouts | float | None,
    via: Via,
    ordered: bool = False,
    distinct: bool = False,
) -> PhoneLookups:
    """
    Return a run that looks *phone_ids* up; its arguments are those of `iter_many`.

    Args:
        client: Sends the requests.
        phone_ids: The ids.
        concurrency: As for `iter_many`.
        timeouts: As for `iter_many`.
        via: As for `iter_many`.
        ordered: As for `iter_many`.
        distinct: Take each distinct id once, and remember their order.

    Raises:
        TypeError: *phone_ids* is one id, or not iterable.
        ConfigurationError: Another argument is wrong.
    """
    check_flag("ordered", ordered)
    source = Source(phone_ids)
    plan = make_plan(
        client,
        PhoneOutcomes(),
        concurrency=concurrency,
        timeouts=timeouts,
        ordered=ordered,
        distinct=distinct,
    )
    if via == "each":
        return PhoneLookups(starter(client, source, plan))
    from diga_async._phones.listed_run import starter_via  # noqa: PLC0415 - few list

    return PhoneLookups(starter_via(client, source, plan, via))


async def collect(lookups: PhoneLookups) -> PhoneBatch:
    """
    Read a run of distinct ids to its end.

    Raises:
        DigaError: The run ended early; `partial` of the error holds the batch so far.
    """
    outcomes: dict[UUID | str, Outcome] = {}
    try:
        async with lookups:
            async for outcome in lookups:
                outcomes[outcome.phone_id] = outcome
    except DigaError as error:
        error.partial = _batch(lookups, outcomes)
        raise
    return _batch(lookups, outcomes)


def _batch(lookups: PhoneLookups, outcomes: dict[UUID | str, Outcome]) -> PhoneBatch:
    in_order = [o for i in lookups.distinct_ids if (o := outcomes.get(i)) is not None]
    return PhoneBatch(
        phones={o.phone_id: o.phone for o in in_order if isinstance(o, Found)},
        missing=tuple(o.phone_id for o in in_order if isinstance(o, Missing)),
        failures={o.phone_id: o.error for o in in_order if isinstance(o, Failed)},
        unanswered=lookups.unanswered,
    )
