"""
The cost of a lookup, compared with hand-written aiohttp and other clients.

    python tests/benchmarks/compare.py                     all, about ten minutes
    python tests/benchmarks/compare.py --no-peers          without downloads
    python tests/benchmarks/compare.py --only ours tuned   some of them
    python tests/benchmarks/compare.py --uvloop            on uvloop
    python tests/benchmarks/compare.py --newer             beside compiled clients
    python tests/benchmarks/compare.py --json FILE         keep the results

It starts nginx (Debian: ``apt-get install nginx-light``) on one core, and every
contender as a process of its own on another. They take turns in one run, in an order
drawn anew each round, and are compared round by round; the first round is
discarded. The hand-tuned loop takes part twice, to show the noise.
"""

import argparse
import statistics

import attrs
import peers
import results
import servers
import tables
import turns

TUNED, WRITTEN, BARE = "tuned", "written", "bare"


@attrs.frozen
class Contender:
    """
    The contenders.

    Attributes:
        title: What it is, for readers.
        contender: ``module:name`` of what it does.
        single: Whether it looks up one after the other.
        share: Its lookups in a turn, of those asked for; few where it is slow.
        peer: Whether it needs the environment of the peers.
        loop: The module of its event loop, whatever the others run on.
    """

    title: str
    contender: str
    single: bool = False
    share: float = 1.0
    peer: bool = False
    loop: str | None = None


CONTENDERS = {
    "ours": Contender("diga_async, `iter_many`", "contenders:ours"),
    TUNED: Contender("aiohttp, tuned by hand", "contenders:tuned"),
    "tuned-again": Contender("the same once more: the noise", "contenders:tuned"),
    WRITTEN: Contender("aiohttp, as people write it", "contenders:written"),
    "floor": Contender("asyncio protocol by hand: the floor", "contenders:floor"),
    "ours-get": Contender(
        "diga_async, `get` one by one",
        "contenders:ours_one_by_one",
        single=True,
        share=0.25,
    ),
    BARE: Contender(
        "aiohttp, `session.get` one by one",
        "contenders:bare",
        single=True,
        share=0.25,
    ),
    "httpx": Contender("httpx", "peers:with_httpx", share=0.1, peer=True),
    "openapi-generator": Contender(
        "openapi-generator, asyncio",
        "peers:openapi_generator",
        peer=True,
    ),
    "openapi-python-client": Contender(
        "openapi-python-client", "peers:openapi_python_client", share=0.1, peer=True
    ),
}
NEWER = {
    "tuned-msgspec": Contender(
        "aiohttp, tuned by hand, msgspec", "contenders:tuned_msgspec"
    ),
    "pyreqwest": Contender("pyreqwest, msgspec", "peers:with_pyreqwest", peer=True),
    "wreq": Contender("wreq, msgspec", "peers:with_wreq", peer=True),
    "pyreqwest-get": Contender(
        "pyreqwest, msgspec, one by one",
        "peers:with_pyreqwest",
        single=True,
        share=0.25,
        peer=True,
    ),
    "wreq-get": Contender(
        "wreq, msgspec, one by one",
        "peers:with_wreq",
        single=True,
        share=0.25,
        peer=True,
    ),
}
"""Compiled clients and decoders; with ``--newer``, beside ours and aiohttp."""

BESIDE = ("ours", TUNED, "tuned-again", *NEWER, "ours-get", BARE)

EXPERIMENTS = {
    "tuned-turn": Contender(
        "tuned by hand, one turn of the loop before each send",
        "contenders:tuned_with_a_turn",
    ),
    "ours-orjson": Contender("diga_async with orjson", "contenders:ours_with_orjson"),
    "ours-uvloop": Contender("diga_async on uvloop", "contenders:ours", loop="uvloop"),
}


def entrant(name, contender, asked, python):
    chosen = {"python": python} if contender.peer else {}
    loop = contender.loop or ("uvloop" if asked.uvloop else None)
    return turns.Entrant(
        label=name,
        contender=contender.contender,
        lookups=max(1, int(asked.lookups * contender.share)),
        at_once=1 if contender.single else asked.at_once,
        loop=loop,
        **chosen,
    )


def chosen(asked):
    """Return the contenders that take part."""
    known = CONTENDERS | NEWER | EXPERIMENTS
    names = asked.only or (BESIDE if asked.newer else CONTENDERS)
    wanted = {name: known[name] for name in names}
    if not asked.peers_wanted:
        wanted = {name: c for name, c in wanted.items() if not c.peer}
    return wanted


def measure(asked, url, core=None):
    """Let them all take turns; return the results to keep."""
    wanted = chosen(asked)
    needed = any(c.peer for c in wanted.values())
    with peers.environment(asked.peers, wanted=needed) as made:
        entrants = [entrant(n, c, asked, made.python) for n, c in wanted.items()]
        took = turns.play(entrants, url, asked.rounds, core=core, said="round")
    packages = ("diga-async", "aiohttp", "attrs", "cattrs", "uvloop", "orjson")
    return {
        "made": results.made_with(*packages) | made.versions,
        "rounds": asked.rounds,
        "at_once": asked.at_once,
        "uvloop": asked.uvloop,
        "contenders": {
            e.label: {
                "title": wanted[e.label].title,
                "lookups": e.lookups,
                "at_once": e.at_once,
                **took[e.label],
            }
            for e in entrants
        },
    }


# --- what it says


def newer_rows(measured, *, single=False):
    """Return a table to ours: what each costs, where one of ours is 1."""
    contenders = measured["contenders"]
    ours = contenders["ours-get" if single else "ours"]
    yield ["client", "CPU, ours is 1", "time, ours is 1", "µs of CPU"]
    for of in contenders.values():
        if (of["at_once"] == 1) is single:
            ratios = [_ratio(of, ours, kind) for kind in ("cpu", "wall")]
            yield [of["title"], *ratios, f"{statistics.median(of['cpu']):.0f}"]


def newer_single_rows(measured):
    """Return the same table of the contenders that look up one id at a time."""
    yield from newer_rows(measured, single=True)


def better(contenders):
    """Return which of the two ways with aiohttp costs less; None without both."""
    both = [name for name in (TUNED, WRITTEN) if name in contenders]
    return turns.cheaper(contenders, both) if len(both) == 2 else None


def bulk_rows(measured):
    """Return a table of the contenders with many lookups in flight."""
    yield from _rows(measured, (better(measured["contenders"]), TUNED, WRITTEN))


def single_rows(measured):
    """Return a table of the contenders that look up one id at a time."""
    yield from _rows(measured, (BARE,), single=True)


ONES = {TUNED: "tuned", WRITTEN: "as written", BARE: "aiohttp"}


def _rows(measured, others, *, single=False):
    contenders = measured["contenders"]
    others = [name for name in dict.fromkeys(others) if name in contenders]
    heads = [f"CPU, {ONES[name]} is 1" for name in others]
    heads += [f"time, {ONES[name]} is 1" for name in others[:1]]
    yield ["client", *heads, "µs of CPU"]
    for of in contenders.values():
        if (of["at_once"] == 1) is not single:
            continue
        ratios = [_ratio(of, contenders[name], "cpu") for name in others]
        walls = [_ratio(of, contenders[name], "wall") for name in others[:1]]
        yield [of["title"], *ratios, *walls, f"{statistics.median(of['cpu']):.0f}"]


def _ratio(one, other, kind):
    return tables.ratio(turns.paired(one[kind], other[kind]))


def report(measured):
    print(
        f"{measured['rounds']} rounds, {measured['at_once']} in flight, "
        f"{'uvloop' if measured['uvloop'] else 'asyncio'}. A ratio is the median of "
        "the rounds, with its quartiles. The first is to the better of aiohttp's two."
    )
    print(", ".join(f"{name} {it}" for name, it in measured["made"].items()))
    for rows in (bulk_rows, single_rows):
        found = list(rows(measured))
        if len(found) > 1:
            print(f"\n{tables.markdown(found)}", end="")


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = [*CONTENDERS, *NEWER, *EXPERIMENTS]
    parser.add_argument("--rounds", type=int, default=30, help="after the first")
    parser.add_argument("--lookups", type=int, default=10_000, help="in a turn")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--uvloop", action="store_true", help="for every contender")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", choices=known, help=", ".join(known)
    )
    parser.add_argument("--newer", action="store_true", help="compiled clients")
    parser.add_argument("--peers", metavar="DIR", help="keep their environment here")
    parser.add_argument("--no-peers", action="store_false", dest="peers_wanted")
    parser.add_argument("--json", metavar="FILE", help="keep the results")
    return parser


def main():
    asked = arguments().parse_args()
    server, client = servers.cores()
    with servers.nginx(body=servers.FULL, core=server) as url:
        measured = measure(asked, url, client)
    report(measured)
    if asked.json:
        name = "newer" if asked.newer else "compare"
        name += "-uvloop" if asked.uvloop else ""
        results.save(asked.json, name, measured)


if __name__ == "__main__":
    main()
