"""Claims: stated with a range before anything runs, measured with an interval, given a verdict.

The rule. ``out of range``: the claim does not speak of these parameters. ``holds``: the whole interval
lies in the accepted range, of which a strict claim leaves out the ends. ``fails``: the whole interval lies
outside. Else ``undecided``.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lib import stats
from lib.page.params import Parameters
from lib.page.text import Shown, grid, plain
from lib.stats import Estimate

MIME = "application/vnd.sgd-book.claims+json"
VERDICTS = ("holds", "fails", "undecided", "out of range")
_STATED = tuple("id statement source stated unit low high strict reason expected why".split())
_MEASURED = ("value", "interval", "n", "method")


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
        if not isinstance(self.why, str) or self.why != self.why.strip():
            raise ValueError(
                f"claim {self.id!r}, why: got {self.why!r}, wanted a text, or '' if it is to hold"
            )
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
        low, high = (None if v is None else f"{v:.6g}".replace("-", "−") for v in (self.low, self.high))
        if low is None or high is None or self.strict:
            least, most = ("above", "below") if self.strict else ("at least", "at most")
            words = " and ".join(f"{end} {v}" for end, v in ((least, low), (most, high)) if v is not None)
        else:
            words = f"exactly {low}" if self.low == self.high else f"{low} to {high}"
        return f"{words} {self.unit}"


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


def _accepted(what: str, text: str) -> tuple[str, tuple[float | None, float | None, bool]]:
    """Unit, and low, high and strict, of what a claim accepts; ValueError for a text that is none."""
    for form, strict in _FORMS:
        if found := re.fullmatch(rf"{form} (?P<unit>(?!and |to )\S.*)", str(text)):
            ends = {end: _plain(number) for end, number in found.groupdict().items() if end != "unit"}
            return found["unit"], (ends.get("low"), ends.get("high"), strict)
    forms = "A to B, exactly A, at least A, at most A, above A, below A or above A and below B"
    raise ValueError(f"{what}: got {text!r}, wanted what is accepted as {forms}, then the unit")


def _plain(number: str) -> float:
    number = float(number.replace("−", "-").replace(",", ""))
    return int(number) if number.is_integer() else number


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


def verdict(claim: Claim, interval: Sequence[float] | None) -> str:
    """Verdict on a claim, by the rule at the top of this module.

    Args:
        claim: the claim.
        interval: (lower end, upper end) of what was measured, in the claim's unit; None only where the
            claim does not apply.

    Returns:
        One of ``VERDICTS``.

    Raises:
        ValueError: when the claim applies and the interval is none.
    """
    if not claim.applies:
        return "out of range"
    low, high = _interval(f"claim {claim.id!r}", interval)
    least = -math.inf if claim.low is None else claim.low
    most = math.inf if claim.high is None else claim.high
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
    ) -> None:
        """States a claim; a cell that is run again states its claims anew.

        Args:
            id: short name, lower-case words joined by ``-``.
            statement: the claim in a sentence.
            source: who says so, and where.
            stated: the number as the source prints it.
            accepted: what would agree, with its unit: ``A to B unit``, ``exactly A unit``,
                ``at least A unit``, ``at most A unit``, ``above A unit``, ``below A unit`` or
                ``above A and below B unit``.
            reason: why this range, and not a narrower or a wider one.
            applies: whether it speaks of these parameters; as the ledger says if None.
            why: why it is expected to fail; empty if it is expected to hold.

        Raises:
            ValueError: for a claim that is not so, or is stated twice in one cell.
        """
        applies = self.applies if applies is None else applies
        unit, ends = _accepted(f"claim {id!r}", accepted)
        claim = Claim(id, statement, source, stated, unit, *ends[:2], reason, why, applies, ends[2])
        run = _run()
        if run is not None and self._stated.get(id, (None, None))[1] == run:
            raise ValueError(f"claim {id!r} is stated twice")
        self._stated[id] = claim, run

    def expected(self) -> Shown:
        """The claims as they stand before anything runs, as a table."""
        rows = []
        for c in self.claims:
            outlook = f"fails: {c.why}" if c.why else c.expected
            rows.append((c.statement, c.source, c.stated, c.accepted, c.reason, _word(c, outlook)))
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
            if claim.id not in self._measured:
                claim = replace(claim, applies=False)
            found = self._measured.get(claim.id, dict.fromkeys(_MEASURED))
            stated = {name: getattr(claim, name) for name in _STATED}
            entries.append({**stated, **found, "verdict": verdict(claim, found["interval"])})
        return {"chapter": chapter, "claims": entries}

    def verdicts(self) -> Shown:
        """The verdicts as a table that carries the claims record; a claim that fails raises nothing.

        Raises:
            ValueError: listing the claims that apply and were not measured.
        """
        record, rows = self.record(), []
        for c, entry in zip(self.claims, record["claims"], strict=True):
            word = entry["verdict"]
            marked = (word + against(word, c.expected), f"verdict-{word.replace(' ', '-')}")
            ours = "not measured"
            if entry["value"] is not None:
                number, span = stats.shown(entry["value"], entry["interval"])
                ours = f"{number} ({span}) {c.unit}, n\u00a0=\u00a0{entry['n']} ({entry['method']})"
            rows.append((f"{c.statement} ({c.source})", marked, ours, c.stated, c.accepted))
        # what matters first: on a narrow screen the rest is reached by scrolling
        columns = ("claim", "verdict", "ours (interval)", "source's number", "accepted")
        html = grid("sgd-claims", "Claims and verdicts", columns, rows)
        pairs = zip(self.claims, rows, strict=True)
        text = "\n".join(f"{c.id}: {row[1][0]}; {row[2]}, accepted {c.accepted}" for c, row in pairs)
        return Shown(html, text, MIME, record)


def _run() -> int | None:
    """Number of the cell that runs; None where there is no notebook."""
    from IPython import get_ipython

    return getattr(get_ipython(), "execution_count", None)


def against(verdict: str, expected: str) -> str:
    """What to add to a verdict: that it was expected if it is not the usual one, or what was expected."""
    if verdict in (expected, "out of range"):
        return ", as expected" if verdict == "fails" else ""
    return f", expected: {expected}"


def _word(claim: Claim, outlook: str) -> tuple[str, str]:
    if not claim.applies:
        return "out of range at these parameters", "verdict-out-of-range"
    return outlook, f"verdict-{claim.expected}"


def validate(record: Any) -> None:
    """Refuses a claims record that is not well formed or contradicts itself.

    Args:
        record: what was read from JSON.

    Raises:
        ValueError: naming the claim and the field that is wrong, also when the verdict is not the one that
            the rule gives for the interval.
    """
    whole = isinstance(record, dict) and set(record) == {"chapter", "claims"}
    if not (whole and isinstance(record["claims"], list)):
        raise ValueError("claims record: wanted an object of 'chapter' and a list 'claims'")
    claims = []
    for entry in record["claims"]:
        wrong = set(entry) ^ {*_STATED, *_MEASURED, "verdict"} if isinstance(entry, dict) else {"all fields"}
        if wrong:
            raise ValueError(f"claims record: missing or unknown in a claim: {', '.join(sorted(wrong))}")
        if entry["verdict"] not in VERDICTS:
            got = f"claim {entry['id']!r}, verdict: got {entry['verdict']!r}"
            raise ValueError(f"{got}, wanted one of {', '.join(VERDICTS)}")
        applies = entry["verdict"] != "out of range"
        claim = Claim(**{name: entry[name] for name in _STATED if name != "expected"}, applies=applies)
        if entry["expected"] != claim.expected:
            got = f"claim {claim.id!r}, expected: got {entry['expected']!r}"
            raise ValueError(f"{got}, wanted {claim.expected!r}, since why is {claim.why!r}")
        found = [entry[name] for name in _MEASURED]
        if applies or found != [None] * len(found):
            _measurement(f"claim {claim.id!r}", *found)
        if verdict(claim, entry["interval"]) != entry["verdict"]:
            raise ValueError(f"claim {claim.id!r}: verdict {entry['verdict']!r} is not that of its interval")
        claims.append(claim)
    ids = [claim.id for claim in claims]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    chapter = record["chapter"]
    if not (isinstance(chapter, str) and re.fullmatch(r"[a-z0-9][a-z0-9_-]*", chapter)):
        raise ValueError(f"chapter: got {chapter!r}, wanted the name of its file without ending")
    if not ids or twice:
        raise ValueError(f"claims: {'none' if not ids else f'{twice} stated twice'}, wanted each once")
