"""Figures of the book: arrays and axes in, axes out. Nothing is computed here but the drawing."""

from collections.abc import Mapping, Sequence

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = sns.color_palette("colorblind")
INK, FAINT = "#222222", "#8a8a8a"


def figure(
    width: float = 7.2, height: float = 3.6, columns: int = 1, rows: int = 1, **options
) -> tuple[Figure, object]:
    """A figure in the book's style, and its axes.

    Args:
        width: Width [inches].
        height: Height [inches].
        columns: Number of axes side by side.
        rows: Number of axes one above the other.
        **options: As for ``plt.subplots``.
    """
    sns.set_theme(
        context="notebook",
        style="ticks",
        palette=PALETTE,
        rc={"axes.spines.right": False, "axes.spines.top": False},
    )
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def distributions(
    ax: Axes, samples: Mapping[str, np.ndarray], published: Mapping[str, tuple[float, float]]
) -> Axes:
    """Histograms of two or more samples, each named at its peak, and above them published means with one sd.

    Args:
        ax: Where to draw.
        samples: Values of each sample, by name.
        published: Mean and standard deviation, by the same names.
    """
    everything = np.concatenate(list(samples.values()))
    edges = np.linspace(everything.min(), everything.max(), 41)
    top = 0.0
    for color, values in zip(PALETTE, samples.values(), strict=False):
        heights, *_ = ax.hist(values, edges, density=True, histtype="stepfilled", color=color, alpha=0.3)
        ax.hist(values, edges, density=True, histtype="step", color=color)
        top = max(top, heights.max())
    for row, (color, (name, (center, sd))) in enumerate(zip(PALETTE, published.items(), strict=False)):
        y = top * (1.12 + 0.14 * row)
        ax.errorbar(center, y, xerr=sd, fmt="o", color=color, capsize=4)
        ax.annotate(
            f"{name}: published mean ± sd",
            (center + sd, y),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=10,
        )
        values = samples[name]
        ax.errorbar(
            values.mean(), -top * (0.07 + 0.12 * row), xerr=values.std(), fmt="s", color=color, capsize=4
        )
        ax.annotate(
            "this run",
            (values.mean() + values.std(), -top * (0.07 + 0.12 * row)),
            (8, 0),
            textcoords="offset points",
            va="center",
            color=color,
            fontsize=10,
        )
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.set_ylabel("density of networks")
    return ax


def forest(
    ax: Axes,
    rows: Sequence[tuple[str, float, float, float]],
    zero: str = "",
    colors: Sequence | None = None,
    limits: tuple[float, float] | None = None,
) -> Axes:
    """One row for each estimate: label, point, interval, the first on top, and a line at zero.

    Args:
        ax: Where to draw.
        rows: Label, value, lower and upper end.
        zero: What the line at zero means.
        colors: One for each row; default by whether the interval is above, below or across zero.
        limits: Ends of the axis; a value beyond them is written at that end.
    """
    if limits is not None:
        ax.set_xlim(limits)
    for y, (_, value, low, high) in enumerate(rows):
        color = (
            colors[y] if colors is not None else PALETTE[0] if low > 0 else PALETTE[1] if high < 0 else FAINT
        )
        if limits is not None and not limits[0] <= value <= limits[1]:
            left = value < limits[0]
            text = f"\u25c2 {value:.3g}" if left else f"{value:.3g} \u25b8"
            ax.text(
                limits[0 if left else 1], y, text, color=color, va="center", ha="left" if left else "right"
            )
            continue
        ax.plot([low, high], [y, y], color=color, linewidth=2, solid_capstyle="butt")
        ax.plot(value, y, "o", color=color)
    ax.axvline(0, color=INK, linewidth=0.8)
    if zero:
        ax.text(0, -0.7, f"  {zero}", fontsize=10, color=INK, va="center", clip_on=True)
    ax.set_yticks(range(len(rows)), [row[0] for row in rows])
    ax.set_ylim(len(rows) - 0.5, -1.1)  # a row's room on top for what a line means
    ax.tick_params(axis="y", length=0)
    return ax


def lines(
    ax: Axes, x: Sequence, series: Mapping[str, Sequence[tuple[float, float, float]]], named: bool = True
) -> Axes:
    """Lines of estimates with their intervals, each named at its left end.

    Args:
        ax: Where to draw.
        x: Positions, shared by all.
        series: By name, (value, low, high) at each position.
        named: Whether to write the names; one of several panels will do.
    """
    positions = np.arange(len(x))
    top = max(series, key=lambda name: series[name][0][0])
    for color, (name, estimates) in zip(PALETTE, series.items(), strict=False):
        value, low, high = np.array(estimates).T
        ax.errorbar(positions, value, yerr=[value - low, high - value], fmt="o-", color=color, capsize=3)
        if named:
            # clear of the line's first piece, over which it stands
            place, side = (max(high[:2]), (-4, 5)) if name == top else (min(low[:2]), (-4, -15))
            ax.annotate(name, (0, place), side, textcoords="offset points", color=color)
    ax.set_xticks(positions, x)
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
    ax.figure.draw_without_rendering()  # the layout decides where a height lies
    points = 72 / ax.figure.dpi
    free = -np.inf  # in points, above the label below
    for value, text, color in sorted(labels, key=lambda label: label[0]):
        place = ax.transData.transform((x, value))[1] * points
        free = max(place, free + 1.25 * size)
        shift = {"xytext": (5, free - place), "textcoords": "offset points", "annotation_clip": False}
        ax.annotate(text, (x, value), va="center", color=color, fontsize=size, **shift)
    return ax


def shares(ax: Axes, rows: Mapping[str, tuple[float, float]], names: tuple[str, str]) -> Axes:
    """Stacked horizontal bars of two parts, the parts named at the first bar.

    Args:
        ax: Where to draw.
        rows: By name, the two parts.
        names: What the two parts are.
    """
    for y, (first, second) in enumerate(rows.values()):
        ax.barh(y, first, color=PALETTE[0], height=0.55)
        ax.barh(y, second, left=first, color=PALETTE[1], height=0.55)
        if y == 0:
            ax.annotate(names[0], (0, y - 0.32), va="bottom", color=PALETTE[0], fontsize=11)
            place = {"va": "center", "textcoords": "offset points"}
            ax.annotate(names[1], (first + second, y), (6, 0), color=PALETTE[1], fontsize=11, **place)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.5, -0.9)
    ax.tick_params(axis="y", length=0)
    return ax


def parts(
    ax: Axes,
    bars: Mapping[str, Mapping[str, float]],
    colors: Mapping[str, object],
    upright: bool = False,
) -> Axes:
    """Stacked bars of shares in %, the first on top or leftmost; shares of 12 % and more are written in.

    Args:
        ax: Where to draw.
        bars: By the name of each bar, its parts by name, from 0 to 1.
        colors: Of each part, in the order of stacking.
        upright: Whether the bars stand.
    """
    draw, names = (ax.bar, ax.set_xticks) if upright else (ax.barh, ax.set_yticks)
    for place, shares in enumerate(bars.values()):
        done = 0.0
        for part, color in colors.items():
            share = 100 * shares.get(part, 0.0)
            if not share:
                continue
            draw(place, share, 0.72, done, color=color, edgecolor="white", linewidth=0.6)
            if share >= 12:
                middle = (place, done + share / 2) if upright else (done + share / 2, place)
                light = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] > 0.55
                ink = {"color": INK if light else "white", "fontsize": 9}
                ax.text(*middle, f"{share:.0f}", ha="center", va="center", **ink)
            done += share
    names(range(len(bars)), list(bars))
    if upright:
        ax.set(xlim=(-0.6, len(bars) - 0.4), ylim=(0, 100), ylabel="networks [%]")
    else:
        ax.set(ylim=(len(bars) - 0.4, -0.6), xlim=(0, 100), xlabel="networks [%]")
    ax.tick_params(axis="x" if upright else "y", length=0)
    return ax
