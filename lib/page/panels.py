"""Panels of explorable figures: two axes, and the marks on them as elements of SVG.

Marks of one shape are drawn with as many elements of the same kinds, wherever their values lie: from state to
state their attributes change, and nothing else does.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from matplotlib import ticker

from lib import stats
from lib.page.text import plain

# As seaborn's palette for the colour-blind, darker where white would swallow it; book.css has these numbers
# for both themes, and what stands here is for places without it.
COLORS = ("#0173b2", "#c97f00", "#028a66", "#d55e00", "#a95aa1", "#2f97cf", "#767676", "#222222")
WIDTH, HEIGHT = 340, 272  # of a panel [px]: about what a telephone has
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 328, 44, 232  # where the axes stand in it [px]

Numbers = Sequence[float | None] | np.ndarray
Element = dict[str, str]  # attributes, and its tag and text by these names


# ---- elements --------------------------------------------------------------------------------------------


def shown(value: float | str) -> str:
    """A number or text as figures show it."""
    if isinstance(value, str):
        return value
    number = plain("value", value)
    return f"{number:,}" if isinstance(number, int) else f"{number:.12g}".replace("-", "−")


def tag(element: Element, moves: bool = False) -> str:
    """An element as SVG; the script finds what moves by ``data-m``."""
    looks = "".join(f' {name}="{escape(v)}"' for name, v in element.items() if name not in ("tag", "text"))
    return f"<{element['tag']}{' data-m' * moves}{looks}>{escape(element['text'])}</{element['tag']}>"


def _px(place: float) -> str:
    return f"{place:.1f}".removesuffix(".0")


def _words(x: float, y: float, text: str, anchor: str = "start", **look: str) -> Element:
    place = {"tag": "text", "text": text, "x": _px(x), "y": _px(y), "text-anchor": anchor}
    return place | {"fill": "currentColor"} | look


def _path(d: str, width: float, opacity: float, color: int | None = None) -> Element:
    look = {"tag": "path", "text": "", "d": d, "fill": "none"}
    look |= {"stroke-width": f"{width:g}", "stroke-opacity": f"{opacity:g}"}
    return look | ({"stroke": "currentColor"} if color is None else _colored("stroke", color))


def _dot(x: float, y: float, size: float, color: int, inside: bool = True, opacity: float = 1) -> Element:
    look = {"tag": "circle", "text": "", "cx": _px(x), "cy": _px(y), "r": _px(size)}
    look |= {"visibility": "visible" if inside else "hidden", "fill-opacity": f"{opacity:g}"}
    return look | _colored("fill", color)


def _colored(what: str, color: int) -> dict[str, str]:
    if isinstance(color, bool) or not isinstance(color, int | np.integer) or not 0 <= color < len(COLORS):
        raise ValueError(f"color: got {color!r}, wanted a whole number from 0 to {len(COLORS) - 1}")
    return {what: COLORS[color], "class": f"{what[0]}{color}"}


# ---- axes ------------------------------------------------------------------------------------------------


class Axis(NamedTuple):
    """One axis: its label with the unit, its ends, and its ticks (text by place; chosen if None)."""

    label: str
    low: float
    high: float
    log: bool = False
    ticks: Mapping[float, str] | None = None

    def check(self) -> None:
        """ValueError when it is no axis."""
        low, high = (plain(f"axis {self.label!r}", end) for end in (self.low, self.high))
        if not (self.label.strip() and low < high and (low > 0 or not self.log)):
            got = f"axis {self.label!r}: got {self.low!r} to {self.high!r}"
            raise ValueError(f"{got}, wanted a label and a range")

    def part(self, value: float | None) -> float | None:
        """Where a value lies, 0 to 1; None when it is not finite."""
        if value is None or not math.isfinite(value):
            return None
        value = self.low if self.log and value <= 0 else value  # which it has no place for
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low)

    def named(self) -> Mapping[float, str]:
        """Its ticks."""
        if self.ticks is not None:
            return self.ticks
        room = 1e-9 * (self.high - self.low)

        def inside(locator: ticker.Locator) -> list[float]:
            found = locator.tick_values(self.low, self.high)
            return [float(f"{v:.10g}") for v in found if self.low - room <= v <= self.high + room]

        powers = inside(ticker.LogLocator(numticks=8)) if self.log else []
        if len(powers) < 2:
            return {v: shown(v) for v in inside(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))}
        high = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
        return {v: "10" + f"{math.log10(v):.0f}".translate(high) if v >= 1e4 else shown(v) for v in powers}


class Panel(NamedTuple):
    """A drawing with two axes, the same in all states."""

    title: str
    x: Axis
    y: Axis

    def across(self, value: float | None) -> float | None:
        """Pixels of a value of x from the left; None when it is not finite."""
        part = self.x.part(value)
        return None if part is None else _LEFT + part * (_RIGHT - _LEFT)

    def down(self, value: float | None) -> float | None:
        """Pixels of a value of y from the top; None when it is not finite."""
        part = self.y.part(value)
        return None if part is None else _BOTTOM + part * (_TOP - _BOTTOM)

    def frame(self) -> list[Element]:
        """Axes with ticks, labels and title; ValueError when one is none."""
        self.x.check()
        self.y.check()
        made = [
            _words(0, 13, self.title, **{"font-weight": "bold"}),
            _words(0, 31, self.y.label, opacity="0.8"),
            _words(_RIGHT, HEIGHT - 4, self.x.label, "end", opacity="0.8"),
            _path(f"M{_LEFT} {_TOP}V{_BOTTOM}H{_RIGHT}", 1, 0.5),
        ]
        for value, text in self.x.named().items():
            x = self.across(value)
            made += [_path(f"M{_px(x)} {_BOTTOM}v4", 1, 0.5), _words(x, _BOTTOM + 17, text, "middle")]
        for value, text in self.y.named().items():
            y = self.down(value)
            made += [_path(f"M{_LEFT - 4} {_px(y)}h4", 1, 0.5), _words(_LEFT - 7, y + 4, text, "end")]
        return made

    def drawn(self, marks: Iterable[Any]) -> list[Element]:
        """What marks are drawn with."""
        found = []
        for mark in marks:
            if not isinstance(mark, Dots | Line | Estimate | Rule | Note):
                raise ValueError(f"got {type(mark).__name__}, wanted Dots, Line, Estimate, Rule or Note")
            found += mark.drawn(self)
        return found


# ---- marks -----------------------------------------------------------------------------------------------


class Dots(NamedTuple):
    """Single networks: places, a colour for all or one for each, radius [px]."""

    x: Numbers
    y: Numbers
    color: int | Sequence[int] = 0
    size: float = 3.6

    def drawn(self, panel: Panel) -> list[Element]:
        """A dot for each, and at both ends of y how many lie beyond."""
        colors = [self.color] * len(self.x) if isinstance(self.color, int) else self.color
        made, below, above = [], [], []
        for x, y, color in zip(map(panel.across, self.x), map(panel.down, self.y), colors, strict=True):
            known = x is not None and y is not None
            inside = known and _TOP - 1 <= y <= _BOTTOM + 1
            if known and not inside:
                (above if y < _TOP else below).append(x)
            made.append(_dot(x or 0, y if inside else _BOTTOM, self.size, color, inside, 0.75))
        ends = (
            ("▾ {} below {}", _BOTTOM - 6, panel.y.low, below),
            ("▴ {} above {}", _TOP + 12, panel.y.high, above),
        )
        for words, y, end, beyond in ends:
            said = words.format(len(beyond), shown(end)) if beyond else ""
            made.append(_words(float(np.mean(beyond or _LEFT)), y, said, "middle"))
        return made


class Line(NamedTuple):
    """A thin line through points, with a gap where one is not finite.

    What lies beyond the axis of y is drawn at its end.
    """

    x: Numbers
    y: Numbers
    color: int = 0

    def drawn(self, panel: Panel) -> list[Element]:
        """One path."""
        steps, pen = "", "M"
        for x, y in zip(map(panel.across, self.x), map(panel.down, self.y), strict=True):
            gap = x is None or y is None
            steps += "" if gap else f"{pen}{_px(x)} {_px(min(max(y, _TOP), _BOTTOM))}"
            pen = "M" if gap else "L"
        return [_path(steps or "M0 0", 1.3, 0.6, self.color)]


class Estimate(NamedTuple):
    """A value with its interval at a place: upright, or ``across``, with the value along x.

    ``size`` is the radius of its dot [px]: 4 for what matters, less for what is around it, 0 for none.
    """

    place: float
    estimate: stats.Estimate
    color: int = 0
    across: bool = False
    size: float = 4

    def drawn(self, panel: Panel) -> list[Element]:
        """Interval and dot, both within the axes, and the value in words where it lies beyond."""
        value, *interval = self.estimate[:3]
        if not all(map(math.isfinite, (self.place, value, *interval))):
            raise ValueError(f"estimate: got {self.estimate[:3]} at {self.place}, wanted finite numbers")
        axis = panel.x if self.across else panel.y
        held = [min(max(v, axis.low), axis.high) for v in (value, *interval)]
        spots = [(v, self.place) if self.across else (self.place, v) for v in held]
        (x, y), low, high = [(panel.across(x), panel.down(y)) for x, y in spots]
        inside, strong = axis.low <= value <= axis.high, self.size >= 4
        said = "" if inside else shown(float(f"{value:.3g}"))
        if said and not self.across:
            said = f"{'▴' if value > axis.high else '▾'} {said}"
        beside = (_RIGHT, "end") if x > _RIGHT - 24 else (x, "middle")
        # above the words with which dots beyond the same end are counted
        height = y - 20 if y > _TOP + 34 else y + 26
        line = "M{} {}L{} {}".format(*map(_px, low + high))
        return [
            _path(line, 2.6 if strong else 1.5, 1 if strong else 0.5, self.color),
            _dot(x, y, self.size, self.color, inside, 1 if strong else 0.5),
            _words(beside[0], height, said, beside[1], opacity="1" if strong else "0.6"),
        ]


class Rule(NamedTuple):
    """A named level of y that outcomes are compared with."""

    at: float
    label: str

    def drawn(self, panel: Panel) -> list[Element]:
        """A dashed line and its name."""
        y = panel.down(self.at)
        if y is None:
            raise ValueError(f"rule {self.label!r}: got {self.at!r}, wanted a place on its axis")
        line = _path(f"M{_LEFT} {_px(y)}H{_RIGHT}", 1.2, 0.8) | {"stroke-dasharray": "4 3"}
        return [line, _words(_LEFT + 5, y - 4, self.label)]


class Note(NamedTuple):
    """A text at a place, after a dot of a colour if one is given."""

    x: float
    y: float
    text: str
    color: int | None = None

    def drawn(self, panel: Panel) -> list[Element]:
        """The text, and the dot."""
        x, y = panel.across(self.x), panel.down(self.y)
        if x is None or y is None:
            raise ValueError(f"note {self.text!r}: got {self.x!r}, {self.y!r}, wanted a place on the axes")
        if self.color is None:
            return [_words(x, y + 4, self.text)]
        return [_dot(x + 4, y, 4, self.color), _words(x + 12, y + 4, self.text)]
