"""The built pages in a browser, at desktop and phone width, light and dark.

By default those of a toy book; ``python -m pytest tests/book/test_pages.py --book _build/html`` reads others.
"""

from typing import NamedTuple

import pytest
import toy_book

from book import cli

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PATIENCE = 180_000  # milliseconds: a long chapter on a busy machine
VIEWS = [(size, scheme) for size in SIZES for scheme in ("light", "dark")]
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
# Words of code have the colours of their kind: of each kind and ground one is judged, there are thousands.
ALIKE = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll('pre > span[class]:not(:has(*))')) {
    const style = getComputedStyle(word);
    const around = getComputedStyle(word.closest('div') ?? word.parentElement).backgroundColor;
    const single = word.textContent.trim().length < 2;  // a single letter is not judged
    const kind = [word.className, style.color, style.backgroundColor, around, single].join();
    if (seen.has(kind)) word.dataset.alike = ''; else seen.add(kind);
  }
}"""


MOVED = """from lib.page import explore
from lib.page.explore import Axis, Control, Dots, Panel
PANEL = Panel("Networks", Axis("rate", 0, 10), Axis("right [%]", 0, 100))
CONTROLS = [Control("rate", [1, 2, 3]), Control("way", ["plain", "fancy"], slider=False)]
def state(rate, way):
    return f"At a rate of {rate}, {way}, {rate} networks train.", [Dots([1, rate], [10, 20 * rate])]
explore.figure("fig-moved", "Move it.", "A dot for each network at the rate.", CONTROLS, [PANEL], state,
               {"rate": [1, 2]})"""


class Visit(NamedTuple):
    """What the browser said of one page."""

    page: str
    errors: list[str]
    elsewhere: list[str]
    sideways: list[str]
    images: list[str]
    barriers: list[str]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A toy book built at both scales; its chapter has an explorable figure."""
    chapter = toy_book.chapter("print('shown')", MOVED)
    root = toy_book.project(tmp_path_factory.mktemp("pages") / "book", toy=chapter)
    for command in ("run", "record", "build", "build --preview"):
        assert cli.main(command.split(), root) == 0, command
    return root


@pytest.fixture(scope="module")
def pages(request):
    """The folder of the built pages."""
    given = request.config.getoption("--book")
    if given is None:
        return request.getfixturevalue("toy") / "_build" / "html"
    assert (given / "index.html").is_file(), f"--book {given}: there is no index.html"
    return given.resolve()


@pytest.fixture(scope="module")
def names(pages):
    """Paths of all pages below that folder, each once; one that only leads to another is not among them."""
    found = sorted(path for path in pages.rglob("*.html") if path.relative_to(pages).parts[0][0] != "_")
    once = {path.read_text("utf-8"): path.relative_to(pages).as_posix() for path in found}
    names = [name for text, name in once.items() if 'http-equiv="refresh"' not in text.lower()]
    assert any(name.startswith("chapters/") for name in names)
    return names


@pytest.fixture(scope="module")
def address(pages, serve):
    """Where the pages are shown."""
    return serve(pages)


def opened(browser, size="desktop", scheme="light", **options):
    """A window of that size in that colour scheme."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
    context.set_default_timeout(PATIENCE)
    return context


def show(tab, url):
    """Go to a page and wait until it is drawn, mathematics too."""
    tab.goto(url, wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
    tab.evaluate("() => document.fonts.ready.then(() => null)")


def visit(context, address, name, scheme="light") -> Visit:
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
    found = tab.evaluate(SIDEWAYS), tab.evaluate(IMAGES), barriers(tab, scheme)
    visit = Visit(name, errors, elsewhere, *found)
    tab.close()
    return visit


def barriers(tab, scheme) -> list[str]:
    """What keeps some readers out, where axe-core calls it serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    # preload: it would ask again for style sheets, some at wrong addresses
    options = {"preload": False, "resultTypes": ["violations"]}
    if scheme == "dark":  # what is there, and how large, is the same as in light
        options["runOnly"] = ["color-contrast", "link-in-text-block"]
    tab.evaluate(ALIKE)
    found = Axe().run(tab, {"exclude": [["[data-alike]"]]}, options).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:150]}: {node['failureSummary'][:300]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.fixture(scope="module", params=VIEWS, ids=" ".join)
def visits(request, address, names, browser):
    """Every page in one window."""
    context = opened(browser, *request.param)
    yield [visit(context, address, name, request.param[1]) for name in names]
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


@pytest.mark.parametrize("view", VIEWS, ids=" ".join)
def test_a_preview_can_be_read_as_well(toy, serve, browser, view):
    context = opened(browser, *view)
    seen = visit(context, serve(toy / "_build" / "preview" / "html"), "chapters/toy.html", view[1])
    context.close()
    assert seen == Visit("chapters/toy.html", [], [], [], [], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_bad_page_is_seen(serve, browser, tmp_path, scheme):
    (tmp_path / "bad.html").write_text(
        """<!doctype html><html lang="en"><title>Bad</title><body><h1>Bad</h1>
        <img src="gone.png" alt="A picture"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">
        <style>pre {background: white} .k {color: black} .m {color: #ddd}</style>
        <pre><span class="k">one</span> <span class="k">two</span> <span class="m">(</span>
        <span class="m">three</span> <span class="m">four</span></pre>
        <div style="width: 3000px">wide</div><input type="text"><script src="http://elsewhere.invalid/x.js">
        </script><script>document.body.append("x".repeat(undefined_name))</script></body></html>"""
    )
    context = opened(browser, scheme=scheme)
    seen = visit(context, serve(tmp_path), "bad.html", scheme)
    context.close()
    assert any("undefined_name" in error for error in seen.errors)
    assert any(error.startswith("404: ") and error.endswith("gone.png") for error in seen.errors)
    assert seen.elsewhere == ["http://elsewhere.invalid/x.js"]
    assert seen.sideways and "DIV" in seen.sideways[0]
    assert [fault.partition(":")[0] for fault in seen.images] == ["not loaded", "no alt text"]
    faint = [fault for fault in seen.barriers if fault.startswith("color-contrast ")]
    assert len(faint) == 1 and '<span class="m">three' in faint[0]
    others = {"image-alt", "label"} if scheme == "light" else set()
    assert {fault.partition(" ")[0] for fault in seen.barriers} >= others


def test_the_policy_lets_the_book_work_from_a_folder_and_stops_what_is_foreign(toy, browser):
    html, context = toy / "_build" / "html", opened(browser)
    assert visit(context, f"file://{html}/", "chapters/toy.html") == Visit(
        "chapters/toy.html", [], [], [], [], []
    )
    tab = context.new_page()
    show(tab, f"file://{html}/chapters/toy.html")
    assert tab.locator("mjx-container").count() and tab.locator(".sgd-controls:visible").count()
    mode = tab.evaluate("document.documentElement.dataset.mode")
    tab.locator("button.theme-switch-button:visible").first.click()
    assert tab.evaluate("document.documentElement.dataset.mode") != mode
    tab.goto(f"file://{html}/search.html?q=mean")
    tab.wait_for_selector("#search-results li a")
    foreign = """<script>let ran = 1</script><p onclick="ran = 2">x</p><img src="http://elsewhere.invalid/p.png">
        <style>@import "http://elsewhere.invalid/a.css"; p {background: url(http://elsewhere.invalid/q.png)}</style>
        <iframe src="data:text/html,x"></iframe><script src="http://elsewhere.invalid/x.js"></script></body>"""
    bad = html / "bad.html"
    bad.write_text((html / "using.html").read_text("utf-8").replace("</body>", foreign), "utf-8")
    errors = [error for error in visit(context, f"file://{html}/", "bad.html").errors if "violates" in error]
    bad.unlink()
    stopped = ["inline script", "inline event", "p.png", "a.css", "q.png", "data:", "x.js"]
    assert [what for what in stopped if not any(what in error for error in errors)] == [], errors
    context.close()


def test_the_search_finds_words_of_the_book(address, names, browser):
    context = opened(browser)
    tab = context.new_page()
    tab.goto(f"{address}search.html?q=mean")
    tab.wait_for_selector("#search-results li a")
    links = [link.get_attribute("href") for link in tab.query_selector_all("#search-results li a")]
    assert any(link.partition("?")[0].partition("#")[0] in names for link in links), links
    context.close()


# ---- explorable figures ----------------------------------------------------------------------------------

EXPLORABLE = ".sgd-explore"


@pytest.fixture(scope="module")
def explorables(pages, names):
    """Pages with an explorable figure."""
    found = [name for name in names if 'class="sgd-explore' in (pages / name).read_text("utf-8")]
    assert {name for name in names if name.startswith("chapters/")} <= set(found)
    return found


def said(figure) -> str:
    """The outcome that an explorable figure tells."""
    (live,) = figure.locator("[aria-live]").all()
    return live.inner_text().strip()


@pytest.mark.parametrize("size", SIZES)
def test_explorables_follow_the_keyboard(address, explorables, browser, size):
    context = opened(browser, size)
    for name in explorables:
        tab = context.new_page()
        show(tab, address + name)
        for figure in tab.locator(EXPLORABLE).all():
            control = figure.locator("input:visible").first
            control.focus()
            tab.keyboard.press("Shift+Tab")
            assert not control.evaluate("e => e === document.activeElement"), f"{name}: a trap"
            tab.keyboard.press("Tab")
            assert control.evaluate(
                "e => e.name ? e.name === document.activeElement.name : e === document.activeElement"
            )
            texts = [said(figure)]
            for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
                tab.keyboard.press(key)
                texts.append(said(figure))
            assert all(texts) and len(set(texts)) > 1, f"{name}: {texts}"
        tab.close()
    context.close()


@pytest.mark.parametrize("size", SIZES)
def test_explorables_follow_the_mouse(address, explorables, browser, size):
    context = opened(browser, size)
    for name in explorables:
        tab = context.new_page()
        show(tab, address + name)
        for figure in tab.locator(EXPLORABLE).all():
            texts = []
            slider = figure.locator("input[type=range]:visible")
            if slider.count():
                slider.first.scroll_into_view_if_needed()
                box = slider.first.bounding_box()
                places = [
                    (box["x"] + part * box["width"], box["y"] + box["height"] / 2) for part in (0.02, 0.98)
                ]
                for place in places:
                    tab.mouse.click(*place)
                    texts.append(said(figure))
            else:
                for label in figure.locator("label:visible").all():
                    label.click()
                    texts.append(said(figure))
            assert all(texts) and len(set(texts)) > 1, f"{name}: {texts}"
        tab.close()
    context.close()


def test_explorables_tell_all_without_scripts(address, explorables, browser):
    context = opened(browser, java_script_enabled=False)
    for name in explorables:
        tab = context.new_page()
        tab.goto(address + name)
        for figure in tab.locator(EXPLORABLE).all():
            assert not figure.locator("input:visible").count(), f"{name}: a control that does nothing"
            assert figure.locator("table:visible tbody tr").count() > 1, name
        tab.close()
    context.close()
