"""One task that several callers wait for."""

import asyncio

import pytest
from fakes import FakeClock, turn

from diga_async._engine.shared_task import SharedTask, own_copy


class Work:
    """Work that ends by hand."""

    def __init__(self):
        self.begun = 0
        self.cancelled = 0
        self.ended = asyncio.get_running_loop().create_future()

    async def __call__(self):
        self.begun += 1
        try:
            return await asyncio.shield(self.ended)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


@pytest.fixture
async def work():
    return Work()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def shared(clock):
    return SharedTask(clock)


async def waiting(shared, work, *seconds):
    task = asyncio.create_task(shared.wait(work, *seconds))
    await turn()
    return task


async def test_all_callers_get_the_result_of_one_task(shared, work):
    tasks = [await waiting(shared, work) for _ in range(3)]
    work.ended.set_result("key")

    assert await asyncio.gather(*tasks) == ["key"] * 3
    assert work.begun == 1


async def test_the_next_caller_starts_the_work_anew(shared, work):
    work.ended.set_result("key")

    assert [await shared.wait(work), await shared.wait(work)] == ["key", "key"]
    assert work.begun == 2


async def test_a_caller_out_of_time_leaves_the_work_to_the_next(shared, work, clock):
    first = await waiting(shared, work, 1.0)
    await clock.advance(1.0)
    assert await first is None
    assert (work.cancelled, clock.waiting) == (0, [])

    second = await waiting(shared, work, 1.0)
    work.ended.set_result("key")
    assert await second == "key"
    assert work.begun == 1


async def test_cancelling_one_of_two_callers_disturbs_no_other(shared, work):
    first, second = await waiting(shared, work), await waiting(shared, work)
    first.cancel()
    await turn()
    work.ended.set_result("key")

    assert await second == "key"
    assert (work.cancelled, first.cancelled()) == (0, True)


async def test_cancelling_the_last_caller_cancels_the_work(shared, work):
    only = await waiting(shared, work)
    only.cancel()
    await turn()

    assert only.cancelled()
    assert (work.cancelled, shared.waiting) == (1, 0)


async def test_a_caller_that_comes_during_the_cancellation_starts_anew(shared, work):
    first = await waiting(shared, work)
    first.cancel()
    await asyncio.sleep(0)
    second = await waiting(shared, work)
    work.ended.set_result("key")

    assert await second == "key"
    assert work.begun == 2


async def test_every_caller_gets_its_own_copy_of_an_error(shared, work):
    tasks = [await waiting(shared, work) for _ in range(2)]
    work.ended.set_exception(OSError(5, "vault"))

    first, second = await asyncio.gather(*tasks, return_exceptions=True)

    assert str(first) == str(second) == "[Errno 5] vault"
    assert first is not second


async def test_an_error_without_a_waiting_caller_causes_no_warning(shared, work, clock):
    first = await waiting(shared, work, 1.0)
    await clock.advance(1.0)
    await first
    work.ended.set_exception(OSError(5, "vault"))
    await turn()


async def test_closing_ends_the_work(shared, work, clock):
    await (await shared_timed_out(shared, work, clock))
    await shared.close()
    await shared.close()

    assert work.cancelled == 1


async def shared_timed_out(shared, work, clock):
    task = await waiting(shared, work, 1.0)
    await clock.advance(1.0)
    return task


def test_a_copy_of_an_error_keeps_what_explains_it():
    def open_vault():
        raise OSError(5, "vault") from ValueError("cause")

    with pytest.raises(OSError, match="vault") as caught:
        open_vault()
    twin = own_copy(caught.value)

    assert twin is not caught.value
    assert twin.__traceback__ is caught.value.__traceback__
    assert twin.__cause__ is caught.value.__cause__


def test_a_value_is_shared_and_so_is_an_error_that_cannot_be_copied():
    class OddError(Exception):
        def __init__(self, one, two):
            super().__init__(one)

    value, odd = object(), OddError(1, 2)

    assert own_copy(value) is value
    assert own_copy(odd) is odd
