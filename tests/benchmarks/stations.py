"""
The cost of each step of a lookup on its own, without a network.

    python tests/benchmarks/stations.py               all of them, about a minute
    python tests/benchmarks/stations.py --json FILE   keep the results

The stations take turns in an order drawn anew each round. Decoding has rivals,
and each is compared with ours round by round; those that are optional where installed.
"""

import argparse
import asyncio
import gc
import json
import random
import statistics
import sys
import time
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

import results
import servers
import tables
import turns
from contenders import CONVERTER, KEY, Phone, PhoneStatus, TelephonyProvider
from multidict import CIMultiDict

import diga_async
from diga_async import DigaClient, Found
from diga_async._api.addresses import endpoint_of
from diga_async._api.keys import check_key
from diga_async._api.listing import PhoneQuery, list_phones
from diga_async._api.messages import Response
from diga_async._api.phones import get_phone, phone_id_of
from diga_async._engine.clock import Clock
from diga_async._engine.scheduler import Scheduler
from diga_async._flow.circuit_breaker import CircuitBreaker
from diga_async._flow.rate_limiter import RateLimiter
from diga_async._models.decoding import structure
from diga_async._models.outcomes import Found as Outcome
from diga_async._transport.deadlines import Attempt, TimeLimits

PHONE_ID = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
BODY = servers.FULL.replace("$phone", str(PHONE_ID)).encode()
OURS = "diga_async"


# --- decoding, and its rivals


def by_hand(body):
    """Read an answer with code for this class alone; nothing is checked."""
    fields = json.loads(body)
    return Phone(
        id=UUID(fields["id"]),
        nickname=fields["nickname"],
        number=fields["number"],
        telephony_provider=TelephonyProvider(fields["telephony_provider"]),
        status=PhoneStatus(fields["status"]),
        released_at=_moment(fields["released_at"]),
        scheduled_release_at=_moment(fields["scheduled_release_at"]),
        assigned_at=_moment(fields["assigned_at"]),
        inbound_agent_id=_uuid(fields["inbound_agent_id"]),
        outbound_agent_id=_uuid(fields["outbound_agent_id"]),
        sip_config=fields["sip_config"],
        checkout_url=fields["checkout_url"],
        reservation_expires_at=_moment(fields["reservation_expires_at"]),
        region_codes=tuple(fields["region_codes"]),
    )


def _moment(text):
    return None if text is None else datetime.fromisoformat(text)


def _uuid(text):
    return None if text is None else UUID(text)


def by_cattrs(body):
    return CONVERTER.structure(json.loads(body), Phone)


def by_pydantic():
    sys.path.append(str(Path(__file__).parents[1]))
    from foreign import (  # noqa: PLC0415 - optional, on the path set above
        PhoneRegisterResponseSchema,
    )

    return PhoneRegisterResponseSchema.model_validate_json


def by_msgspec():
    import msgspec  # noqa: PLC0415 - optional

    return msgspec.json.Decoder(Phone).decode


def by_orjson():
    """Only an experiment: the library has no such option."""
    import orjson  # noqa: PLC0415 - optional

    return lambda body: structure(orjson.loads(body), diga_async.Phone)


def decoders():
    """Return ways from the bytes of an answer to a value with all its types."""
    found = {
        OURS: diga_async.Phone.from_json,
        "json, and attrs by hand": by_hand,
        "json, and cattrs with two hooks": by_cattrs,
    }
    if find_spec("pydantic") and find_spec("fastapi"):
        found["pydantic"] = by_pydantic()
    if find_spec("msgspec"):
        found["msgspec"] = by_msgspec()
    if find_spec("orjson"):
        found["diga_async, with orjson"] = by_orjson()
    return {name: _with_body(decode) for name, decode in found.items()}


def _with_body(decode):
    return lambda: decode(BODY)


# --- the stations


def stations():
    """Return the steps of one lookup."""
    text, authorization = str(PHONE_ID), check_key(KEY)
    endpoint = endpoint_of("http://127.0.0.1:8000")
    operation = get_phone(PHONE_ID)
    response = Response(200, CIMultiDict({"Content-Type": "application/json"}), BODY)
    phone = diga_async.Phone.from_json(BODY)
    return {
        "check an id, a UUID": lambda: phone_id_of(PHONE_ID),
        "check an id, a text": lambda: phone_id_of(text),
        "build the request": lambda: bytes(
            get_phone(PHONE_ID).request(endpoint, authorization)
        ),
        "read the response": lambda: operation.answer(response, authorization),
        "read a page of 100 phones": read_page(authorization),
        "make the outcome": lambda: Outcome(PHONE_ID, phone, 1, 0.02),
        "ask and tell the rate limiter": paced(),
        "enter and leave the queue": admitted(),
    }


def read_page(authorization):
    """Return a function that reads a page of a listing."""
    operation = list_phones(PhoneQuery())
    body = b'{"data":[%s],"has_more":true}' % b",".join([BODY] * 100)
    page = Response(200, CIMultiDict({"Content-Type": "application/json"}), body)
    return lambda: operation.answer(page, authorization)


def paced():
    limiter, now, chance = _open_limiter(), time.monotonic, random.random

    def attempt():
        moment = now()
        if limiter.wait(moment) <= 0.0:
            limiter.sent(moment, chance(), 1)
            limiter.accepted(now(), moment, 1)

    return attempt


def _open_limiter():
    limiter = RateLimiter(concurrency=64, per_second=None, adaptive=True)
    for moment in range(200):
        limiter.sent(float(moment), 0.5, 1)
        limiter.accepted(moment + 0.5, float(moment), 1)
    return limiter


def admitted():
    clock = Clock()
    scheduler = Scheduler(_open_limiter(), CircuitBreaker(300.0), clock, random.random)

    def attempt():
        if scheduler.try_acquire(clock.now(), bulk=True) is not None:
            scheduler.release()

    return attempt


# --- in a loop


async def seconds_of_a_limit(count):
    """An attempt's time limit, set and taken back."""
    limits = TimeLimits()
    started = time.process_time()
    for _ in range(count):
        with Attempt(limits, 10.0):
            pass
    return time.process_time() - started


async def seconds_of_a_run(count):
    """iter_many with everything on, over a transport that answers immediately."""
    ids = [UUID(int=number) for number in range(count)]
    async with DigaClient(KEY, base_url="http://127.0.0.1:8000") as diga:
        _answer_at_once(diga, ids)
        started = time.process_time()
        async with diga.phones.iter_many(ids) as lookups:
            async for outcome in lookups:
                assert type(outcome) is Found
        return time.process_time() - started


async def seconds_of_gets(count):
    """Get with everything on, over a transport that answers immediately."""
    ids = [UUID(int=number) for number in range(count)]
    async with DigaClient(KEY, base_url="http://127.0.0.1:8000") as diga:
        _answer_at_once(diga, ids)
        started = time.process_time()
        for phone_id in ids:
            await diga.phones.get(phone_id)
        return time.process_time() - started


def _answer_at_once(diga, ids):
    headers = CIMultiDict({"Content-Type": "application/json"})
    answers = {
        str(i): Response(200, headers, servers.FULL.replace("$phone", str(i)).encode())
        for i in ids
    }

    async def send(request, **_):
        return answers[request.url.raw_path[-36:]]

    diga._lifecycle.open()._transport.send = send


IN_A_LOOP = {
    "set and cancel a time limit": seconds_of_a_limit,
    "a whole lookup of a run, without the network": seconds_of_a_run,
    "a whole `get`, without the network": seconds_of_gets,
}


# --- measuring


def timed(station):
    def seconds(count):
        started = time.process_time()
        for _ in range(count):
            station()
        return time.process_time() - started

    return seconds


def in_a_loop(station):
    return lambda count: asyncio.run(station(count))


def measure(rounds, count):
    """Return microseconds a call by round, of stations and of decoders."""
    works = {name: timed(work) for name, work in stations().items()}
    works |= {name: in_a_loop(work) for name, work in IN_A_LOOP.items()}
    rivals = {name: timed(work) for name, work in decoders().items()}
    return {
        "made": results.made_with("diga-async", "attrs", "cattrs", *OPTIONAL),
        "rounds": rounds,
        "calls": count,
        "stations": in_turns(works, rounds, count),
        "decoders": in_turns(rivals, rounds, count),
    }


OPTIONAL = ("pydantic", "msgspec", "orjson")


def in_turns(works, rounds, count):
    took = {name: [] for name in works}
    for number in range(rounds + 1):
        for name in random.sample(list(works), len(works)):
            gc.collect()
            each = works[name](count) / count * 1e6
            if number:
                took[name].append(round(each, 3))
    return took


def rows(measured):
    """Return a table of the stations."""
    yield ["station", "µs of CPU"]
    for name, took in measured["stations"].items():
        yield [name, f"{statistics.median(took):.2f}"]


def decoder_rows(measured):
    """Return a table of the decoders, each beside ours."""
    yield ["from bytes to a value with all its types", "CPU, ours is 1", "µs of CPU"]
    took = measured["decoders"]
    for name, of in took.items():
        ratio = tables.ratio(turns.paired(of, took[OURS]))
        yield [name, ratio, f"{statistics.median(of):.2f}"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="after the first")
    parser.add_argument("--calls", type=int, default=2000, help="in a turn")
    parser.add_argument("--json", metavar="FILE", help="keep the results")
    asked = parser.parse_args()
    measured = measure(asked.rounds, asked.calls)
    for table in (rows, decoder_rows):
        print(tables.markdown(table(measured)))
    if asked.json:
        results.save(asked.json, "stations", measured)


if __name__ == "__main__":
    main()
