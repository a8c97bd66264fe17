"""Waiting and watching over HTTP, against a sandbox that changes and misbehaves."""

import asyncio
import random

import pytest
from fakes import quick_client

from diga_async import Phone, WaitError
from diga_async.sandbox import Faults, Sandbox

EVERY = 0.02
FAULTS = Faults(
    errors=0.05,
    resets=0.05,
    truncated=0.05,
    garbage=0.05,
    looping_cursors=0.05,
    empty_pages=0.1,
    repeated_phones=0.1,
    broken_records=0.2,
)


def served(sandbox):
    return {i: Phone.from_dict(record) for i, record in sandbox.phones.items()}


def there(phones):
    return {i: phone for i, phone in phones.items() if phone is not None}


def alter(sandbox, chance):
    ids = [i for i, p in sandbox.phones.items() if p["status"] != "finished"]
    match chance.randrange(5):
        case 0:
            sandbox.add()
        case 1:
            sandbox.remove(chance.choice(ids))
        case 2:
            sandbox.hidden = set(chance.sample(ids, 3))
        case _:
            sandbox.change(chance.choice(ids), nickname=chance.choice("abcdef"))


async def hear(changes, sandbox, heard):
    """Take changes until they add up to the phones served."""
    async with asyncio.timeout(20):
        while there(heard) != served(sandbox):
            change = await anext(changes)
            assert change.before == heard.get(change.phone_id)
            heard[change.phone_id] = change.after
            assert changes.phones == heard


@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("sort_by", [None, "nickname"])
@pytest.mark.parametrize("watches_all", [True, False], ids=["all", "given"])
async def test_the_changes_delivered_add_up_to_what_is_served(
    numbered, sort_by, watches_all
):
    chance = random.Random(f"{numbered} {sort_by}")  # noqa: S311 - repeatable
    async with (
        Sandbox(250, numbered_pages=numbered, sort_by=sort_by) as sandbox,
        quick_client(sandbox.url, sandbox.api_key, attempts=2) as diga,
    ):
        ids = None if watches_all else [*sandbox.phone_ids, *spare(sandbox)]
        heard = {} if watches_all else dict.fromkeys(ids)
        async with diga.phones.watch(ids, every=EVERY, baseline=heard) as changes:
            await hear(changes, sandbox, heard)
            sandbox.faults = FAULTS
            for _ in range(5):
                for _ in range(5):
                    alter(sandbox, chance)
                sandbox.hidden &= heard.keys()  # an unlisted phone has to be known
                await hear(changes, sandbox, heard)


def spare(sandbox):
    """Return the ids of the next phones that the sandbox will add."""
    with_more = Sandbox(300, seed=sandbox.seed)
    return with_more.phone_ids[len(sandbox.phones) :]


async def test_a_project_that_stays_the_same_has_no_changes():
    async with (
        Sandbox(250, sort_by="nickname") as sandbox,
        quick_client(sandbox.url, sandbox.api_key, attempts=2) as diga,
    ):
        sandbox.faults = FAULTS
        async with diga.phones.watch(every=EVERY) as changes:
            waiting = asyncio.ensure_future(anext(changes))
            while changes.stats.polls < 40:  # noqa: ASYNC110 - nothing is told
                await asyncio.sleep(EVERY)
            assert not waiting.done()
        with pytest.raises(StopAsyncIteration):
            await waiting


async def test_a_wait_sees_a_change_of_the_sandbox():
    async with (
        Sandbox(1) as sandbox,
        quick_client(sandbox.url, sandbox.api_key) as diga,
    ):
        (phone_id,) = sandbox.phone_ids
        sandbox.change(phone_id, status="reserved")
        waits = [
            asyncio.ensure_future(
                diga.phones.wait_until(phone_id, status=status, every=EVERY)
            )
            for status in ("assigned", "released")
        ]
        while len(sandbox.requests) < 3:  # noqa: ASYNC110 - of another task
            await asyncio.sleep(0)
        sandbox.change(phone_id, status="assigned")
        assert (await waits[0]).status == "assigned"
        sandbox.change(phone_id, status="finished")

        with pytest.raises(WaitError):
            await waits[1]
