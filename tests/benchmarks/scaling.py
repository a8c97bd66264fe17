"""
How the cost of a lookup depends on the number of ids, in flight, and on latency.

    python tests/benchmarks/scaling.py               every part, about twenty minutes
    python tests/benchmarks/scaling.py latency       or: at-once, wide, ids, loops
    python tests/benchmarks/scaling.py --json FILE   keep the results

nginx answers (Debian: ``apt-get install nginx-light``); latency is that of a small
server in another process. Servers are on one core, clients on another, and
contenders take turns, as in ``compare.py``.
"""

import argparse
import statistics

import results
import servers
import tables
import turns

OURS, TUNED = "contenders:ours", "contenders:tuned"
AT_ONCE = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
WIDE = (64, 512, 1024, 2048, 4096)
LONG, BLOCK = "in a run of a million", 10_000
LATENCIES = {0.0: 20_000, 0.02: 20_000, 0.2: 5_000}
"""Seconds, and how many ids are asked for."""


def entrant(label, contender, lookups, at_once=64, loop=None):
    return turns.Entrant(
        label=label, contender=contender, lookups=lookups, at_once=at_once, loop=loop
    )


def played(entrants, rounds, said, **options):
    """Let entrants take turns with nginx."""
    server, client = servers.cores()
    with servers.nginx(body=servers.FULL, core=server) as url:
        return turns.play(entrants, url, rounds, core=client, said=said, **options)


# --- the parts: each returns results by label, and has a table


def at_once(asked):
    """From one lookup at a time to 512, beside aiohttp tuned by hand."""
    entrants = [
        entrant(f"{name}-{width}", contender, asked.lookups, width)
        for width in AT_ONCE
        for name, contender in (("ours", OURS), ("tuned", TUNED))
    ]
    return played(entrants, asked.rounds, "in flight: round")


def at_once_rows(took):
    yield [
        "in flight",
        "CPU, tuned is 1",
        "time, tuned is 1",
        "µs of CPU",
        "tuned, µs of CPU",
    ]
    for width in AT_ONCE:
        ours, tuned = took[f"ours-{width}"], took[f"tuned-{width}"]
        yield [
            str(width),
            tables.ratio(turns.paired(ours["cpu"], tuned["cpu"])),
            tables.ratio(turns.paired(ours["wall"], tuned["wall"])),
            f"{statistics.median(ours['cpu']):.0f}",
            f"{statistics.median(tuned['cpu']):.0f}",
        ]


def wide(asked):
    """The cost of more than a thousand lookups in flight; the command warns of it."""
    count = max(asked.lookups, 4 * WIDE[-1])
    entrants = [entrant(str(width), OURS, count, width) for width in WIDE]
    return played(entrants, max(1, asked.rounds // 3), "wide: round")


def wide_rows(took):
    yield ["in flight", "CPU, 64 is 1", "time, 64 is 1", "µs of CPU"]
    for width, of in took.items():
        ratios = (turns.paired(of[kind], took["64"][kind]) for kind in ("cpu", "wall"))
        cpu = f"{statistics.median(of['cpu']):.0f}"
        yield [width, *map(tables.ratio, ratios), cpu]


def ids(asked):
    """
    One run of a million ids, in blocks, beside runs of fewer.

    A block of the long run and a whole run of 10,000 ids take turns, so that each
    block has a neighbour to be compared with.
    """
    block = min(BLOCK, asked.most_ids)
    entrants = [
        entrant(LONG, "contenders:ours_without_end", block),
        entrant("10,000", OURS, block),
        entrant("1,000", OURS, max(1, block // 10)),
    ]
    blocks = max(2, asked.most_ids // block)
    return played(entrants, blocks, "ids: block", sitting=blocks)


def ids_rows(took):
    whole = took["10,000"]["cpu"]
    tail = max(1, len(whole) // 10)
    yield ["ids", "CPU, a run of 10,000 is 1", "µs of CPU"]
    parts = {
        "a run of 1,000": took["1,000"]["cpu"],
        "the first tenth of a million": took[LONG]["cpu"][:tail],
        "the last tenth of a million": took[LONG]["cpu"][-tail:],
        "all of the million": took[LONG]["cpu"],
    }
    for name, cpu in parts.items():
        beside = whole[-tail:] if name.startswith("the last") else whole[: len(cpu)]
        ratio = tables.ratio(turns.paired(cpu, beside))
        yield [name, ratio, f"{statistics.median(cpu):.0f}"]


def latency(asked):
    """Slow answers, compared with the best that 64 in flight could reach."""
    server, client = servers.cores()
    took = {}
    for seconds, lookups in LATENCIES.items():
        count = min(lookups, asked.most_ids)
        entrants = [
            entrant("ours", OURS, count),
            entrant("afresh", "contenders:ours_afresh", count),
            entrant("tuned", TUNED, count),
            entrant("floor", "contenders:floor", count),
            entrant("alone", "contenders:floor", max(1, count // 64), at_once=1),
        ]
        with servers.small(seconds, core=server) as url:
            rounds = max(1, asked.rounds // 6)
            said = f"latency {seconds}: round"
            played = turns.play(entrants, url, rounds, core=client, said=said)
        at_once = {e.label: e.at_once for e in entrants}
        took[f"{seconds * 1000:.0f}"] = {"at once": at_once, **played}
    return took


LATENCY_CONTENDERS = {
    "ours": "a client at work",
    "afresh": "a new client",
    "tuned": "aiohttp, tuned by hand",
    "floor": "asyncio protocol by hand",
    "alone": "the same, one at a time",
}


def latency_rows(took):
    yield [
        "answers after",
        "client",
        "time, ideal is 1",
        "time, one at a time is 1",
        "ms a lookup",
    ]
    for milliseconds, part in took.items():
        wall = {name: statistics.median(part[name]["wall"]) for name in part["at once"]}
        each = {name: wall[name] * width for name, width in part["at once"].items()}
        for name, title in LATENCY_CONTENDERS.items():
            ideal = int(milliseconds) * 1000  # µs
            yield [
                f"{milliseconds} ms",
                title,
                f"{each[name] / ideal:.3f}" if ideal else "",
                f"{each[name] / each['alone']:.3f}" if ideal else "",
                f"{each[name] / 1000:.2f}",
            ]


def loops(asked):
    """Uvloop in asyncio's place, and orjson in json's, which is an experiment only."""
    entrants = [
        entrant("ours", OURS, asked.lookups),
        entrant("ours, orjson", "contenders:ours_with_orjson", asked.lookups),
        entrant("tuned", TUNED, asked.lookups),
        entrant("ours, uvloop", OURS, asked.lookups, loop="uvloop"),
        entrant(
            "ours, uvloop and orjson",
            "contenders:ours_with_orjson",
            asked.lookups,
            loop="uvloop",
        ),
        entrant("tuned, uvloop", TUNED, asked.lookups, loop="uvloop"),
    ]
    return played(entrants, asked.rounds, "loops: round")


def loops_rows(took):
    yield ["client", "CPU, ours is 1", "time, ours is 1", "µs of CPU"]
    for name, of in took.items():
        yield [
            name,
            *(
                tables.ratio(turns.paired(of[k], took["ours"][k]))
                for k in ("cpu", "wall")
            ),
            f"{statistics.median(of['cpu']):.0f}",
        ]


PARTS = {
    "at-once": (at_once, at_once_rows),
    "wide": (wide, wide_rows),
    "ids": (ids, ids_rows),
    "latency": (latency, latency_rows),
    "loops": (loops, loops_rows),
}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=30, help="after the first")
    parser.add_argument("--lookups", type=int, default=2000, help="in a turn")
    parser.add_argument("--most-ids", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--json", metavar="FILE", help="keep the results")
    return parser


def main():
    parser = arguments()
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    made = results.made_with("diga-async", "aiohttp", "uvloop", "orjson")
    for name in asked.parts or PARTS:
        measure, rows = PARTS[name]
        took = measure(asked)
        print(f"{name}: {measure.__doc__.strip().splitlines()[0]}")
        print(tables.markdown(rows(took)))
        if asked.json:
            results.save(asked.json, name, {"made": made, "took": took})


if __name__ == "__main__":
    main()
