"""
The cost of importing the library and of starting its command line.

    python tests/benchmarks/startup.py               all of it, about a minute
    python tests/benchmarks/startup.py --json FILE   keep the results

Each is a separate process; they take turns in a random order each round, and are
compared round by round with importing the three required libraries.
The cost of a module: ``python -X importtime -c "import diga_async"``.
"""

import argparse
import os
import random
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import results
import tables
import turns

LIBRARIES = "import aiohttp, attrs, cattrs"
PROGRAMS = {
    "pass": ("-c", "pass"),
    "import diga_async": ("-c", "import diga_async"),
    LIBRARIES: ("-c", LIBRARIES),
    "from diga_async import DigaClient": ("-c", "from diga_async import DigaClient"),
    "diga --help": ("-m", "diga_async", "--help"),
}


def seconds_of(arguments):
    """Run Python; return the seconds of CPU that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        cwd=Path(__file__).parents[2],
        check=True,
        stdout=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds):
    """Return milliseconds of CPU by round."""
    took = {name: [] for name in PROGRAMS}
    for number in range(rounds + 1):
        for name in random.sample(list(PROGRAMS), len(PROGRAMS)):
            seconds = seconds_of(PROGRAMS[name])
            if number:
                took[name].append(round(seconds * 1000, 1))
    packages = ("diga-async", "aiohttp", "attrs", "cattrs", "rich-click")
    return {"made": results.made_with(*packages), "rounds": rounds, "took": took}


def rows(measured):
    took = measured["took"]
    yield ["program", "CPU, the three libraries are 1", "ms of CPU"]
    for name, milliseconds in took.items():
        ratio = tables.ratio(turns.paired(milliseconds, took[LIBRARIES]))
        yield [f"`{name}`", ratio, f"{statistics.median(milliseconds):.0f}"]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="after the first")
    parser.add_argument("--json", metavar="FILE", help="keep the results")
    asked = parser.parse_args()
    measured = measure(asked.rounds)
    print(tables.markdown(rows(measured)))
    if asked.json:
        results.save(asked.json, "startup", measured)


if __name__ == "__main__":
    main()
