"""The consumer's handle of a run."""

import pytest

from diga_async import DigaClient
from diga_async.sandbox import Sandbox


class StopHere(Exception):  # noqa: N818 - not an error
    """Ends a run."""


async def outcomes_of(lookups):
    """Return the outcomes before the run was halted."""
    outcomes = []
    try:
        async for outcome in lookups:
            outcomes.append(outcome)  # noqa: PERF401 - it raises
    except StopHere:
        return outcomes
    pytest.fail("the run was not halted")


async def test_a_halted_run_delivers_what_is_in_flight_and_sends_nothing_more():
    async with (
        Sandbox(100, latency=0.02) as sandbox,
        DigaClient(sandbox.api_key, base_url=sandbox.url) as client,
        client.phones.iter_many(sandbox.phone_ids, concurrency=4) as lookups,
    ):
        await anext(lookups)
        lookups.halt(StopHere())
        outcomes = await outcomes_of(lookups)
        assert len(outcomes) + 1 == client.stats.requests == len(sandbox.requests)
        assert len(outcomes) < 20


async def test_halting_a_run_that_has_not_started_does_nothing():
    async with (
        Sandbox(3) as sandbox,
        DigaClient(sandbox.api_key, base_url=sandbox.url) as client,
    ):
        lookups = client.phones.iter_many(sandbox.phone_ids)
        lookups.halt(StopHere())
        assert len([outcome async for outcome in lookups]) == 3
