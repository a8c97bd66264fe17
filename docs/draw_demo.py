"""Draw what `diga demo` shows, wide and narrow: python docs/draw_demo.py docs."""

import asyncio
import copy
import io
import re
import sys
from pathlib import Path

from rich.console import Console, RenderableType
from rich.table import Table

from diga_async._cli import demo

CHARACTER = 12.2  # the width that rich gives one
# For each picture the columns of its terminal, and those of the table of phones.
SIZES = {"wide": (80, 4), "tall": (46, 2)}
# The names in braces are rich's. Its own frame would load a font from elsewhere.
PICTURE = """\
<svg class="terminal {size}" xmlns="http://www.w3.org/2000/svg" \
viewBox="0 0 {{terminal_width}} {{terminal_height}}" role="img" \
aria-labelledby="{{unique_id}}-title {{unique_id}}-desc">
<title id="{{unique_id}}-title">What diga demo prints in a terminal</title>
<desc id="{{unique_id}}-desc">First it says how the sandbox misbehaves. Then a frame \
has, one a line, how many of 2,000 lookups are found, missing and failed, how many \
were retried and throttled, and the rate. Last comes a table of phones: \
{columns}.</desc>
<style>
.{{unique_id}}-matrix {{{{ font-family: var(--font-stack--monospace, monospace); \
font-size: {{char_height}}px; line-height: {{line_height}}px; }}}}
{{styles}}
</style>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g class="{{unique_id}}-matrix" transform="translate(18, 8) scale({scale:.3f})">
{{matrix}}
</g>
</svg>
"""


class Recorder(Console):
    """Keeps what it is told to print."""

    def __init__(self) -> None:
        super().__init__(file=io.StringIO())
        self.printed: list[RenderableType] = []

    def print(self, *objects: RenderableType, **_options: object) -> None:  # type: ignore[override]
        self.printed += objects


def draw() -> dict[str, str]:
    """Run the demo, and return it as an SVG of each size."""
    recorder = Recorder()
    asyncio.run(demo._demo(recorder))  # noqa: SLF001 - it is our own
    return {size: picture_of(recorder.printed, size) for size in SIZES}


def picture_of(printed: list[RenderableType], size: str) -> str:
    width, columns = SIZES[size]
    console = Console(
        record=True,
        width=width,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
    )
    shown = ""
    for what in printed:
        if isinstance(what, Table):
            what = copy.copy(what)  # noqa: PLW2901 - the same, with fewer columns
            what.columns = what.columns[:columns]
            shown = ", ".join(str(column.header) for column in what.columns)
        console.print(what)
    svg = console.export_svg(
        code_format=PICTURE.format(
            size=size, columns=shown, scale=1 - 36 / (CHARACTER * width)
        ),
        unique_id=f"demo-{size}",
    )
    # rich writes a text for each end of a line, and clips all of them.
    return re.sub(r'<text [^>]*>\s</text>| clip-path="[^"]*"', "", svg)


if __name__ == "__main__":
    for size, svg in draw().items():
        name = "demo.svg" if size == "wide" else f"demo-{size}.svg"
        Path(sys.argv[1], name).write_text(svg, encoding="utf-8")
