"""
The documentation as a site: it builds offline, and its links resolve.

Needs the extra ``docs``.
"""

import os
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs
import pytest

import diga_async

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = {"genindex.html", "py-modindex.html", "search.html"}

NEEDED = ("furo", "myst_parser", "sphinx", "sphinx_copybutton", "sphinx_design")

OLD_PAGES = """
changelog
explanation/attacks
explanation/glossary
explanation/house
explanation/index
explanation/pace
explanation/performance
explanation/reliability
explanation/security
explanation/versions
how-to/api-changes
how-to/beyond-one-machine
how-to/bots
how-to/bring-your-session
how-to/bulk
how-to/command-line
how-to/errors
how-to/index
how-to/limits
how-to/notebooks
how-to/observability
how-to/retries
how-to/services
how-to/testing
index
reference/client
reference/command-line
reference/errors
reference/events
reference/index
reference/options
reference/outcomes
reference/pytest-plugin
reference/sandbox
reference/values
tutorial
""".split()  # noqa: SIM905 - one a line
"""The pages of 0.1.0: the package index and other sites link to them."""

UNRESOLVED = re.compile(
    r":(?:[a-z]+:)?(?:class|meth|func|exc|attr|mod|ref|doc|obj|data|term):`"  # a role
    r"|\{(?:[a-z]+:)?(?:class|meth|func|exc|attr|mod|ref|doc|obj|data|term)\}"
    r"|(?<!`)``(?!`)"  # a literal of reStructuredText
    r"|\*\*\w[^*]*\w\*\*"  # bold
    r"|\]\((?:https?:|\.\./|#|[\w-]+\.md)"  # a link of Markdown
    r"|^ *:{3,}|^ *`{3,}"  # a fence
    r"|\.\. \w+::"  # a directive
    r"|&(?:amp;)?(?:lt|gt|nbsp|quot);"  # HTML that was escaped twice
    r"|</?(?:p|a|div|span|code|svg)\b",
    re.MULTILINE,
)
"""Markup that a reader would see as text."""

pytestmark = pytest.mark.skipif(
    not all(find_spec(name) for name in NEEDED),
    reason="needs diga-async[docs]",
)


@attrs.define
class Page(HTMLParser):
    """
    A built page.

    Attributes:
        links: Where it links to.
        loaded: What a browser loads with it.
        anchors: What can be linked to.
        prose: Its text, without code, drawings and scripts.
    """

    path: Path
    links: list[str] = attrs.Factory(list)
    loaded: list[str] = attrs.Factory(list)
    anchors: set[str] = attrs.Factory(set)
    drawings: list[dict[str, str | None]] = attrs.Factory(list)
    images: list[dict[str, str | None]] = attrs.Factory(list)
    headings: int = 0
    prose: str = ""
    _hidden: list[str] = attrs.Factory(list)

    def __attrs_pre_init__(self):
        super().__init__()

    def __attrs_post_init__(self):
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag in {"code", "pre", "script", "style", "svg"}:
            self._hidden.append(tag)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag in {"script", "img", "iframe"} and found.get("src"):
            self.loaded.append(found["src"])
        if tag == "link" and found.get("rel") == "stylesheet":
            self.loaded.append(found["href"])
        if tag == "img":
            self.images.append(found)
        if tag == "svg" and "role" in found:
            self.drawings.append(found)
        self.headings += tag == "h1"

    def handle_endtag(self, tag):
        if self._hidden and self._hidden[-1] == tag:
            self._hidden.pop()

    def handle_data(self, data):
        if not self._hidden:
            self.prose += data


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Build as .ci/run does: every warning is an error, every proxy refuses."""
    out = tmp_path_factory.mktemp("site")
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    command = [sys.executable, "-m", "sphinx", "-nW", "--keep-going", "-q", "-d"]
    built = subprocess.run(
        [*command, out / "doctrees", DOCS, out / "html"],
        env=os.environ | nowhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.stderr == ""
    assert built.returncode == 0
    return {path: Page(path) for path in sorted((out / "html").rglob("*.html"))}


@pytest.fixture(scope="session")
def written(site):
    """Return the pages that are written by hand."""
    return [page for path, page in site.items() if path.name not in GENERATED]


def leads_somewhere(link, page, site):
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return True  # its form is checked in the sources
    target = (page.path.parent / unquote(url.path)).resolve() if url.path else page.path
    if target not in site:
        return target.exists()
    return not url.fragment or unquote(url.fragment) in site[target].anchors


def test_every_link_and_anchor_leads_somewhere(site):
    broken = [
        (page.path.name, link)
        for page in site.values()
        for link in page.links
        if not leads_somewhere(link, page, site)
    ]

    assert broken == []
    assert sum(len(page.links) for page in site.values()) > 1000


def test_every_page_has_an_icon_and_a_preview_for_chats(written, site):
    served = {path.name for path in (next(iter(site)).parent / "_static").iterdir()}
    for page in written:
        head = page.path.read_text(encoding="utf-8").partition("</head>")[0]
        if "http-equiv" in head:
            continue  # it leads elsewhere
        (icon,) = re.findall(r'<link rel="shortcut icon" href="([^"]+)"', head)
        facts = dict(re.findall(r'<meta property="(og:[\w:]+)" content="(.+)">', head))

        assert icon.rpartition("/")[2] in served
        assert facts["og:image"].rpartition("/")[2] in served
        assert 20 < len(unescape(facts["og:description"])) <= 200
        assert f'name="description" content="{facts["og:description"]}"' in head


@pytest.mark.parametrize("old", OLD_PAGES)
def test_an_old_address_leads_to_a_page(old, site):
    (page,) = (p for path, p in site.items() if path.match(f"html/{old}.html"))
    source = page.path.read_text(encoding="utf-8")
    refreshed = re.findall(r'http-equiv="refresh" content="0; url=([^"]+)"', source)

    if refreshed:
        target = site[(page.path.parent / refreshed[0]).resolve()]
        assert f'location.replace("{refreshed[0]}" + location.hash)' in source
        assert 'http-equiv="refresh"' not in target.path.read_text(encoding="utf-8")
        assert target.path.name not in GENERATED


def test_no_page_shows_raw_markup(written):
    shown = [
        (page.path.name, page.prose[max(0, found.start() - 40) : found.end() + 40])
        for page in written
        for found in UNRESOLVED.finditer(page.prose)
    ]

    assert shown == []
    assert all(len(page.prose) > 60 for page in written)


@pytest.mark.parametrize(
    "text",
    [
        "see {py:class}`Phone`",
        "see :class:`Phone`",
        "a ``literal`` of another markup",
        "a [link](errors.md) that is none",
        "**bold** that is not",
        ":::{note}",
        ".. note:: nothing",
        "<div>",
        "a &lt; b",
    ],
)
def test_raw_markup_is_recognized(text):
    assert UNRESOLVED.search(text)


def test_no_reference_is_unresolved(site):
    """A role that is not resolved looks like one, but is not a link."""
    role = re.compile(
        r'(?<!">)<code class="xref py py-(?:class|exc|meth|func)[^>]*>\S*'
    )
    unresolved = [
        (path.name, found)
        for path in site
        for found in role.findall(path.read_text(encoding="utf-8"))
    ]

    assert unresolved == []


def test_the_reference_shows_the_members_of_enums(site):
    (page,) = (
        page for path, page in site.items() if path.match("reference/values.html")
    )
    enums = (diga_async.PhoneStatus, diga_async.TelephonyProvider)

    names = {f"diga_async.{enum.__name__}.{m.name}" for enum in enums for m in enum}
    assert names <= page.anchors


def test_the_reference_shows_the_options_of_the_client(site):
    (page,) = (
        page for path, page in site.items() if path.match("reference/client.html")
    )
    source = re.sub(r"<[^>]+>", "", page.path.read_text(encoding="utf-8"))

    assert "base_url: str | None = None" in source
    assert "*_: Any" not in source


def test_the_architecture_lists_every_module(site):
    (page,) = (path for path in site if path.name == "architecture.html")
    html = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    package = Path(diga_async.__file__).parent

    modules = [path.relative_to(package) for path in package.rglob("*.py")]
    listed = [m for m in modules if len(m.parts) == 1 or m.name != "__init__.py"]
    assert [m for m in listed if m.as_posix() not in html] == []
    assert len(listed) > 30


def test_nothing_is_loaded_from_elsewhere(site):
    """The documentation can be read without a network, and without being tracked."""
    loaded = {source for page in site.values() for source in page.loaded}

    assert [source for source in loaded if urlsplit(source).netloc] == []


def test_every_page_has_one_title(written):
    assert [page.path.name for page in written if page.headings != 1] == []


def test_every_picture_says_what_it_shows(written):
    """A drawing by its title and description, an image by its alternative text."""
    silent = [
        (page.path.name, picture)
        for page in written
        for picture in (*page.drawings, *page.images)
        if not (picture.get("alt") or is_described(picture, page))
    ]

    assert silent == []
    assert sum(len(page.drawings) for page in written) >= 4


def is_described(drawing, page):
    names = (drawing.get("aria-labelledby") or "").split()
    return (
        drawing["role"] == "img" and len(names) == 2 and page.anchors.issuperset(names)
    )


def test_every_drawing_of_the_sources_is_shown(site):
    """Each uses the colours of its page, so that it is readable in dark mode."""
    html = "".join(path.read_text(encoding="utf-8") for path in site)
    for drawing in set(DOCS.rglob("*.svg")) - {DOCS / "_static" / "favicon.svg"}:
        svg = drawing.read_text(encoding="utf-8")
        (title,) = re.findall(r"<title id=\"[\w-]+\">(.+)</title>", svg)
        assert f">{title}</title>" in html
        assert "var(--" in svg
