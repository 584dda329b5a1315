import dataclasses
import json
import math
import re
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.page import claims, params
from lib.page.claims import Claim, Ledger
from lib.page.params import Parameters
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


def state(book, accepted="0.5 to 2 points", **changes):
    words = {name: FIELDS[name] for name in ("id", "statement", "source", "stated", "reason")} | changes
    book.claim(accepted=accepted, **words)


def ledger(*ids, part="all", applies=True, **changes):
    schema = params.read('part: str = "all"  # what to run [part; one of all, nets, rates]')
    book = Ledger(Parameters(schema, {"part": part}, "greedy_layerwise_training"), applies)
    for id in ids or ["greedy-gain"]:
        state(book, **{"id": id} | changes)
    return book


def measured(interval=(1.0, 1.5), **changes):
    book = ledger(**changes)
    book.measure("greedy-gain", Estimate(sum(interval) / 2, *interval, 500, "BCa, 95 %"))
    return book


@pytest.mark.parametrize(
    ("field", "values", "part"),
    [
        ("id", ("Greedy", "a b", "a--b", "", None), "id"),
        ("statement", (" ",), "statement"), ("source", (None,), "source"), ("stated", (1.2,), "stated"),
        ("unit", ("",), "unit"), ("reason", ("",), "reason"), ("why", (None, " "), "why"),
        ("seen", (" ",), "seen"),
        ("low", (math.nan, "0", True), "low"), ("low", (3,), "above high"), ("high", (math.inf,), "high"),
        ("applies", (1, np.bool_(True)), "applies"), ("strict", (1,), "strict"),
    ],
)  # fmt: skip
def test_an_incomplete_claim_is_refused(field, values, part):
    for value in values:
        with pytest.raises(ValueError, match=part):
            claim(**{field: value})


def test_a_range_has_an_end_and_an_inside():
    with pytest.raises(ValueError, match="at least one"):
        claim(low=None, high=None)
    with pytest.raises(ValueError, match="nothing lies above 1 and below 1"):
        claim(low=1, high=1, strict=True)


def test_a_claim_is_frozen_and_of_plain_numbers():
    stated = claim(low=np.float32(0.5), high=np.int64(2))
    assert type(stated.low) is float and type(stated.high) is int
    with pytest.raises(dataclasses.FrozenInstanceError):
        stated.low = 0


RULE = {
    (0.5, 2): {"holds": [(0.5, 2), (1, 1)], "undecided": [(0.49, 1), (1, 2.01), (0, 3), (0, 0.5)],
               "fails": [(0, 0.49), (2.01, 3)]},
    (0.5, None): {"holds": [(0.5, 1e300)], "fails": [(-1e300, 0.4)]},
    (None, 2): {"holds": [(-1e300, 2)], "undecided": [(2, 3)]},
    (3, 3): {"holds": [(3, 3)], "fails": [(4, 4)]},
}  # fmt: skip
STRICT = {
    (0, None): {"undecided": [(0, 0.4)], "holds": [(1e-9, 0.4)], "fails": [(-0.4, 0)]},
    (None, 0): {"undecided": [(-0.4, 0)], "holds": [(-0.4, -1e-9)], "fails": [(0, 0)]},
    (0.5, 2): {"undecided": [(0.5, 1)], "holds": [(0.6, 1.9)]},
}


@pytest.mark.parametrize(
    ("strict", "ends", "verdict", "interval"),
    [
        (strict, ends, verdict, interval)
        for strict, rule in ((False, RULE), (True, STRICT))
        for ends, cases in rule.items()
        for verdict, intervals in cases.items()
        for interval in intervals
    ],
)
def test_the_rule(strict, ends, verdict, interval):
    stated = {"low": ends[0], "high": ends[1], "strict": strict}
    assert claims.verdict(claim(**stated), interval) == verdict
    assert claims.verdict(claim(**stated), np.array(interval, float)) == verdict
    assert claims.verdict(claim(**stated, applies=False), interval) == "out of range"


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


@pytest.mark.parametrize(
    ("accepted", "unit", "low", "high", "strict"),
    [
        ("0.148 to 0.298 points", "points", 0.148, 0.298, False),
        ("−2 to -1.5e-3 %", "%", -2, -0.0015, False),
        ("exactly 3 of 10 runs", "of 10 runs", 3, 3, False), ("below 1 SD", "SD", None, 1, True),
        ("at least 1,000 updates", "updates", 1000, None, False), ("above 0 nets", "nets", 0, None, True),
        ("at most 1e−4 points", "points", None, 1e-4, False), ("above -1 and below 1 SD", "SD", -1, 1, True),
    ],
)  # fmt: skip
def test_what_is_accepted_is_read_and_said_again(accepted, unit, low, high, strict):
    book = ledger(accepted=accepted)
    (stated,) = book.claims
    assert (stated.unit, stated.low, stated.high, stated.strict) == (unit, low, high, strict)
    assert all(type(end) is int for end in (low, high) if end == 3)
    assert ledger(accepted=stated.accepted).claims == book.claims


@pytest.mark.parametrize(
    "accepted",
    ["", None, 3, "0 to 1", "points", "0 points", "> 0 points", "0 - 1 points", "about 1 points",
     "1.2.3 to 4 points", "1,5 to 2 points", "at least 1 and at most 2 points", "Above 0 points",
     "above 1 and at most 2 points", "exactly 1 to 2 points", "above 0 and below nan points",
     "above 0 to 1 points"],
)  # fmt: skip
def test_what_is_no_range_is_refused_with_all_forms(accepted):
    forms = "^claim 'greedy-gain': got .* A to B, exactly A, at least A, .* unit$"
    with pytest.raises(ValueError, match=forms):
        ledger(accepted=accepted)


def test_a_ledger_takes_no_claim_that_is_not_whole():
    for changes in ({"id": "A"}, {"reason": " "}, {"why": None}, {"accepted": "2 to 1 points"}):
        with pytest.raises(ValueError, match="id: |reason: |why: |above high"):
            ledger(**changes)


def test_the_ledger_says_of_which_claims_the_parameters_speak():
    book = ledger("a", applies=False)
    state(book, id="b", applies=True)
    assert [c.applies for c in book.claims] == [False, True]
    with pytest.raises(ValueError, match="claims of greedy_layerwise_training not measured: none is stated"):
        Ledger(book.parameters).record()


def test_a_claim_is_stated_once_in_a_cell_and_anew_when_the_cell_is_run_again(monkeypatch):
    book = ledger("a")
    shell = SimpleNamespace(execution_count=7)
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    state(book, id="a"), state(book, id="b")
    with pytest.raises(ValueError, match="claim 'b' is stated twice"):
        state(book, "0 to 1 points", id="b")
    shell.execution_count = 8
    state(book, "0 to 1 points", id="a")
    assert [(c.id, c.high) for c in book.claims] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        *(({"value": value}, "value: ") for value in (math.nan, None, True, np.array([1.0]))),
        *(({"value": value}, f"value {value} is not in") for value in (0.9, 2.1)),
        *(({"low": low}, "interval") for low in (None, math.nan, 3)), ({"high": math.inf}, "interval"),
        *(({"n": n}, "n:") for n in (0, 5.5, True, None)),
        *(({"method": method}, "method") for method in ("", None)),
    ],
)  # fmt: skip
def test_an_incomplete_measurement_is_refused_and_not_kept(changes, part):
    book, good = ledger(), Estimate(1, 1, 2, 5, "t")
    with pytest.raises(ValueError, match=part):
        book.measure("greedy-gain", good._replace(**changes))
    with pytest.raises(ValueError, match="not measured: greedy-gain"):
        book.record()


def test_measuring_again_replaces_and_wants_a_claim():
    book = measured()
    for value in (1, 2):
        book.measure("greedy-gain", Estimate(value, 1, 2, 5, "t"))
        assert book.record()["claims"][0]["value"] == value
    with pytest.raises(ValueError, match="wanted one of greedy-gain"):
        book.measure("greedy", Estimate(1, 1, 2, 5, "t"))


@pytest.mark.parametrize("part", ["all", "nets"])
def test_a_claim_of_a_part_that_was_left_out_is_out_of_range(part):
    book = ledger("a", "b", "c", part=part)
    book.measure("b", Estimate(1, 1, 2, 5, "t"))
    if part == "all":
        with pytest.raises(ValueError, match="not measured: a, c$"):
            book.verdicts()
        return
    claims.validate(record := book.record())
    assert [c["verdict"] for c in record["claims"]] == ["out of range", "holds", "out of range"]
    assert book.verdicts().text.splitlines()[2].startswith("c: out of range; not measured, accepted 0.5")


def test_the_record_has_the_agreed_fields_and_is_json():
    record = measured((np.float32(1.0), np.float64(1.5))).record()
    assert record["chapter"] == "greedy_layerwise_training"
    found = {"value": 1.25, "interval": [1.0, 1.5], "n": 500, "method": "BCa, 95 %", "verdict": "holds"}
    stated = FIELDS | {"strict": False, "expected": "holds", "why": "", "seen": ""}
    possible = {"would_hold": "0.75 to 1.75", "would_fail": "below 0.25 or above 2.25"}
    assert record["claims"] == [stated | found | possible]
    claims.validate(json.loads(json.dumps(record, allow_nan=False)))


def test_a_claim_that_does_not_apply_may_be_measured_or_not():
    for book in (ledger(applies=False), measured(applies=False)):
        entry = book.record()["claims"][0]
        assert entry["verdict"] == "out of range"
        claims.validate(json.loads(json.dumps(book.record())))
        assert "verdict-out-of-range" in book.verdicts().html and "expected" not in book.verdicts().html
        assert "out of range at these parameters" in book.expected().html


def rows(html):
    """The texts of a table's cells, row by row."""
    found = re.findall("<tr>(.*?)</tr>", html)
    return [[unescape(re.sub("<.*?>", "", c)) for c in re.findall("<t[hd].*?</t[hd]>", r)] for r in found]


def test_the_table_of_verdicts_says_all_in_words_and_carries_the_record():
    bundle = measured().verdicts()._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain", claims.MIME}
    assert bundle[claims.MIME] == measured().record() and "greedy-gain: holds" in bundle["text/plain"]
    html = bundle["text/html"]
    assert rows(html)[1] == [
        f"{FIELDS['statement']} ({FIELDS['source']})", "holds",
        "1.25 (1.00 to 1.50) points, n\u00a0=\u00a0500 (BCa, 95 %)", "1.2 points",
        "0.5 to 2 (holds: 0.75 to 1.75; fails: below 0.25 or above 2.25)",
    ]  # fmt: skip
    assert '<table class="sgd-claims">' in html and '<span class="verdict-holds">' in html
    assert not re.search("<script|<style|color", html) and "&lt;2 points" in html


@pytest.mark.parametrize(
    ("interval", "why", "words"),
    [
        ((1.0, 1.1), "", "holds"),
        ((0.0, 0.1), "", "fails, expected: holds"),
        ((0.1, 1.1), "", "undecided, expected: holds; about n = 13,000 would decide it"),
        ((0.0, 1.0), "", "undecided, expected: holds; no n would decide it here"),
        ((0.1, 1.1), "too few", "undecided, expected: fails; about n = 13,000 would decide it"),
        ((0.0, 0.1), "too few", "fails, as expected"), ((1.0, 1.1), "too few", "holds, expected: fails"),
    ],
)  # fmt: skip
def test_a_failing_claim_is_shown_not_raised(interval, why, words):
    assert rows(measured(interval, why=why).verdicts().html)[1][1] == words
    assert rows(measured(interval, why=why, applies=False).verdicts().html)[1][1] == "out of range"


def test_the_table_before_says_what_is_expected_and_why():
    book = ledger()
    assert "<summary>1 claim, stated before anything runs</summary>" in book.expected().html
    state(book, id="b", why="too few")
    html = book.expected()._repr_mimebundle_()["text/html"]
    assert set(book.expected()._repr_mimebundle_()) == {"text/html", "text/plain"}
    _, one, two = rows(html)
    assert one[-2:] == [FIELDS["reason"], "holds"] and two[-1] == "fails: too few"
    assert html.startswith("<details><summary>2 claims, stated before anything runs</summary>")


def test_a_range_set_after_a_look_is_marked_before_and_after():
    book = measured(seen="the first run had shown the trend")
    assert "Changed after a look at these seeds: the first run had shown" in book.expected().html
    assert rows(book.verdicts().html)[1][1] == "holds; changed after a look at these seeds"


@pytest.mark.parametrize(
    ("accepted", "value", "interval", "n", "hold", "fail"),
    [
        # of shares each count is tried
        ("at least 0.8 share of nets", 1.0, (0.8315665, 1), 20, "20 of 20", "0 to 11 of 20"),
        ("0.2 to 0.8 share of nets", 0.5, (0.2719578, 0.7280422), 20, "9 to 11 of 20", "0 or 20 of 20"),
        ("at least 0.005 share of nets", 0.0, (0, 0.045064), 80, "3 to 80 of 80", ""),
        ("at most 5 % of nets", 0.0, (0, 16.84335), 20, "", "4 to 20 of 20"),
        # else the interval moves along what the unit allows
        ("above 0 points", 1.0, (0.5, 2.0), 0, "0.5 to 100", "below −1"),
        ("at least −100 points", 1.0, (0.5, 2.0), 0, "−99.5 to 100", ""),
        ("at most 1 output units of 10", 0.5, (0.2, 0.9), 0, "0 to 0.6", "above 1.3"),
        ("at most 1 ratio of variances", 2.0, (1.0, 8.0), 0, "0.25 or less", "above 2"),
        ("0 to 0.05 nats", 1.0, (0.5, 1.5), 0, "", "below −0.5 or above 0.55"),
    ],
)
def test_a_claim_says_which_outcomes_would_have_held_and_failed_it(accepted, value, interval, n, hold, fail):
    book = Ledger(ledger().parameters)
    state(book, accepted)
    method = "Clopper-Pearson, 95 %" if n else "Student t, 95 %"
    assert claims.outcomes(*book.claims, value, interval, n or 9, method) == (hold, fail)


def test_a_claim_that_no_outcome_could_fail_is_refused_at_defaults():
    book = ledger("b")
    state(book, "at least 0.005 share of nets", id="b")
    book.measure("b", Estimate(0.1, 0.05, 0.2, 80, "Wilson, 95 %"))
    with pytest.raises(ValueError, match="b: with n = 80 no outcome would fail it"):
        book.verdicts()
    changed = ledger("b", part="nets")
    state(changed, "at least 0.005 share of nets", id="b")
    changed.measure("b", Estimate(0.1, 0.05, 0.2, 80, "Wilson, 95 %"))
    assert "b: holds" in changed.verdicts().text


def changed(**changes):
    record = json.loads(json.dumps(measured().record()))
    record["claims"][0].update(changes)
    return record


RECORD = measured().record()
CUT = {name: value for name, value in RECORD["claims"][0].items() if name != "reason"}


@pytest.mark.parametrize(
    "record",
    [
        None, [], {}, RECORD | {"chapter": ""}, RECORD | {"more": 1},
        *(RECORD | {"claims": wrong} for wrong in ([], {}, [None], [{}], [CUT], RECORD["claims"] * 2)),
        *(changed(verdict=verdict) for verdict in ("fails", "maybe", None, ["holds"])),
        *(changed(value=value) for value in (None, math.nan, 9)),
        *(changed(interval=interval) for interval in (None, [1.0, None], [1.0, 9.0])),
        changed(n=0), changed(n=2.5), changed(method=""), changed(low="0"), changed(low=None, high=None),
        changed(statement=None), changed(id=None), changed(expected="fails"), changed(applies=True),
        changed(verdict="out of range", value=None), changed(verdict="out of range", n=None),
        changed(would_fail=""),
    ],
)  # fmt: skip
def test_validate_refuses(record):
    with pytest.raises(ValueError, match="claim|chapter"):
        claims.validate(record)


def test_validate_accepts_what_a_ledger_writes():
    claims.validate(changed())
    claims.validate(changed(verdict="out of range"))
    nothing = dict.fromkeys(("value", "interval", "n", "method", "would_hold", "would_fail"))
    claims.validate(changed(verdict="out of range", **nothing))
