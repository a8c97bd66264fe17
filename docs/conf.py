"""How the documentation is built: offline, with every warning an error."""

import ast
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import diga_async
from diga_async._models.open_enum import NO_EXTRA

project = "diga_async"
author = "The diga_async developers"
copyright = author  # noqa: A001 - Sphinx calls it so
version = release = diga_async.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]
nitpicky = True

html_theme = "furo"
html_title = f"diga_async {release}"
html_static_path = ["_static"]
html_css_files = ["diga.css"]
html_show_copyright = html_show_sphinx = False
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "source_repository": "https://github.com/diga-async/diga-async/",
    "source_branch": "main",
    "source_directory": "docs/",
}
pygments_style = "default"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 72
napoleon_numpy_docstring = False

FIRST = "0.1.0"

PYTHON = "https://docs.python.org/3/library/"
AIOHTTP = "https://docs.aiohttp.org/en/stable/client_"
ELSEWHERE = {
    "StrEnum": f"{PYTHON}enum.html#enum.StrEnum",
    "aiohttp.client.ClientSession": f"{AIOHTTP}reference.html#aiohttp.ClientSession",
    "aiohttp.tracing.TraceConfig": f"{AIOHTTP}reference.html#aiohttp.TraceConfig",
    "collections.abc.AsyncIterable": f"{PYTHON}collections.abc.html",
    "collections.abc.Awaitable": f"{PYTHON}collections.abc.html",
    "collections.abc.Callable": f"{PYTHON}collections.abc.html",
    "collections.abc.Iterable": f"{PYTHON}collections.abc.html",
    "collections.abc.Mapping": f"{PYTHON}collections.abc.html",
    "collections.abc.Sequence": f"{PYTHON}collections.abc.html",
    "datetime.datetime": f"{PYTHON}datetime.html#datetime.datetime",
    "ssl.SSLContext": f"{PYTHON}ssl.html#ssl.SSLContext",
    "uuid.UUID": f"{PYTHON}uuid.html#uuid.UUID",
}
"""Where the names of others are explained; written down, so no build asks for it."""


ENUM_MEMBER = re.compile(r"<(\w+\.\w+): '\w*'>")


def resolve(
    _app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Find what a docstring names in single backticks without its class."""
    target = str(node.get("reftarget", ""))
    if target in ELSEWHERE:
        return nodes.reference("", "", text, refuri=ELSEWHERE[target], internal=False)
    if node.get("refdomain") != "py":
        return None
    python = env.domains.python_domain
    fitting = {
        (entry.docname, entry.node_id)
        for name, entry in python.objects.items()
        if name.endswith(f".{target}") and not entry.aliased
    }
    if len(fitting) == 1:
        ((docname, node_id),) = fitting
        uri = _app.builder.get_relative_uri(node["refdoc"], docname)
        return nodes.reference("", "", text, refuri=f"{uri}#{node_id}", internal=True)
    # A field or an argument of several: no link, but no mistake either.
    is_known = bool(fitting) or target.islower()
    return text if is_known and node.get("reftype") == "obj" else None


def leave_out_the_first_version(
    _app: Sphinx,
    _what: str,
    _name: str,
    _obj: object,
    _options: object,
    lines: list[str],
) -> None:
    """Say since when only of what was not there from the start."""
    lines[:] = [line for line in lines if line != f".. versionadded:: {FIRST}"]


def put_types_beside_names(
    _app: Sphinx,
    _what: str,
    _name: str,
    _obj: object,
    _options: object,
    lines: list[str],
) -> None:
    """Write a field as one line, ``name: type``, where napoleon makes it two."""
    head = 0
    for number, line in enumerate(lines):
        if line.startswith(".. attribute::"):
            head = number
        elif line.startswith("   :type: "):
            lines[number] = ""
            lines[head] += f"\n{line}"
    lines[:] = "\n".join(lines).split("\n")


def write_defaults_as_python(
    _app: Sphinx,
    _what: str,
    _name: str,
    _obj: object,
    _options: object,
    signature: str | None,
    result: str | None,
) -> tuple[str | None, str | None]:
    """Spell enum members as one types them; leave empty defaults to dots."""
    if signature:
        signature = ENUM_MEMBER.sub(r"\1", signature)
        for made in ("NOTHING", repr(NO_EXTRA)):
            signature = signature.replace(made, "...")
    return signature, result


class Rooms(Directive):
    """
    The table of modules, each with the first line of its own docstring.

    A line of the content is a layer and its modules; all must be there.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Make the table; complain of a room nobody drew, or nobody built."""
        package = Path(diga_async.__file__).parent
        built = {path.stem for path in package.glob("*.py")} | {
            path.parent.name for path in package.glob("*/__init__.py")
        }
        rows = ["| module | what it is |", "|---|---|"]
        for line in self.content:
            layer, _, rooms = line.partition(":")
            rows.append(f"| **{layer}** | |")
            for room in rooms.split():
                built.discard(room)
                rows.append(f"| `{room}` | {_first_line(package, room)} |")
        if built:
            raise self.error(f"not in the table of modules: {sorted(built)}")
        table = nodes.container()
        self.state.nested_parse(StringList(rows, "rooms"), 0, table)
        return table.children


def _first_line(package: Path, room: str) -> str:
    path = package / f"{room}.py"
    if not path.exists():
        path = package / room / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


class Drawing(Directive):
    """
    Drawings in the page itself, so that they have its colours, light or dark.

    Several files are one drawing for screens of several widths.
    The content is the caption.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Put the files' text into a figure."""
        environment = self.state.document.settings.env
        figure = nodes.figure(classes=["drawing"])
        for name in self.arguments[0].split():
            relative, path = environment.relfn2path(name)
            environment.note_dependency(relative)
            svg = Path(path).read_text(encoding="utf-8")
            figure += nodes.raw("", svg, format="html")
        words, messages = self.state.inline_text(" ".join(self.content), self.lineno)
        figure += nodes.caption("", "", *words)
        return [figure, *messages]


def setup(app: Sphinx) -> dict[str, Any]:
    """Tell Sphinx."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", put_types_beside_names, priority=900)
    app.connect("autodoc-process-docstring", leave_out_the_first_version)
    app.connect("autodoc-process-signature", write_defaults_as_python)
    app.add_directive("rooms", Rooms)
    app.add_directive("drawing", Drawing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
