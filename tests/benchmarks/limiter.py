"""
The throughput of the rate limiter in simulation: row by row, and with random servers.

    python tests/benchmarks/limiter.py                every row, then 1,000 servers
    python tests/benchmarks/limiter.py --rows 1,2 --draws 0

Shares are relative to the server's limit, from the moment that a row names.
Nothing waits: an hour of a server takes about a second. `limits.py` measures
some of the rows on real connections.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1])]

from drawn_servers import Draw, draw  # noqa: E402 - found on the line above
from simulation import (  # noqa: E402 - the same
    NO,
    Bucket,
    ByChance,
    Closed,
    Free,
    InFlight,
    InTurn,
    Log,
    Result,
    Server,
    Slow,
    Telling,
    Window,
    simulate,
)

END = math.inf


@dataclass
class Figures:
    """The result of one run of a row: the share accepted, throttled, and the rest."""

    share: float
    refused: float
    more: dict[str, float] = field(default_factory=dict)


def steady(  # noqa: PLR0913 - what a row says
    server: Callable[[int], Server],
    allows: float,
    since: float,
    until: float,
    *,
    starts: tuple[float, ...] = (0.0,),
    recovers: float | None = None,
    **settings: Any,
) -> Callable[[int], Figures]:
    """Return a row with an infinite number of ids, measured from a given moment."""

    def run(seed: int) -> Figures:
        result = simulate(
            server(seed),
            until=until,
            starts=starts,
            seed=seed,
            **settings,
        )
        more = {}
        if recovers is not None:
            more["seconds to 80 %"] = result.recovery(recovers, allows, 0.8)
        if len(starts) > 1:
            more["slowest to fastest"] = result.fairness(since)
        share = result.per_second(since, until) / allows
        return Figures(share, result.refused_share(since), more)

    return run


def finite(
    server: Callable[[int], Server],
    allowed: Callable[[float], float],
    ids: int,
    *,
    clients: int = 1,
    **settings: Any,
) -> Callable[[int], Figures]:
    """Return a row with a fixed number of ids, measured over the whole run."""

    def run(seed: int) -> Figures:
        result = simulate(
            server(seed),
            ids=ids // clients,
            starts=(0.0,) * clients,
            seed=seed,
            **settings,
        )
        share = result.found / allowed(result.ended)
        times = [client.accepted[-1] for client in result.clients]
        more = {"seconds": result.ended}
        if clients > 1:
            more["slowest to fastest"] = min(times) / max(times)
        return Figures(share, result.refused_share(), more)

    return run


def refusing(
    rate: float, seconds: float, after: float | None = None, service: float = 0.02
) -> Callable[[int], Server]:
    """Refuse everything from 20 s on, for so long; only that with Retry-After."""
    return lambda _: Slow(
        InTurn(
            (20, Telling(Bucket(rate, 20), None)),
            (20 + seconds, Telling(Closed(), after)),
            (END, Telling(Bucket(rate, 20), None)),
        ),
        service,
    )


def dip(after: float | None) -> Callable[[int], Server]:
    usual = 1.0 if after else None
    return lambda _: Slow(
        InTurn(
            (20, Telling(Bucket(200, 20), usual)),
            (40, Telling(Bucket(5, 20), after)),
            (END, Telling(Bucket(200, 20), usual)),
        ),
        0.02,
    )


def stairs(*limits: float) -> Callable[[int], Server]:
    return lambda _: InTurn(
        *(
            (15.0 * (k + 1) if k + 1 < len(limits) else END, Bucket(r, 20, full=k == 0))
            for k, r in enumerate(limits)
        )
    )


def gets(seed: int) -> Figures:
    """Row 4, as far as a limiter alone tells: the longest wait for a turn."""
    result = simulate(refusing(200, 10)(seed), until=60, seed=seed)
    sends = [at for at in result.clients[0].sends if at >= 35]
    longest = max(b - a for a, b in zip([35.0, *sends], sends, strict=False))
    return Figures(1.0, 0.0, {"longest wait": longest})


def joins(seed: int) -> Figures:
    """Row 15: the second client starts at 20 s."""
    result = simulate(
        Telling(Bucket(200, 20), None),
        until=100,
        starts=(0.0, 20.0),
        seed=seed,
    )
    share = result.per_second(40, 100) / 200
    return Figures(
        share, result.refused_share(40), {"slowest to fastest": result.fairness(40)}
    )


def _phase(seed: int) -> float:
    return seed * 0.37 % 1


ROWS: dict[str, Callable[[int], Figures]] = {
    "1 refuses for 10 s": steady(refusing(200, 10), 200, 35, 90, recovers=30),
    "1 refuses for 300 s": steady(refusing(200, 300), 200, 335, 400, recovers=320),
    "2 the same, Retry-After 1": steady(
        refusing(200, 10, 1.0), 200, 33, 90, recovers=30
    ),
    "2 60 s, Retry-After 5": steady(refusing(200, 60, 5.0), 200, 88, 150, recovers=80),
    "3 80/s, 250 ms, 25 s": steady(
        refusing(80, 25, None, 0.25), 80, 55, 120, recovers=45
    ),
    "4 gets after row 1": gets,
    "5 5/s for 20 s": steady(dip(None), 200, 52, 160, recovers=40),
    "5 Retry-After 5": steady(dip(5.0), 200, 52, 160, recovers=40),
    "5 Retry-After 10": steady(dip(10.0), 200, 55, 160, recovers=40),
    "5 Retry-After 30": steady(dip(30.0), 200, 85, 160, recovers=40),
    "6 strict 30 in 30 s, Retry-After 1": steady(
        lambda _: Telling(Log(30, 30, strict=True), 1.0), 1, 300, 600
    ),
    "6 strict 5 in 60 s, Retry-After 1": steady(
        lambda _: Telling(Log(5, 60, strict=True), 1.0), 5 / 60, 600, 1200
    ),
    "7 strict 12 in 6 s": steady(
        lambda _: Telling(Log(12, 6, strict=True), None), 2, 150, 300
    ),
    "8 2/s, burst 20, Retry-After 1": steady(
        lambda _: Telling(Bucket(2, 20), 1.0), 2, 300, 600
    ),
    "8 1/s, burst 0, Retry-After 1": steady(
        lambda _: Telling(Bucket(1, 0), 1.0), 1, 300, 600
    ),
    "9 10/s, burst 0, Retry-After 1": steady(
        lambda _: Telling(Bucket(10, 0), 1.0), 10, 100, 200
    ),
    "9 15/s, burst 0, Retry-After 1": steady(
        lambda _: Telling(Bucket(15, 0), 1.0), 15, 100, 200
    ),
    "10 200/s, 20 then 200 ms": steady(
        lambda _: Telling(
            Slow(Bucket(200, 20), lambda t: 0.02 if t < 20 else 0.2), None
        ),
        200,
        30,
        80,
        recovers=20,
    ),
    "10 100/s, 40 then 400 ms": steady(
        lambda _: Telling(
            Slow(Bucket(100, 20), lambda t: 0.04 if t < 20 else 0.4), None
        ),
        100,
        30,
        80,
        recovers=20,
    ),
    "11 4 in flight, then 16": steady(
        lambda s: InTurn(
            (25, InFlight(4, 0.1, spread=0, seed=s)),
            (END, InFlight(16, 0.1, spread=0, seed=s)),
        ),
        160,
        40,
        100,
        recovers=25,
    ),
    "12 60 in 20 s, Retry-After to the end": steady(
        lambda s: Telling(Window(60, 20, _phase(s)), -1.0), 3, 200, 400
    ),
    "13 50, 100, 50, 25, 100/s": steady(
        lambda s: Telling(stairs(50, 100, 50, 25, 100)(s), None), 65, 0, 75
    ),
    "14 no burst": steady(lambda _: Telling(Bucket(200, 0), None), 200, 30, 60),
    "14 round trips of 200 ms": steady(
        lambda _: Telling(Bucket(200, 20), None), 200, 30, 60, trip=0.2
    ),
    "15 a second client joins": joins,
    "16 four clients": steady(
        lambda _: Telling(Bucket(200, 20), None), 200, 0, 60, starts=(0.0,) * 4
    ),
    "16 four clients, Retry-After 1": steady(
        lambda _: Telling(Bucket(200, 20), 1.0), 200, 0, 60, starts=(0.0,) * 4
    ),
    "17 1 % by chance, per_second=300": steady(
        lambda s: ByChance(Free(), 0.01, NO, seed=s),
        300,
        45,
        90,
        per_second=300.0,
        trip=0.03,
    ),
    "18 20 % by chance, Retry-After 1": finite(
        lambda s: Telling(ByChance(Free(), 0.2, NO, seed=s), 1.0), lambda t: 200, 200
    ),
    "19 200/s, burst 20, 2,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), None), lambda t: 200 * t, 2_000
    ),
    "19 10,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), None), lambda t: 200 * t, 10_000
    ),
    "19 Retry-After 1, 2,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), 1.0), lambda t: 200 * t, 2_000
    ),
    "19 Retry-After 1, 10,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), 1.0), lambda t: 200 * t, 10_000
    ),
    "19 four processes, 10,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), None), lambda t: 200 * t, 10_000, clients=4
    ),
    "19 20/s, burst 20, 2,000 ids": finite(
        lambda _: Telling(Bucket(20, 20), None), lambda t: 20 * t, 2_000
    ),
    "19 2,000/s, burst 20, 20,000 ids": finite(
        lambda _: Telling(Bucket(2000, 20), None), lambda t: 2000 * t, 20_000
    ),
    "19 200/s halved at 15 s, 4,500 ids": finite(
        lambda _: Telling(InTurn((15, Bucket(200, 20)), (END, Bucket(100, 20))), None),
        lambda t: 3000 + 100 * (t - 15),
        4_500,
    ),
    "19 200/s doubled at 15 s, 9,000 ids": finite(
        lambda _: Telling(InTurn((15, Bucket(200, 20)), (END, Bucket(400, 20))), None),
        lambda t: 3000 + 400 * (t - 15),
        9_000,
    ),
    "19 200 in 1 s, 4,000 ids": finite(
        lambda s: Telling(Window(200, 1, _phase(s)), None), lambda t: 200 * t, 4_000
    ),
    "19 1,000 in 5 s, 5,000 ids": finite(
        lambda s: Telling(Window(1000, 5, _phase(s)), None), lambda t: 200 * t, 5_000
    ),
    "19 ten in flight, 6,000 ids": finite(
        lambda s: InFlight(10, 0.05, seed=s), lambda t: 200 * t, 6_000
    ),
    "19 served in 200 ms, 3,000 ids": finite(
        lambda _: Telling(Slow(Bucket(200, 20), 0.2), None), lambda t: 200 * t, 3_000
    ),
    "19 answers after 200 ms, 3,000 ids": finite(
        lambda _: Telling(Bucket(200, 20), None), lambda t: 200 * t, 3_000, trip=0.2
    ),
    "19 no burst, 3,000 ids": finite(
        lambda _: Telling(Bucket(200, 0), None), lambda t: 200 * t, 3_000
    ),
}


def rows(names: list[str], seeds: int) -> None:
    """Print each row's median, worst and refused."""
    for name in names:
        runs = [ROWS[name](seed) for seed in range(1, seeds + 1)]
        shares = [run.share for run in runs]
        line = (
            f"{name:38} {statistics.median(shares):6.1%}  worst {min(shares):6.1%}"
            f"  refused {statistics.median(run.refused for run in runs):5.1%}"
        )
        for key in runs[0].more:
            values = [run.more[key] for run in runs]
            line += f"  {key} {statistics.median(values):.2f} (to {max(values):.1f})"
        print(line, flush=True)


def draws(first: int, count: int, worst: int) -> None:
    """Print the statistic, and the worst draws."""
    begun = time.monotonic()
    found: list[tuple[float, float, Draw]] = []
    for seed in range(first, first + count):
        server = draw(seed)
        result: Result = server.run()
        since = max((server.changes_at + server.lasts) / 2, server.changes_at)
        found.append((server.share(result), result.refused_share(since), server))
    found.sort(key=lambda each: each[0])
    shares = [share for share, _, _ in found]
    print(
        f"{count} draws in {time.monotonic() - begun:.0f} s: "
        f"median {statistics.median(shares):.1%}, "
        f"worst decile {shares[count // 10]:.1%}, "
        f"refused at the median {statistics.median(r for _, r, _ in found):.1%}"
    )
    for label, key in (("kind", "kind"), ("Retry-After", "retry_after")):
        for value in sorted({getattr(d, key) for _, _, d in found}, key=str):
            part = [s for s, _, d in found if getattr(d, key) == value]
            print(
                f"  {label} {value!s:10} {len(part):4}  median "
                f"{statistics.median(part):6.1%}  decile {part[len(part) // 10]:6.1%}"
            )
    for share, refused, server in found[:worst]:
        print(f"  {share:.1%}, refused {refused:.0%}, {server}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", default="")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--draws", type=int, default=1000)
    asked = parser.parse_args()
    wanted = asked.rows.split(",") if asked.rows else []
    names = [n for n in ROWS if not wanted or n.split()[0] in wanted]
    rows(names, asked.seeds)
    if asked.draws:
        draws(1, asked.draws, 5)


if __name__ == "__main__":
    main()
