"""
Charts and tables of the results, for the page on performance.

    python tests/benchmarks/charts.py docs/explanation/performance.json

It draws what it finds in the file: charts as SVG beside it, and the tables into
the page of the same name, from ``<!-- figures: NAME -->`` to ``<!-- end -->``.
"""

import argparse
import json
import re
import sys
from html import escape
from pathlib import Path

import attrs

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE)]

import compare  # noqa: E402 - found on the line above
import scaling  # noqa: E402 - the same
import startup  # noqa: E402 - the same
import stations  # noqa: E402 - the same
import tables  # noqa: E402 - the same
import turns  # noqa: E402 - the same

PEERS = ("httpx", "openapi-generator", "openapi-python-client")
FRONT = ("ours", compare.WRITTEN, compare.TUNED)
CLOSE = ("floor", "ours", compare.WRITTEN, compare.TUNED, "tuned-again")


# --- drawing


@attrs.frozen
class Bar:
    """
    One row of a chart.

    Attributes:
        label: What it is.
        quartiles: Low, median, high.
        ours: Whether it is this library.
    """

    label: str
    quartiles: list[float]
    ours: bool = False


WIDE, LONGEST, ROW, BOX = 480, 430, 46, 16
PICTURE = """\
<svg class="measured" xmlns="http://www.w3.org/2000/svg" \
viewBox="0 0 {wide} {high}" role="img" aria-labelledby="{name}-title {name}-desc">
<title id="{name}-title">{title}</title>
<desc id="{name}-desc">{desc}</desc>
<style>
.measured text {{ fill: var(--color-foreground-primary, #000); \
font: 14px sans-serif; }}
.measured rect {{ fill: var(--color-foreground-muted, #6b6f76); fill-opacity: .6; }}
.measured .ours {{ fill: var(--color-brand-primary, #2a5adf); fill-opacity: .85; }}
.measured .spread {{ stroke: var(--color-foreground-primary, #000); \
stroke-width: 1.5; }}
.measured .one {{ stroke: var(--color-foreground-secondary, #5a5c63); \
stroke-width: 1.5; stroke-dasharray: 4 3; }}
</style>
{content}
</svg>
"""


def drawn(name, title, bars):
    """Draw bars from 0; dashes mark 1, the reference."""
    scale = LONGEST / max(1.0, *(bar.quartiles[2] for bar in bars))
    return PICTURE.format(
        wide=WIDE,
        high=len(bars) * ROW,
        name=name,
        title=escape(title),
        desc=escape(_described(bars)),
        content="\n".join(_row(b, n * ROW, scale) for n, b in enumerate(bars)),
    )


def _row(bar, y, scale):
    low, median, high = (value * scale for value in bar.quartiles)
    top, middle = y + 20, y + 20 + BOX / 2
    kind = "ours" if bar.ours else "other"
    return (
        f'<text x="0" y="{y + 15}">{escape(bar.label)}</text>'
        f'<rect class="{kind}" x="0" y="{top}" width="{median:.1f}" height="{BOX}"/>'
        f'<path class="spread" d="M{low:.1f} {middle}H{high:.1f}"/>'
        f'<path class="one" d="M{scale:.1f} {top - 4}v{BOX + 8}"/>'
        f'<text x="{WIDE}" y="{top + 13}" text-anchor="end">'
        f"{_shown(bar.quartiles[1])}</text>"
    )


def _described(bars):
    parts = (f"{bar.label} {_shown(bar.quartiles[1])}" for bar in bars)
    return f"Bars, from the top: {'; '.join(parts)}."


def _shown(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


# --- charts: each takes the sections of the file


def _against_better(measured, names):
    contenders = measured["contenders"]
    other = contenders[compare.better(contenders)]
    return [
        Bar(
            contenders[name]["title"].replace("`", ""),
            turns.paired(contenders[name]["cpu"], other["cpu"]),
            ours=name.startswith("ours"),
        )
        for name in names
        if name in contenders
    ]


BETTER = "the better of the two programs with aiohttp is 1"


def chart_for_the_front(sections):
    return "CPU of a lookup, beside aiohttp by hand", _against_better(
        sections["compare"], FRONT
    )


def chart_of_aiohttp(sections):
    return f"CPU of a lookup; {BETTER}", _against_better(sections["compare"], CLOSE)


def chart_of_peers(sections):
    return f"CPU of a lookup with other clients; {BETTER}", (
        _against_better(sections["compare"], ("ours", *PEERS))
    )


def chart_of_widths(sections):
    took = sections["at-once"]["took"]
    bars = [
        Bar(
            f"{width} in flight",
            turns.paired(took[f"ours-{width}"]["cpu"], took[f"tuned-{width}"]["cpu"]),
            ours=True,
        )
        for width in scaling.AT_ONCE
        if f"ours-{width}" in took
    ]
    return "CPU of a lookup by lookups in flight; aiohttp tuned by hand is 1", bars


def chart_of_decoders(sections):
    took = sections["stations"]["decoders"]
    bars = [
        Bar(name, turns.paired(of, took[stations.OURS]), ours=name == stations.OURS)
        for name, of in took.items()
    ]
    return "CPU of decoding an answer; ours is 1", bars


def chart_of_newer(sections):
    bars = []
    for section, loop in (("newer", "asyncio"), ("newer-uvloop", "uvloop")):
        contenders = sections.get(section, {}).get("contenders", {})
        bars += [
            Bar(
                f"{contenders[name]['title'].replace('`', '')}, {loop}",
                turns.paired(contenders[name]["cpu"], contenders["ours"]["cpu"]),
                ours=name == "ours",
            )
            for name in ("ours", "pyreqwest", "wreq", "tuned-msgspec", "tuned")
            if name in contenders
        ]
    return "CPU of a lookup; ours on the same event loop is 1", bars


CHARTS = {
    "front": ("compare", chart_for_the_front),
    "newer": ("newer", chart_of_newer),
    "aiohttp": ("compare", chart_of_aiohttp),
    "peers": ("compare", chart_of_peers),
    "at-once": ("at-once", chart_of_widths),
    "decoders": ("stations", chart_of_decoders),
}


def charts(sections):
    """Yield the name and the SVG of each chart that there are figures for."""
    for name, (section, chart) in CHARTS.items():
        if section in sections:
            title, bars = chart(sections)
            yield name, drawn(f"performance-{name}", title, bars)


# --- tables


def made_with(sections):
    """Return the versions used, and the number of rounds of each part."""
    found = dict(sections["compare"]["made"])
    python, system, cores = (found.pop(n) for n in ("python", "system", "cores"))
    packages = ", ".join(f"{name} {version}" for name, version in found.items())
    parts = ", ".join(f"{name} {_rounds(of)}" for name, of in sections.items())
    return (
        f"Made with CPython {python} on {system} of {cores} cores.\n"
        f"The packages: {packages}.\n"
        f"The rounds: {parts}.\n"
    )


def _rounds(value):
    """Return the length of the first list of figures that there is."""
    if isinstance(value, dict):
        return next(filter(None, map(_rounds, value.values())), 0)
    return len(value) if isinstance(value, list) else 0


def table(rows, key=None):
    """Return a function that makes a table of a section, or of its *key*."""
    return lambda of: tables.markdown(rows(of if key is None else of[key]))


WRITTEN_OUT = {
    "made-with": ("compare", made_with),
    "bulk": ("compare", table(compare.bulk_rows)),
    "single": ("compare", table(compare.single_rows)),
    "bulk-uvloop": ("compare-uvloop", table(compare.bulk_rows)),
    "newer": ("newer", table(compare.newer_rows)),
    "newer-uvloop": ("newer-uvloop", table(compare.newer_rows)),
    "newer-single": ("newer", table(compare.newer_single_rows)),
    "stations": ("stations", table(stations.rows)),
    "decoders": ("stations", table(stations.decoder_rows)),
    "startup": ("startup", table(startup.rows)),
    **{n: (n, table(rows, "took")) for n, (_, rows) in scaling.PARTS.items()},
}
PLACE = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def filled(page, sections):
    """Return the page with the figures that the file has."""

    def text(place):
        section, written = WRITTEN_OUT[place[2]]
        if section not in sections:
            return place[0]
        of = sections if written is made_with else sections[section]
        return f"{place[1]}\n{written(of)}\n"

    return PLACE.sub(text, page)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE.json")
    file = parser.parse_args().file
    sections = json.loads(file.read_text())
    for name, svg in charts(sections):
        file.with_name(f"{file.stem}-{name}.svg").write_text(svg)
    page = file.with_suffix(".md")
    if page.exists():
        page.write_text(filled(page.read_text(), sections))


if __name__ == "__main__":
    main()
