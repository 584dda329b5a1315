"""The built pages in a browser, at desktop and phone width, light and dark.

By default those of a toy book; ``python -m pytest tests/test_pages.py --book _build/html`` reads others.
"""

import functools
import http.server
import shutil
import threading
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.xdist_group("built")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
VIEWS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
IMAGES = """async () => {
  const faults = [];
  for (const image of document.images) {
    image.loading = 'eager';
    try { await image.decode(); } catch { faults.push('not loaded: ' + image.src); }
    if (!image.alt.trim()) faults.push('no alt text: ' + image.src);
  }
  return faults;
}"""
# How far the page can be moved sideways, and what reaches beyond it.
SIDEWAYS = """() => {
  const root = document.documentElement, wide = root.scrollWidth - root.clientWidth;
  if (wide <= 0) return [];
  const over = [...document.querySelectorAll('body *')].filter(e =>
    e.getBoundingClientRect().right > root.clientWidth + 1).slice(0, 3);
  return [`${wide} px: ` + over.map(e => e.tagName + '.' + e.className).join(', ')];
}"""


class Visit(NamedTuple):
    """What the browser said of one page."""

    page: str
    errors: list[str]
    elsewhere: list[str]
    sideways: list[str]
    images: list[str]
    barriers: list[str]


@pytest.fixture(scope="module")
def pages(request):
    """The folder of the built pages."""
    given = request.config.getoption("--book")
    if given is None:
        return request.getfixturevalue("built") / "_build" / "html"
    assert (given / "index.html").is_file(), f"--book {given}: there is no index.html"
    return given.resolve()


@pytest.fixture(scope="module")
def names(pages):
    """Paths of all pages below that folder; one that only leads to another is not among them."""
    found = sorted(path for path in pages.rglob("*.html") if path.relative_to(pages).parts[0][0] != "_")
    names = [
        p.relative_to(pages).as_posix()
        for p in found
        if 'http-equiv="refresh"' not in p.read_text("utf-8").lower()
    ]
    assert any(name.startswith("chapters/") for name in names)
    return names


@pytest.fixture(scope="module")
def address(pages):
    """Where a server on this machine shows them."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=pages)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    """A browser without a window."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright: pip install -r requirements-test.txt"
    )
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(
            f"no browser: none of {', '.join(BROWSERS)} is in PATH (Debian: apt-get install chromium)"
        )
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()


def opened(browser, size="desktop", scheme="light", **options):
    """A window of that size in that colour scheme."""
    width, height = SIZES[size]
    return browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)


def show(tab, url):
    """Go to a page and wait until it is drawn, mathematics too."""
    tab.goto(url, wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
    tab.evaluate("() => document.fonts.ready.then(() => null)")


def visit(context, address, name, barriers) -> Visit:
    """Open one page and note what is wrong with it."""
    tab, errors, elsewhere = context.new_page(), [], []
    tab.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("requestfailed", lambda asked: errors.append(f"failed: {asked.url}"))
    tab.on(
        "response", lambda came: errors.append(f"{came.status}: {came.url}") if came.status >= 400 else None
    )
    ours = (address, "data:", "blob:")
    tab.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(ours) else None)
    show(tab, address + name)
    sideways, images, found = tab.evaluate(SIDEWAYS), tab.evaluate(IMAGES), barriers(tab)
    tab.close()
    return Visit(name, errors, elsewhere, sideways, images, found)


@pytest.fixture(scope="module", params=VIEWS, ids=" ".join)
def visits(request, browser, address, names):
    """Every page in one window."""
    from axe_playwright_python.sync_playwright import Axe

    def barriers(tab) -> list[str]:
        found = (
            Axe().run(tab, options={"preload": False, "resultTypes": ["violations"]}).response["violations"]
        )
        return [
            f"{rule['id']} ({rule['impact']}): {node['html'][:150]}: {node['failureSummary'][:300]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    context = opened(browser, *request.param)
    yield [visit(context, address, name, barriers) for name in names]
    context.close()


def told(visits, what) -> str:
    """What is wrong, one line each."""
    return "\n".join(f"{v.page}: {fault}" for v in visits for fault in dict.fromkeys(getattr(v, what)))


def test_nothing_is_wrong_on_the_console(visits):
    assert not told(visits, "errors")


def test_nothing_is_asked_of_another_host(visits):
    assert not told(visits, "elsewhere")


def test_no_page_scrolls_sideways(visits):
    assert not told(visits, "sideways")


def test_every_image_is_loaded_and_described(visits):
    assert not told(visits, "images")


def test_axe_finds_no_serious_barrier(visits):
    assert not told(visits, "barriers")
