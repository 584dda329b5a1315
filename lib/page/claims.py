"""Claims: stated with a range before anything runs, measured with an interval, given a verdict.

The rule. ``out of range``: the claim does not speak of these parameters. ``holds``: the whole interval
lies in the accepted range, of which a strict claim leaves out the ends. ``fails``: the whole interval lies
outside. Else ``undecided``. A claim that no outcome could hold, or none could fail, with as many networks as
were run, is no claim: see ``outcomes``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import IPython
import numpy as np
from scipy.stats import beta

from lib import stats
from lib.page.params import Parameters
from lib.page.text import Shown, grid, plain
from lib.stats import Estimate

MIME = "application/vnd.sgd-book.claims+json"
VERDICTS = ("holds", "fails", "undecided", "out of range")
_STATED = tuple("id statement source stated unit low high strict reason expected why seen".split())
_MEASURED = ("value", "interval", "n", "method")
_OUTCOMES = ("would_hold", "would_fail")
# what a measured value can be, by how its unit begins; any number if by none of these
_POSSIBLE = {"share": (0, 1), "probability": (0, 1), "p": (0, 1), "rank": (-1, 1)}
_POSSIBLE |= {"%": (0, 100), "points": (-100, 100)}
_RATIOS = {"ratio", "factor", "distance", "growth"}  # above 0, with intervals that scale with the value


@dataclass(frozen=True)
class Claim:
    """What a source says, and which measurements would agree with it.

    Attributes:
        id: short name, lower-case words joined by ``-``; unique in its chapter.
        statement: the claim in a sentence.
        source: who says so, and where.
        stated: the number as the source prints it.
        unit: of the measured value.
        low: smallest value that agrees, None when open.
        high: largest value that agrees, None when open.
        reason: why this range, and not a narrower or a wider one.
        why: why it is expected to fail; empty if it is expected to hold.
        applies: whether the claim speaks of the parameters of this run.
        strict: whether low and high themselves do not agree: a claim of a sign is above 0 or below 0.
        seen: what of the range, or of how it is measured, was set after a look at seeds that are in the run,
            and why; empty if all was set before.
    """

    id: str
    statement: str
    source: str
    stated: str
    unit: str
    low: float | None
    high: float | None
    reason: str
    why: str = ""
    applies: bool = True
    strict: bool = False
    seen: str = ""

    def __post_init__(self) -> None:
        """Refuses, by ValueError, a claim that is not complete."""
        _texts(f"claim {self.id!r}", vars(self), ("id", "statement", "source", "stated", "unit", "reason"))
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.id):
            raise ValueError(f"id: got {self.id!r}, wanted lower-case words joined by '-'")
        for end in ("low", "high"):
            if getattr(self, end) is not None:
                object.__setattr__(self, end, plain(f"claim {self.id!r}, {end}", getattr(self, end)))
        if self.low is None and self.high is None:
            raise ValueError(f"claim {self.id!r}: low and high are None, wanted at least one of them")
        if None not in (self.low, self.high) and self.low > self.high:
            raise ValueError(f"claim {self.id!r}: low {self.low} lies above high {self.high}")
        for name, none in (("why", "it is to hold"), ("seen", "all was set before")):
            text = getattr(self, name)
            if not isinstance(text, str) or text != text.strip():
                raise ValueError(f"claim {self.id!r}, {name}: got {text!r}, wanted a text, or '' if {none}")
        for flag in ("applies", "strict"):
            if not isinstance(getattr(self, flag), bool):
                got = f"claim {self.id!r}, {flag}: got {getattr(self, flag)!r}"
                raise ValueError(f"{got}, wanted True or False")
        if self.strict and self.low == self.high:
            raise ValueError(f"claim {self.id!r}: nothing lies above {self.low} and below {self.high}")

    @property
    def expected(self) -> str:
        """What we expect: ``holds`` or ``fails``."""
        return "fails" if self.why else "holds"

    @property
    def accepted(self) -> str:
        """The accepted range in words, with its unit."""
        return f"{self.wanted} {self.unit}"

    @property
    def wanted(self) -> str:
        """The accepted range in words."""
        low, high = (None if v is None else f"{v:.6g}".replace("-", "−") for v in (self.low, self.high))
        if low is None or high is None or self.strict:
            least, most = ("above", "below") if self.strict else ("at least", "at most")
            return " and ".join(f"{end} {v}" for end, v in ((least, low), (most, high)) if v is not None)
        return f"exactly {low}" if self.low == self.high else f"{low} to {high}"


_NUMBER = r"[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-−+]?\d+)?"
_FORMS = (  # each with where its numbers stand: low, high
    (rf"(?P<low>{_NUMBER}) to (?P<high>{_NUMBER})", False),
    (rf"exactly (?P<low>(?P<high>{_NUMBER}))", False),
    (rf"at least (?P<low>{_NUMBER})", False),
    (rf"at most (?P<high>{_NUMBER})", False),
    (rf"above (?P<low>{_NUMBER}) and below (?P<high>{_NUMBER})", True),
    (rf"above (?P<low>{_NUMBER})", True),
    (rf"below (?P<high>{_NUMBER})", True),
)


def _accepted(what: str, text: str) -> dict[str, Any]:
    """The unit, low, high and strict of what a claim accepts; ValueError for a text that is none."""
    for form, strict in _FORMS:
        if found := re.fullmatch(rf"{form} (?P<unit>(?!and |to )\S.*)", str(text)):
            ends = found.groupdict()
            for end in ends.keys() - {"unit"}:
                number = float(ends[end].replace("−", "-").replace(",", ""))
                ends[end] = int(number) if number.is_integer() else number
            return {"low": None, "high": None, **ends, "strict": strict}
    forms = "A to B, exactly A, at least A, at most A, above A, below A or above A and below B"
    raise ValueError(f"{what}: got {text!r}, wanted what is accepted as {forms}, then the unit")


def _texts(what: str, record: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if not (isinstance(record[name], str) and record[name].strip()):
            raise ValueError(f"{what}, {name}: got {record[name]!r}, wanted a text")


def _interval(what: str, interval: Any) -> list[int | float]:
    try:
        low, high = interval
    except (TypeError, ValueError):
        raise ValueError(f"{what}, interval: got {interval!r}, wanted (lower end, upper end)") from None
    low, high = (plain(f"{what}, interval", end) for end in (low, high))
    if low > high:
        raise ValueError(f"{what}, interval: lower end {low} lies above upper end {high}")
    return [low, high]


def _measurement(what: str, value: Any, interval: Any, n: Any, method: Any) -> dict[str, Any]:
    """A measurement as JSON knows it; ValueError unless it is complete and consistent."""
    value = plain(f"{what}, value", value)
    low, high = _interval(what, interval)
    if not low <= value <= high:
        raise ValueError(f"{what}: value {value} is not in its interval {low} to {high}")
    n = plain(f"{what}, n", n)
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"{what}, n: got {n}, wanted a whole number from 1 up")
    _texts(what, {"method": method}, ("method",))
    return {"value": value, "interval": [low, high], "n": n, "method": str(method)}


def _ends(low: float | None, high: float | None) -> tuple[float, float]:
    return -math.inf if low is None else low, math.inf if high is None else high


def verdict(claim: Claim, interval: Sequence[float] | None) -> str:
    """Verdict on a claim, one of ``VERDICTS``, by the rule at the top of this module.

    The interval is (lower end, upper end) of what was measured, in the claim's unit; None only where the
    claim does not apply.

    Raises:
        ValueError: when the claim applies and the interval is none.
    """
    if not claim.applies:
        return "out of range"
    low, high = _interval(f"claim {claim.id!r}", interval)
    least, most = _ends(claim.low, claim.high)
    if claim.strict:
        inside, outside = least < low and high < most, high <= least or low >= most
    else:
        inside, outside = least <= low and high <= most, high < least or low > most
    return "holds" if inside else "fails" if outside else "undecided"


class Ledger:
    """The claims of one chapter and what was measured for each."""

    def __init__(self, parameters: Parameters, applies: bool = True) -> None:
        """Opens the ledger.

        Args:
            parameters: of the run, with the chapter's name; at another part than ``all``, what was not
                measured is out of range.
            applies: whether claims that do not say so themselves speak of these parameters.
        """
        self.parameters, self.applies = parameters, applies
        self._stated: dict[str, tuple[Claim, int]] = {}
        self._measured: dict[str, dict[str, Any]] = {}

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims as they were stated."""
        return tuple(claim for claim, _ in self._stated.values())

    def claim(
        self,
        id: str,
        statement: str,
        source: str,
        stated: str,
        accepted: str,
        reason: str,
        applies: bool | None = None,
        why: str = "",
        seen: str = "",
    ) -> None:
        """States a claim, whose parts `Claim` describes; a cell that is run again states its claims anew.

        What is accepted is told with its unit, as ``A to B unit``, ``exactly A unit``, ``at least A unit``,
        ``at most A unit``, ``above A unit``, ``below A unit`` or ``above A and below B unit``. Whether the
        claim applies is as the ledger says if None.

        Raises:
            ValueError: for a claim that is not so, or is stated twice in one cell.
        """
        applies = self.applies if applies is None else applies
        said = {"reason": reason, "why": why, "applies": applies, "seen": seen}
        claim = Claim(id, statement, source, stated, **_accepted(f"claim {id!r}", accepted), **said)
        run = getattr(IPython.get_ipython(), "execution_count", None)  # the cell's; None without a notebook
        if run is not None and self._stated.get(id, (None, None))[1] == run:
            raise ValueError(f"claim {id!r} is stated twice")
        self._stated[id] = claim, run

    def expected(self) -> Shown:
        """The claims as they stand before anything runs, as a table."""
        rows = []
        for c in self.claims:
            outlook = (f"fails: {c.why}" if c.why else c.expected, f"verdict-{c.expected}")
            if not c.applies:
                outlook = ("out of range at these parameters", "verdict-out-of-range")
            reason = c.reason + f" {AFTER.capitalize()}: {c.seen}" * bool(c.seen)
            rows.append((c.statement, c.source, c.stated, c.accepted, reason, outlook))
        columns = ("claim", "source", "source's number", "accepted here", "why this range", "expected")
        pairs = zip(self.claims, rows, strict=True)
        text = "\n".join(f"{c.id}: {c.accepted}, expected: {row[5][0]}" for c, row in pairs)
        count = f"{len(rows)} claim{'s' * (len(rows) != 1)}, stated before anything runs"
        html = grid("sgd-claims", "Claims, before anything runs", columns, rows)
        return Shown(f"<details><summary>{count}</summary>\n{html}\n</details>", text)

    def measure(self, id: str, found: Estimate) -> None:
        """Enters what was measured for a claim; measuring again replaces it.

        Args:
            id: of the claim.
            found: value, interval, n and method, in the claim's unit; the interval of an exact count is twice
                its value.

        Raises:
            ValueError: for an unknown id, or a measurement that is not complete.
        """
        if id not in self._stated:
            raise ValueError(f"id: got {id!r}, wanted one of {', '.join(self._stated)}")
        self._measured[id] = _measurement(f"claim {id!r}", found.value, found.interval, found.n, found.method)

    def record(self) -> dict[str, Any]:
        """The claims record, ready for JSON.

        Raises:
            ValueError: listing the claims that apply and were not measured.
        """
        chapter, whole = self.parameters.chapter, getattr(self.parameters, "part", "all") == "all"
        missing = [c.id for c in self.claims if whole and c.applies and c.id not in self._measured]
        if missing or not self.claims:
            raise ValueError(f"claims of {chapter} not measured: {', '.join(missing) or 'none is stated'}")
        entries = []
        for claim in self.claims:
            found = self._measured.get(claim.id)
            claim = claim if found else replace(claim, applies=False)
            entries.append(_entry(claim, found or dict.fromkeys(_MEASURED)))
        return {"chapter": chapter, "claims": entries}

    def verdicts(self) -> Shown:
        """The verdicts as a table that carries the claims record; a claim that fails raises nothing.

        Raises:
            ValueError: listing the claims that apply and were not measured; at defaults also those that no
                outcome could hold, or none could fail.
        """
        record, rows = self.record(), []
        idle = [
            f"{entry['id']}: with n = {entry['n']} no outcome {name.replace('_', ' ')} it"
            for entry in record["claims"]
            for name in _OUTCOMES
            if entry["n"] and entry["verdict"] != "out of range" and not entry[name]
        ]
        if idle and not self.parameters.overridden:
            raise ValueError(f"claims of {record['chapter']}: {'; '.join(idle)}")
        for c, entry in zip(self.claims, record["claims"], strict=True):
            word = entry["verdict"]
            marked = (word + note(entry), f"verdict-{word.replace(' ', '-')}")
            accepted = c.wanted
            ours = "not measured"
            if entry["value"] is not None:
                number, span = stats.shown(entry["value"], entry["interval"])
                ours = f"{number} ({span}) {c.unit}, n\u00a0=\u00a0{entry['n']} ({entry['method']})"
                hold, fail = (entry[name] or "no value" for name in _OUTCOMES)
                accepted += f" (holds: {hold}; fails: {fail})"
            rows.append((f"{c.statement} ({c.source})", marked, ours, c.stated, accepted))
        # what matters first: on a narrow screen the rest is reached by scrolling
        accepted = "accepted (what would hold; fail)"
        columns = ("claim", "verdict", "ours (interval)", "source's number", accepted)
        html = grid("sgd-claims", "Claims and verdicts", columns, rows)
        pairs = zip(self.claims, rows, strict=True)
        text = "\n".join(f"{c.id}: {row[1][0]}; {row[2]}, accepted {c.accepted}" for c, row in pairs)
        return Shown(html, text, MIME, record)


def _entry(claim: Claim, found: Mapping[str, Any]) -> dict[str, Any]:
    """What a record holds of a claim and of what was measured for it, all None where nothing was."""
    possible = outcomes(claim, **found) if found["n"] else (None, None)
    told = dict(zip(_OUTCOMES, possible, strict=True)) | {"verdict": verdict(claim, found["interval"])}
    return {name: getattr(claim, name) for name in _STATED} | found | told


AFTER = "changed after a look at these seeds"


def note(entry: Mapping[str, Any]) -> str:
    """What to add to the verdict of a claim of a record: what was expected, what is missing, and marks."""
    verdict, expected = entry["verdict"], entry["expected"]
    # that it was expected is said where that is not the usual
    told = ", as expected" if verdict == "fails" else ""
    if verdict not in (expected, "out of range"):
        told = f", expected: {expected}"
    if verdict == "undecided":
        enough = _needed(entry)
        told += f"; about n = {enough:,} would decide it" if enough else "; no n would decide it here"
    return told + f"; {AFTER}" * bool(entry["seen"])


def _needed(entry: Mapping[str, Any]) -> int | None:
    """About how many networks would decide a claim, if the value stays and its interval goes as 1 / sqrt(n).

    To two digits, rounded up; None if the value lies on an end of what is accepted, or more than 10^6 would
    be needed.
    """
    value, n, (least, most) = entry["value"], entry["n"], _ends(entry["low"], entry["high"])
    down, up = value - entry["interval"][0], entry["interval"][1] - value
    if least <= value <= most:
        room = ((value - least, down), (most - value, up))
    else:
        room = ((least - value, up),) if value < least else ((value - most, down),)
    part = min(1, *(there / wanted if wanted else 1 for there, wanted in room))
    if part < math.sqrt(n / 1e6):
        return None
    exact = n / part**2
    step = 10 ** max(0, math.floor(math.log10(exact)) - 1)
    return math.ceil(exact / step) * step


def outcomes(claim: Claim, value: float, interval: Sequence[float], n: int, method: str) -> tuple[str, str]:
    """Which outcomes would have held a claim and which failed it, at the n that was run.

    Of a share all counts are tried. Else the interval is taken to be as wide at other values, of a ratio
    in proportion to them, and the values that are possible are those of the unit.

    Returns:
        Both in words, such as ``23 to 32 of 32`` and ``below 24 or above 64``; empty where there is none.
    """
    level = re.fullmatch(r"Clopper-Pearson, ([\d.]+) %", method)
    if level:
        tail, k = (1 - float(level[1]) / 100) / 2, np.arange(n + 1)
        ends = np.nan_to_num(beta.ppf(tail, k, n - k + 1)), np.nan_to_num(beta.isf(tail, k + 1, n - k), nan=1)
        for unit in (1, 100):
            counted = np.transpose(ends) * unit
            if np.allclose(counted[round(value / unit * n)], interval):
                spoken = replace(claim, applies=True)
                found = np.array([verdict(spoken, pair) for pair in counted.tolist()])
                return _counts(found == "holds", n), _counts(found == "fails", n)
    words, of = claim.unit.split()[:2], re.search(r"\bunits? of (\d+)", claim.unit)
    ratio = words[0] in _RATIOS and interval[0] > 0
    there, back = (math.log, math.exp) if ratio else (float, float)
    bounds = [_POSSIBLE[word] for word in words if word in _POSSIBLE] or [(-math.inf, math.inf)]
    least, most = (0, int(of[1])) if of else bounds[0]
    low, high = (end if math.isinf(end) else there(end) for end in _ends(claim.low, claim.high))
    down, up = there(value) - there(interval[0]), there(interval[1]) - there(value)
    first, last = max(low + down, least), min(high - up, most)

    def told(end: float) -> str:
        return f"{back(end):.3g}".replace("-", "−")

    hold = f"{told(first)} or more" if math.isinf(last) else f"{told(first)} to {told(last)}"
    hold = f"{told(last)} or less" if math.isinf(first) else hold
    possible = first < last or (first == last and not claim.strict)
    fail = [f"below {told(low - up)}"] * (low - up > least)
    fail += [f"above {told(high + down)}"] * (high + down < most)
    return hold * possible, " or ".join(fail)


def _counts(those: np.ndarray, n: int) -> str:
    """Numbers of networks, from a mask over 0 to n, in words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], those, [False]])))
    runs = [f"{a} to {b - 1}" if b - a > 1 else f"{a}" for a, b in edges.reshape(-1, 2)]
    return f"{' or '.join(runs)} of {n}" if runs else ""


def validate(record: Any) -> None:
    """Refuses a claims record, as read from JSON, that is not well formed or contradicts itself.

    Raises:
        ValueError: naming the claim and the field that is wrong, also when the verdict is not the one that
            the rule gives for the interval.
    """
    if not (isinstance(record, dict) and set(record) == {"chapter", "claims"}):
        raise ValueError("claims record: wanted an object of 'chapter' and 'claims'")
    chapter, ids = record["chapter"], []
    if not (isinstance(chapter, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", chapter)):
        raise ValueError(f"chapter: got {chapter!r}, wanted the name of its file without ending")
    for entry in record["claims"]:
        try:
            stated = {name: entry[name] for name in _STATED if name != "expected"}
            found = {name: entry[name] for name in _MEASURED}
            applies = entry["verdict"] != "out of range"
        except (KeyError, TypeError):
            raise ValueError(f"claims record: a claim is not whole: {entry!r}") from None
        claim = Claim(**stated, applies=applies)
        if applies or any(v is not None for v in found.values()):
            found = _measurement(f"claim {claim.id!r}", **found)
        made = _entry(claim, found)
        if wrong := sorted(name for name in {*made, *entry} if made.get(name, ...) != entry.get(name, ...)):
            raise ValueError(f"claim {claim.id!r}: {', '.join(wrong)} are not as its range and interval say")
        ids.append(claim.id)
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if not ids or twice:
        raise ValueError(f"claims: {'none' if not ids else f'{twice} stated twice'}, wanted each once")
