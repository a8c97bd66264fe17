"""
Contenders in turns: all of them alive, one at work, in an order drawn anew each round.

A machine's noise is slower than a turn. So only turns of the same round are compared;
absolute figures are additional.
"""

import json
import random
import statistics
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs
import servers

WORKER = Path(__file__).with_name("worker.py")


@attrs.frozen(kw_only=True)
class Entrant:
    """
    A contender, which takes a turn each round.

    Attributes:
        label: What it is called in the results.
        contender: ``module:name`` of its code.
        lookups: How many in a turn.
        at_once: How many of them in flight.
        python: The interpreter that has what it needs.
        loop: A module that makes event loops; None for asyncio's.
    """

    label: str
    contender: str
    lookups: int
    at_once: int
    python: str = sys.executable
    loop: str | None = None

    def command(self, url):
        chosen = [] if self.loop is None else ["--loop", self.loop]
        return [self.python, str(WORKER), self.contender, url, *chosen]


@contextmanager
def worker(entrant, url, core):
    """Run a worker process; yield a function that requests a turn."""
    with servers.on_core(core):
        process = subprocess.Popen(
            entrant.command(url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn():
        process.stdin.write(f"{entrant.lookups} {entrant.at_once}\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{entrant.label} ended: its words are above")
        return json.loads(line)

    with process:
        yield turn
        process.stdin.close()


SITTING = 10
"""
Rounds with the same processes; then they are started anew.

What a process happens to begin with, as where its memory lies, stays with it for as
long as it lives; no number of rounds would average that out.
"""


def play(  # noqa: PLR0913 - one place plays them all
    entrants, url, rounds, *, core=None, said=None, sitting=SITTING
):
    """
    Let each take a turn in every round, in sittings; discard first rounds.

    Returns:
        For each label the microseconds a lookup of CPU and of wall time, by round.
    """
    results = {e.label: {"cpu": [], "wall": []} for e in entrants}
    for begun in range(0, rounds, sitting):
        with ExitStack() as stack:
            turns = {e: stack.enter_context(worker(e, url, core)) for e in entrants}
            _ = _round(turns)
            for number in range(begun, min(begun + sitting, rounds)):
                if said is not None:
                    print(f"\r{said} {number + 1}/{rounds}", end="", file=sys.stderr)
                for entrant, took in _round(turns):
                    _note(results[entrant.label], took, entrant.lookups)
    if said is not None:
        print(file=sys.stderr)
    return results


def _round(turns):
    """Let each take one turn; return their times by label."""
    order = random.sample(list(turns), len(turns))
    return [(entrant, turns[entrant]()) for entrant in order]


def _note(result, took, lookups):
    for kind in ("cpu", "wall"):
        result[kind].append(round(took[kind] / lookups * 1e6, 2))


def paired(one, other):
    """Return quartiles of the ratio of two, round by round: low, median, high."""
    return quartiles([a / b for a, b in zip(one, other, strict=True)])


def quartiles(values):
    if len(values) == 1:
        return values * 3
    return statistics.quantiles(values, n=4, method="inclusive")


def cheaper(results, labels):
    """Return the label whose turns cost less CPU, by the median."""
    return min(labels, key=lambda label: statistics.median(results[label]["cpu"]))
