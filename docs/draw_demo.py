"""Draw what `diga demo` shows: python docs/draw_demo.py docs/demo.svg."""

import asyncio
import io
import re
import sys
from pathlib import Path

from rich.console import Console

from diga_async._cli import demo

COLUMNS = 80
# The names in braces are rich's. Its own frame would load a font from elsewhere.
PICTURE = """\
<svg class="terminal" xmlns="http://www.w3.org/2000/svg" \
viewBox="0 0 {terminal_width} {terminal_height}" role="img" \
aria-labelledby="demo-title demo-desc">
<title id="demo-title">What diga demo prints in a terminal</title>
<desc id="demo-desc">First it says how the sandbox misbehaves. Then a frame has, one a \
line, how many of 2,000 lookups are found, missing and failed, how many were retried \
and throttled, and the rate. Last comes a table of phones: number, status, provider \
and nickname.</desc>
<style>
.{unique_id}-matrix {{ font-family: var(--font-stack--monospace, monospace); \
font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<rect width="100%" height="100%" rx="8" fill="#292929"/>
<g class="{unique_id}-matrix" transform="translate(18, 8) scale(.963)">
{matrix}
</g>
</svg>
"""


def draw() -> str:
    """Run the demo, and return it as SVG."""
    console = Console(
        record=True,
        width=COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
    )
    asyncio.run(demo._demo(console))  # noqa: SLF001 - it is our own
    svg = console.export_svg(code_format=PICTURE, unique_id="demo")
    # rich writes a text for each end of a line, and clips all of them.
    return re.sub(r'<text [^>]*>\s</text>| clip-path="[^"]*"', "", svg)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(), encoding="utf-8")
