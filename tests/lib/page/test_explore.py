"""Explorable figures: what is drawn in each state, what is refused, and how they work in a browser."""

import itertools
import json
import re
from html import unescape

import nbformat
import numpy as np
import pytest
import toy_book

from book import gate, markup, sphinx_book
from lib import stats
from lib.page import explore, panels
from lib.page.explore import Axis, Control, Dots, Estimate, Line, Note, Panel, Rule

PRIVATE = "/".join(["", "home", "someone"])  # in one piece the lint of this project would find it
ALT = "One dot for each of three networks, at the chosen rate."
X, Y = Axis("rate", 0, 10), Axis("right [%]", 0, 100)
NO_ESTIMATE = stats.Estimate(float("nan"), 0.0, 1.0, 3, "t")
DATA = {"rate": [1, 2], "right": [10.0, 20.0]}
LEFT, RIGHT, TOP, BOTTOM = 44, 328, 44, 232  # of the axes [px]


def state(rate, way="plain"):
    marks = [
        Dots([1, rate], [10, 20 * rate], [0, rate]),
        Line([0, 10], [0, 10 * rate]),
        Estimate(rate, stats.Estimate(50.0, 40.0, 60.0, 3, "t")),
        Rule(50, "half"),
        Note(1, 90, f"rate {rate}"),
    ]
    return f"At a rate of {rate}, {way}, {rate} of 3 networks train.", marks


def given(**changed):
    """Arguments of a good figure of six states."""
    good = {
        "name": "fig-toy-explore",
        "caption": "Move the *rate*.",
        "alt": ALT,
        "controls": [
            Control("rate", [1, 2, 3], "steps", start=2),
            Control("way", ["plain", "fancy"], slider=False),
        ],
        "panels": [Panel("Networks", X, Y)],
        "state": state,
        "data": DATA,
    }
    return good | changed


@pytest.fixture
def show(monkeypatch):
    """Shows a figure in place of a notebook; gives its bundle and metadata."""

    def run(**changed):
        seen = []
        monkeypatch.setattr("IPython.display.display", lambda b, raw, metadata: seen.append((b, metadata)))
        explore.figure(**given(**changed))
        (one, _) = seen  # the other is its caption
        return one

    return run


def record_of(html: str) -> dict:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def drawn(html: str, number: int) -> list[dict]:
    """Attributes and text of every element that moves, in a state: what the script is to make of the page."""
    record = record_of(html)
    found = re.findall(r"<(\w+) data-m((?: [\w-]+=\"[^\"]*\")*)>([^<]*)</", html)
    elements = [dict(re.findall(r'([\w-]+)="([^"]*)"', inside)) | {"text": text} for _, inside, text in found]
    moving = [mark for mark in record["marks"] if mark]
    assert len(moving) == len(elements)
    for element, mark in zip(elements, moving, strict=True):
        element.update({name: record["pool"][numbers[number]] for name, numbers in mark.items()})
    return elements


# ---- words


@pytest.mark.parametrize(
    ("hits", "n", "words"),
    [
        (0, 32, "none of 32 networks collapses (0 to 11 %)"),
        (1, 32, "1 of 32 networks collapses (0.1 to 16 %)"),
        (31, 32, "31 of 32 networks collapse (84 to 99.9 %)"),
        (32, 32, "all 32 networks collapse (89 to 100 %)"),
        (2, 2, "both networks collapse (16 to 100 %)"),
        (1, 1, "the only network collapses (3 to 100 %)"),
        (0, 1, "none of 1 network collapses (0 to 98 %)"),
    ],
)
def test_counts_are_said_in_good_grammar_with_their_interval(hits, n, words):
    assert explore.counted(np.arange(n) < hits, "collapses", "collapse") == words


def test_counts_after_the_first_leave_out_of_how_many():
    which = np.arange(10) < 4
    assert explore.counted(which, "dies", "die", whole=False) == "4 die (12 to 74 %)"
    assert explore.counted(~which, "dies", "die", "whole net").startswith("6 of 10 whole nets die")
    assert explore.counted(which & False, "dies", "die", whole=False) == "none dies (0 to 31 %)"


def test_numbers_are_told_with_unit_interval_and_n():
    e = stats.Estimate(0.3125, 0.229, 0.409, 32, "t")
    assert explore.told(e, "points") == "0.31 points (0.23 to 0.41, n = 32)"
    assert explore.told(stats.Estimate(0.0, 0.0, 0.0, 20, "t")) == "0 (the same in all 20)"


def test_dots_of_nearly_equal_values_pile_up():
    level, pile = explore.places([1.0, 5.0, 1.04, 0.96], 0.1)
    assert level.tolist() == [0, 0, 1, 2] and pile.tolist() == [3, 1, 3, 3]
    with pytest.raises(ValueError, match="step: got 0"):
        explore.places([1.0], 0)


# ---- what is shown


def test_a_figure_has_all_its_forms(show):
    bundle, about = show()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain", gate.DATA_MIME}
    assert about["sgd_book"]["name"] == "fig-toy-explore" and about["sgd_book"]["explore"] is True
    assert about["sgd_book"]["alt"] == f"{ALT} At first: At a rate of 2, plain, 2 of 3 networks train."
    assert bundle[gate.DATA_MIME] == {"columns": ["rate", "right"], "rows": [[1, 10.0], [2, 20.0]]}
    assert bundle["text/plain"].count("networks train.") == 6
    assert "<script" not in bundle["image/svg+xml"] and "rate: 2 steps, way: plain" in bundle["image/svg+xml"]


def test_without_scripts_the_page_has_drawing_outcome_and_table(show):
    html = show()[0]["text/html"]
    assert re.search(r'class="sgd-controls"[^>]* hidden>', html)
    assert re.search(r'role="status" aria-live="polite">At a rate of 2, plain, 2 of 3', html)
    rows = re.findall(r"<tr><th [^>]*row[^>]*>(.*?)</th><td[^>]*>(.*?)</td><td[^>]*>(.*?)</td></tr>", html)
    expected = itertools.product(("1 steps", "2 steps", "3 steps"), ("plain", "fancy"))
    assert [(a, b) for a, b, _ in rows] == list(expected)
    assert [c for *_, c in rows] == record_of(html)["outcomes"]
    assert "<details open>" in html and "\n\n" not in html


def test_controls_are_native_and_labelled(show):
    html = show()[0]["text/html"]
    slider = re.search(r'<input type="range" id="([\w-]+)"[^>]*>', html)
    assert f'<label for="{slider[1]}">rate</label>' in html
    assert 'max="2"' in slider[0] and 'value="1"' in slider[0] and 'aria-valuetext="2 steps"' in slider[0]
    assert html.count('type="radio"') == 2 and "<legend>way</legend>" in html


def test_marks_stand_where_their_values_are_in_every_state(show):
    html = show()[0]["text/html"]
    for number, (rate, _) in enumerate(itertools.product((1, 2, 3), ("plain", "fancy"))):
        dot, line, bar, mean, _, note = drawn(html, number)
        assert float(dot["cx"]) == pytest.approx(LEFT + rate / 10 * (RIGHT - LEFT), abs=0.05)
        assert float(dot["cy"]) == pytest.approx(BOTTOM - 0.2 * rate * (BOTTOM - TOP), abs=0.05)
        assert dot["class"] == f"f{rate}"
        assert line["d"].startswith(f"M{LEFT} {BOTTOM}L{RIGHT} ")
        assert mean["cx"] == dot["cx"] and bar["d"].count(dot["cx"]) == 2
        assert note["text"] == f"rate {rate}"
    # what never moves is not in the data: the dot at 10 %, the rule, the axes
    assert sum(map(bool, record_of(html)["marks"])) == 6


def test_the_drawing_begins_in_the_start_state(show):
    html = show()[0]["text/html"]
    found = re.findall(r'<circle data-m cx="([\d.]+)"', html)
    assert found[0] == drawn(html, record_of(html)["start"])[0]["cx"] != drawn(html, 0)[0]["cx"]


def test_a_logarithmic_axis_and_its_ticks(show):
    panel = Panel("Log", Axis("updates", 1, 10_000, log=True), Y)

    def log_state(rate):
        return f"At {rate}.", [Dots([100, 0], [rate, rate])]

    html = show(controls=[Control("rate", [1, 2])], panels=[panel], state=log_state)[0]["text/html"]
    assert f'cx="{(LEFT + RIGHT) / 2:.0f}"' in html and f'cx="{LEFT}"' in html
    assert all(f">{text}</text>" in html for text in ("1", "10", "100", "1000", "10⁴"))


def test_what_an_axis_does_not_reach_is_counted_or_written(show):
    def far(rate):
        low = stats.Estimate(-24.7 * rate, -30.0 * rate, 55.0, 3, "t")
        return f"At {rate}.", [Dots([1, 2, 3], [-5 * rate, 50, 130], 0), Estimate(5, low)]

    html = show(controls=[Control("rate", [1, 2])], state=far)[0]["text/html"]
    assert "▾ 1 below 0" in html and "▴ 1 above 100" in html and "▾ -24.7" in html.replace("−", "-")
    assert html.count('visibility="hidden"') == 3
    assert re.search(rf'<path d="M186 {BOTTOM}L186 ', html)  # the interval ends where the axis does


def test_gaps_and_colours(show):
    def broken(rate):
        return f"At {rate}.", [Line([1, 2, 3, 4], [1, None, float("nan"), rate], 3)]

    html = show(controls=[Control("rate", [1, 2])], state=broken)[0]["text/html"]
    (line,) = drawn(html, 1)
    assert line["d"].count("M") == 2 and "L" not in line["d"] and line["class"] == "s3"
    assert f'stroke="{panels.COLORS[3]}"' in html


def test_texts_cannot_leave_their_place(show):
    evil = '</script><b onclick="x">&'

    def spoken(rate):
        return f"{evil} {rate}.", [Note(1, 1, f"{evil} {rate}")]

    html = show(controls=[Control(evil, [1, 2])], state=spoken)[0]["text/html"]
    assert html.count("</script>") == 1 and "<b " not in html
    record = record_of(html)
    assert record["outcomes"] == [f"{evil} 1.", f"{evil} 2."] and f"{evil} 2" in record["pool"]
    assert explore.html_faults(html) == []


def test_one_state_has_nothing_to_move_and_says_so(show):
    html = show(controls=[Control("rate", [1])])[0]["text/html"]
    assert "nothing to move" in html and "<input" not in html and " hidden" not in html
    assert explore.html_faults(html) == [] and explore.states(html) == 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "toy"}, "name: got 'toy'"),
        ({"caption": " "}, "caption of fig-toy-explore"),
        ({"alt": "short"}, "alt of fig-toy-explore"),
        ({"data": {"x": []}}, "data: got columns"),
        ({"controls": []}, "0 controls and 1 panels"),
        ({"panels": []}, "2 controls and 0 panels"),
        ({"controls": [Control(" ", [1])]}, "control ' ' of 1 values"),
        ({"controls": [Control("rate", [])]}, "'rate' of 0 values"),
        ({"controls": [Control("rate", [1, 2], start=3)]}, r"start 3, wanted one of \[1, 2\]"),
        ({"controls": [Control("rate", [1, 1])]}, "'rate' has a value twice"),
        ({"controls": [Control("rate", [1, float("nan")])]}, "value: got nan"),
        ({"panels": [Panel("P", Axis("x", 1, 1), Y)]}, "axis 'x': got 1 to 1"),
        ({"panels": [Panel("P", Axis("x", 0, 1, log=True), Y)]}, "axis 'x': got 0 to 1"),
        ({"panels": [Panel("P", Axis("", 0, 1), Y)]}, "axis ''"),
        ({"state": lambda r, w: ("One outcome, 1.", [])}, "same outcome"),
        ({"state": lambda r, w: (f"no number in {w}.", [])}, "wanted a sentence with numbers"),
        ({"state": lambda r, w: (f"{r} {w}, nan.", [])}, "a number that is none"),
        ({"state": lambda r, w: (f"{r} {w}, None of 3.", [])}, "a number that is none"),
        ({"state": lambda r, w: (f"None at {r} {w}. None.", [])}, "a number that is none"),
        ({"state": lambda r, w: (f"{r} {w}.", [Dots([1] * r, [1] * r)])}, "at 2, plain: other marks"),
        ({"state": lambda r, w: (f"{r} {w}.", [Dots([1], [1], 99)])}, "at 1, plain: color: got 99"),
        ({"state": lambda r, w: (f"{r} {w}.", [Note(1, None, "x")])}, "note 'x'"),
        ({"state": lambda r, w: (f"{r} {w}.", [Rule(float("nan"), "x")])}, "rule 'x'"),
        ({"state": lambda r, w: (f"{r} {w}.", [Estimate(1, NO_ESTIMATE)])}, "estimate: got .nan"),
        ({"state": lambda r, w: (f"{r} {w}.", ["dot"])}, "got str, wanted Dots"),
    ],
)
def test_what_is_refused(show, changed, message):
    with pytest.raises(ValueError, match=message):
        show(**changed)


# ---- the gate and the page builder


def notebook(bundle, about, defaults=True):
    """A toy chapter that was run and shows an explorable figure."""
    chapter = toy_book.chapter()
    tags = [] if defaults else ["injected-parameters"]
    source = "explore.figure()"
    cell = nbformat.v4.new_code_cell(source, id="cell-explore", metadata={"tags": tags})
    cell.execution_count, cell.metadata["papermill"] = 1, {"status": "completed"}
    cell.outputs = [nbformat.v4.new_output("display_data", bundle, metadata=about)]
    chapter.cells = [chapter.cells[0], cell]
    return chapter


def faults_of(bundle, about, defaults=True):
    return [f for f in gate.notebook_faults(notebook(bundle, about, defaults)) if "cell-explore" in f]


def test_the_gate_passes_a_good_one(show):
    assert faults_of(*show()) == []


def swap(old: str, new: str):
    def spoil(bundle, about):
        assert old in bundle["text/html"]
        bundle["text/html"] = bundle["text/html"].replace(old, new)

    return spoil


def record_with(**changed):
    def spoil(bundle, about):
        record = record_of(bundle["text/html"]) | changed
        text = f'<script type="application/json">{json.dumps(record)}</script>'
        bundle["text/html"] = re.sub(
            "<script.*</script>", lambda _: text, bundle["text/html"], flags=re.DOTALL
        )

    return spoil


FAULTS = {
    "bare": (lambda b, a: a.clear(), "without name, caption and alt"),
    "no data": (lambda b, a: b.pop(gate.DATA_MIME), "without the data behind it"),
    "no picture": (lambda b, a: b.pop("image/svg+xml"), "without a picture"),
    "no description": (swap(f'aria-label="{ALT}"', 'aria-label=" "'), "without a description"),
    "mute": (swap('role="status"', ""), "not announced"),
    "script": (swap("</details>", "</details><script>let x</script>"), "a script that is not known"),
    "handler": (
        swap("<details open>", '<details open onclick="x()">'),
        "<details onclick> is not among|its table lacks",
    ),
    "row lost": (swap(">At a rate of 3, fancy", ">At"), "outcome that its table lacks: At a rate of 3"),
    "no JSON": (swap('{"controls"', '{controls"'), "wanted one that is JSON"),
    "path": (swap("<summary>", f"<summary>{PRIVATE}"), "path of this machine"),
    "not whole": (record_with(outcomes=None), "not whole|NoneType"),
    "outcome lost": (record_with(outcomes=["At 1."]), "1 outcomes for 6 states"),
    "same twice": (record_with(outcomes=["At 1."] * 6), "same outcome"),
    "bad start": (record_with(start=6), "starts in state 6"),
    "mark lost": (record_with(marks=[{"cx": [0]}]), "without a value for each state"),
    "mark astray": (record_with(marks=[{"cx": [0, 0, 0, 0, 0, 10**6]}]), "not there"),
    "value that is no text": (record_with(pool=[1]), "no text"),
    "no number": (record_with(pool=["nan"] * 1000), "a number that is none"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_gate_finds_each_fault(show, fault):
    spoil, message = FAULTS[fault]
    bundle, about = show()
    spoil(bundle, about)
    with pytest.raises(AssertionError, match=message):
        assert faults_of(bundle, about) == []


def test_a_chapter_at_its_defaults_must_have_something_to_move(show):
    bundle, about = show(controls=[Control("rate", [1])])
    assert faults_of(bundle, about) == ["cell cell-explore: explorable figure with nothing to move"]
    assert faults_of(bundle, about, defaults=False) == []


def test_a_sentence_may_begin_with_none(show):
    bundle, about = show(state=lambda r, w: (f"None of {r} networks is {w}. None comes back.", []))
    assert faults_of(bundle, about) == []


def test_a_page_with_an_explorable_figure_must_load_its_script(tmp_path):
    policy = f'<meta http-equiv="Content-Security-Policy" content="{markup.policy("")}">'
    text = (
        f'<html><head>{policy}<title>T</title>{{}}</head><body><div class="sgd-explore"></div></body></html>'
    )
    (tmp_path / "index.html").write_text(text.format(""))
    assert gate.html_faults(tmp_path, preview=False) == [
        "index.html: explorable figure without its script _static/explore.js"
    ]
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "explore.js").write_text("")
    (tmp_path / "index.html").write_text(text.format('<script src="_static/explore.js?v=1"></script>'))
    assert gate.html_faults(tmp_path, preview=False) == []


def test_the_page_builder_gets_both_forms_and_the_files(show):
    bundle, about = show()
    text, files = sphinx_book.page_text(notebook(bundle, about), "chapters/toy")
    cell = nbformat.reads(text, as_version=4).cells[-1]
    assert set(cell.outputs[0]["data"]) == {"text/html", "image/svg+xml"}
    assert cell.metadata["mystnb"]["figure"]["name"] == "fig-toy-explore"
    assert files["figures/toy/fig-toy-explore.csv"] == b"rate,right\n1,10.0\n2,20.0\n"
    assert files["figures/toy/fig-toy-explore.svg"].startswith(b"<svg")


def test_the_script_is_small_strict_and_alone():
    script = (toy_book.PROJECT / "_static" / "explore.js").read_text("utf-8")
    assert len(script.encode()) < 10_000 and script.splitlines()[1] == '"use strict";'
    assert not re.search(r"\beval\b|new Function|innerHTML|https?:|fetch\(|import ", script)


def test_the_style_sheet_has_every_colour_in_both_themes():
    css = (toy_book.PROJECT / "_static" / "book.css").read_text("utf-8")
    for k, color in enumerate(panels.COLORS):
        assert re.findall(rf"--sgd-c{k}: (#\w+);", css)[0] == color
        assert len(re.findall(rf"--sgd-c{k}: #\w+;", css)) == 2
        assert f".f{k} {{" in css and f".s{k} {{" in css


# ---- in a browser


@pytest.fixture(scope="module")
def built(explored):
    """The pages of a toy book with two explorable figures on one page."""
    return explored / "_build" / "html"


def test_it_is_a_figure_like_the_others(built):
    page = (built / "chapters" / "toy.html").read_text("utf-8")
    for number, name in ((1, "fig-one"), (2, "fig-two")):
        figure = re.search(rf'<figure[^>]* id="{name}".*?</figure>', page, re.DOTALL)[0]
        assert f'caption-number">Fig. {number} ' in figure and f"<em>{name}</em>" in figure
        assert f'href="../figures/toy/{name}.csv"' in figure and f'href="../figures/toy/{name}.svg"' in figure
        assert figure.count('class="sgd-explore"') == 1 and "<img" not in figure
        assert (built / "figures" / "toy" / f"{name}.csv").read_text() == "rate\n1\n2\n"
    assert re.search(r"Move <a[^>]*><span[^>]*>Fig. 2</span>", page)
    assert len(re.findall(r'<script[^>]* src="[^"]*explore\.js', page)) == 1


@pytest.fixture(scope="module")
def address(built, serve):
    """Where the pages are served."""
    return serve(built)


@pytest.fixture
def visit(address, browser):
    """Opens the page; afterwards, nobody complained and no other host was asked."""
    contexts, faults = [], []

    def go(before="", **options):
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(before)
        page.on("console", lambda m: faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("request", lambda r: None if r.url.startswith(address) else faults.append(r.url))
        page.goto(f"{address}chapters/toy.html", wait_until="load")
        return page

    yield go
    for context in contexts:
        context.close()
    assert faults == []


def parts(page, name="fig-one"):
    """The slider, the outcome and the first moving dot of a figure."""
    figure = page.locator(f"#{name}")
    return (
        figure.get_by_role("slider", name="rate"),
        figure.get_by_role("status"),
        figure.locator("circle[data-m]").first,
    )


DURATION = "e => getComputedStyle(e).transitionDuration"


def test_the_mouse_moves_the_outcome_and_the_drawing(visit):
    page = visit()
    slider, outcome, dot = parts(page)
    assert dot.evaluate(DURATION).startswith("0.35s")
    before = dot.get_attribute("cx")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    assert outcome.inner_text().startswith("At a rate of 3, plain, 3 of 3 networks")
    assert slider.get_attribute("aria-valuetext") == "3 steps"
    assert page.locator("#fig-one .sgd-value").inner_text() == "3 steps"
    assert float(dot.get_attribute("cx")) > float(before) and dot.get_attribute("class") == "f3"
    page.locator("#fig-one").get_by_label("fancy").click()
    assert outcome.inner_text().startswith("At a rate of 3, fancy")
    # the other figure on the page is its own
    assert parts(page, "fig-two")[1].inner_text().startswith("At a rate of 4, plain")


def test_the_keyboard_does_the_same_and_shows_where_it_is(visit):
    page = visit()
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#fig-one input')"):
            break
    slider, outcome, dot = parts(page)
    assert page.evaluate("document.activeElement.type") == "range"
    assert slider.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    before = dot.get_attribute("cy")
    page.keyboard.press("ArrowRight")
    assert outcome.inner_text().startswith("At a rate of 2, plain") and dot.get_attribute("cy") != before
    page.keyboard.press("End")
    assert outcome.inner_text().startswith("At a rate of 3, plain")
    page.keyboard.press("Tab")  # the button that plays
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert outcome.inner_text().startswith("At a rate of 3, fancy")


def test_every_state_is_the_one_that_was_computed(visit, built):
    page = visit()
    slider, outcome, _ = parts(page)
    source = (built / "chapters" / "toy.html").read_text("utf-8")
    html = re.search(r'<figure[^>]* id="fig-one".*?</figure>', source, re.DOTALL)[0]
    for number, (rate, way) in enumerate(itertools.product(range(3), ("plain", "fancy"))):
        slider.fill(str(rate))
        page.locator("#fig-one").get_by_label(way).check()
        assert outcome.inner_text() == record_of(html)["outcomes"][number]
        named = "Object.fromEntries([...e.attributes].map(a => [a.name, a.value]))"
        read = f"all => all.map(e => ({{text: e.textContent, ...{named}}}))"
        seen = page.locator("#fig-one [data-m]").evaluate_all(read)
        for found, wanted in zip(seen, drawn(html, number), strict=True):
            assert {name: found[name] for name in wanted} == {k: unescape(v) for k, v in wanted.items()}


def test_play_goes_through_the_states_and_stops(visit):
    page = visit()
    page.clock.install()
    page.reload()
    slider, outcome, _ = parts(page)
    button = page.locator("#fig-one").get_by_role("button", name="Play")
    button.click()
    page.clock.run_for(1200)
    assert slider.input_value() == "1" and outcome.inner_text().startswith("At a rate of 2")
    page.clock.run_for(5000)
    assert slider.input_value() == "2"
    button.click()  # from the end it begins anew, and a second press stops it
    assert slider.input_value() == "0"
    page.locator("#fig-one").get_by_role("button", name="Stop").click()
    page.clock.run_for(5000)
    assert slider.input_value() == "0" and button.is_visible()


def test_with_scripts_off_everything_can_be_read(visit):
    page = visit(java_script_enabled=False)
    figure = page.locator("#fig-one")
    assert not figure.locator(".sgd-controls").is_visible()
    assert figure.get_by_role("status").is_visible() and figure.locator("svg").count() == 2
    rows = figure.locator("tbody tr")
    assert rows.count() == 6 and all(rows.nth(k).is_visible() for k in range(6))
    assert "At a rate of 3, fancy" in rows.nth(5).inner_text()
    assert figure.get_by_role("link", name="CSV").is_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_telephone_shows_it_without_scrolling_sideways(visit, scripts):
    """And the drawing keeps its place when the sentence grows."""
    page = visit(viewport={"width": 360, "height": 740}, java_script_enabled=scripts)
    widths = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    wide = page.locator("html").evaluate(f"() => {widths}")
    assert wide[0] <= wide[1]
    boxes = [page.locator("#fig-one svg").nth(k).bounding_box() for k in range(2)]
    assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"] - 1  # one above the other
    assert all(b["x"] >= 0 and b["x"] + b["width"] <= 360 for b in boxes)
    if scripts:
        parts(page)[0].fill("2")
        assert page.locator("#fig-one svg").first.bounding_box()["y"] == boxes[0]["y"]


def test_colours_follow_the_theme_without_drawing_anew_and_nothing_moves_where_that_is_not_wanted(visit):
    page = visit(color_scheme="light", reduced_motion="reduce")
    dot = parts(page)[2]
    assert dot.evaluate(DURATION) == "0s"
    colors = []
    for theme in ("light", "dark"):
        page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        colors.append(dot.evaluate("e => getComputedStyle(e).fill"))
    assert colors[0] == "rgb(201, 127, 0)" and colors[1] != colors[0]


def test_what_the_browser_kept_of_the_reader_is_shown(visit):
    keep = "document.querySelector('#fig-one input').value = '2'"
    page = visit(before=f'document.addEventListener("DOMContentLoaded", () => {{ {keep} }})')
    assert parts(page)[1].inner_text().startswith("At a rate of 3, plain")
