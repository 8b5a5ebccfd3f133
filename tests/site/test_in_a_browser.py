"""The built site in headless Chromium: the playground, the keyboard, no other server, nothing that axe finds serious.

`make site-test` builds the site first. Needs the extra [site] and a Chromium: CHROMIUM names one, else the system's or
Playwright's is taken. Where the site has no Pyodide of its own, TINYMIXER_PYODIDE names a folder with Pyodide's npm
archive and NumPy's wheel, from which the production address is answered. Screenshots are left in build/screenshots.
"""

import os
import re
import time
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright: the extra [site]")
landing = pytest.importorskip("landing", reason="needs the extra [site]")
from browsing import served  # noqa: E402

from tests.site.pyodide_stand_in import PyodideFolder  # noqa: E402

pytestmark = [pytest.mark.site, pytest.mark.timeout(600)]
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
SIZES = {"phone": (390, 844), "laptop": (1366, 768)}
PAGES = {
    "landing": "index.html",
    "lesson": "lessons/05_layer_norm.html",
    "map": "lessons/README.html",
    "cheatsheet": "lessons/cheatsheet.html",
    "operation": "reference/tinymixer.ops.layer_norm.html",
    "reference": "reference/index.html",
    "docs": "docs/models.html",
}
PATIENCE = 120_000  # milliseconds: for a verdict on a machine that others use as well
FIRST_TICK = float(os.environ.get("TINYMIXER_FIRST_TICK", "5"))  # seconds on two cores that are free


@pytest.fixture(scope="module")
def address(built):
    with served(built) as address:
        yield address


@pytest.fixture
def context(chromium, address):
    """A browser context that reaches the site's server alone; what it asked others for is in `elsewhere`."""
    context = chromium.new_context(viewport={"width": 1366, "height": 768}, service_workers="block")
    context.elsewhere = []
    context.errors = []

    def others(route):
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            context.elsewhere.append(route.request.url)
            route.abort()

    context.route("**/*", others)
    context.on("page", lambda page: page.on("pageerror", lambda error: context.errors.append(str(error))))
    yield context
    context.close()
    assert context.errors == []


@pytest.fixture
def playground(context, address, built):
    """The landing page, with Pyodide from the site itself or from a folder in the place of the production address."""
    if not (built / landing.OWN_PYODIDE / "pyodide.mjs").is_file():
        folder = os.environ.get("TINYMIXER_PYODIDE")
        if not folder:
            pytest.skip("no Pyodide: build JupyterLite, or name a folder in TINYMIXER_PYODIDE")
        context.route(landing.PYODIDE + "**", PyodideFolder(folder).answer)
    page = context.new_page()
    page.goto(address)
    return page


def verdict_of(page, state, patience=PATIENCE):
    page.wait_for_selector(f'#verdict[data-state="{state}"]', timeout=patience)
    return page.inner_text("#verdict")


def test_the_landing_page_is_small_and_asks_nobody_else(context, address):
    sizes = {}
    page = context.new_page()
    page.on("response", lambda answer: sizes.__setitem__(answer.url, len(answer.body())))
    page.goto(address, wait_until="networkidle")
    assert sum(sizes.values()) < 200_000, sizes
    assert context.elsewhere == []
    assert page.inner_text("h1")


def test_the_right_code_gets_its_tick(playground, context):
    started = time.perf_counter()
    playground.click("#run")
    said = verdict_of(playground, "right")
    seconds = time.perf_counter() - started
    print(f"first tick after {seconds:.1f} s")
    assert re.search(r"✔ Right: \d+ checks, worst relative error", said)
    assert context.elsewhere == []
    assert seconds < FIRST_TICK


def test_a_planted_fault_is_told_in_the_checkers_words(playground):
    playground.click('[data-fault="term"]')
    said = verdict_of(playground, "wrong")
    assert "expected" in said
    assert "relative error" in said
    assert "dy all ones, on a fresh layer, would have said: right" in said
    playground.click('[data-fault=""]')
    verdict_of(playground, "right")
    playground.click('[data-fault="mean"]')
    assert "A check with dy all ones finds this one, too." in verdict_of(playground, "wrong")


def test_what_a_visitor_types_is_checked(playground):
    playground.fill("#code", "def layer_norm_backward(dy, cache):\n    return dy, dy[0, 0], dy[0, 0]")
    playground.click("#run")
    assert "expected" in verdict_of(playground, "wrong")
    playground.fill("#code", "def layer_norm_backward(dy cache):")
    playground.click("#run")
    playground.wait_for_function("document.getElementById('verdict').innerText.includes('Python cannot read line 1')")


def test_an_endless_loop_is_stopped_and_the_next_check_works(playground):
    playground.click('[data-fault="loop"]')
    playground.wait_for_function(
        "document.getElementById('verdict').innerText.includes('Still running')", timeout=PATIENCE
    )
    playground.click("#stop")
    assert "Stopped." in verdict_of(playground, "note")
    assert "while True" in playground.input_value("#code")
    playground.click('[data-fault=""]')
    verdict_of(playground, "right")


def test_by_keyboard_alone(playground):
    playground.keyboard.press("Tab")
    assert playground.evaluate("document.activeElement.className") == "skip"
    playground.keyboard.press("Enter")
    for _ in range(6):
        playground.keyboard.press("Tab")
        if playground.evaluate("document.activeElement.id") == "code":
            break
    else:
        raise AssertionError("the editor is not reached")
    playground.keyboard.press("Control+Home")
    playground.keyboard.press("End")
    playground.keyboard.press("Enter")
    playground.keyboard.type("pass")
    assert playground.input_value("#code").splitlines()[1] == "    pass"
    playground.keyboard.press("Control+z")
    playground.keyboard.press("Tab")
    assert playground.evaluate("document.activeElement.id") == "run"
    playground.keyboard.press("Shift+Tab")
    playground.keyboard.press("Control+Enter")
    playground.wait_for_selector('#verdict[data-state="right"], #verdict[data-state="wrong"]', timeout=PATIENCE)


def test_pyodide_that_cannot_be_loaded_gets_a_sentence(context, address, built):
    context.route(re.compile("pyodide"), lambda route: route.abort())
    page = context.new_page()
    page.goto(address)
    page.click("#run")
    said = verdict_of(page, "note")
    assert "Python could not be loaded" in said
    assert "tinymixer gradcheck layer_norm" in said
    assert page.is_enabled("#run")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_at_phone_and_laptop_width(chromium, address, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe: the extra [site]").Axe()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for size, (width, height) in SIZES.items():
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        elsewhere, errors = [], []
        context.on("request", lambda request, to=elsewhere: to.append(request.url))
        page = context.new_page()
        page.on("pageerror", lambda error, to=errors: to.append(str(error)))
        page.goto(address + PAGES[name], wait_until="networkidle")
        page.screenshot(path=SCREENSHOTS / f"{name}-{size}-{scheme}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= width + 1, f"{name} is wider than a {size}"
        found = axe.run(page).response["violations"]
        serious = [
            (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0].get("failureSummary", "")[:300])
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        context.close()
        assert serious == []
        assert errors == []
        assert [url for url in elsewhere if not url.startswith((address, "data:", "blob:"))] == []


def test_search_finds_an_operation(context, address):
    page = context.new_page()
    page.goto(address + "search.html?q=layer_norm_backward")
    page.wait_for_selector("#search-results li a", timeout=30_000)
    assert "layer_norm" in page.inner_text("#search-results")
    assert context.elsewhere == []
