"""
How close a run comes to an undeclared limit without losing an id.

    python tests/benchmarks/limits.py                 every row, about six minutes
    python tests/benchmarks/limits.py nginx-2000      one row
    python tests/benchmarks/limits.py --plot FOLDER   three runs, drawn

Rows named ``nginx`` run against a real nginx with ``limit_req`` (Debian:
``apt-get install nginx-light``); the others against a server of the tests' own,
in a separate process, for the kinds of limit that nginx does not have.
"""

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import attrs

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import simulation as sim  # noqa: E402 - found on the line above
from servers import REFUSAL, SHORT, nginx  # noqa: E402 - the same


@attrs.frozen(kw_only=True)
class Row:
    """
    One thing to show.

    Attributes:
        ids: Lookups, over all the clients together.
        limit: What the server allows a second; with `limit_after`, until then.
        server: A maker of a model server, or the options of nginx's limit_req.
        goodput: Least share of the limit to reach.
        refused: Largest share of the requests to be refused.
        clients: Processes on the one limit.
        delay: Seconds that every answer takes.
    """

    ids: int
    limit: float
    server: object
    goodput: float = 0.0
    refused: float = 1.0
    clients: int = 1
    delay: float = 0.0


def _nginx(rate, retry_after=""):
    return {"rate": rate, "burst": 20, "retry_after": retry_after}


def _bucket(rate, burst):
    return lambda: sim.Bucket(rate, burst)


def _changing(before, after, at):
    return lambda: sim.InTurn(
        (at, sim.Bucket(before, 20)), (math.inf, sim.Bucket(after, 20))
    )


def _refusing(since, until):
    return lambda: sim.Refusing(sim.Bucket(200, 20), since, until)


def _coming_back():
    return sim.InTurn(
        (10.0, sim.Bucket(200, 20)),
        (25.0, sim.Bucket(20, 20, full=False)),
        (math.inf, sim.Bucket(200, 20, full=False)),
    )


HALVED = (200, 100, 15.0)
"""A limit, a second limit, and the second in which the one becomes the other."""

ROWS = {
    "free": Row(ids=20_000, limit=1e9, server=sim.Free),
    "nginx-10000": Row(
        ids=10_000, limit=200, server=_nginx(200), goodput=0.97, refused=0.025
    ),
    "nginx-2000": Row(
        ids=2_000, limit=200, server=_nginx(200), goodput=0.95, refused=0.025
    ),
    "nginx-10000-retry-after": Row(
        ids=10_000, limit=200, server=_nginx(200, "1"), goodput=0.82
    ),
    "nginx-2000-retry-after": Row(
        ids=2_000, limit=200, server=_nginx(200, "1"), goodput=0.70
    ),
    "nginx-four-processes": Row(
        ids=10_000,
        limit=200,
        server=_nginx(200),
        goodput=0.95,
        refused=0.05,
        clients=4,
    ),
    "nginx-four-processes-retry-after": Row(
        ids=10_000, limit=200, server=_nginx(200, "1"), goodput=0.85, clients=4
    ),
    "nginx-20-a-second": Row(
        ids=2_000, limit=20, server=_nginx(20), goodput=0.95, refused=0.05
    ),
    "nginx-2000-a-second": Row(
        ids=20_000, limit=2_000, server=_nginx(2_000), goodput=0.90, refused=0.01
    ),
    "halved": Row(ids=4_500, limit=150, server=_changing(*HALVED), goodput=0.95),
    "doubled": Row(
        ids=9_000, limit=300, server=_changing(200, 400, 15.0), goodput=0.85
    ),
    "window-200-per-second": Row(
        ids=4_000, limit=200, server=lambda: sim.Window(200, 1.0), goodput=0.88
    ),
    "window-1000-per-5-seconds": Row(
        ids=5_000, limit=200, server=lambda: sim.Window(1000, 5.0), goodput=0.80
    ),
    "window-100-per-minute": Row(
        ids=250, limit=100 / 60, server=lambda: sim.Window(100, 60.0)
    ),
    "one-in-two-seconds": Row(ids=12, limit=0.5, server=_bucket(0.5, 1)),
    "ten-in-flight": Row(
        ids=6_000,
        limit=200,
        server=lambda: sim.InFlight(10, 0.05),
        goodput=0.85,
        refused=0.01,
    ),
    "200-ms-round-trip": Row(
        ids=3_000,
        limit=200,
        server=lambda: sim.Bucket(200, 20),
        goodput=0.80,
        delay=0.2,
    ),
    "refuses-for-10-seconds": Row(
        ids=6_000, limit=200, server=_refusing(10, 20), goodput=0.70
    ),
    "comes-back": Row(ids=5_300, limit=132.5, server=_coming_back, goodput=0.80),
    "no-burst": Row(ids=3_000, limit=200, server=_bucket(200, 0), goodput=0.60),
}


# --- servers


@contextmanager
def model(name):
    """Run a model server of that row in another process; yield its address."""
    command = [sys.executable, __file__, "--serve", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


class _Connection(asyncio.Protocol):
    def __init__(self, server, begun, delay):
        self._server = server
        self._begun = begun
        self._delay = delay

    def connection_made(self, transport):
        self._transport = transport

    def data_received(self, data):
        phone_id = data.split(b" ", 2)[1].rsplit(b"/", 1)[-1].decode()
        said = self._server.ask(time.monotonic() - self._begun)
        body, status = (SHORT.replace("$phone", phone_id), "200 OK")
        if not said.accepted:
            body, status = REFUSAL, "429 Too Many Requests"
        answer = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        delay = self._delay + said.service
        asyncio.get_running_loop().call_later(delay, self._transport.write, answer)


async def serve(row):
    loop = asyncio.get_running_loop()
    model_server, begun = row.server(), time.monotonic()
    server = await loop.create_server(
        lambda: _Connection(model_server, begun, row.delay), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


# --- clients


async def fetch(url, count, every=None):
    """Look up the ids of one process; return its results."""
    from diga_async import DigaClient, Found  # noqa: PLC0415 - servers need it not

    chances = random.Random()  # noqa: S311 - no secret
    ids = [UUID(int=chances.getrandbits(128)) for _ in range(count)]
    rates = []
    async with DigaClient("sk-benchmark", base_url=url) as diga:
        started = time.time()
        found = 0
        async for outcome in diga.phones.iter_many(ids):
            found += isinstance(outcome, Found)
            if every and found % every == 0:
                rates.append((time.time() - started, found, diga.stats.throttled))
        ended, stats = time.time(), diga.stats
    return {
        "found": found,
        "requests": stats.requests,
        "throttled": stats.throttled,
        "started": started,
        "ended": ended,
        "rates": rates,
    }


def server_for(name):
    row = ROWS[name]
    return nginx(row.server) if isinstance(row.server, dict) else model(name)


def measure(name):
    """Run one row; return its figures."""
    row = ROWS[name]
    each = row.ids // row.clients
    with server_for(name) as url:
        command = [sys.executable, __file__, "--fetch", url, str(each)]
        clients = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            for _ in range(row.clients)
        ]
        parts = [json.loads(client.communicate()[0]) for client in clients]
    seconds = max(p["ended"] for p in parts) - min(p["started"] for p in parts)
    times = [p["ended"] - p["started"] for p in parts]
    return {
        "row": name,
        "ids": row.ids,
        "lost": row.ids - sum(p["found"] for p in parts),
        "seconds": round(seconds, 1),
        "goodput": round(row.ids / seconds / row.limit, 3),
        "refused": round(
            sum(p["throttled"] for p in parts) / sum(p["requests"] for p in parts), 4
        ),
        "slowest_to_fastest": round(min(times) / max(times), 2),
        "wanted": f">= {row.goodput:.0%}, <= {row.refused:.1%}",
    }


def report(names):
    print("| row | ids | lost | seconds | goodput | refused | spread | wanted |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        m = measure(name)
        print(
            f"| {m['row']} | {m['ids']} | {m['lost']} | {m['seconds']} "
            f"| {m['goodput']:.1%} | {m['refused']:.2%} "
            f"| {m['slowest_to_fastest']} | {m['wanted']} |",
            flush=True,
        )


# --- pictures


@attrs.frozen
class Picture:
    """
    One run to draw.

    Attributes:
        row: Which one.
        limits: The server's limit from each second on.
    """

    row: str
    limits: tuple[tuple[float, int], ...]


PICTURES = {
    "rate": Picture("halved", ((0, HALVED[0]), (HALVED[2], HALVED[1]))),
    "refusal": Picture("refuses-for-10-seconds", ((0, 200), (10, 0), (20, 200))),
    "recovery": Picture("comes-back", ((0, 200), (10, 20), (25, 200))),
}


def plot(folder):
    """Draw the phones found in each second of some runs."""
    for name, picture in PICTURES.items():
        with server_for(picture.row) as url:
            fetched = fetch(url, ROWS[picture.row].ids, every=1)
            rates = asyncio.run(fetched)["rates"]
        answered = [0] * (int(rates[-1][0]) + 1)
        for moment, _, _ in rates:
            answered[int(moment)] += 1
        Path(folder, f"{name}.svg").write_text(svg(name, answered[:-1]))


DRAWING = """\
<svg class="rate" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 250" role="img" \
aria-labelledby="{name}-title {name}-desc">
<title id="{name}-title">Phones found in each second of one run</title>
<desc id="{name}-desc">{desc}</desc>
<style>
.rate text {{ fill: var(--color-foreground-secondary, #5a5c63); \
font: 14px sans-serif; }}
.rate .grid {{ stroke: var(--color-background-border, #ddd); }}
.rate rect {{ fill: var(--color-brand-primary, #2a5adf); fill-opacity: .75; }}
.rate .limit {{ fill: none; stroke: var(--color-foreground-primary, #000); \
stroke-width: 1.5; stroke-dasharray: 5 4; }}
</style>
<text x="0" y="14">found in a second</text>
{grid}
{bars}
<path class="limit" d="{limit}H{right}"/>
<text x="{right}" y="14" text-anchor="end">dashed: the server's limit</text>
{seconds}
</svg>
"""
LEFT, RIGHT, BOTTOM, STEP_Y = 40, 480, 228, 0.88


def svg(name, answered):
    """Draw the answers of each second, in the colours of the page."""
    limits = PICTURES[name].limits
    step = (RIGHT - LEFT) / len(answered)
    moves = [f"H{LEFT + second * step:.1f}V{height(n)}" for second, n in limits[1:]]
    return DRAWING.format(
        name=name,
        desc=described(answered, limits),
        grid="\n".join(grid_line(n) for n in (0, 100, 200)),
        bars="\n".join(bar(i, n, step) for i, n in enumerate(answered)),
        limit=f"M{LEFT} {height(limits[0][1])}{''.join(moves)}",
        right=RIGHT,
        seconds="\n".join(
            f'<text x="{LEFT + s * step:.1f}" y="246" text-anchor="middle">{s} s</text>'
            for s in range(0, len(answered), 5)
        ),
    )


def described(answered, limits):
    ends = [int(second) for second, _ in limits[1:]] + [len(answered)]
    parts = []
    for (second, limit), end in zip(limits, ends, strict=True):
        part = answered[int(second) : end]
        if part:
            parts.append(
                f"{span(part)} phones high from second {second:.0f} on, "
                f"where the server's limit is {limit}"
            )
    return f"A bar for each second, {'; '.join(parts)}."


def span(numbers):
    low, high = min(numbers), max(numbers)
    return f"{low} to {high}" if low < high else f"{low}"


def height(n):
    return round(BOTTOM - n * STEP_Y, 1)


def grid_line(n):
    y = height(n)
    return (
        f'<text x="{LEFT - 6}" y="{y + 5:.1f}" text-anchor="end">{n}</text>'
        f'<path class="grid" d="M{LEFT} {y}H{RIGHT}"/>'
    )


def bar(second, n, step):
    return (
        f'<rect x="{LEFT + (second + 0.1) * step:.1f}" y="{height(n)}" '
        f'width="{step * 0.8:.1f}" height="{n * STEP_Y:.1f}"/>'
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--plot", metavar="FOLDER")
    parser.add_argument("--serve", metavar="ROW", help=argparse.SUPPRESS)
    parser.add_argument("--fetch", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        asyncio.run(serve(ROWS[asked.serve]))
    elif asked.fetch:
        url, count = asked.fetch
        print(json.dumps(asyncio.run(fetch(url, int(count)))))
    elif asked.plot:
        plot(asked.plot)
    else:
        report(asked.rows or ROWS)


if __name__ == "__main__":
    main()
