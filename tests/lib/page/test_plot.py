"""Figures draw what they are given: no value lost, moved or unnamed."""

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import same_color

from lib.page import plot
from lib.stats import Estimate


@pytest.fixture
def ax():
    figure, axes = plot.figure()
    yield axes
    figure.draw_without_rendering()  # what cannot be laid out fails here
    plt.close(figure)


def texts(ax):
    return [text.get_text().strip() for text in ax.texts]


def bars(container):
    """Points of an errorbar and the ends of its bars: (x, y), (N, 2, 2)."""
    data, _, (segments,) = container
    return data.get_xydata(), np.array(segments.get_segments())


# figure


def test_figure_has_the_size_and_the_axes_asked_for():
    figure, axes = plot.figure(5.0, 2.0, columns=3, sharey=True)
    assert figure.get_size_inches().tolist() == [5.0, 2.0]
    assert len(axes) == len(figure.axes) == 3
    axes[0].set_ylim(0, 7)
    assert axes[2].get_ylim() == (0, 7)
    assert not axes[0].spines["top"].get_visible()
    plt.close(figure)
    figure, axes = plot.figure(rows=2, sharex=True)
    assert len(axes) == 2
    assert axes[0].get_position().y0 > axes[1].get_position().y0
    plt.close(figure)


def test_figure_is_not_one_that_a_notebook_shows_before_it_is_finished():
    before = plt.get_fignums()
    plot.figure()
    assert plt.get_fignums() == before


# named, points


def test_names_stand_below_each_other_after_marks_in_their_colours(ax):
    plot.named(ax, {"up": "red", "down": "blue"}, 0.5, 0.9, 0.1)
    marks, names = ax.texts[::2], ax.texts[1::2]
    assert [name.get_text() for name in names] == ["up", "down"]
    assert all(
        same_color(mark.get_color(), color) for mark, color in zip(marks, ("red", "blue"), strict=True)
    )
    assert (
        [name.xy for name in names] == [mark.xy for mark in marks] == [(0.5, 0.9), (0.5, pytest.approx(0.8))]
    )


def test_points_have_their_intervals_even_where_rounding_turned_an_end_round(ax):
    plot.points(ax, [1, 2], [[3, 2, 5], [0.3, 0.1 + 0.2, 0.4]], color="red")
    places, ends = bars(ax.containers[0])
    assert places.tolist() == [[1, 3], [2, 0.3]]
    assert ends[:, :, 1].tolist() == [[2, 5], [0.3, pytest.approx(0.4)]]


# distributions

SAMPLES = {
    "one": np.random.default_rng(0).normal(2, 1, 300),
    "two": np.random.default_rng(1).normal(3, 2, 200),
}
PUBLISHED = {"one": (2.5, 0.5), "two": (3.5, 1.5)}


def test_distributions_are_densities_of_the_samples(ax):
    assert plot.distributions(ax, SAMPLES, PUBLISHED) is ax
    low, high = (f(np.concatenate(list(SAMPLES.values()))) for f in (np.min, np.max))
    assert len(ax.patches) == 2
    for patch, color, values in zip(ax.patches, plot.PALETTE, SAMPLES.values(), strict=False):
        heights, edges = np.histogram(values, np.linspace(low, high, 41), density=True)
        xy = patch.get_xy()
        assert (xy[:, 0].min(), xy[:, 0].max()) == pytest.approx((low, high))
        for left, right, height in zip(edges, edges[1:], heights, strict=False):
            on_top = xy[(xy[:, 0] >= left - 1e-9) & (xy[:, 0] <= right + 1e-9), 1]
            assert np.isclose(on_top, height).any()
        assert same_color(patch.get_facecolor(), (*color, 0.3)) and same_color(patch.get_edgecolor(), color)


def test_distributions_show_published_and_measured_means_with_one_sd(ax):
    plot.distributions(ax, SAMPLES, PUBLISHED)
    top = max(patch.get_xy()[:, 1].max() for patch in ax.patches)
    wanted = [
        row
        for name, values in SAMPLES.items()
        for row in ((*PUBLISHED[name], 1), (values.mean(), values.std(), -1))
    ]
    for container, (center, sd, side) in zip(ax.containers, wanted, strict=True):
        ((x, y),), (ends,) = bars(container)
        assert x == pytest.approx(center)
        assert ends[:, 0] == pytest.approx([center - sd, center + sd])
        assert y > top if side > 0 else y < 0, "published above the histograms, ours below"
    heights = [bars(container)[0][0, 1] for container in ax.containers]
    assert len(set(heights)) == 4
    colors = [container[0].get_color() for container in ax.containers]
    assert colors == [plot.PALETTE[0]] * 2 + [plot.PALETTE[1]] * 2
    assert texts(ax) == [
        "one: published mean ± sd", "this run", "two: published mean ± sd", "this run",
    ]  # fmt: skip
    assert ax.get_ylabel() == "density of networks"


# forest

ROWS = [("above", 2.0, 1.0, 3.5), ("across", 0.5, -1.0, 2.0), ("below", -2.0, -3.0, -1.5)]


@pytest.mark.parametrize("rows", [ROWS, {name: Estimate(*ends, 9, "t") for name, *ends in ROWS}])
def test_forest_draws_each_estimate_in_its_row(ax, rows):
    assert plot.forest(ax, rows, zero="no difference") is ax
    *drawn, zero = ax.lines
    for y, (_, value, low, high) in enumerate(ROWS):
        interval, point = drawn[2 * y : 2 * y + 2]
        assert interval.get_xydata().tolist() == [[low, y], [high, y]]
        assert point.get_xydata().tolist() == [[value, y]]
        assert point.get_marker() == "o"
    assert len(drawn) == 6
    assert list(zero.get_xdata()) == [0, 0]
    assert ax.get_yticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["above", "across", "below"]
    bottom, top = ax.get_ylim()
    assert bottom > 2 and top < 0, "the first row on top, all rows inside"
    assert texts(ax) == ["no difference"]


def test_forest_colors_tell_the_side_of_zero_unless_others_are_given(ax):
    plot.forest(ax, ROWS)
    wanted = [plot.PALETTE[0], plot.FAINT, plot.PALETTE[1]]
    for k, color in enumerate(wanted):
        assert same_color(ax.lines[2 * k].get_color(), color)
        assert same_color(ax.lines[2 * k + 1].get_color(), color)
    assert texts(ax) == []
    ax.clear()
    plot.forest(ax, ROWS, colors=["red", "green", "black"])
    assert [ax.lines[2 * k].get_color() for k in range(3)] == ["red", "green", "black"]
    ax.clear()
    plot.forest(ax, [("a", 1.0, 0.0, 2.0), ("b", -1.0, -2.0, 0.0)])
    assert [ax.lines[2 * k].get_color() for k in range(2)] == [plot.FAINT] * 2, "an end at zero tells no side"


def test_a_value_beyond_the_limits_is_written_at_that_end(ax):
    plot.forest(ax, [*ROWS, ("far", 123.4, 120.0, 126.0), ("low", -55.5, -60.0, -50.0)], limits=(-4, 4))
    assert ax.get_xlim() == (-4, 4)
    assert len(ax.lines) == 6 + 1, "only the values inside are drawn"
    far, low = ax.texts
    assert far.get_position() == (4, 3) and "123" in far.get_text()
    assert low.get_position() == (-4, 4) and "−55.5" in low.get_text()
    assert (far.get_ha(), low.get_ha()) == ("right", "left")
    assert [label.get_text() for label in ax.get_yticklabels()][3:] == ["far", "low"]


# lines

SERIES = {
    "up": [(1.0, 0.5, 2.0), (2.0, 1.5, 2.25), (3.0, 3.0, 4.0)],
    "down": [(3.0, 2.0, 3.5), (2.0, 1.0, 3.0), (1.0, 0.0, 1.5)],
}


@pytest.mark.parametrize("kind", [tuple, lambda ends: Estimate(*ends, 9, "t")])
def test_lines_have_their_values_intervals_and_names(ax, kind):
    series = {name: [kind(ends) for ends in estimates] for name, estimates in SERIES.items()}
    assert plot.lines(ax, ["0.1", "1", "10"], series) is ax
    assert len(ax.containers) == 2
    for container, color, estimates in zip(ax.containers, plot.PALETTE, SERIES.values(), strict=False):
        points, ends = bars(container)
        assert points.tolist() == [[k, value] for k, (value, *_) in enumerate(estimates)]
        assert ends == pytest.approx(np.array([[[k, e[1]], [k, e[2]]] for k, e in enumerate(estimates)]))
        assert container[0].get_color() == color
    assert texts(ax) == list(SERIES)
    for text, color in zip(ax.texts, plot.PALETTE, strict=False):
        k, y = text.xy
        (_, *first), (_, *second) = SERIES[text.get_text()][:2]
        assert k == 0 and y in (min(first[0], second[0]), max(first[1], second[1])), "at its own line"
        assert same_color(text.get_color(), color)
    assert ax.get_xticks().tolist() == [0, 1, 2]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "1", "10"]
    left, right = ax.get_xlim()
    assert left < 0 and right > 2


def test_an_interval_that_does_not_hold_its_value_is_refused(ax):
    with pytest.raises(ValueError, match="yerr"):
        plot.lines(ax, [1], {"a": [(1.0, 2.0, 3.0)]})


# shares


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_curves_are_lines_with_bands_named_at_their_ends_and_told_as_rows(scale):
    fig, axes = plot.figure(columns=2, sharey=True)
    rising = [Estimate(v, v - 0.5, v + 1, 3, "made up") for v in (1.0, 2.0, 4.0)]
    flat = [Estimate(0.0, -1.0, 0.5, 3, "made up")] * 2
    panels = {"left": {"rising": ([1, 10, 100], rising)}, "right": {"flat": ([1, 50], flat)}}
    looks = {"rising": {"color": "red", "linestyle": "--"}, "flat": {"color": "blue"}}
    table = plot.curves(axes, panels, looks, xscale="log", yscale=scale, xlabel="lag")
    (line,) = axes[0].lines
    assert line.get_linestyle() == "--" and same_color(line.get_color(), "red")
    assert list(line.get_xdata()) == [1, 10, 100] and list(line.get_ydata()) == [1, 2, 4]
    assert list(axes[1].lines[0].get_ydata()) == ([0, 0] if scale == "linear" else [1e-9, 1e-9])
    band = axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0.5, 5.0)
    assert [ax.get_title() for ax in axes] == ["left", "right"] and axes[0].get_xlabel() == "lag"
    assert [(t.get_text(), t.xy) for t in axes[0].texts] == [("rising", (100, 4.0))]
    assert list(table.columns) == ["panel", "line", "at", "mean", "low", "high"]
    assert table.values.tolist()[1] == ["left", "rising", 10, 2.0, 1.5, 3.0]
    assert table.values.tolist()[3] == ["right", "flat", 1, 0.0, -1.0, 0.5]
    assert plot.read(table) == "left, rising: 1 / 4; right, flat: 0 / 0"
    assert plot.read(table, 1, 10) == "left, rising: 1 / 2; right, flat: 0"
    plt.close(fig)


def test_shares_are_stacked_and_named(ax):
    rows = {"whole": (0.25, 0.5), "layers": (0.125, 0.75)}
    assert plot.shares(ax, rows, ("skill", "luck")) is ax
    drawn = [(p.get_x(), p.get_width(), p.get_y() + p.get_height() / 2) for p in ax.patches]
    wanted = [(0, 0.25, 0), (0, 0.125, 1), (0.25, 0.5, 0), (0.125, 0.75, 1)]
    assert np.array(drawn) == pytest.approx(np.array(wanted))
    assert all(same_color(p.get_facecolor(), plot.PALETTE[k // 2]) for k, p in enumerate(ax.patches))
    assert [(t.get_text(), t.get_color()) for t in ax.texts] == [
        ("skill", plot.PALETTE[0]), ("luck", plot.PALETTE[1]),
    ]  # fmt: skip
    assert ax.get_yticks().tolist() == [0, 1]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["whole", "layers"]
    bottom, top = ax.get_ylim()
    assert bottom > 1 and top < 0


# parts


@pytest.mark.parametrize("upright", [False, True])
def test_parts_are_stacked_to_their_shares_and_the_large_ones_written_in(ax, upright):
    bars = {"one": {"a": 0.5, "b": 0.4, "c": 0.1}, "two": {"b": 1.0}}
    colors = {"a": plot.PALETTE[0], "b": plot.PALETTE[1], "c": plot.PALETTE[2]}
    assert plot.parts(ax, bars, colors, upright) is ax
    size, start = ("get_height", "get_y") if upright else ("get_width", "get_x")
    seen = [(getattr(p, start)(), getattr(p, size)()) for p in ax.patches]
    wanted = {"a": [(0, 50), (0, 0)], "b": [(50, 40), (0, 100)], "c": [(90, 10), (100, 0)]}
    np.testing.assert_allclose(seen, sum(wanted.values(), []))
    for patch, name in zip(ax.patches, "aabbcc", strict=True):
        assert same_color(patch.get_facecolor()[:3], colors[name])
    # a tenth has no room for its number
    written = [t for t in ax.texts if t.get_text()]
    inks = [("50", "white"), ("40", plot.ON_COLOR), ("100", plot.ON_COLOR)]  # dark letters on light colours
    assert [(t.get_text(), t.get_color()) for t in written] == inks
    for text, bar in zip(written, (ax.patches[k] for k in (0, 2, 3)), strict=True):
        box, inside = bar.get_window_extent(), text.get_window_extent()
        assert ((box.p0 + box.p1) / 2).tolist() == pytest.approx((inside.p0 + inside.p1) / 2, abs=3)
    ticks = ax.get_xticklabels() if upright else ax.get_yticklabels()
    assert [t.get_text() for t in ticks] == ["one", "two"]
    if not upright:
        assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top


# ends


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_names_at_the_ends_of_lines_keep_their_order_and_do_not_touch(ax, scale):
    ax.set(xlim=(1, 10), ylim=(1, 100), yscale=scale)
    labels = [(50, "far", "C0"), (10.1, "upper", "C1"), (10, "lower", "C2")]
    plot.ends(ax, 10, labels)
    ax.figure.draw_without_rendering()
    boxes = {t.get_text(): t.get_window_extent() for t in ax.texts}
    assert boxes["lower"].y1 <= boxes["upper"].y0 < boxes["upper"].y1 <= boxes["far"].y0
    for value, text, color in labels:
        [found] = [t for t in ax.texts if t.get_text() == text]
        assert found.xy == (10, value) and same_color(found.get_color(), color)
    places = {text: ax.transData.transform((10, value))[1] for value, text, _ in labels}
    off = {text: (box.y0 + box.y1) / 2 - places[text] for text, box in boxes.items()}
    assert off["far"] == pytest.approx(0, abs=2)  # who is not in the way stays beside the line
    assert off["upper"] == pytest.approx(-off["lower"], abs=2) and off["upper"] > 3  # the others part


def test_names_at_the_foot_of_the_axes_stay_above_it_and_no_number_has_no_name(ax):
    ax.set(xlim=(0, 1), ylim=(0, 100))
    plot.ends(ax, 1, [(0, "one", "k"), (0, "two", "k"), (np.nan, "none", "k"), (np.inf, "beyond", "k")])
    ax.figure.draw_without_rendering()
    assert [t.get_text() for t in ax.texts] == ["one", "two"]
    assert min(text.get_window_extent().y0 for text in ax.texts) >= ax.bbox.y0


def test_ends_are_named_on_a_figure_without_a_layout_of_its_own():
    ax = plt.figure(layout="none").subplots()
    plot.ends(ax, 1, [(0.5, "one", "k"), (0.5, "other", "k")])
    low, high = (text.xyann[1] for text in ax.texts)
    plt.close(ax.figure)
    assert high - low >= 12
