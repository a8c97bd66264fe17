"""The turnstile: a few in each turn, everybody in the end, in the order they came."""

import asyncio
from itertools import pairwise

from diga_async._turnstile import MOST_A_TURN, Turnstile


async def test_a_few_go_on_in_each_turn():
    stile, gone = Turnstile(), []

    async def go(number):
        await stile.wait()
        gone.append(number)

    tasks = [asyncio.ensure_future(go(n)) for n in range(2 * MOST_A_TURN + 1)]
    counts = []
    while len(gone) < len(tasks):
        await asyncio.sleep(0)
        counts.append(len(gone))

    passed = [after - before for before, after in pairwise([0, *counts])]
    assert max(passed) == MOST_A_TURN
    assert gone == list(range(len(tasks)))
    await asyncio.gather(*tasks)


async def test_one_alone_waits_one_turn():
    task = asyncio.ensure_future(Turnstile().wait())

    await asyncio.sleep(0)
    assert not task.done()
    await asyncio.sleep(0)
    assert task.done()
