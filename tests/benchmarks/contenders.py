"""
Ways to look up phones, each as a context manager that yields ``run(ids)``.

All of them make the same model of an answer: `Phone` below, by cattrs with the
usual two hooks. Ours makes its own.
"""

import asyncio
import itertools
import json
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from uuid import UUID

import attrs
from cattrs import Converter

KEY = "sk-benchmark"
HEADERS = {"Authorization": f"Bearer {KEY}"}
SECONDS = 10.0


# --- the model


class TelephonyProvider(Enum):
    NETELIP = "netelip"
    CUSTOM = "custom"


class PhoneStatus(Enum):
    RESERVED = "reserved"
    PENDING_VERIFICATION = "pending_verification"
    ASSIGNED = "assigned"
    RELEASED = "released"
    FINISHED = "finished"


class SipMediaEncryption(Enum):
    DISABLE = "disable"
    ALLOW = "allow"
    REQUIRE = "require"


@attrs.frozen
class SipConfig:
    termination_uri: str | None = None
    username: str | None = None
    inbound_media_encryption: SipMediaEncryption = SipMediaEncryption.ALLOW
    outbound_media_encryption: SipMediaEncryption = SipMediaEncryption.ALLOW
    allowed_addresses: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class Phone:
    id: UUID
    nickname: str | None = None
    number: str
    telephony_provider: TelephonyProvider
    status: PhoneStatus
    released_at: datetime | None = None
    scheduled_release_at: datetime | None = None
    assigned_at: datetime | None = None
    inbound_agent_id: UUID | None = None
    outbound_agent_id: UUID | None = None
    sip_config: SipConfig | None = None
    checkout_url: str | None = None
    reservation_expires_at: datetime | None = None
    region_codes: tuple[str, ...] = ()


CONVERTER = Converter()
CONVERTER.register_structure_hook(UUID, lambda text, _: UUID(text))
CONVERTER.register_structure_hook(datetime, lambda t, _: datetime.fromisoformat(t))


def phone_of(fields):
    return CONVERTER.structure(fields, Phone)


def _by_cattrs(body):
    return phone_of(json.loads(body))


def msgspec_decoder():
    """Return a decoder to the same fields as a msgspec.Struct: in C, without extras."""
    import msgspec  # noqa: PLC0415 - optional

    sip = {a.name: (a.type, a.default) for a in attrs.fields(SipConfig)}
    sip_config = msgspec.defstruct("SipConfig", _as_struct(sip), frozen=True)
    fields = {a.name: (a.type, a.default) for a in attrs.fields(Phone)}
    fields["sip_config"] = (sip_config | None, None)
    model = msgspec.defstruct("Phone", _as_struct(fields), frozen=True, kw_only=True)
    return model, msgspec.json.Decoder(model).decode


def _as_struct(fields):
    return [
        (name, kind) if default is attrs.NOTHING else (name, kind, default)
        for name, (kind, default) in fields.items()
    ]


# --- ours


@asynccontextmanager
async def ours(url, at_once):
    """iter_many, streamed and counted."""
    from diga_async import DigaClient, Found, Limits  # noqa: PLC0415 - not for peers

    limits = Limits(concurrency=at_once)
    async with DigaClient(KEY, base_url=url, limits=limits) as diga:

        async def run(ids):
            found = 0
            async with diga.phones.iter_many(ids) as lookups:
                async for outcome in lookups:
                    found += type(outcome) is Found
            return found

        yield run


@asynccontextmanager
async def ours_without_end(url, at_once):
    """One iter_many over an endless source: each turn goes on where the last ended."""
    from diga_async import DigaClient, Found, Limits  # noqa: PLC0415 - not for peers

    limits = Limits(concurrency=at_once)
    async with (
        DigaClient(KEY, base_url=url, limits=limits) as diga,
        diga.phones.iter_many(_without_end()) as lookups,
    ):

        async def run(ids):
            found = 0
            for _ in ids:
                found += type(await anext(lookups)) is Found
            return found

        yield run


def _without_end():
    return (UUID(int=number) for number in itertools.count())


@asynccontextmanager
async def ours_afresh(url, at_once):
    """iter_many of a client made anew for each turn: nothing is learnt or open."""

    async def run(ids):
        async with ours(url, at_once) as run:
            return await run(ids)

    yield run


@asynccontextmanager
async def ours_one_by_one(url, _):
    """Await get(), one after the other."""
    from diga_async import DigaClient  # noqa: PLC0415 - not for peers

    async with DigaClient(KEY, base_url=url) as diga:

        async def run(ids):
            return len([await diga.phones.get(phone_id) for phone_id in ids])

        yield run


@asynccontextmanager
async def ours_with_orjson(url, at_once):
    """iter_many, with orjson in the place of json: an experiment."""
    import orjson  # noqa: PLC0415 - optional

    from diga_async._models import decoding  # noqa: PLC0415 - not for peers

    decoding._document = lambda text, _: orjson.loads(text)
    async with ours(url, at_once) as run:
        yield run


# --- aiohttp


@asynccontextmanager
async def tuned(url, at_once, before_each=None, decode=None, model=Phone):
    """Written by an aiohttp expert: workers over one iterator."""
    import aiohttp  # noqa: PLC0415 - others need it not
    from yarl import URL  # noqa: PLC0415 - the same

    decode = decode or _by_cattrs

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers=HEADERS,
        timeout=aiohttp.ClientTimeout(total=SECONDS),
    ) as session:

        async def work(ids):
            found = 0
            for phone_id in ids:
                if before_each is not None:
                    await before_each()
                address = URL(f"{url}/v1/phone/{phone_id}", encoded=True)
                async with session.get(address) as response:
                    body = await response.read()
                    response.raise_for_status()
                found += type(decode(body)) is model
            return found

        async def run(ids):
            one = iter(ids)
            return sum(await asyncio.gather(*(work(one) for _ in range(at_once))))

        yield run


@asynccontextmanager
async def tuned_with_a_turn(url, at_once):
    """The same, with one turn of the loop before each send: an experiment."""
    async with tuned(url, at_once, lambda: asyncio.sleep(0)) as run:
        yield run


@asynccontextmanager
async def tuned_msgspec(url, at_once):
    """The same, with a msgspec model."""
    model, decode = msgspec_decoder()
    async with tuned(url, at_once, decode=decode, model=model) as run:
        yield run


@asynccontextmanager
async def written(url, at_once):
    """The usual way: a semaphore, gather, response.json()."""
    import aiohttp  # noqa: PLC0415 - others need it not

    timeout = aiohttp.ClientTimeout(total=SECONDS)
    semaphore = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as session:

        async def look_up(phone_id):
            async with (
                semaphore,
                session.get(f"{url}/v1/phone/{phone_id}") as response,
            ):
                response.raise_for_status()
                return phone_of(await response.json())

        async def run(ids):
            return len(await asyncio.gather(*map(look_up, ids)))

        yield run


@asynccontextmanager
async def bare(url, _):
    """session.get, one after the other, with the model and a time limit."""
    import aiohttp  # noqa: PLC0415 - others need it not

    timeout = aiohttp.ClientTimeout(total=SECONDS)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout) as session:

        async def look_up(phone_id):
            async with session.get(f"{url}/v1/phone/{phone_id}") as response:
                response.raise_for_status()
                return phone_of(json.loads(await response.read()))

        async def run(ids):
            return len([await look_up(phone_id) for phone_id in ids])

        yield run


# --- below aiohttp


class Wire(asyncio.Protocol):
    """One kept connection; it trusts the server in everything."""

    def __init__(self, host):
        headers = "".join(f"{name}: {text}\r\n" for name, text in HEADERS.items())
        self.request = (
            f"GET /v1/phone/%s HTTP/1.1\r\nHost: {host}\r\n{headers}"
            "Accept: application/json\r\n\r\n"
        )
        self.received = b""

    def connection_made(self, transport):
        self.transport = transport

    def start(self, ids):
        self.ids, self.found = ids, 0
        self.done = asyncio.get_running_loop().create_future()
        self.send()

    def send(self):
        phone_id = next(self.ids, None)
        if phone_id is None:
            self.done.set_result(self.found)
        else:
            self.transport.write((self.request % phone_id).encode())

    def data_received(self, data):
        received = self.received + data if self.received else data
        head = received.find(b"\r\n\r\n")
        length = received.find(b"Content-Length: ")
        until = received.find(b"\r\n", length)
        size = int(received[length + 16 : until]) if until > 0 else 0
        if head < 0 or len(received) < head + 4 + size:
            self.received = received
            return
        self.received = b""
        self.found += type(phone_of(json.loads(received[head + 4 :]))) is Phone
        self.send()


@asynccontextmanager
async def floor(url, at_once):
    """An asyncio.Protocol without any checks: a bound that no client can reach."""
    host = url.removeprefix("http://")
    name, port = host.split(":")
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Wire(host), name, port)
        for _ in range(at_once)
    ]

    async def run(ids):
        one = iter(ids)
        for _, wire in made:
            wire.start(one)
        return sum([await wire.done for _, wire in made])

    yield run
    for transport, _ in made:
        transport.close()
