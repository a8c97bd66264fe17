"""
The documentation as a site: it builds offline, and its pages hold together.

Needs the extra ``docs``; without it there is nothing to build with.
"""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs
import pytest

DOCS = Path(__file__).parents[2] / "docs"
GENERATED = {"genindex.html", "py-modindex.html", "search.html"}

pytestmark = pytest.mark.skipif(
    not all(find_spec(name) for name in ("furo", "myst_parser", "sphinx")),
    reason="needs diga-async[docs]",
)


@attrs.define
class Page(HTMLParser):
    """What a built page links to, loads and can be linked at."""

    path: Path
    links: list[str] = attrs.Factory(list)
    loaded: list[str] = attrs.Factory(list)
    anchors: set[str] = attrs.Factory(set)
    drawings: list[dict[str, str | None]] = attrs.Factory(list)
    images: list[dict[str, str | None]] = attrs.Factory(list)
    headings: int = 0

    def __attrs_pre_init__(self):
        super().__init__()

    def __attrs_post_init__(self):
        self.feed(self.path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
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
    """Return the pages that somebody wrote."""
    return [page for path, page in site.items() if path.name not in GENERATED]


def leads_somewhere(link, page, site):
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return True  # its shape is checked in the sources
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


def test_nothing_is_loaded_from_elsewhere(site):
    """Reading the documentation tells nobody of it, and works without a network."""
    loaded = {source for page in site.values() for source in page.loaded}

    assert [source for source in loaded if urlsplit(source).netloc] == []


def test_every_page_has_one_title(written):
    assert [page.path.name for page in written if page.headings != 1] == []


def test_every_picture_says_what_it_shows(written):
    """Drawings by a title and a description, images by a text that stands for them."""
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
    """And each takes the colours of its page, so that it can be read in the dark."""
    html = "".join(path.read_text(encoding="utf-8") for path in site)
    for drawing in DOCS.rglob("*.svg"):
        svg = drawing.read_text(encoding="utf-8")
        (title,) = re.findall(r"<title id=\"[\w-]+\">(.+)</title>", svg)
        assert f">{title}</title>" in html
        assert "var(--" in svg
