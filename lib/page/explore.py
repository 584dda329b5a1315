"""Explorable figures: the reader moves a control and sees the outcome, from data of the same run.

Everything is drawn here: the figure as it is at first, and for each element that changes what it becomes in
each state. ``_static/explore.js`` only puts these values in. So a page needs no kernel and no foreign script;
without scripts, and in Jupyter, it shows the drawing, its outcome in words, and a table of all outcomes.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lib import stats
from lib.page import figures
from lib.page.panels import HEIGHT, WIDTH, Axis, Dots, Estimate, Line, Note, Panel, Rule, shown, tag
from lib.page.text import grid

__all__ = [
    "Axis", "Control", "Dots", "Estimate", "Line", "Note", "Panel", "Rule",
    "counted", "figure", "places", "told",
]  # fmt: skip

MARK = "sgd-explore"  # class of the outermost element
SCRIPT = "_static/explore.js"
_NAMED = 8  # values that have room below a slider on a telephone
_JSON = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
# "None" may begin a sentence: "None of 32 networks ..."
_NO_NUMBER = re.compile(r"\b(?:nan|NaN|inf)\b|np\.float|\bNone\b(?! [a-z])|(?<!^)(?<![.!?] )\bNone\b")


# ---- what a chapter says ---------------------------------------------------------------------------------


class Control(NamedTuple):
    """What the reader moves.

    Attributes:
        label: its name, e.g. ``learning rate``.
        values: numbers or texts, in their order.
        unit: said after each value; may be empty.
        start: the value that is shown first; the first one if None.
        slider: a slider if True, else one button for each value.
    """

    label: str
    values: Sequence[float | str]
    unit: str = ""
    start: float | str | None = None
    slider: bool = True

    @property
    def texts(self) -> list[str]:
        """Its values as they are shown and spoken."""
        return [f"{shown(value)} {self.unit}".strip() for value in self.values]


def counted(which: Any, one: str, many: str, noun: str = "network", whole: bool = True) -> str:
    """How many networks do something, in words, with the 95 % interval of the share.

    Args:
        which: whether each does, bool, shape (M,).
        one: what one or none of them does, e.g. ``collapses``.
        many: what several do, e.g. ``collapse``.
        noun: what they are, singular.
        whole: whether to say of how many; False where the sentence has said it.

    Returns:
        E.g. ``31 of 32 networks collapse (84 to 99.9 %)``.
    """
    which = np.asarray(which)
    share = stats.proportion(which)
    hits, n = int(which.sum()), len(which)
    if not whole:
        who = hits or "none"
    elif hits == n == 1:
        who = f"the only {noun}"
    elif hits == n:
        who = f"{'both' if n == 2 else f'all {n}'} {noun}s"
    else:
        who = f"{hits or 'none'} of {n} {noun}{'s' * (n > 1)}"
    return f"{who} {one if hits <= 1 else many} ({_percent(share.low)} to {_percent(share.high)} %)"


def told(estimate: stats.Estimate, unit: str = "") -> str:
    """A value with its unit, interval and n, e.g. ``0.31 points (0.23 to 0.41, n = 32)``."""
    if estimate.low == estimate.high:  # no width says nothing about digits
        value = shown(float(f"{estimate.value:.3g}"))
        return f"{value} {unit}".strip() + f" (the same in all {estimate.n})"
    return format(estimate, f"n {unit}".rstrip())


def places(values: Any, step: float = 1) -> tuple[np.ndarray, np.ndarray]:
    """Where dots of nearly equal values go, one above the other.

    Args:
        values: finite numbers, shape (M,).
        step: width of the bins in which values count as equal, above 0.

    Returns:
        The place of each in its pile, 0, 1, and so on, and how many the pile holds, both (M,).
    """
    if not step > 0:
        raise ValueError(f"step: got {step!r}, wanted a number above 0")
    bins = np.round(np.asarray(values, float) / step)
    level = np.array([(bins[:k] == b).sum() for k, b in enumerate(bins)], int)
    return level, np.array([(bins == b).sum() for b in bins], int)


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.1f}" if 0.05 <= percent < 1 or 99 < percent <= 99.95 else f"{percent:.0f}"


# ---- the figure ------------------------------------------------------------------------------------------


def figure(
    name: str,
    caption: str,
    alt: str,
    controls: Sequence[Control],
    panels: Sequence[Panel],
    state: Callable[..., tuple[Any, ...]],
    data: pd.DataFrame | Mapping[str, Iterable],
) -> None:
    """Shows an explorable figure with its caption, its description and the data behind it.

    Args:
        name: ``fig-`` and lower-case letters, digits and ``-``; its label in the book.
        caption: what to move and what to see, MyST inline markup.
        alt: what it shows in all states, for who cannot see it; 20 characters at least.
        controls: what the reader moves.
        panels: one or two drawings.
        state: called with a value of each control, for all combinations; returns the outcome, a sentence
            with numbers that names these values, and the marks of each panel. The marks of all states have
            the same kinds and lengths.
        data: what was drawn, as for ``page.figure``.

    Raises:
        ValueError: naming the argument that is not so.
    """
    about, table = figures.about(name, caption, alt), figures.columns(data)
    if not controls or not panels:
        got = f"{name}: got {len(controls)} controls and {len(panels)} panels"
        raise ValueError(f"{got}, wanted one at least")
    for control in controls:
        if not control.label.strip() or not len(control.values):
            raise ValueError(f"{name}: got control {control.label!r} of {len(control.values)} values")
        if control.start is not None and control.start not in list(control.values):
            raise ValueError(f"{name}: got start {control.start!r}, wanted one of {list(control.values)}")
    frames = [panel.frame() for panel in panels]
    outcomes, drawn = [], []  # of each state; drawn are the elements of each panel
    for values in itertools.product(*(c.values for c in controls)):
        try:
            outcome, *marks = state(*values)
            drawn.append([panel.drawn(marked) for panel, marked in zip(panels, marks, strict=True)])
            first, now = ([[e["tag"] for e in panel] for panel in drawn[k]] for k in (0, -1))
            if first != now:
                raise ValueError("other marks than in the first state")
        except ValueError as error:
            raise ValueError(f"{name} at {', '.join(map(shown, values))}: {error}") from None
        outcomes.append(outcome)
    record = _record(controls, outcomes, drawn)
    if faults := _faults(record):
        raise ValueError(f"{name}: {'; '.join(faults)}")
    start, alt = record["start"], about["alt"]
    about["alt"] = f"{alt} At first: {outcomes[start]}"
    moves = map(bool, record["marks"])
    inside = [
        "".join([*map(tag, frame), *(tag(element, next(moves)) for element in panel)])
        for frame, panel in zip(frames, drawn[start], strict=True)
    ]
    bundle = {
        "text/html": _html(name, alt, record, inside),
        "image/svg+xml": _picture(record, inside),
        "text/plain": "\n".join([f"{name}: {alt}", *outcomes]),
        figures.DATA_MIME: table,
    }
    figures.show(bundle, about | {"explore": True})


def _record(controls: Sequence[Control], outcomes: Sequence[str], drawn: Sequence[Any]) -> dict[str, Any]:
    """What the page's script reads: for each element that changes, its attributes in each state."""
    pool: dict[str, int] = {}  # each text once, and its number wherever it is used
    # a colour is told by its class; the attribute is for places without a style sheet
    marks = [
        {
            name: [pool.setdefault(version[name], len(pool)) for version in versions]
            for name in versions[0]
            if name not in ("tag", "fill", "stroke") and len({version[name] for version in versions}) > 1
        }
        for versions in zip(*(itertools.chain(*panels) for panels in drawn), strict=True)
    ]
    first = [0 if c.start is None else list(c.values).index(c.start) for c in controls]
    start = int(np.ravel_multi_index(first, [len(c.values) for c in controls]))
    named = [{"label": c.label, "values": c.texts, "slider": c.slider} for c in controls]
    return {"controls": named, "outcomes": outcomes, "start": start, "pool": list(pool), "marks": marks}


def _settings(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The values of all controls, as texts, in each state."""
    return list(itertools.product(*(c["values"] for c in record["controls"])))


def _svg(inside: str, look: str) -> str:
    """A panel with attributes of its own."""
    same = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    return f"<svg {same} {look}>{inside}</svg>"


def _picture(record: Mapping[str, Any], inside: Sequence[str]) -> str:
    """The first state as a picture by itself, for a file and for print."""
    chosen = _settings(record)[record["start"]]
    settings = ", ".join(f"{c['label']}: {v}" for c, v in zip(record["controls"], chosen, strict=True))
    width, height = len(inside) * (WIDTH + 20) + 20, HEIGHT + 56
    panels = "".join(
        _svg(panel, f'x="{20 + k * (WIDTH + 20)}" y="44" width="{WIDTH}" height="{HEIGHT}"')
        for k, panel in enumerate(inside)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" color="#222222"><rect width="100%" height="100%" fill="white"></rect>'
        '<text x="20" y="26" font-family="sans-serif" font-size="14" fill="currentColor">'
        f"{escape(settings)}</text>{panels.replace(' data-m', '')}</svg>"
    )


def _control(name: str, k: int, control: Mapping[str, Any], first: int) -> str:
    """A slider, or a group of buttons, with its label."""
    label, texts, ident = escape(control["label"]), control["values"], f"{name}-control-{k}"
    if len(texts) == 1:
        return f"<p>{label}: {escape(texts[0])}</p>"
    if control["slider"]:
        every = len(texts) <= _NAMED
        named = "".join(f"<span>{escape(t)}</span>" for t in (texts if every else (texts[0], texts[-1])))
        return (
            f'<div class="sgd-slider"><label for="{ident}">{label}</label> '
            f'<span class="sgd-value" aria-hidden="true">{escape(texts[first])}</span>'
            f'<input type="range" id="{ident}" data-control="{k}" min="0" max="{len(texts) - 1}" step="1" '
            f'value="{first}" aria-valuetext="{escape(texts[first])}" autocomplete="off">'
            f'<span class="{"sgd-stops" if every else "sgd-ends"}" aria-hidden="true">{named}</span></div>'
        )
    buttons = "".join(
        f'<label><input type="radio" name="{ident}" data-control="{k}" value="{i}" autocomplete="off"'
        f"{' checked' if i == first else ''}> {escape(text)}</label>"
        for i, text in enumerate(texts)
    )
    return f"<fieldset><legend>{label}</legend>{buttons}</fieldset>"


def _html(name: str, alt: str, record: Mapping[str, Any], inside: Sequence[str]) -> str:
    """The figure as it stands in a page. Its controls are hidden until the script is there to hear them."""
    start, outcomes, settings = record["start"], record["outcomes"], _settings(record)
    controls = "".join(
        _control(name, k, control, control["values"].index(settings[start][k]))
        for k, control in enumerate(record["controls"])
    )
    if len(outcomes) == 1:
        controls = f"<p>This run has one setting only: nothing to move.</p>{controls}"
    columns = [*(c["label"] for c in record["controls"]), "outcome"]
    rows = [(*values, outcome) for values, outcome in zip(settings, outcomes, strict=True)]
    summary = "The outcome" if len(rows) == 1 else f"All {len(rows)} outcomes in words"
    content = json.dumps(record, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    look = f'width="{WIDTH}" height="{HEIGHT}" aria-hidden="true" focusable="false"'
    panels = "".join(_svg(panel, look) for panel in inside)
    # no empty line anywhere: a page builder might end the HTML there
    return (
        f'<div class="{MARK}">\n'
        f'<div class="sgd-controls" role="group" aria-label="What to change"{" hidden" * (len(rows) > 1)}>'
        f"{controls}</div>\n"
        f'<p class="sgd-outcome" id="{name}-outcome" role="status" aria-live="polite">'
        f"{escape(outcomes[start])}</p>\n"
        f'<div class="sgd-panels" role="img" aria-label="{escape(alt)}" aria-describedby="{name}-outcome">'
        f"{panels}</div>\n"
        f"<details open><summary>{summary}</summary>\n"
        f"{grid('sgd-outcomes', summary, columns, rows)}\n</details>\n"
        f'<script type="application/json">{content}</script>\n</div>'
    )


# ---- judging ---------------------------------------------------------------------------------------------


def _faults(record: Any) -> list[str]:
    """What is wrong with what the script is to read, as the page carries it; empty when nothing is."""
    try:
        controls, outcomes, pool, start = (record[k] for k in ("controls", "outcomes", "pool", "start"))
        count, words = len(_settings(record)), [*map(str, outcomes), *map(str, pool)]
        marks = [numbers for mark in record["marks"] for numbers in mark.values()]
        lost = any(len(numbers) != count for numbers in marks)
        every = [*itertools.chain(*marks)]
        astray = not all(isinstance(n, int) and 0 <= n < len(pool) for n in every)
        twice = [c["label"] for c in controls if len(set(c["values"])) < len(c["values"])]
        bare = [text for text in outcomes if not re.search(r"\d.*\.\s*$", text, re.DOTALL)]
    except (TypeError, KeyError, AttributeError) as error:
        return [f"explorable data is not whole: {type(error).__name__} {error}"]
    found = {
        f"{len(outcomes)} outcomes for {count} states": len(outcomes) != count,
        f"control {', '.join(map(repr, twice))} has a value twice": twice,
        f"it starts in state {start!r} of {count}": not isinstance(start, int) or start not in range(count),
        f"outcome {', '.join(map(repr, bare))}, wanted a sentence with numbers": bare,
        "two states have the same outcome: each names its own values": len(set(outcomes)) < len(outcomes),
        "a mark without a value for each state": lost,
        "a mark with a value that is not there": astray,
        "a mark with a value that is no text": not all(isinstance(text, str) for text in pool),
        "a number that is none (nan, inf or None)": any(map(_NO_NUMBER.search, words)),
    }
    return [fault for fault, true in found.items() if true]


def html_faults(html: str) -> list[str]:
    """What is wrong with an explorable figure's HTML in an executed notebook; empty when nothing is."""
    found = _JSON.findall(html)
    try:
        (text,) = found
        record = json.loads(text)
    except ValueError:
        return [f"explorable figure with {len(found)} data scripts, wanted one that is JSON"]
    faults = _faults(record)
    if not faults:
        table = unescape(html.partition("<details open>")[2].partition("</details>")[0])
        absent = [outcome for outcome in record["outcomes"] if outcome not in table]
        faults += [f"outcome that its table lacks: {outcome}" for outcome in absent]
    described = re.search(r'role="img" aria-label="([^"]*)"', html)
    if not described or not described[1].strip():
        faults.append("explorable figure without a description of its drawing")
    if 'role="status"' not in html:
        faults.append("explorable figure whose outcome is not announced")
    return faults


def states(html: str) -> int:
    """In how many states an explorable figure can be; 0 when its data cannot be read."""
    try:
        return len(json.loads(_JSON.findall(html)[0])["outcomes"])
    except (ValueError, LookupError, TypeError):
        return 0
