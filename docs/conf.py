"""How the documentation is built: offline, with every warning an error."""

import ast
import functools
import html
import posixpath
import re
import sys
import textwrap
from collections.abc import Iterator
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

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "examples"]
nitpicky = True

html_theme = "furo"
html_title = f"diga_async {release}"
html_baseurl = "https://diga-async.readthedocs.io/en/stable/"
html_favicon = "_static/favicon.svg"
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

# Only what is typed is copied: no prompts, and no button on what a program prints.
copybutton_prompt_text = "$ "
copybutton_selector = (
    "div.highlight-python pre, div.highlight-console pre, div.highlight-sh pre, "
    "div.highlight-docker pre, div.literal-block-wrapper pre"
)
copybutton_line_continuation_character = "\\"

REDIRECTS = {
    "explanation/attacks": "project/attacks",
    "explanation/house": "project/architecture",
    "explanation/pace": "explanation/rate-limiter",
    "explanation/reliability": "project/reliability",
}
"""Old addresses of pages; 0.1.0 on the package index links to them."""

FIRST = "0.1.0"

PYTHON = "https://docs.python.org/3/library/"
AIOHTTP = "https://docs.aiohttp.org/en/stable/client_"
ELSEWHERE = {
    "RuntimeError": f"{PYTHON}exceptions.html#RuntimeError",
    "StrEnum": f"{PYTHON}enum.html#enum.StrEnum",
    "TimeoutError": f"{PYTHON}exceptions.html#TimeoutError",
    "ValueError": f"{PYTHON}exceptions.html#ValueError",
    "aiohttp.client.ClientSession": f"{AIOHTTP}reference.html#aiohttp.ClientSession",
    "aiohttp.tracing.TraceConfig": f"{AIOHTTP}reference.html#aiohttp.TraceConfig",
    "collections.abc.AsyncIterable": f"{PYTHON}collections.abc.html",
    "collections.abc.Awaitable": f"{PYTHON}collections.abc.html",
    "collections.abc.Callable": f"{PYTHON}collections.abc.html",
    "collections.abc.Coroutine": f"{PYTHON}collections.abc.html",
    "collections.abc.Iterable": f"{PYTHON}collections.abc.html",
    "collections.abc.Mapping": f"{PYTHON}collections.abc.html",
    "collections.abc.Sequence": f"{PYTHON}collections.abc.html",
    "datetime.datetime": f"{PYTHON}datetime.html#datetime.datetime",
    "ssl.SSLContext": f"{PYTHON}ssl.html#ssl.SSLContext",
    "uuid.UUID": f"{PYTHON}uuid.html#uuid.UUID",
}
"""Addresses of other projects' names, so that a build needs no network."""


CHECKING = "TYPE_CHECKING"
ENUM_MEMBER = re.compile(r"<(\w+\.\w+): '\w*'>")


def resolve(
    _app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.TextElement
) -> nodes.Node | None:
    """Resolve a name in single backticks that stands without its class."""
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
    # A field or an argument that several classes have: valid, but not a link.
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
    """Drop "New in version" where it names the first version."""
    lines[:] = [line for line in lines if line != f".. versionadded:: {FIRST}"]


def put_types_beside_names(
    _app: Sphinx,
    _what: str,
    _name: str,
    _obj: object,
    _options: object,
    lines: list[str],
) -> None:
    """Show an attribute as ``name: type`` on one line; napoleon writes two."""
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
    """Show enum members as code, and empty defaults as dots."""
    if signature:
        signature = ENUM_MEMBER.sub(r"\1", signature)
        for made in ("NOTHING", repr(NO_EXTRA)):
            signature = signature.replace(made, "...")
    return signature, result


def restore_module_names(_app: Sphinx) -> None:
    """Name the module that defines a class: autodoc looks for comments there."""
    from diga_async import sandbox  # noqa: PLC0415 - beside its use

    for name in diga_async.__all__:
        getattr(diga_async, name)  # loads its module
    sources = {
        name: Path(module.__file__).read_text(encoding="utf-8")
        for name, module in list(sys.modules.items())
        if name.startswith("diga_async.") and module.__file__
    }
    for public in (diga_async, sandbox):
        for name in public.__all__:
            defined = re.compile(rf"^class {name}\b", re.MULTILINE)
            for module, source in sources.items():
                if defined.search(source):
                    getattr(public, name).__module__ = module


def import_types(_app: Sphinx) -> None:
    """Do the imports for type checkers as well: autodoc evaluates annotations."""
    for name, module in list(sys.modules.items()):
        if name.startswith("diga_async.") and module.__file__:
            source = Path(module.__file__).read_text(encoding="utf-8")
            for node in ast.parse(source).body:
                if isinstance(node, ast.If) and ast.unparse(node.test) == CHECKING:
                    exec(ast.unparse(ast.Module(node.body, [])), vars(module))  # noqa: S102 - ours


class Packages(Directive):
    """
    A table of packages and modules, each with the first line of its docstring.

    It reads the tree. A package stands above those it imports.
    """

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        root = Path(diga_async.__file__).parent
        rows = ["| module | contents |", "|---|---|"]
        for unit in sorted(units(root), key=lambda unit: (-depth(unit), unit.name)):
            name = f"{unit.name}/" if unit.is_dir() else unit.name
            rows.append(f"| **`{name}`** | {first_line(unit)} |")
            if unit.is_dir():
                rows += [
                    f"| `{unit.name}/{module.name}` | {first_line(module)} |"
                    for module in sorted(unit.glob("*.py"))
                    if module.name != "__init__.py"
                ]
        table = nodes.container(classes=["packages"])
        self.state.nested_parse(StringList(rows, "packages"), 0, table)
        return [table]


def units(root: Path) -> Iterator[Path]:
    """Yield the packages and the modules directly below *root*."""
    yield from root.glob("*.py")
    yield from (init.parent for init in root.glob("*/__init__.py"))


@functools.cache
def depth(unit: Path) -> int:
    """Return how long the longest chain of imports below *unit* is."""
    root = Path(diga_async.__file__).parent
    if unit.stem == "__init__":
        return len(list(units(root)))  # the public names come first
    below = imports_of(unit) - {unit}
    return 1 + max(map(depth, below), default=0)


@functools.cache
def imports_of(unit: Path) -> set[Path]:
    """Return the packages and modules of the library that *unit* imports."""
    root = Path(diga_async.__file__).parent
    names = set[str]()
    for file in unit.rglob("*.py") if unit.is_dir() else [unit]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "diga_async":
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= set(node.module.removeprefix("diga_async.").split(".")[:1])
    return {u for u in units(root) if u.stem in names and u.stem != "__init__"}


def first_line(path: Path) -> str:
    """Return the first line of a module's or a package's docstring."""
    file = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].replace("|", "\\|")


class Drawing(Directive):
    """
    An SVG inside the page, so that it follows the page's light or dark colours.

    With several files, each is the same drawing for another width of the screen.
    The content is the caption.
    """

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Put the text of the files into a figure."""
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


REDIRECT = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Moved</title>
<link rel="canonical" href="{target}">
<meta name="robots" content="noindex">
<script>location.replace("{target}" + location.hash)</script>
<noscript><meta http-equiv="refresh" content="0; url={target}"></noscript>
</head>
<body>
<h1>Moved</h1>
<p>This page has moved to <a href="{target}">{target}</a>.</p>
</body>
</html>
"""


def write_redirects(app: Sphinx, error: Exception | None) -> None:
    """Write a page at each old address that leads to the new one."""
    if error is None and app.builder.format == "html":
        for old, new in REDIRECTS.items():
            target = posixpath.relpath(f"{new}.html", posixpath.dirname(old))
            page = Path(app.outdir, f"{old}.html")
            page.parent.mkdir(parents=True, exist_ok=True)
            page.write_text(REDIRECT.format(target=html.escape(target)), "utf-8")


SHORT = 60
ABOUT = "diga_async, an asyncio client that reads Diga phones"
PREVIEW = """
<meta name="description" content="{words}">
<meta property="og:type" content="website">
<meta property="og:site_name" content="diga_async">
<meta property="og:title" content="{title}">
<meta property="og:description" content="{words}">
<meta property="og:url" content="{url}">
<meta property="og:image" content="{base}_static/social.png">
<meta property="og:image:alt" content="diga_async: look up a million Diga phones">
"""


def add_preview(
    app: Sphinx,
    page: str,
    _template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Say what a chat or a search engine shows of a page: its first sentences."""
    if doctree is None:
        return
    section = next(doctree.findall(nodes.section))
    written = (p.astext() for p in section.children if isinstance(p, nodes.paragraph))
    first, second, *_ = *(re.sub(":$", ".", text) for text in written), "", ""
    text = first if len(first) > SHORT else f"{first} {second}".strip()
    context["metatags"] += PREVIEW.format(
        title=html.escape(section.next_node(nodes.title).astext()),
        words=html.escape(textwrap.shorten(text or ABOUT, 200, placeholder=" …")),
        url=f"{html_baseurl}{app.builder.get_target_uri(page)}",
        base=html_baseurl,
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives and hooks."""
    app.connect("missing-reference", resolve)
    app.connect("builder-inited", restore_module_names)
    app.connect("builder-inited", import_types)
    app.connect("build-finished", write_redirects)
    app.connect("html-page-context", add_preview)
    app.connect("autodoc-process-docstring", put_types_beside_names, priority=900)
    app.connect("autodoc-process-docstring", leave_out_the_first_version)
    app.connect("autodoc-process-signature", write_defaults_as_python)
    app.add_directive("packages", Packages)
    app.add_directive("drawing", Drawing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
