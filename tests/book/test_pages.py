"""The built pages in a browser, at desktop and phone width, light and dark.

By default those of a toy book; ``python -m pytest tests/book/test_pages.py --book _build/html`` reads others.
"""

import re
from typing import NamedTuple

import pytest

SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
PATIENCE = 180_000  # milliseconds: a long chapter on a busy machine
SCHEMES = ("light", "dark")
WINDOWS = {"desktop": SCHEMES, "phone": SCHEMES[::-1]}  # so that pages are loaded in either scheme
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
# Words of code have the colours of their kind: of each kind, judged in all schemes, one stays an element.
KINDS = """() => {
  for (const word of document.querySelectorAll('pre > span[class]:not(:has(*))')) {
    const style = getComputedStyle(word), ground = word.closest('div') ?? word.parentElement;
    word.kind ??= [word.className, word.textContent.trim().length < 2];  // a single letter is not judged
    word.kind.push(style.color, style.backgroundColor, getComputedStyle(ground).backgroundColor);
  }
}"""
ALIKE = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll('pre > span[class]:not(:has(*))')) {
    const kind = word.kind.join();
    if (seen.has(kind)) word.replaceWith(word.textContent); else seen.add(kind);
  }
}"""


class Visit(NamedTuple):
    """What the browser said of one page; the fields after the first are what is wrong with it."""

    page: str
    errors: list[str]
    elsewhere: list[str]
    sideways: list[str]
    images: list[str]
    barriers: list[str]
    keyboard: list[str]
    mouse: list[str]


@pytest.fixture(scope="module")
def pages(request):
    """The folder of the built pages."""
    given = request.config.getoption("--book")
    if given is None:
        return request.getfixturevalue("explored") / "_build" / "html"
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


def opened(browser, size="desktop", **options):
    """A window of that size, to be opened with ``with``."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    context.set_default_timeout(PATIENCE)
    return context


def visit(context, address, name, schemes=SCHEMES) -> Visit:
    """Open a page in the first of the colour schemes, go to the second, and note what is wrong in either.

    It is loaded once for all that is asked of it: what changes it comes last.
    """
    tab, errors, elsewhere = context.new_page(), [], []
    tab.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("requestfailed", lambda asked: errors.append(f"failed: {asked.url}"))
    tab.on(
        "response", lambda came: errors.append(f"{came.status}: {came.url}") if came.status >= 400 else None
    )
    ours = (address, "data:", "blob:")
    tab.on("request", lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(ours) else None)
    tab.emulate_media(color_scheme=schemes[0])
    tab.goto(address + name, wait_until="load")
    tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => document.fonts.ready).then(() => null)")
    sideways, images = [], []
    for scheme in schemes:
        paint(tab, scheme)
        sideways += tab.evaluate(SIDEWAYS)
        images += tab.evaluate(IMAGES)
        tab.evaluate(KINDS)
    tab.evaluate(ALIKE)
    found = barriers(tab, scheme)
    paint(tab, schemes[0])
    found += barriers(tab, schemes[0], ["color-contrast", "link-in-text-block"])  # the others are the same
    figures = tab.locator(EXPLORABLE).all()
    keyboard = [fault for figure in figures for fault in keyboard_faults(tab, figure)]
    mouse = [fault for figure in figures for fault in mouse_faults(tab, figure)]
    tab.close()
    return Visit(name, errors, elsewhere, sideways, images, found, keyboard, mouse)


def paint(tab, scheme):
    """Wait until the page is drawn in that colour scheme."""
    tab.emulate_media(color_scheme=scheme)
    themes = "scheme => [scheme, undefined].includes(document.documentElement.dataset.theme)"
    tab.wait_for_function(themes, arg=scheme)
    tab.evaluate("() => document.getAnimations().forEach(animation => animation.finish())")


def barriers(tab, scheme, rules=None) -> list[str]:
    """What keeps some readers out, where axe-core calls it serious or critical, by some rules or by all."""
    from axe_playwright_python.sync_playwright import Axe

    # preload: it would ask again for style sheets, some at wrong addresses
    options = {"preload": False, "resultTypes": ["violations"]} | ({"runOnly": rules} if rules else {})
    return [
        f"{scheme}: {rule['id']} ({rule['impact']}): {node['html'][:150]}: {node['failureSummary'][:300]}"
        for rule in Axe().run(tab, options=options).response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


# ---- explorable figures

EXPLORABLE = ".sgd-explore"


def said(figure) -> str:
    """The outcome that an explorable figure tells."""
    (live,) = figure.locator("[aria-live]").all()
    return live.inner_text().strip()


def silent(texts) -> list[str]:
    """The outcomes that a figure told while it was moved, where one is missing or none is another."""
    return [] if all(texts) and len(set(texts)) > 1 else [f"does not follow: {texts}"]


def keyboard_faults(tab, figure) -> list[str]:
    """What is wrong when an explorable figure is moved by keys."""
    control = figure.locator("input:visible").first
    control.focus()
    tab.keyboard.press("Shift+Tab")
    if control.evaluate("e => e === document.activeElement"):
        return ["a trap"]
    tab.keyboard.press("Tab")
    if not control.evaluate(
        "e => e.name ? e.name === document.activeElement.name : e === document.activeElement"
    ):
        return ["no way back"]
    texts = [said(figure)]
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft"):
        tab.keyboard.press(key)
        texts.append(said(figure))
    return silent(texts)


def mouse_faults(tab, figure) -> list[str]:
    """What is wrong when an explorable figure is moved by the mouse."""
    texts, slider = [], figure.locator("input[type=range]:visible")
    if slider.count():
        slider.first.scroll_into_view_if_needed()
        box = slider.first.bounding_box()
        for part in (0.02, 0.98):
            tab.mouse.click(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
            texts.append(said(figure))
    else:
        for label in figure.locator("label:visible").all():
            label.click()
            texts.append(said(figure))
    return silent(texts)


# ---- what is wrong with the pages


@pytest.fixture(scope="module", params=WINDOWS)
def visits(request, address, names, browser):
    """Every page in one window."""
    with opened(browser, request.param) as context:
        yield [visit(context, address, name, WINDOWS[request.param]) for name in names]


@pytest.mark.parametrize("what", Visit._fields[1:])
def test_nothing_is_wrong(visits, what):
    """One line each."""
    wrong = [f"{v.page}: {fault}" for v in visits for fault in dict.fromkeys(getattr(v, what))]
    assert not wrong, "\n".join(wrong)


def test_a_preview_can_be_read_as_well(request, serve, browser):
    """On a phone, where what it says at its top takes most room."""
    if request.config.getoption("--book"):
        pytest.skip("asked of a toy book only")
    address = serve(request.getfixturevalue("explored") / "_build" / "preview" / "html")
    with opened(browser, "phone") as context:
        seen = visit(context, address, "chapters/toy.html", WINDOWS["phone"])
    assert seen == Visit("chapters/toy.html", *[[]] * 7)


BAD = """<!doctype html><html lang="en"><title>Bad</title><body><h1>Bad</h1>
<img src="gone.png" alt="A picture"><img src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">
<style>pre {background: white} .k {color: black} .m {color: #ddd}
@media (prefers-color-scheme: dark) {.odd .k {color: #ddd}}</style>
<pre><span class="k">one</span> <span class="k">two</span> <span class="m">(</span>
<span class="m">three</span> <span class="m">four</span></pre>
<pre class="odd"><span class="k">five</span></pre>
<div style="width: 3000px">wide</div><input type="text"><script src="http://elsewhere.invalid/x.js"></script>
<div class="sgd-explore"><label>Dead <input type="range"></label><p aria-live="polite">
Nothing moves.</p></div>
<script>document.body.append("x".repeat(undefined_name))</script></body></html>"""


def test_a_bad_page_is_seen(serve, browser, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    with opened(browser) as context:
        seen = visit(context, serve(tmp_path), "bad.html")
    assert any("undefined_name" in error for error in seen.errors)
    assert any(error.startswith("404: ") and error.endswith("gone.png") for error in seen.errors)
    assert seen.elsewhere == ["http://elsewhere.invalid/x.js"]
    assert seen.sideways and "DIV" in seen.sideways[0]
    assert [fault.partition(":")[0] for fault in seen.images] == ["not loaded", "no alt text"] * 2
    faint = [fault.partition(">")[0::2] for fault in seen.barriers if ": color-contrast " in fault]
    assert [(k.partition(":")[0], w.partition("<")[0]) for k, w in faint] == [
        ("dark", "three"), ("dark", "five"), ("light", "three"),
    ]  # fmt: skip
    assert {fault.split()[1] for fault in seen.barriers} >= {"image-alt", "label"}
    assert "Nothing moves" in seen.keyboard[0] and "Nothing moves" in seen.mouse[0]


def test_the_policy_lets_the_book_work_from_a_folder_and_stops_what_is_foreign(explored, browser):
    html = explored / "_build" / "html"
    foreign = """<script>let ran = 1</script><p onclick="ran = 2">x</p><img src="http://elsewhere.invalid/p.png">
        <style>@import "http://elsewhere.invalid/a.css"; p {background: url(http://elsewhere.invalid/q.png)}</style>
        <iframe src="data:text/html,x"></iframe><script src="http://elsewhere.invalid/x.js"></script></body>"""
    bad = html / "bad.html"
    bad.write_text((html / "using.html").read_text("utf-8").replace("</body>", foreign), "utf-8")
    with opened(browser) as context:
        seen = visit(context, f"file://{html}/", "bad.html")
    bad.unlink()
    errors = [error for error in seen.errors if "violates" in error]
    stopped = ["inline script", "inline event", "p.png", "a.css", "q.png", "data:", "x.js"]
    assert [what for what in stopped if not any(what in error for error in errors)] == [], errors
    with opened(browser) as context:
        seen = visit(context, f"file://{html}/", "chapters/toy.html")
        assert seen == Visit("chapters/toy.html", *[[]] * 7)
        tab = context.new_page()
        tab.goto(f"file://{html}/chapters/toy.html", wait_until="load")
        tab.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
        assert tab.locator("mjx-container").count() and tab.locator(".sgd-controls:visible").count()
        mode = tab.evaluate("document.documentElement.dataset.mode")
        tab.locator("button.theme-switch-button:visible").first.click()
        assert tab.evaluate("document.documentElement.dataset.mode") != mode
        tab.goto(f"file://{html}/search.html?q=mean")
        tab.wait_for_selector("#search-results li a")


def test_the_search_finds_words_of_the_book(address, names, browser):
    with opened(browser) as context:
        tab = context.new_page()
        tab.goto(f"{address}search.html?q=mean")
        tab.wait_for_selector("#search-results li a")
        links = [link.get_attribute("href") for link in tab.query_selector_all("#search-results li a")]
    assert any(link.partition("?")[0].partition("#")[0] in names for link in links), links


def test_no_two_elements_of_a_page_have_the_same_id(pages, names):
    for name in names:
        ids = re.findall(r'<[^>]* id="([^"]+)"', (pages / name).read_text("utf-8"))
        assert ids and not {i for i in ids if ids.count(i) > 1}, name


def test_explorables_tell_all_without_scripts(address, pages, names, browser):
    explorables = [name for name in names if 'class="sgd-explore' in (pages / name).read_text("utf-8")]
    assert {name for name in names if name.startswith("chapters/")} <= set(explorables)
    with opened(browser, java_script_enabled=False) as context:
        for name in explorables:
            tab = context.new_page()
            tab.goto(address + name)
            for figure in tab.locator(EXPLORABLE).all():
                assert not figure.locator("input:visible").count(), f"{name}: a control that does nothing"
                assert figure.locator("table:visible tbody tr").count() > 1, name
            tab.close()
