"""Text that follows the run: fields, words, references and tables."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from lib.page import text
from lib.page.text import TextError, fill, front, grid, plain, table
from lib.stats import Estimate

GAP = Estimate(0.2231, 0.152, 0.298, 500, "BCa")
KNOWN = {
    "n": 3, "x": 0.25, "gap": GAP, "d": {"a b": 7}, "yes": True, "no": np.bool_(False), "word": "up",
    "single": np.float32(0.5), "nan": math.nan, "inf": np.float32("inf"), "nothing": None,
    "wide": GAP._replace(high=math.inf),
}  # fmt: skip


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("{{x}} and {{ n }}", "0.25 and 3"),
        ("{{100 * x:.1f}} %", "25.0 %"),
        ("{{x:.{n}f}}", "0.250"),
        ("{{d['a b']}} {{single:g}} {{word!r}}", "7 0.5 'up'"),
        ("{{[n * v for v in (1, 2) if v < n]}}", "[3, 6]"),
        ("{{'; '.join(f'{k}: {v + n:g}'\nfor k, v in d.items())}}", "a b: 10"),
        ("{{gap}}, {{-gap: points}}", "0.22 (0.15 to 0.30), −0.22 points (−0.30 to −0.15)"),
        ("{{gap:.1f}} {{gap:n nets}}", "0.2 0.22 nets (0.15 to 0.30, n = 500)"),
        (r"$\frac{a_{1}}{b}$ {cite}`a` [link](b) { {x}", r"$\frac{a_{1}}{b}$ {cite}`a` [link](b) { {x}"),
        ("[up]{{yes}}, [up]{{no}}", "up, ~~up~~ _(not so in this run)_"),
        ("[up]{{nothing}}", "up _(this run cannot tell)_"),
        ("**[{{n}} of\n{{gap:.1f}}]{{x < 1}}**", "**3 of\n0.2**"),
        ("{{nan:.1f}} {{inf}} {{wide: %}} {{nothing}}", " ".join(["*no number*"] * 4)),
    ],
)
def test_fields_and_words_are_filled(written, shown):
    assert fill(written, KNOWN).myst == shown


def test_what_was_filled_in_is_recorded():
    words = "[up\n to {{n}}]{{no}} [{{gap}}]{{yes}} [as {{nan}}]{{nothing}}"
    filled = fill(words + " {{wide}} {{yes}} {{single:g}} {{word}} {{d}} {{2*x}}", KNOWN)
    assert filled.words == [
        {"words": "up to 3", "holds": False},
        {"words": "0.22 (0.15 to 0.30)", "holds": True},
        {"words": "nan", "holds": None},
        {"words": "as *no number*", "holds": None},
        {"words": "wide", "holds": None},
    ]
    gap = [0.2231, 0.152, 0.298, 500]
    assert filled.values == {"n": 3, "gap": gap, "yes": 1, "single": 0.5, "word": "up", "2 * x": 0.5}
    bundle = text.bundle(filled, "seen")
    assert json.loads(json.dumps(bundle[text.TEXT_MIME], allow_nan=False)) == filled._asdict()
    assert bundle["text/markdown"] == bundle["text/plain"] == "seen"


def lines():
    raise KeyError("one\ntwo")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("a {{gone + 1}}", "{{gone + 1}}: NameError: name 'gone' is not defined"),
        ("{{gap:points}}", "{{gap:points}}: ValueError: Invalid format"),
        ("{{x:.1q}}", "{{x:.1q}}: ValueError"),
        ("{{d:.1f}}", "{{d:.1f}}: TypeError"),
        ("{{x +}}", "{{x +}}: SyntaxError"),
        ("{{ }}", "{{ }}: SyntaxError"),
        ("{{lines()\n}}", r"{{lines() }}: KeyError: 'one\ntwo'"),
        ("{{[][\n0]}}", "{{[][ 0]}}: IndexError: list index out of range"),
        ("[ahead]{{x}}", "[ahead]: got 0.25, wanted True, False or None"),
        ("[ahead]{{word}}", "[ahead]: got 'up'"),
        ("[ahead]{{array}}", "[ahead]: got array([ True, True])"),
        ("[ahead by {{d['a b']}}]{{yes}}", "]{{yes}}: wanted words without brackets"),
        ("open {{x} and", "{{x} and: a field that is not closed"),
    ],
)
def test_a_field_that_fails_names_itself_in_one_line(written, said):
    with pytest.raises(TextError) as caught:
        fill(written, KNOWN | {"lines": lines, "array": np.array([True, True])})
    assert str(caught.value).startswith(said) and "\n" not in str(caught.value)
    assert caught.value._render_traceback_() == [f"TextError: {caught.value}"]


def test_outside_a_notebook_there_are_no_names():
    assert text.names() == {} and fill("plain").myst == "plain"


# ---- references

PITIS = "https://r2rt.com/first-convergence-bias.html"


@pytest.mark.parametrize(
    ("myst", "seen"),
    [
        ("Said {cite}`pitis2016first`.", f"Said ([Pitis, 2016]({PITIS}))."),
        ("{cite:t}`pitis2016first` says", f"[Pitis (2016)]({PITIS}) says"),
        ("{cite:p}`ash2020warm,bengio2007greedy`", "([Ash and Adams, 2020](https://*); [Bengio et al., 2007](https://*))"),
        ("{cite:t}`cv436737, lyle2025disentangling`", "[Cross Validated (n.d.)](https://*), [Lyle et al. (2025)](https://*)"),
        ("see {numref}`fig-rates`", "see figure *rates*"),
        ("{numref}`fig-two-nets` shows", "Figure *two nets* shows"),
        ("So. {numref}`fig-a`; **All.** **{numref}`fig-b`**", "So. Figure *a*; **All.** **Figure *b***"),
    ],
)  # fmt: skip
def test_references_are_words_and_links_in_front_ends(myst, seen):
    assert re.fullmatch(re.escape(seen).replace(r"https://\*", r"https://[^ )]+"), front(myst))


def test_every_source_has_a_name_a_year_and_a_link():
    assert len(text._references()) >= 40
    for key in text._references():
        shown = front(f"{{cite}}`{key}`")
        assert shown.startswith("([") and "](http" in shown and not set("{}\\") & set(shown), shown
    with pytest.raises(TextError, match="no source 'nobody2000' in references.bib"):
        front("{cite}`nobody2000`")


# ---- tables


def test_grid_escapes_and_has_headings():
    html = grid("sgd-x", "A & B", ("a", "<b>"), [("r<1", ("v", "mark")), ("r2", "<script>")])
    assert '<table class="sgd-x">' in html and "<caption>A &amp; B</caption>" in html
    cells = html.replace(' style="text-align: left"', "")
    assert '<th scope="row">r&lt;1</th><td><span class="mark">v</span></td>' in cells
    assert '<th scope="col">&lt;b&gt;</th>' in html and "<script>" not in html
    assert html.startswith("<div") and "overflow-x: auto" in html and 'tabindex="0"' in html


def test_a_table_shows_numbers_estimates_truths_and_gaps():
    frame = pd.DataFrame({
        "rate": [0.1, -2.0, np.nan], "nets": pd.array([20, None, 3], dtype="Int64"), "gap": [GAP, -GAP, None],
        "ahead": [True, False, None], "mixed": ["<b>", np.float32("nan"), 1 / 3],
    })  # fmt: skip
    shown = table(frame, "  What {{1 + 1}} rates do ", {"rate": ".2f", "gap": "n points"})
    assert shown.text.splitlines() == [
        "rate | nets | gap | ahead | mixed",
        "0.10 | 20 | 0.22 points (0.15 to 0.30, n = 500) | yes | <b>",
        "−2.00 | – | −0.22 points (−0.30 to −0.15, n = 500) | no | –",
        "– | 3 | – | – | 0.333333",
    ]
    assert repr(shown) == shown.text and set(shown._repr_mimebundle_()) == {"text/html", "text/plain"}
    assert "<caption>What 2 rates do</caption>" in shown.html and "&lt;b&gt;" in shown.html
    assert not {"style>", "id="} & set(shown.html.split())


@pytest.mark.parametrize(
    ("caption", "formats", "part"),
    [(" ", {}, "got caption ''"), ("A", {"rat": ".2f"}, r"formats of \['rat'\]"), ("{{gone}}", {}, "gone")],
)
def test_a_table_wants_a_caption_and_formats_of_its_columns(caption, formats, part):
    with pytest.raises(ValueError, match=part):
        table(pd.DataFrame({"rate": [1]}), caption, formats)


# ---- numbers


@pytest.mark.parametrize("value", [1, 1.5, np.int64(1), np.float32(0.5), 10**400])
def test_plain_converts(value):
    got = plain("x", value)
    assert type(got) is (int if isinstance(value, int | np.integer) else float) and got == value


@pytest.mark.parametrize(
    "value", [None, True, np.bool_(True), math.nan, -math.inf, np.float64("nan"), "1", np.array(1.0), [1], 1j]
)
def test_plain_refuses(value):
    with pytest.raises(ValueError, match="x: got .* wanted a finite number"):
        plain("x", value)


def test_the_expressions_of_a_text_are_those_of_its_fields():
    told = "{{gap:.2f}} and {{ 100 * x['a'] }}, [ahead]{{gap > 0}}, {{no field}}"
    assert text.expressions(told) == ["gap", "100 * x['a']"]
