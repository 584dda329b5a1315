import dataclasses
import json
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.page import claims
from lib.page.claims import Claim, Ledger
from lib.stats import Estimate

FIELDS = {
    "id": "greedy-gain",
    "statement": "Layer by layer is better by <2 points",
    "source": "The post, figure 1",
    "stated": "1.2 points",
    "unit": "points",
    "low": 0.5,
    "high": 2.0,
    "reason": "half to nearly twice what is printed",
}


def claim(**changes):
    return Claim(**{**FIELDS, **changes})


def ledger(*stated):
    return Ledger("greedy_layerwise_training", stated or [claim()])


def measured(interval=(1.0, 1.5), **changes):
    book = ledger(claim(**changes))
    book.measure("greedy-gain", Estimate(sum(interval) / 2, *interval, 500, "BCa, 95 %"))
    return book


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"id": "Greedy"}, "id"),
        ({"id": "a b"}, "id"),
        ({"id": "a--b"}, "id"),
        ({"id": ""}, "id"),
        ({"id": None}, "id"),
        ({"statement": " "}, "statement"),
        ({"source": None}, "source"),
        ({"stated": 1.2}, "stated"),
        ({"unit": ""}, "unit"),
        ({"reason": ""}, "reason"),
        ({"low": None, "high": None}, "at least one"),
        ({"low": 3}, "above high"),
        ({"low": math.nan}, "low"),
        ({"high": math.inf}, "high"),
        ({"low": "0"}, "low"),
        ({"low": True}, "low"),
        ({"why": None}, "why"),
        ({"why": " "}, "why"),
        ({"applies": 1}, "applies"),
        ({"applies": np.bool_(True)}, "applies"),
        ({"strict": 1}, "strict"),
        ({"low": 1, "high": 1, "strict": True}, "nothing lies above 1 and below 1"),
    ],
)
def test_an_incomplete_claim_is_refused(changes, part):
    with pytest.raises(ValueError, match=part):
        claim(**changes)


def test_a_claim_is_frozen_and_of_plain_numbers():
    stated = claim(low=np.float32(0.5), high=np.int64(2))
    assert type(stated.low) is float and type(stated.high) is int
    with pytest.raises(dataclasses.FrozenInstanceError):
        stated.low = 0


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.5, None, "at least 0.5 points"),
        (None, -2, "at most −2 points"),
        (3, 3, "exactly 3 points"),
        (0.5, 2.0, "0.5 to 2 points"),
    ],
)
def test_accepted_range_in_words(low, high, words):
    assert claim(low=low, high=high).accepted == words


@pytest.mark.parametrize(
    ("low", "high", "interval", "verdict"),
    [
        (0.5, 2, (0.5, 2), "holds"),
        (0.5, 2, (1, 1), "holds"),
        (0.5, 2, (0.49, 1), "undecided"),
        (0.5, 2, (1, 2.01), "undecided"),
        (0.5, 2, (0, 3), "undecided"),
        (0.5, 2, (0, 0.49), "fails"),
        (0.5, 2, (2.01, 3), "fails"),
        (0.5, 2, (0, 0.5), "undecided"),
        (0.5, None, (0.5, 1e300), "holds"),
        (0.5, None, (-1e300, 0.4), "fails"),
        (None, 2, (-1e300, 2), "holds"),
        (None, 2, (2, 3), "undecided"),
        (3, 3, (3, 3), "holds"),
        (3, 3, (4, 4), "fails"),
    ],
)
def test_the_rule(low, high, interval, verdict):
    assert claims.verdict(claim(low=low, high=high), interval) == verdict
    assert claims.verdict(claim(low=low, high=high), np.array(interval, float)) == verdict
    assert claims.verdict(claim(low=low, high=high, applies=False), interval) == "out of range"


@pytest.mark.parametrize(
    ("low", "high", "interval", "verdict"),
    [
        (0, None, (0, 0.4), "undecided"),
        (0, None, (1e-9, 0.4), "holds"),
        (0, None, (-0.4, 0), "fails"),
        (None, 0, (-0.4, 0), "undecided"),
        (None, 0, (-0.4, -1e-9), "holds"),
        (None, 0, (0, 0), "fails"),
        (0.5, 2, (0.5, 1), "undecided"),
        (0.5, 2, (0.6, 1.9), "holds"),
    ],
)
def test_no_effect_agrees_with_no_sign(low, high, interval, verdict):
    stated = claim(low=low, high=high, strict=True)
    assert claims.verdict(stated, interval) == verdict
    least, most = (low is not None and f"above {low}"), (high is not None and f"below {high}")
    assert stated.accepted == " and ".join(filter(None, (least, most))) + " points"


@pytest.mark.parametrize(
    "interval", [None, (1,), (1, 2, 3), (2, 1), (math.nan, 1), (1, math.inf), 3, ("a", "b")]
)
def test_the_rule_wants_an_interval(interval):
    with pytest.raises(ValueError, match="interval"):
        claims.verdict(claim(), interval)


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4))
def test_verdicts_of_opposite_claims_are_opposite(ends):
    """What lies at least at b does not lie at most below b, and a narrower interval never turns a verdict."""
    low, inner_low, inner_high, high = sorted(ends)
    bound = claim(low=0.0, high=None)
    wide, narrow = claims.verdict(bound, (low, high)), claims.verdict(bound, (inner_low, inner_high))
    assert wide == narrow or wide == "undecided"
    assert not (wide == "holds" and claims.verdict(claim(low=None, high=-1e-300), (low, high)) != "fails")


def test_ids_are_unique_and_the_chapter_has_a_name():
    with pytest.raises(ValueError, match="greedy-gain.*twice"):
        ledger(claim(), claim(low=0))
    with pytest.raises(ValueError, match="none"):
        Ledger("greedy", [])
    for name in ("", "a/b", "a.ipynb", None):
        with pytest.raises(ValueError, match="chapter"):
            Ledger(name, [claim()])


@pytest.mark.parametrize(
    ("args", "part"),
    [
        ((math.nan, 1, 2, 5, "t"), "value"),
        ((None, 1, 2, 5, "t"), "value"),
        ((True, 1, 2, 5, "t"), "value"),
        ((np.array([1.0]), 1, 2, 5, "t"), "value"),
        ((1, None, 2, 5, "t"), "interval"),
        ((1, math.nan, 2, 5, "t"), "interval"),
        ((1, 1, math.inf, 5, "t"), "interval"),
        ((1, 2, 1, 5, "t"), "interval"),
        ((0.9, 1, 2, 5, "t"), "value 0.9 is not in"),
        ((2.1, 1, 2, 5, "t"), "value 2.1 is not in"),
        ((1, 1, 2, 0, "t"), "n:"),
        ((1, 1, 2, 5.5, "t"), "n:"),
        ((1, 1, 2, True, "t"), "n:"),
        ((1, 1, 2, None, "t"), "n:"),
        ((1, 1, 2, 5, ""), "method"),
        ((1, 1, 2, 5, None), "method"),
    ],
)
def test_an_incomplete_measurement_is_refused_and_not_kept(args, part):
    book = ledger()
    with pytest.raises(ValueError, match="(?s)" + part.replace(".", r"\.")):
        book.measure("greedy-gain", Estimate(*args))
    book.measure("greedy-gain", Estimate(1, 1, 2, 5, "t"))


def test_a_measurement_of_no_claim_is_refused():
    with pytest.raises(ValueError, match="wanted one of greedy-gain"):
        ledger().measure("greedy", Estimate(1, 1, 2, 5, "t"))


def test_a_second_measurement_is_refused():
    book = measured()
    with pytest.raises(ValueError, match="measured already"):
        book.measure("greedy-gain", Estimate(1, 1, 2, 5, "t"))


def test_a_cell_that_is_run_again_measures_anew_and_no_other_cell_does(monkeypatch):
    book = ledger()
    place = lambda cell, run: monkeypatch.setattr(claims, "_place", lambda: (cell, run))  # noqa: E731
    for value, run in ((1, "first"), (2, "second")):
        place("cell", run)
        book.measure("greedy-gain", Estimate(value, 1, 2, 5, "t"))
        assert book.record()["claims"][0]["value"] == value
    for cell, run in (("cell", "second"), ("other", "third")):
        place(cell, run)
        with pytest.raises(ValueError, match="measured already"):
            book.measure("greedy-gain", Estimate(1, 1, 2, 5, "t"))


def test_missing_measurements_are_listed():
    book = ledger(claim(id="a"), claim(id="b"), claim(id="c", applies=False))
    book.measure("b", Estimate(1, 1, 2, 5, "t"))
    with pytest.raises(ValueError, match="not measured: a$"):
        book.verdicts()


def test_the_record_has_the_agreed_fields_and_is_json():
    record = measured((np.float32(1.0), np.float64(1.5))).record()
    assert record["chapter"] == "greedy_layerwise_training"
    assert record["claims"] == [
        {
            **FIELDS,
            "strict": False,
            "expected": "holds",
            "why": "",
            "value": 1.25,
            "interval": [1.0, 1.5],
            "n": 500,
            "method": "BCa, 95 %",
            "verdict": "holds",
        }
    ]
    claims.validate(json.loads(json.dumps(record, allow_nan=False)))


def test_a_claim_that_does_not_apply_may_be_measured_or_not():
    for book in (ledger(claim(applies=False)), measured(applies=False)):
        entry = book.record()["claims"][0]
        assert entry["verdict"] == "out of range"
        claims.validate(json.loads(json.dumps(book.record())))
        assert "verdict-out-of-range" in book.verdicts().html and "expected" not in book.verdicts().html
        assert "out of range at these parameters" in book.expected().html


@pytest.mark.parametrize(
    ("verdict", "expected", "words"),
    [
        ("holds", "holds", ""),
        ("fails", "fails", ", as expected"),
        ("fails", "holds", ", expected: holds"),
        ("undecided", "fails", ", expected: fails"),
        ("out of range", "fails", ""),
    ],
)
def test_a_verdict_is_held_against_what_was_expected(verdict, expected, words):
    assert claims.against(verdict, expected) == words


class Cells(HTMLParser):
    """The cells of a table, row by row, and the classes in it."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.classes, self.tags = [], set(), set()
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.classes.update(dict(attributes).get("class", "").split())
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data


def test_the_table_of_verdicts_says_all_in_words():
    shown = Cells(measured().verdicts().html)
    assert shown.rows[1] == [
        f"{FIELDS['statement']} ({FIELDS['source']})",
        "holds",
        "1.25 (1.00 to 1.50) points, n\u00a0=\u00a0500 (BCa, 95 %)",
        "1.2 points",
        "0.5 to 2 points",
    ]
    assert {"sgd-claims", "verdict-holds"} <= shown.classes
    assert not shown.tags & {"script", "style"}
    assert "color" not in measured().verdicts().html
    assert "&lt;2 points" in measured().verdicts().html


@pytest.mark.parametrize(
    ("interval", "changes", "words"),
    [
        ((0.0, 0.1), {}, "fails, expected: holds"),
        ((0.0, 1.0), {}, "undecided, expected: holds"),
        ((0.0, 0.1), {"why": "too few"}, "fails, as expected"),
        ((1.0, 1.1), {"why": "too few"}, "holds, expected: fails"),
    ],
)
def test_a_failing_claim_is_shown_not_raised(interval, changes, words):
    assert Cells(measured(interval, **changes).verdicts().html).rows[1][1] == words


def test_the_table_before_says_what_is_expected_and_why():
    html = ledger(claim(), claim(id="b", why="too few")).expected().html
    rows = Cells(html).rows
    assert rows[1][-2:] == [FIELDS["reason"], "holds"] and rows[2][-1] == "fails: too few"


def test_what_is_shown_carries_the_record_beside_the_table():
    bundle = measured().verdicts()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", claims.MIME}
    assert bundle[claims.MIME] == measured().record()
    assert "greedy-gain: holds" in bundle["text/plain"]
    assert set(ledger().expected()._repr_mimebundle_()) == {"text/html", "text/plain"}


@pytest.mark.parametrize(
    ("value", "interval", "texts"),
    [
        (0.951234, (0.945, 0.9573), ("0.951", "0.945 to 0.957")),
        (1.25, (1.0, 1.5), ("1.25", "1.00 to 1.50")),
        (12.3456, (2.0, 30.0), ("12", "2 to 30")),
        (1234.5, (1000.2, 1500.7), ("1234", "1000 to 1501")),
        (-0.001, (-0.5, 0.5), ("0.0", "−0.5 to 0.5")),
        (-3.14159, (-3.2, -3.1), ("−3.14", "−3.20 to −3.10")),
        (1.234e-9, (1.1e-9, 1.4e-9), ("1.23e−09", "1.10e−09 to 1.40e−09")),
        (1.234e12, (1e12, 2e12), ("1.2e+12", "1.0e+12 to 2.0e+12")),
        (3, (3, 3), ("3", "exact")),
        (3, (2, 40), ("3", "2 to 40")),
        (0.25, (0.25, 0.25), ("0.25", "exact")),
        (0, (0, 0), ("0", "exact")),
    ],
)
def test_decimals_follow_the_width(value, interval, texts):
    assert claims.shown(value, interval) == texts


@given(st.floats(-1e12, 1e12), st.floats(0, 1e12), st.floats(0, 1e12))
def test_shown_numbers_are_within_a_tenth_of_the_width(value, below, above):
    interval = (value - below, value + above)
    text, span = claims.shown(value, interval)
    width = interval[1] - interval[0]
    if width > 1e-12 * max(1, *map(abs, interval)):
        ends = [float(t.replace("−", "-")) for t in (text, *span.split(" to "))]
        for got, true in zip(ends, (value, *interval), strict=True):
            assert abs(got - true) <= width / 10
    else:
        assert float(text.replace("−", "-")) == pytest.approx(value, rel=1e-6, abs=1e-12)


def changed(**changes):
    record = json.loads(json.dumps(measured().record()))
    record["claims"][0].update(changes)
    return record


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        {},
        {"chapter": "a", "claims": []},
        {"chapter": "a", "claims": {}},
        {"chapter": "a", "claims": [None]},
        {"chapter": "a", "claims": [{}]},
        {"chapter": "", "claims": measured().record()["claims"]},
        {"chapter": "a", "claims": measured().record()["claims"], "more": 1},
        {"chapter": "a", "claims": measured().record()["claims"] * 2},
        changed(verdict="fails"),
        changed(verdict="maybe"),
        changed(verdict=None),
        changed(verdict=["holds"]),
        changed(value=None),
        changed(value=math.nan),
        changed(value=9),
        changed(interval=None),
        changed(interval=[1.0, None]),
        changed(interval=[1.0, 9.0]),
        changed(n=0),
        changed(n=2.5),
        changed(method=""),
        changed(low="0"),
        changed(low=None, high=None),
        changed(statement=None),
        changed(id=None),
        changed(expected="fails"),
        changed(applies=True),
        changed(verdict="out of range", value=None),
        changed(verdict="out of range", n=None),
        {"chapter": "a", "claims": [{k: v for k, v in changed()["claims"][0].items() if k != "reason"}]},
    ],
)
def test_validate_refuses(record):
    with pytest.raises(ValueError, match="claim|chapter"):
        claims.validate(record)


def test_validate_accepts_what_a_ledger_writes():
    claims.validate(changed())
    claims.validate(changed(verdict="out of range"))
    claims.validate(changed(verdict="out of range", value=None, interval=None, n=None, method=None))
