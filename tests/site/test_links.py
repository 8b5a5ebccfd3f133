"""In the built site every link leads to a page and a place on it; links elsewhere are whole addresses."""

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = [pytest.mark.site, pytest.mark.timeout(600)]
MADE_BY_SCRIPTS = ("lite/",)  # JupyterLite's own pages are built by its programs; that they exist is checked


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.places, self.loaded, self.without_alt = [], set(), [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        for key in ("id", "name"):
            if given.get(key):
                self.places.add(given[key])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("img", "script", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
            self.without_alt += tag == "img" and "alt" not in given
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "index", "search"):
            self.loaded.append(given.get("href", ""))


@pytest.fixture(scope="module")
def pages(built):
    return {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(built.rglob("*.html"))
        if not path.relative_to(built).as_posix().startswith(MADE_BY_SCRIPTS)
    }


def test_there_are_pages(pages):
    assert len(pages) > 300


def test_every_module_of_the_reference_is_reached_from_its_first_page(built, pages):
    todo, reached = [built / "reference" / "index.html"], set()
    while todo:
        page = todo.pop()
        if page not in reached:
            reached.add(page)
            for link in pages[page].links:
                target = (page.parent / link.partition("#")[0]).resolve()
                if target.parent == built / "reference" and target in pages:
                    todo.append(target)
    assert {path for path in pages if path.parent == built / "reference"} == reached


def test_links_within_the_site_lead_somewhere(built, pages):
    lite = (built / "lite").is_dir()

    @cache
    def exists(path):
        return path.is_file()

    wrong = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//") or not link:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            inside = target.relative_to(built).as_posix() if target.is_relative_to(built) else "outside"
            if inside.startswith("lite/") and not lite:
                continue
            if not exists(target):
                wrong.append(f"{path.relative_to(built)}: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                wrong.append(f"{path.relative_to(built)}: {link} (no such place)")
    assert wrong == []


def test_links_to_lessons_in_the_browser_name_notebooks_that_exist(pages):
    lessons = Path(__file__).parents[2] / "lessons"
    for path, page in pages.items():
        for link in page.links:
            named = re.search(r"lite/lab/index\.html\?path=(.*)", link)
            assert not named or (lessons / named[1]).is_file(), (path, link)


def test_links_elsewhere_are_whole_addresses(pages):
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("https", "http", "mailto"), (path, link)
                assert parts.scheme == "mailto" or re.fullmatch(r"[\w.-]+\.[a-z]+(:\d+)?", parts.netloc), (path, link)
                assert " " not in link, (path, link)


def test_nothing_is_loaded_from_elsewhere(pages):
    for path, page in pages.items():
        assert [link for link in page.loaded if re.match(r"(https?:)?//", link)] == [], path


def test_every_picture_has_a_text(pages):
    assert [str(path) for path, page in pages.items() if page.without_alt] == []
