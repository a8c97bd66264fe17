"""
Any bytes as an answer end in a phone or a `DigaError`, soon, and in little memory.

    python tests/benchmarks/fuzz.py                       ten minutes
    python tests/benchmarks/fuzz.py --minutes 1 --seed 7
    AIOHTTP_NO_EXTENSIONS=1 python tests/benchmarks/fuzz.py

Valid answers are corrupted: in the status line and the headers, in the chunks, in the
compressed or the plain body, in the fields. After each of them comes a valid answer
to a request for another id, on the same connection if that is still open: it must be
that phone or an error. Otherwise the bytes are printed, and the exit code is 1.
"""

import argparse
import asyncio
import gzip
import json
import random
import resource
import sys
import time
import zlib
from collections import Counter
from pathlib import Path
from uuid import UUID

import attrs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import byte_server as wire  # noqa: E402 - found on the line above
from fakes import PHONE_ID, phone_fields  # noqa: E402

from diga_async import (  # noqa: E402
    DigaClient,
    DigaError,
    Limits,
    RetryPolicy,
    Timeouts,
)

KEY = "sk-fa17ed00fa17ed00fa17ed00"
OTHER_ID = UUID(int=1)
ATTEMPT = 0.2
#: What one answer may take, two attempts' limits and a busy machine included.
MOST_SECONDS = 3.0
#: How much the peak of memory may grow after the first quarter of the time.
MOST_GROWTH_KIB = 8 * 1024
WORKERS = 8

SCALARS = [None, True, -1, 1e308, "", "x" * 300, "\ud800", [], {}, [[]], {"": None}]
TOKENS = [
    b"\r\n", b"\n", b"\0", b":", b" ", b"0", b"-1", b"9" * 30, b"chunked", b"gzip",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"Connection: close\r\n", b"\xff\xfe", b"[" * 99,
    b"Content-Encoding: deflate\r\n", b"Retry-After: 0\r\n", b"{}", b'"', b"\\u0000",
]  # fmt: skip


# --- what is sent


def spoil(dice, data):
    """Replace, repeat, cut or insert in a few places."""
    for _ in range(dice.randint(1, 5)):
        start = dice.randint(0, len(data))
        end = min(len(data), start + dice.choice([0, 1, 2, 20]))
        instead = dice.choice(
            [
                b"",
                dice.randbytes(dice.randint(1, 12)),
                data[start:end] * 3,
                *dice.sample(TOKENS, 2),
            ]
        )
        data = data[:start] + instead + data[end:]
    return data


def spoiled_fields(dice):
    """Write a phone with some fields replaced."""
    fields = phone_fields(sip_config={"username": "x"}, released_at=None)
    for name in dice.sample(sorted(fields), dice.randint(1, 3)):
        fields[name] = dice.choice(SCALARS)
    return json.dumps(fields).encode()


def chunked(dice, body):
    """Cut a body into chunks."""
    parts, size = [], dice.choice([1, 7, 100])
    for start in range(0, len(body), size):
        part = body[start : start + size]
        parts.append(b"%x\r\n%b\r\n" % (len(part), part))
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(parts) + b"0\r\n\r\n"


def refusal(dice):
    """Write any status but 200, with a body that may be JSON and quotes the key."""
    status = f"{dice.randint(0, 999):03} Why"
    body = json.dumps({"detail": dice.choice(SCALARS), "message": KEY}).encode()
    return wire.answer(spoil(dice, body), status, Retry_After="0")


def packed(dice):
    """Write a phone in a corrupted compression."""
    encoding, pack = dice.choice((("gzip", gzip.compress), ("deflate", zlib.compress)))
    return wire.answer(spoil(dice, pack(SOUND)), Content_Encoding=encoding)


SOUND = json.dumps(phone_fields()).encode()
KINDS = {
    "bytes": lambda dice: dice.randbytes(dice.randint(0, 300)),
    "head": lambda dice: spoil(dice, wire.phone()),
    "body": lambda dice: wire.answer(spoil(dice, SOUND)),
    "fields": lambda dice: wire.answer(spoiled_fields(dice)),
    "packed": packed,
    "chunks": lambda dice: spoil(dice, chunked(dice, SOUND)),
    "refusal": refusal,
}


# --- the results


@attrs.define
class Report:
    """The attempts, their results, and the wrong ones among them."""

    tried: Counter = attrs.field(factory=Counter)
    came: Counter = attrs.field(factory=Counter)
    slowest: float = 0.0
    growth: int = 0
    wrong: list = attrs.field(factory=list)


async def ask(diga, phone_id, report):
    """Look up one; return a wrong result, or None."""
    began = time.monotonic()
    try:
        phone = await diga.phones.get(phone_id)
    except DigaError as error:
        report.came[type(error).__name__] += 1
        if KEY in f"{error!r} {vars(error)}":
            return "the key in an error"
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return f"{type(error).__name__}: {error}"
    else:
        report.came["Phone"] += 1
        if phone.id != UUID(str(phone_id)):
            return "another phone"
    took = time.monotonic() - began
    report.slowest = max(report.slowest, took)
    return f"it took {took:.1f} s" if took > MOST_SECONDS else None


async def try_one(server, diga, dice, report):
    """Send one corrupted answer, and a valid one after it."""
    kind = dice.choice(sorted(KINDS))
    data = KINDS[kind](dice)
    cut = dice.randint(0, len(data))
    closing = dice.random() < 0.9
    move = wire.closes if closing else wire.says
    server.script = [move(data[:cut], data[cut:]), wire.answers]
    report.tried[kind] += 1
    for phone_id in (PHONE_ID, OTHER_ID):
        if (fault := await ask(diga, phone_id, report)) is not None:
            report.wrong.append(f"{fault}, of {kind}: {data!r}")


async def work(seed, ends, report):
    """Try one answer after the other until the time is over."""
    dice = random.Random(seed)  # noqa: S311
    options = {
        "retry": RetryPolicy(max_attempts=1),
        "timeouts": Timeouts(2 * ATTEMPT, attempt=ATTEMPT),
        "limits": Limits(adaptive=False),
    }
    while time.monotonic() < ends and not report.wrong:
        # A server keeps its connections, so it is replaced now and then.
        async with (
            wire.ByteServer(wire.answers) as server,
            DigaClient(KEY, base_url=server.url, **options) as diga,
        ):
            for _ in range(200):
                if time.monotonic() < ends:
                    await try_one(server, diga, dice, report)


async def fuzz(seconds, seed):
    """Try answers for *seconds*; return the report."""
    report, ends = Report(), time.monotonic() + seconds
    workers = asyncio.gather(
        *(work(f"{seed}-{number}", ends, report) for number in range(WORKERS))
    )
    await asyncio.wait([workers], timeout=seconds / 4)
    before = peak()
    await workers
    report.growth = peak() - before
    if report.growth > MOST_GROWTH_KIB:
        report.wrong.append(f"memory grew by {report.growth / 1024:.1f} MiB")
    return report


def peak():
    """Return the most memory this process has had, in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main():
    """Fuzz, and print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    report = asyncio.run(fuzz(60.0 * options.minutes, options.seed))
    print(f"tried {sum(report.tried.values()):,}: {dict(report.tried)}")
    print(f"came: {dict(report.came.most_common())}")
    print(f"slowest {report.slowest:.2f} s, memory {report.growth / 1024:+.1f} MiB")
    print("\n".join(report.wrong) or "nothing else came")
    sys.exit(bool(report.wrong))


if __name__ == "__main__":
    main()
