"""Figures of the book: arrays and axes in, axes out. Nothing is computed here but the drawing."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.optimize import isotonic_regression

from lib import stats
from lib.page.figures import FAINT, INK
from lib.stats import Estimate

PALETTE = sns.color_palette("colorblind")
ON_COLOR = "#1f1f1f"  # words on a colour: dark in every theme of a page


def figure(
    width: float = 7.2, height: float = 3.6, columns: int = 1, rows: int = 1, **options
) -> tuple[Figure, object]:
    """A figure in the book's style, of a width and height in inches, and its rows and columns of axes.

    Options are those of ``Figure.subplots``.
    """
    rc = {"axes.spines.right": False, "axes.spines.top": False}
    sns.set_theme(context="notebook", style="ticks", palette=PALETTE, rc=rc)
    # not of pyplot: a notebook would show it at the end of the cell that draws it, unfinished
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def distributions(
    ax: Axes, samples: Mapping[str, np.ndarray], published: Mapping[str, tuple[float, float]]
) -> Axes:
    """Histograms of two or more samples, each named at its peak, and above them published means with one sd.

    Args:
        ax: Where to draw.
        samples: Values of each sample, by name.
        published: Mean and standard deviation, by the same names.
    """
    edges = np.histogram_bin_edges(np.concatenate(list(samples.values())), 40)
    top = max(np.histogram(values, edges, density=True)[0].max() for values in samples.values())
    for row, (color, (name, values)) in enumerate(zip(PALETTE, samples.items(), strict=False)):
        ax.hist(values, edges, density=True, histtype="stepfilled", facecolor=(*color, 0.3), edgecolor=color)
        for y, mark, (center, sd), text in (
            (top * (1.12 + 0.14 * row), "o", published[name], f"{name}: published mean ± sd"),
            (-top * (0.07 + 0.12 * row), "s", (values.mean(), values.std()), "this run"),
        ):
            ax.errorbar(center, y, xerr=sd, fmt=mark, color=color, capsize=4)
            _beside(ax, text, (center + sd, y), (8, 0), color, fontsize=10)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(yticks=[], ylabel="density of networks")
    ax.spines["left"].set_visible(False)
    return ax


def forest(
    ax: Axes,
    rows: Mapping[str, Estimate] | Sequence[tuple[str, float, float, float]],
    zero: str = "",
    colors: Sequence | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """One row for each estimate: label, point, interval, the first on top, and a line at zero.

    Args:
        ax: Where to draw.
        rows: Estimates by label, or label, value, lower and upper end of each.
        zero: What the line at zero means.
        colors: One for each row; default by whether the interval is above, below or across zero.
        limits: Ends of the axis; a value beyond them is written at that end.
    """
    if isinstance(rows, Mapping):
        rows = [(label, *estimate[:3]) for label, estimate in rows.items()]
    inside = limits or (-np.inf, np.inf)
    for y, (_, value, low, high) in enumerate(rows):
        side = PALETTE[0] if low > 0 else PALETTE[1] if high < 0 else FAINT
        color = side if colors is None else colors[y]
        if value < inside[0]:
            ax.text(
                inside[0], y, f"\u25c2 {value:.3g}".replace("-", "−"), color=color, va="center", ha="left"
            )
        elif value > inside[1]:
            ax.text(inside[1], y, f"{value:.3g} \u25b8", color=color, va="center", ha="right")
        else:
            ax.plot([low, high], [y, y], color=color, linewidth=2, solid_capstyle="butt")
            ax.plot(value, y, "o", color=color)
    ax.axvline(0, color=INK, linewidth=0.8)
    if zero:
        ax.text(0, -0.7, f"  {zero}", fontsize=10, color=INK, va="center", clip_on=True)
    if limits is not None:
        ax.set_xlim(limits)
    return _rows(ax, [row[0] for row in rows], 1.1)  # a row's room on top for what a line means


def lines(ax: Axes, x: Sequence, series: Mapping[str, Sequence[tuple]]) -> Axes:
    """Lines of estimates with their intervals, each named at its left end.

    Args:
        ax: Where to draw.
        x: Positions, shared by all.
        series: By name, an estimate or (value, low, high) at each position.
    """
    top = max(series, key=lambda name: series[name][0][0])
    for color, (name, estimates) in zip(PALETTE, series.items(), strict=False):
        value, low, high = np.array([estimate[:3] for estimate in estimates]).T
        ax.errorbar(range(len(x)), value, [value - low, high - value], fmt="o-", color=color, capsize=3)
        # clear of the line's first piece, over which it stands
        place, side = (max(high[:2]), (-4, 5)) if name == top else (min(low[:2]), (-4, -15))
        _beside(ax, name, (0, place), side, color, va="baseline", fontsize=9)
    ax.set_xticks(range(len(x)), x)
    ax.set_xlim(-0.3, len(x) - 0.7)
    ax.margins(y=0.2)
    return ax


def ends(ax: Axes, x: float, labels: Sequence[tuple[float, str, object]], size: float = 10) -> Axes:
    """Names at the right ends of lines, moved apart where they would cover each other.

    Args:
        ax: Where to draw; its limits and scales are final.
        x: Where the lines end.
        labels: Height of the end, text and colour of each line.
        size: Of the letters [points].
    """
    layout = ax.figure.get_layout_engine()  # it decides where a height lies
    if layout is None:
        ax.figure.draw_without_rendering()
    else:
        layout.execute(ax.figure)
    points = 72 / ax.figure.dpi
    labels = sorted((label for label in labels if np.isfinite(label[0])), key=lambda label: label[0])
    if labels:
        places = np.array([ax.transData.transform((x, value))[1] * points for value, *_ in labels])
        steps = 1.25 * size * np.arange(len(labels))
        # as near to their places as can be, and clear of the foot of the axes
        free = np.maximum(isotonic_regression(places - steps).x, ax.bbox.y0 * points + 0.7 * size) + steps
        for (value, text, color), up in zip(labels, free - places, strict=True):
            _beside(ax, text, (x, value), (5, up), color, fontsize=size, annotation_clip=False)
    return ax


def curves(
    axes: Axes | Sequence[Axes],
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[Estimate]]]],
    looks: Mapping[str, Mapping],
    **axis,
) -> pd.DataFrame:
    """Lines of estimates with their intervals as bands, each named at its right end, in one panel or more.

    Args:
        axes: Where to draw, one for each panel.
        panels: The lines of each panel by its title: by name, their places along x and the estimates there.
        looks: Color and style of each line by its name, as for ``Axes.plot``.
        **axis: Scales, labels and limits of all panels, as for ``Axes.set``. On a logarithmic axis of y a
            value of 0 or less is drawn at 1e-9.

    Returns:
        What was drawn, a row for each estimate: panel, line, at, mean, low, high.
    """
    least, rows, named = (1e-9 if axis.get("yscale") == "log" else -np.inf), [], []
    for ax, (title, lines) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        tips = []
        for name, (x, found) in lines.items():
            mean, low, high = np.maximum(np.array([estimate[:3] for estimate in found], float).T, least)
            ax.plot(x, mean, **looks[name])
            known = high - low < stats.UNKNOWN
            ax.fill_between(x, low, high, known, color=looks[name]["color"], alpha=0.2, linewidth=0)
            tips.append((mean[-1], name, looks[name]["color"]))
            rows += [(title, name, at, *estimate[:3]) for at, estimate in zip(x, found, strict=True)]
        ax.set(**axis)
        ax.set_title(title, fontsize=11)
        named.append((ax, max(max(x) for x, _ in lines.values()), tips))
    for ax, right, tips in named:  # when all limits are final, which panels may share
        ends(ax, right, tips, size=9)
    return pd.DataFrame(rows, columns=["panel", "line", "at", "mean", "low", "high"])


def read(table: pd.DataFrame, *places: float) -> str:
    """What `curves` returned, in words: the means of each line at some places of x, else at its two ends."""
    told = []
    for names, rows in table.groupby(["panel", "line"], sort=False):
        some = rows[rows["at"].isin(places)] if places else rows.iloc[[0, -1]]
        told.append(f"{', '.join(filter(None, names))}: {' / '.join(f'{v:.2g}' for v in some['mean'])}")
    return "; ".join(told)


def shares(ax: Axes, rows: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> Axes:
    """Stacked horizontal bars of two parts, by the name of each row; the parts are named at the first bar."""
    first, second = np.array(list(rows.values())).T
    ax.barh(range(len(rows)), first, 0.55, color=PALETTE[0])
    ax.barh(range(len(rows)), second, 0.55, first, color=PALETTE[1])
    _beside(ax, names[0], (0, -0.32), (0, 0), PALETTE[0], fontsize=11, va="bottom")
    _beside(ax, names[1], (first[0] + second[0], 0), (6, 0), PALETTE[1], fontsize=11)
    return _rows(ax, list(rows), 0.9)


def parts(ax: Axes, bars: Mapping[str, Mapping[str, float]], colors: Mapping, upright: bool = False) -> Axes:
    """Stacked bars of shares in %, the first on top or leftmost; shares of 12 % and more are written in.

    Args:
        ax: Where to draw.
        bars: By the name of each bar, its parts by name, from 0 to 1.
        colors: Of each part, in the order of stacking.
        upright: Whether the bars stand.
    """
    places, done = range(len(bars)), np.zeros(len(bars))
    for part, color in colors.items():
        share = 100 * np.array([bar.get(part, 0.0) for bar in bars.values()])
        draw = ax.bar if upright else ax.barh
        drawn = draw(places, share, 0.72, done, color=color, edgecolor="white", linewidth=0.6)
        light = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 0.55
        ink = {"color": ON_COLOR if light else "white", "fontsize": 9, "label_type": "center"}
        ax.bar_label(drawn, [f"{s:.0f}" if s >= 12 else "" for s in share], **ink)
        done += share
    if not upright:
        ax.set(xlim=(0, 100), xlabel="networks [%]")
        return _rows(ax, list(bars), 0.6, 0.6)
    ax.set_xticks(places, list(bars))
    ax.set(xlim=(-0.6, len(bars) - 0.4), ylim=(0, 100), ylabel="networks [%]")
    ax.tick_params(axis="x", length=0)
    return ax


def counts(
    ax: Axes, grid: np.ndarray, rows: Sequence[str], columns: Sequence[str], state: np.ndarray
) -> None:
    """A table of counts as coloured squares, the darker the greater the share of its row.

    Args:
        ax: Where to draw.
        grid: Counts (R, C).
        rows: Names, the first on top.
        columns: Names.
        state: Of each square (R, C): 0 right, 1 wrong, 2 neither.
    """
    share = grid / np.maximum(grid.sum(axis=1, keepdims=True), 1)
    colors = np.array([PALETTE[0], PALETTE[1], PALETTE[7]])[state]
    ax.imshow(1 - share[..., None] * (1 - colors), aspect="auto")
    for (y, x), n in np.ndenumerate(grid):
        if n:
            dark = share[y, x] > 0.6 and state[y, x] == 0
            ax.text(x, y, str(n), ha="center", va="center", color="white" if dark else ON_COLOR)
    ax.set_xticks(range(len(columns)), [name.replace(" ", "\n") for name in columns])
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(length=0)


def named(ax: Axes, colors: Mapping, x: float = 1.02, y: float = 0.96, step: float = 0.085) -> None:
    """Names after marks in their colours, one below the other, at a place of the axes.

    Args:
        ax: Where to draw.
        colors: By name.
        x: Where the marks stand, 0 left to 1 right; above 1 beside the axes.
        y: Height of the first one, 0 to 1.
        step: How far the next one stands below.
    """
    for k, (name, color) in enumerate(colors.items()):
        place = {"xy": (x, y - k * step), "xycoords": "axes fraction", "textcoords": "offset points"}
        ax.annotate("■", xytext=(0, 0), color=color, **place)
        ax.annotate(name, xytext=(14, 0), fontsize=10, **place)


def points(ax: Axes, x: Sequence[float], found: ArrayLike, **look) -> None:
    """Points with their intervals, joined by a line.

    Args:
        ax: Where to draw.
        x: Where they stand (N,).
        found: Value, lower and upper end of each (N, 3).
        **look: As for ``Axes.errorbar``.
    """
    value, low, high = np.asarray(found, float).T
    gaps = np.clip([value - low, high - value], 0, None)  # rounding may turn an end round
    ax.errorbar(x, value, gaps, **{"fmt": "o-", "capsize": 2, "markersize": 4} | look)


def _beside(ax: Axes, text: str, place: tuple, shift: tuple[float, float], color: object, **options) -> None:
    """Write a text at a place in data, shifted by points, its middle at that height."""
    options = {"textcoords": "offset points", "va": "center", "color": color, **options}
    ax.annotate(text, place, shift, **options)


def _rows(ax: Axes, names: Sequence[str], top: float, bottom: float = 0.5) -> Axes:
    """Name the rows 0, 1, ..., the first on top, with this much room above the first and below the last."""
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 1 + bottom, -top)
    ax.tick_params(axis="y", length=0)
    return ax
