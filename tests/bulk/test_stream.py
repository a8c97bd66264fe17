"""The consumer's handle of a run."""

import copy

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


STREAMS = {
    "the run": lambda phones, ids: phones.iter_many(ids),
    "the listing": lambda phones, ids: phones.list(),
    "the watch": lambda phones, ids: phones.watch(baseline={}),
}


@pytest.fixture
async def phones():
    async with (
        Sandbox(3) as sandbox,
        DigaClient(sandbox.api_key, base_url=sandbox.url) as client,
    ):
        yield client.phones, sandbox.phone_ids


@pytest.mark.parametrize("what", STREAMS)
class TestEveryStream:
    async def test_after_its_block_it_is_closed_and_says_how_to_go_on(
        self, phones, what
    ):
        """An empty loop would look as if there were no phones."""
        async with STREAMS[what](*phones) as stream:
            await anext(stream)

        with pytest.raises(RuntimeError, match=f"^{what} is closed: call .* again"):
            _ = [item async for item in stream]
        with pytest.raises(RuntimeError, match=f"^{what} is closed"):
            await stream.__aenter__()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    async def test_closing_it_in_its_own_loop_ends_that_loop(self, phones, what):
        stream = STREAMS[what](*phones)
        seen = []
        async for item in stream:
            seen.append(item)
            await stream.aclose()

        assert len(seen) == 1

    async def test_a_plain_loop_an_index_and_a_plain_block_are_explained(
        self, phones, what
    ):
        stream = STREAMS[what](*phones)
        for mistake in (list, lambda s: s[0], lambda s: "x" in s):
            with pytest.raises(TypeError, match=f"^{what} is a stream: .*'async for'"):
                mistake(stream)
        with pytest.raises(TypeError, match="use 'async with'"), stream:
            pass
        assert stream

    async def test_it_cannot_be_copied(self, phones, what):
        with pytest.raises(TypeError, match=f"^{what} cannot be copied or pickled"):
            copy.copy(STREAMS[what](*phones))


@pytest.mark.parametrize("what", ["the run", "the listing"])
async def test_after_its_end_a_stream_is_empty_as_every_iterator_is(phones, what):
    """Code that takes a stream in pieces asks again after the last piece."""

    async def take(most):
        taken = []
        async for item in stream:
            taken.append(item)
            if len(taken) == most:
                break
        return taken

    async with STREAMS[what](*phones) as stream:
        assert [len(await take(2)) for _ in range(3)] == [2, 1, 0]
