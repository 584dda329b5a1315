"""Explorable figures: the reader moves a control and sees the outcome, from data of the same run.

Everything is drawn here: the figure as it is at first, and for each element that changes what it becomes in
each state. ``_static/explore.js`` only puts these values in. So a page needs no kernel and no foreign script;
without scripts, and in Jupyter, it shows the drawing, its outcome in words, and a table of all outcomes.
"""

import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape, unescape
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib import ticker

from lib import stats
from lib.page import figures
from lib.page.text import grid, plain

MARK = "sgd-explore"  # class of the outermost element
SCRIPT = "_static/explore.js"
# As seaborn's palette for the colour-blind, darker where white would swallow it; book.css has these numbers
# for both themes, and what stands here is for places without it.
COLORS = ("#0173b2", "#c97f00", "#028a66", "#d55e00", "#a95aa1", "#2f97cf", "#767676", "#222222")
_WIDTH, _HEIGHT = 340, 272  # of a panel [px]: about what a telephone has
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 44, 40  # margins around the axes [px]
_NAMED = 8  # values that have room below a slider on a telephone
_JSON = re.compile(r'<script type="application/json">(.*?)</script>', re.DOTALL)
# "None" may begin a sentence: "None of 32 networks ..."
_NO_NUMBER = re.compile(r"\b(?:nan|NaN|inf)\b|np\.float|\bNone\b(?! [a-z])|(?<!^)(?<![.!?] )\bNone\b")

Numbers = Sequence[float | None] | np.ndarray
Element = tuple[str, dict[str, str], str]  # tag, attributes, text


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
        return [f"{_text(value)} {self.unit}".strip() for value in self.values]


class Axis(NamedTuple):
    """One axis: its label with the unit, its ends, and its ticks (text by place; chosen if None)."""

    label: str
    low: float
    high: float
    log: bool = False
    ticks: Mapping[float, str] | None = None


class Panel(NamedTuple):
    """A drawing with two axes, the same in all states."""

    title: str
    x: Axis
    y: Axis


class Dots(NamedTuple):
    """Single networks: places, a colour for all or one for each, radius [px]."""

    x: Numbers
    y: Numbers
    color: int | Sequence[int] = 0
    size: float = 3.6


class Line(NamedTuple):
    """A thin line through points, with a gap where one is not finite.

    What lies beyond the axis of y is drawn at its end.
    """

    x: Numbers
    y: Numbers
    color: int = 0


class Estimate(NamedTuple):
    """A value with its interval at a place: upright, or ``across``, with the value along x.

    ``size`` is the radius of its dot [px]: 4 for what matters, less for what is around it, 0 for none.
    """

    place: float
    estimate: stats.Estimate
    color: int = 0
    across: bool = False
    size: float = 4


class Rule(NamedTuple):
    """A named level of y that outcomes are compared with."""

    at: float
    label: str


class Note(NamedTuple):
    """A text at a place, after a dot of a colour if one is given."""

    x: float
    y: float
    text: str
    color: int | None = None


Marks = Sequence[Dots | Line | Estimate | Rule | Note]


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
    nouns = noun if n == 1 else f"{noun}s"
    if not whole:
        said = f"{hits or 'none'} {one if hits <= 1 else many}"
    elif hits == 0:
        said = f"none of {n} {nouns} {one}"
    elif n == 1:
        said = f"the only {noun} {one}"
    elif hits == n:
        said = f"{'both' if n == 2 else f'all {n}'} {nouns} {many}"
    else:
        said = f"{hits} of {n} {nouns} {one if hits == 1 else many}"
    return f"{said} ({_percent(share.low)} to {_percent(share.high)} %)"


def told(estimate: stats.Estimate, unit: str = "") -> str:
    """A value with its unit, interval and n, e.g. ``0.31 points (0.23 to 0.41, n = 32)``."""
    if estimate.low == estimate.high:  # no width says nothing about digits
        value = _text(float(f"{estimate.value:.3g}"))
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


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    number = plain("value", value)
    return f"{number:,}" if isinstance(number, int) else f"{number:.12g}".replace("-", "−")


# ---- drawing ---------------------------------------------------------------------------------------------


def _px(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _scale(axis: Axis, start: float, end: float) -> Callable[[float], float]:
    """Pixels of a value; ValueError when the axis is none."""
    ends = [plain(f"axis {axis.label!r}", v) for v in (axis.low, axis.high)]
    if not (axis.label.strip() and ends[0] < ends[1] and (ends[0] > 0 or not axis.log)):
        raise ValueError(
            f"axis {axis.label!r}: got {axis.low!r} to {axis.high!r}, wanted a label and a range"
        )
    low, high = map(math.log, ends) if axis.log else ends

    def pixels(value: float) -> float:
        place = math.log(value) if axis.log else value
        return start + (place - low) / (high - low) * (end - start)

    return pixels


def _ticks(axis: Axis) -> dict[float, str]:
    if axis.ticks is not None:
        return dict(axis.ticks)
    room = 1e-9 * (axis.high - axis.low)

    def inside(locator: ticker.Locator) -> list[float]:
        found = locator.tick_values(axis.low, axis.high)
        return [float(f"{v:.10g}") for v in found if axis.low - room <= v <= axis.high + room]

    powers = inside(ticker.LogLocator(numticks=8)) if axis.log else []
    if len(powers) < 2:
        return {v: _text(v) for v in inside(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))}
    high = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return {v: "10" + f"{math.log10(v):.0f}".translate(high) if v >= 1e4 else _text(v) for v in powers}


class _Plot:
    """Makes the elements of one panel."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.x = _scale(panel.x, _LEFT, _WIDTH - _RIGHT)
        self.y = _scale(panel.y, _HEIGHT - _BOTTOM, _TOP)

    def place(self, axis: Axis, value: Any) -> float | None:
        """Pixels of a value, None when it is not finite; a logarithmic axis has 0 and less at its low end."""
        if value is None or not math.isfinite(value):
            return None
        value = axis.low if axis.log and value <= 0 else float(value)
        return (self.x if axis is self.panel.x else self.y)(value)

    def frame(self) -> list[Element]:
        """Axes with ticks, labels and title: the same in every state."""
        panel, bottom, right = self.panel, _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        ink = {"fill": "currentColor"}
        faint = ink | {"opacity": "0.8"}
        below = {"x": str(right), "y": str(_HEIGHT - 4), "text-anchor": "end"}
        made: list[Element] = [
            ("text", ink | {"x": "0", "y": "13", "font-weight": "bold"}, panel.title),
            ("text", faint | {"x": "0", "y": "31"}, panel.y.label),
            ("text", faint | below, panel.x.label),
            ("path", _stroke(f"M{_LEFT} {_TOP}V{bottom}H{right}", 1, 0.5), ""),
        ]
        for value, text in _ticks(panel.x).items():
            at = _px(self.x(value))
            made.append(("path", _stroke(f"M{at} {bottom}v4", 1, 0.5), ""))
            made.append(("text", ink | {"x": at, "y": str(bottom + 17), "text-anchor": "middle"}, text))
        for value, text in _ticks(panel.y).items():
            at = self.y(value)
            made.append(("path", _stroke(f"M{_LEFT - 4} {_px(at)}h4", 1, 0.5), ""))
            made.append(("text", ink | {"x": str(_LEFT - 7), "y": _px(at + 4), "text-anchor": "end"}, text))
        return made

    def elements(self, mark: Any) -> list[Element]:
        """What a mark is drawn with; always as many elements of the same kinds for marks of one shape."""
        kinds = {Dots: self._dots, Line: self._line, Estimate: self._estimate}
        kinds |= {Rule: self._rule, Note: self._note}
        if type(mark) not in kinds:
            raise ValueError(f"got {type(mark).__name__}, wanted Dots, Line, Estimate, Rule or Note")
        return kinds[type(mark)](mark)

    def _dots(self, mark: Dots) -> list[Element]:
        colors = [mark.color] * len(mark.x) if isinstance(mark.color, int) else list(mark.color)
        made, out = [], {"below": [], "above": []}
        for x, y, color in zip(mark.x, mark.y, colors, strict=True):
            at = [self.place(axis, v) for axis, v in ((self.panel.x, x), (self.panel.y, y))]
            shown = None not in at and _TOP - 1 <= at[1] <= _HEIGHT - _BOTTOM + 1
            if None not in at and not shown:
                out["above" if at[1] < _TOP else "below"].append(at[0])
            look = {"cx": _px(at[0] or 0), "cy": _px(at[1] or 0) if shown else str(_HEIGHT - _BOTTOM)}
            hidden = {"visibility": "visible" if shown else "hidden"}
            fill = {"r": _px(mark.size), "fill-opacity": "0.75", **_fill(color)}
            made.append(("circle", look | hidden | fill, ""))
        for side, beyond in out.items():  # what the axis does not reach is counted at its end
            top = side == "above"
            end = self.panel.y.high if top else self.panel.y.low
            words = f"{'▴' if top else '▾'} {len(beyond)} {side} {_text(end)}" if beyond else ""
            at = {"x": _px(float(np.mean(beyond)) if beyond else _LEFT), "text-anchor": "middle"}
            at |= {"y": str(_TOP + 12 if top else _HEIGHT - _BOTTOM - 6), "fill": "currentColor"}
            made.append(("text", at, words))
        return made

    def _line(self, mark: Line) -> list[Element]:
        steps, pen = [], "M"
        for x, y in zip(mark.x, mark.y, strict=True):
            at = [self.place(axis, v) for axis, v in ((self.panel.x, x), (self.panel.y, y))]
            if None in at:
                pen = "M"
                continue
            steps.append(f"{pen}{_px(at[0])} {_px(min(max(at[1], _TOP), _HEIGHT - _BOTTOM))}")
            pen = "L"
        return [("path", _stroke("".join(steps) or "M0 0", 1.3, 0.6, mark.color), "")]

    def _estimate(self, mark: Estimate) -> list[Element]:
        if not all(math.isfinite(v) for v in (mark.place, *mark.estimate[:3])):
            raise ValueError(f"estimate: got {mark.estimate[:3]} at {mark.place}, wanted finite numbers")
        axis = self.panel.x if mark.across else self.panel.y
        other = self.panel.y if mark.across else self.panel.x
        value, low, high = (self.place(axis, min(max(v, axis.low), axis.high)) for v in mark.estimate[:3])
        at = self.place(other, mark.place)
        inside = axis.low <= mark.estimate.value <= axis.high
        strong = mark.size >= 4
        width, opacity = (2.6, 1) if strong else (1.5, 0.5)
        ends = (low, at, high, at) if mark.across else (at, low, at, high)
        line = "M{} {}L{} {}".format(*map(_px, ends))
        x, y = (value, at) if mark.across else (at, value)
        dot = {"cx": _px(x), "cy": _px(y), "r": _px(mark.size)}
        dot |= {"visibility": "visible" if inside else "hidden", "opacity": str(opacity), **_fill(mark.color)}
        words = "" if inside else _text(float(f"{mark.estimate.value:.3g}"))
        if words and not mark.across:
            words = f"{'▴' if mark.estimate.value > axis.high else '▾'} {words}"
        # above the words with which dots beyond the same end are counted
        beside = {"x": _px(x), "y": _px(y - 20 if y > _TOP + 34 else y + 26), "text-anchor": "middle"}
        if x > _WIDTH - _RIGHT - 24:
            beside |= {"x": str(_WIDTH - _RIGHT), "text-anchor": "end"}
        label = ("text", beside | {"fill": "currentColor", "opacity": "1" if strong else "0.6"}, words)
        return [("path", _stroke(line, width, opacity, mark.color), ""), ("circle", dot, ""), label]

    def _rule(self, mark: Rule) -> list[Element]:
        at = self.place(self.panel.y, mark.at)
        if at is None:
            raise ValueError(f"rule {mark.label!r}: got {mark.at!r}, wanted a place on its axis")
        line = _stroke(f"M{_LEFT} {_px(at)}H{_WIDTH - _RIGHT}", 1.2, 0.8) | {"stroke-dasharray": "4 3"}
        words = {"x": str(_LEFT + 5), "y": _px(at - 4), "fill": "currentColor"}
        return [("path", line, ""), ("text", words, mark.label)]

    def _note(self, mark: Note) -> list[Element]:
        x, y = self.place(self.panel.x, mark.x), self.place(self.panel.y, mark.y)
        if x is None or y is None:
            raise ValueError(f"note {mark.text!r}: got {mark.x!r}, {mark.y!r}, wanted a place on the axes")
        made, words = [], {"x": _px(x), "y": _px(y + 4), "fill": "currentColor"}
        if mark.color is not None:
            made.append(("circle", {"cx": _px(x + 4), "cy": _px(y), "r": "4", **_fill(mark.color)}, ""))
            words["x"] = _px(x + 12)
        return [*made, ("text", words, mark.text)]


def _color(color: int) -> int:
    if isinstance(color, bool) or not isinstance(color, int | np.integer) or not 0 <= color < len(COLORS):
        raise ValueError(f"color: got {color!r}, wanted a whole number from 0 to {len(COLORS) - 1}")
    return int(color)


def _fill(color: int) -> dict[str, str]:
    return {"fill": COLORS[_color(color)], "class": f"f{color}"}


def _stroke(d: str, width: float, opacity: float, color: int | None = None) -> dict[str, str]:
    look = {"d": d, "fill": "none", "stroke-width": f"{width:g}", "stroke-opacity": f"{opacity:g}"}
    if color is None:
        return look | {"stroke": "currentColor"}
    return look | {"stroke": COLORS[_color(color)], "class": f"s{color}"}


def _tag(element: Element, moves: bool = False) -> str:
    tag, attributes, text = element
    inside = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{' data-m' if moves else ''}{inside}>{escape(text)}</{tag}>"


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
    about = figures.about(name, caption, alt)
    table = figures.columns(data)
    if not controls or not panels:
        raise ValueError(
            f"{name}: got {len(controls)} controls and {len(panels)} panels, wanted one at least"
        )
    for control in controls:
        if not control.label.strip() or not len(control.values):
            raise ValueError(f"{name}: got control {control.label!r} of {len(control.values)} values")
        if control.start is not None and control.start not in list(control.values):
            raise ValueError(f"{name}: got start {control.start!r}, wanted one of {list(control.values)}")
    plots = [_Plot(panel) for panel in panels]
    states = []
    for values in itertools.product(*(c.values for c in controls)):
        try:
            outcome, *marks = state(*values)
            drawn = [
                [e for m in marked for e in plot.elements(m)]
                for plot, marked in zip(plots, marks, strict=True)
            ]
        except ValueError as error:
            raise ValueError(f"{name} at {', '.join(map(_text, values))}: {error}") from None
        states.append((outcome, drawn))
        if [[e[0] for e in one] for one in drawn] != [[e[0] for e in one] for one in states[0][1]]:
            raise ValueError(
                f"{name} at {', '.join(map(_text, values))}: other marks than in the first state"
            )
    record = _record(controls, states)
    faults = record_faults(record)
    if faults:
        raise ValueError(f"{name}: {'; '.join(faults)}")
    start, outcomes = record["start"], record["outcomes"]
    frames = ["".join(map(_tag, plot.frame())) for plot in plots]
    alt = about["alt"]
    about["alt"] = f"{alt} At first: {outcomes[start]}"
    bundle = {
        "text/html": _html(name, alt, record, frames, states[start][1]),
        "image/svg+xml": _picture(record, frames, states[start][1]),
        "text/plain": "\n".join([f"{name}: {alt}", *outcomes]),
        figures.DATA_MIME: table,
    }
    figures.show(bundle, about | {"explore": True})


def _record(controls: Sequence[Control], states: Sequence[tuple[Any, Any]]) -> dict[str, Any]:
    """What the page's script reads: for each element that changes, its attributes in each state."""
    pool: dict[str, int] = {}  # each text once, and its number wherever it is used
    moving = []
    for versions in zip(*([e for panel in drawn for e in panel] for _, drawn in states), strict=True):
        changed = {}
        for attribute in ("text", *versions[0][1]):
            # a colour is told by its class; the attribute is for places without a style sheet
            if attribute in ("fill", "stroke"):
                continue
            values = [v[2] if attribute == "text" else v[1][attribute] for v in versions]
            if len(set(values)) > 1:
                changed[attribute] = [pool.setdefault(v, len(pool)) for v in values]
        moving.append(changed)
    start = 0
    for control in controls:
        first = 0 if control.start is None else list(control.values).index(control.start)
        start = start * len(control.values) + first
    return {
        "controls": [{"label": c.label, "values": c.texts, "slider": c.slider} for c in controls],
        "outcomes": [outcome for outcome, _ in states],
        "start": start,
        "pool": list(pool),
        "marks": moving,
    }


def _settings(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The values of all controls, as texts, in each state."""
    return list(itertools.product(*(c["values"] for c in record["controls"])))


def _svg(
    record: Mapping[str, Any],
    frames: Sequence[str],
    drawn: Sequence[Sequence[Element]],
    looks: Sequence[str],
) -> str:
    """The panels, each with attributes of its own; the script finds what moves by ``data-m``."""
    moves = map(bool, record["marks"])
    marks = ["".join(_tag(element, next(moves)) for element in panel) for panel in drawn]
    same = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12"'
    parts = zip(looks, frames, marks, strict=True)
    return "".join(f"<svg {same} {look}>{frame}{inside}</svg>" for look, frame, inside in parts)


def _picture(record: Mapping[str, Any], frames: Sequence[str], drawn: Sequence[Sequence[Element]]) -> str:
    """The first state as a picture by itself, for a file and for print."""
    chosen = _settings(record)[record["start"]]
    settings = ", ".join(f"{c['label']}: {v}" for c, v in zip(record["controls"], chosen, strict=True))
    size = {"width": len(frames) * (_WIDTH + 20) + 20, "height": _HEIGHT + 56}
    looks = [
        f'x="{20 + k * (_WIDTH + 20)}" y="44" width="{_WIDTH}" height="{_HEIGHT}"' for k in range(len(frames))
    ]
    panels = _svg(record, frames, drawn, looks).replace(" data-m", "")
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        'height="{height}" color="#222222">'.format(**size)
        + '<rect width="100%" height="100%" fill="white"></rect>'
        + '<text x="20" y="26" font-family="sans-serif" font-size="14" fill="currentColor">'
        + f"{escape(settings)}</text>{panels}</svg>"
    )


def _control(name: str, k: int, control: Mapping[str, Any], first: int) -> str:
    """A slider, or a group of buttons, with its label."""
    label, texts, ident = escape(control["label"]), control["values"], f"{name}-control-{k}"
    if len(texts) == 1:
        return f"<p>{label}: {escape(texts[0])}</p>"
    if control["slider"]:
        every = len(texts) <= _NAMED
        named = "".join(
            f"<span>{escape(text)}</span>" for text in (texts if every else (texts[0], texts[-1]))
        )
        return (
            f'<div class="sgd-slider"><label for="{ident}">{label}</label> '
            f'<span class="sgd-value" aria-hidden="true">{escape(texts[first])}</span>'
            f'<input type="range" id="{ident}" data-control="{k}" min="0" max="{len(texts) - 1}" step="1" '
            f'value="{first}" aria-valuetext="{escape(texts[first])}" autocomplete="off">'
            f'<span class="{"sgd-stops" if every else "sgd-ends"}" aria-hidden="true">'
            f"{named}</span></div>"
        )
    buttons = "".join(
        f'<label><input type="radio" name="{ident}" data-control="{k}" value="{i}" autocomplete="off"'
        f"{' checked' if i == first else ''}> {escape(text)}</label>"
        for i, text in enumerate(texts)
    )
    return f"<fieldset><legend>{label}</legend>{buttons}</fieldset>"


def _html(
    name: str, alt: str, record: Mapping[str, Any], frames: Sequence[str], drawn: Sequence[Sequence[Element]]
) -> str:
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
    look = f'width="{_WIDTH}" height="{_HEIGHT}" aria-hidden="true" focusable="false"'
    panels = _svg(record, frames, drawn, [look] * len(frames))
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


def record_faults(record: Any) -> list[str]:
    """What is wrong with what the script is to read; empty when nothing is.

    Args:
        record: as the page carries it.
    """
    try:
        controls, outcomes, pool = (list(record[part]) for part in ("controls", "outcomes", "pool"))
        states = _settings(record)
        marks = [list(numbers) for mark in record["marks"] for numbers in mark.values()]
        start = record["start"]
    except (TypeError, KeyError, AttributeError) as error:
        return [f"explorable data is not whole: {type(error).__name__} {error}"]
    faults = []
    if not states or len(outcomes) != len(states):
        faults.append(f"{len(outcomes)} outcomes for {len(states)} states")
    for control in controls:
        if len(set(control["values"])) < len(control["values"]):
            faults.append(f"control {control['label']!r} has a value twice")
    if not (isinstance(start, int) and 0 <= start < len(states)):
        faults.append(f"it starts in state {start!r} of {len(states)}")
    for outcome in outcomes:
        if not (isinstance(outcome, str) and re.search(r"\d", outcome) and outcome.strip().endswith(".")):
            faults.append(f"outcome {outcome!r}, wanted a sentence with numbers")
    if len(set(map(str, outcomes))) < len(outcomes):
        faults.append("two states have the same outcome: each names its own values")
    if any(len(numbers) != len(states) for numbers in marks):
        faults.append("a mark without a value for each state")
    elif not all(isinstance(n, int) and 0 <= n < len(pool) for numbers in marks for n in numbers):
        faults.append("a mark with a value that is not there")
    if not all(isinstance(text, str) for text in pool):
        faults.append("a mark with a value that is no text")
    elif any(_NO_NUMBER.search(text) for text in [*pool, *map(str, outcomes)]):
        faults.append("a number that is none (nan, inf or None)")
    return faults


def html_faults(html: str) -> list[str]:
    """What is wrong with an explorable figure's HTML; empty when nothing is.

    Args:
        html: as the executed notebook carries it.
    """
    found = _JSON.findall(html)
    try:
        (text,) = found
        record = json.loads(text)
    except ValueError:
        return [f"explorable figure with {len(found)} data scripts, wanted one that is JSON"]
    faults = record_faults(record)
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
