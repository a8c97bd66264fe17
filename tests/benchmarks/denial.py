"""
The most that a hostile server costs: memory, CPU and time of one lookup.

    python tests/benchmarks/denial.py              every row, about a minute
    python tests/benchmarks/denial.py "gzip bomb"  one row
    AIOHTTP_NO_EXTENSIONS=1 python tests/benchmarks/denial.py

The server and each lookup run in separate processes. Memory is the peak of the process
above that of a process that looked up a valid phone, as the system counts it. A lookup
is one attempt with a limit of two seconds. The exit code is 1 when a row costs more
than promised.
"""

import argparse
import asyncio
import gzip
import json
import multiprocessing
import resource
import sys
import time
import zlib
from pathlib import Path

import attrs

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from byte_server import (  # noqa: E402 - found on the line above
    ByteServer,
    answer,
    answers,
    drips,
    hangs,
    says,
)
from fakes import PHONE_ID, phone_fields  # noqa: E402

from diga_async import (  # noqa: E402
    DigaClient,
    DigaError,
    Limits,
    RetryPolicy,
    Timeouts,
)

SECONDS = 2.0
#: What is promised: no more memory than a body at its bound and its pieces,
#: no more time than the limit and a busy machine's delay.
MOST_MIB, MOST_SECONDS = 16.0, SECONDS + 1.0

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1 << 20
BOMB = b" " * (256 * MIB)


def packed(encoding, body):
    return says(answer(body, Content_Encoding=encoding))


def wide(count):
    """A phone with many new fields."""
    return phone_fields(**{f"field_{number}": number for number in range(count)})


def nested(depth):
    """A phone with a deeply nested field."""
    text = json.dumps(phone_fields()).encode()
    return text[:-1] + b', "new": ' + b"[" * depth + b"]" * depth + b"}"


ROWS = {
    "a sound phone": lambda: answers,
    "header flood": lambda: drips(HEAD, b"X-Flood: yes\r\n" * 1000, 0.0),
    "endless header": lambda: drips(HEAD + b"X: ", b"y" * 65536, 0.0),
    "100 Continue storm": lambda: drips(
        b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.0
    ),
    "103 storm": lambda: drips(
        b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 500, 0.0
    ),
    "gzip bomb, 256 MiB": lambda: packed("gzip", gzip.compress(BOMB)),
    "deflate bomb, 256 MiB": lambda: packed("deflate", zlib.compress(BOMB)),
    "gzip in gzip": lambda: packed("gzip", gzip.compress(gzip.compress(BOMB))),
    "1 MiB of empty gzips": lambda: packed(
        "gzip", gzip.compress(b"") * (MIB // len(gzip.compress(b"")))
    ),
    "br, zstd": lambda: packed("br, zstd", bytes(MIB)),
    "endless body": lambda: drips(HEAD + b"\r\n", b" " * 65536, 0.0),
    "huge Content-Length": lambda: drips(answer(length=10**15), b" " * 65536, 0.0),
    "one-byte chunks": lambda: drips(CHUNKED, b"1\r\n \r\n" * 2000, 0.0),
    "chunk extensions": lambda: drips(CHUNKED, b"1;" + b"x" * 999 + b"\r\n \r\n", 0.0),
    "endless trailers": lambda: drips(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000, 0.0),
    "byte by byte": lambda: drips(answer(length=10**6), b" ", 0.001),
    "silence": hangs,
    "deep JSON, 500,000": lambda: says(answer(b"[" * 500_000)),
    "deep field, 60": lambda: says(answer(nested(60))),
    "deep field, 900": lambda: says(answer(nested(900))),
    "1 MiB of arrays": lambda: says(answer(b"[" + b"[]," * (MIB // 3 - 2) + b"[]]")),
    "1 MiB of objects": lambda: says(
        answer(b"[" + b'{"":0},' * (MIB // 7 - 2) + b"{}]")
    ),
    "45,000 new fields": lambda: says(answer(wide(45_000))),
    "30,000 new fields": lambda: says(answer(wide(30_000))),
    "4,000 new objects": lambda: says(answer(phone_fields(new=[{"": {}}] * 4_000))),
    "1 MiB of digits": lambda: says(answer(b'{"id": ' + b"9" * (MIB - 8) + b"}")),
    "1 MiB of escapes": lambda: says(answer(b'"' + b"\\u0061" * (MIB // 6 - 2) + b'"')),
    "1 MiB with an emoji": lambda: says(
        answer(b'{"number": "' + b"a" * (MIB - 99) + "😀".encode() + b'"}')
    ),
    "1 MiB of UTF-16": lambda: says(answer(("[" + "1," * 200_000).encode("utf-16"))),
    "errors of 1 MiB": lambda: says(
        answer({"detail": [{"loc": ["x" * 99] * 50, "msg": "y"}] * 180}, "422 No")
    ),
    "a message of 1 MiB": lambda: says(answer({"message": "+1 " * 349_000}, "400 No")),
}


# --- the processes


def serve(name, pipe):
    """Serve one row until told to stop."""

    async def serving():
        async with ByteServer(ROWS[name]()) as server:
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)

    asyncio.run(serving())


async def look_up(url):
    """Make one attempt; return its result."""
    once, limits = RetryPolicy(max_attempts=1), Limits(adaptive=False)
    seconds = Timeouts(SECONDS, attempt=SECONDS)
    async with DigaClient(
        "sk-1", base_url=url, retry=once, limits=limits, timeouts=seconds
    ) as diga:
        try:
            await diga.phones.get(PHONE_ID)
        except DigaError as error:
            return f"{type(error).__name__}: {error}"[:60]
        return "Phone"


def measure(url, pipe):
    """Look up in a fresh process; send the figures."""
    began, busy = time.monotonic(), time.process_time()
    came = asyncio.run(look_up(url))
    figures = Figures(
        came,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        time.process_time() - busy,
        time.monotonic() - began,
    )
    pipe.send(figures)


@attrs.frozen
class Figures:
    """
    The cost of one lookup.

    Attributes:
        came: Its result.
        mib: The peak of the process, resident.
        busy: CPU seconds.
        seconds: From start to end.
    """

    came: str
    mib: float
    busy: float
    seconds: float


def start(target, *arguments):
    """Run *target* in a fresh process with a pipe to it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=target, args=(*arguments, there))
    process.start()
    return process, here


def figures_of(name):
    """Measure one row."""
    server, to_server = start(serve, name)
    lookup, to_lookup = start(measure, to_server.recv())
    figures = to_lookup.recv()
    lookup.join()
    to_server.send(None)
    server.terminate()
    server.join()
    return figures


def main():
    """Measure, and print what costs too much."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", choices=[[], *ROWS])
    least = figures_of("a sound phone").mib
    dear = []
    print("| what comes | memory, MiB | CPU, s | time, s | what came of it |")
    print("|---|---|---|---|---|")
    for name in parser.parse_args().rows or ROWS:
        cost = figures_of(name)
        mib = max(0.0, cost.mib - least)
        print(
            f"| {name} | {mib:.1f} | {cost.busy:.2f} | {cost.seconds:.2f} "
            f"| {cost.came} |",
            flush=True,
        )
        if mib > MOST_MIB or cost.seconds > MOST_SECONDS:
            dear.append(name)
    print(f"too dear: {dear}" if dear else "nothing is too dear")
    sys.exit(bool(dear))


if __name__ == "__main__":
    main()
