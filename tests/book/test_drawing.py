"""Drawings inline in a page: colours of the theme, no ground, ids of their own."""

import re

import matplotlib.colors
import numpy as np
import pytest
from matplotlib import pyplot as plt
from toy_book import PROJECT

from book import drawing, markup
from lib.page import figures, plot

CSS = (PROJECT / "_static" / "book.css").read_text("utf-8")
LIGHT, DARK = (
    dict(re.findall(r"(--sgd-[\w-]+): ([^;]+);", CSS[CSS.index(head) :].partition("}")[0]))
    for head in (":root {", 'html[data-theme="dark"] {\n  --sgd')
)


def drawn(draw, columns=1):
    """What `draw` makes of new axes, as a page has it."""
    fig, axes = plot.figure(columns=columns)
    draw(axes)
    svg = figures._picture(fig, "fig-a")
    plt.close(fig)
    return drawing.inline(svg, "fig-a", 'A "line" & more.')


def paints(html):
    """Every colour that is painted with."""
    return set(re.findall(r"(?:fill|stroke): ([^;\"]+)", html)) - {"none"}


def contrast(one, other):
    """As WCAG 2 has it."""
    parts = np.array([matplotlib.colors.to_rgb(color) for color in (one, other)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


def test_ink_palette_and_paper_are_those_of_the_page():
    def draw(ax):
        for color in (plot.PALETTE[0], plot.PALETTE[9], plot.INK, plot.FAINT, "white"):
            ax.plot([1, 2], color=color)
        ax.annotate("words", (0, 1), color="black")
        ax.bar([0], [1], color=plot.PALETTE[1])

    html = drawn(draw)
    assert paints(html) == {"currentColor", *(f"var(--sgd-{k})" for k in ("c0", "c1", "c5", "c6", "paper"))}
    assert html.count("var(--sgd-paper)") == 2, "the line and the edge of the bar: there is no ground"
    assert re.search("<svg[^>]* fill=.currentColor.", html), "matplotlib writes no colour for black"


@pytest.mark.parametrize("parts", [plot.PALETTE[:2], [(0.35,) * 3, (0.8,) * 3]])
def test_words_on_a_colour_can_be_read_there_in_both_themes(parts):
    html = drawn(
        lambda ax: plot.parts(ax, {"one": {"a": 0.5, "b": 0.5}}, dict(zip("ab", parts, strict=True)))
    )
    bars = re.findall(r"fill: (var\(--sgd-c\d\)|color-mix[^;]*\)\));", html)
    words = re.findall(rf"fill: (var\(--sgd-paper\)|{plot.ON_COLOR})", html)
    assert len(bars) == len(words) == 2
    for theme, paper in ((LIGHT, "white"), (DARK, "#121212")):
        for bar, word in zip(bars, words, strict=True):
            mixed = re.findall("#[0-9a-f]{6}", bar)
            ground = mixed[theme is DARK] if mixed else theme[bar[4:-1]]
            assert contrast(ground, word if word == plot.ON_COLOR else paper) > 3.9, (bar, word)


@pytest.mark.parametrize("color", [*map(str, np.linspace(0.1, 0.9, 5)), "#414487", "#0000ff", "#863071"])
def test_other_colours_stay_in_a_light_page_and_can_be_read_in_a_dark_one(color):
    (light, dark) = re.search(
        "color-mix.in srgb, (.{7}), (.{7}) var", drawn(lambda ax: ax.plot([1], color=color))
    ).groups()
    assert light == matplotlib.colors.to_hex(color)
    assert contrast(dark, "#14181e") > 4.5 and (LIGHT["--sgd-dark"][:2], DARK["--sgd-dark"]) == ("0%", "100%")


def test_the_palette_can_be_told_from_the_ground():
    colors = [f"--sgd-c{k}" for k in range(8)]
    assert [c for c in colors if contrast(LIGHT[c], "white") < 3 or contrast(DARK[c], "#14181e") < 6] == []


@pytest.mark.parametrize("over", ["contourf", "pcolormesh", "imshow"])
def test_a_map_keeps_its_colours_and_what_is_drawn_over_it(over):
    def draw(axes):
        getattr(axes[0], over)(np.arange(9.0).reshape(3, 3), cmap="cividis")
        axes[0].plot([0, 1], color="white")
        axes[1].plot([0, 1], color="white")

    html = drawn(draw, columns=2)
    assert "color-mix" not in html
    assert html.count("stroke: #ffffff") == html.count("stroke: var(--sgd-paper)") == 1


def test_ids_are_the_figures_own_and_no_rule_is_for_the_page():
    html = drawn(lambda ax: ax.plot([1, 2], "o-"))
    ids = re.findall(r'\bid="([^"]*)"', html)
    used = re.findall(r'(?:href="|url\()#([^")]+)', html)
    assert ids and set(used) == set(ids) and len(ids) == len(set(ids))
    assert all(name.startswith("fig-a-") for name in ids)
    assert "<style" not in html and "xmlns" not in html and "<metadata" not in html


def test_it_is_a_picture_with_its_words_that_the_gate_lets_pass():
    page = markup.Markup(drawn(lambda ax: ax.plot([1, 2])))
    (tag, about) = page.tags[0]
    assert (tag, about["role"], about["aria-label"]) == ("svg", "img", 'A "line" & more.')
    assert page.faults == []


def test_it_is_no_larger_than_the_file_and_stands_in_the_same_places():
    fig, ax = plot.figure()
    ax.plot(np.random.default_rng(1).normal(size=300))
    svg = figures._picture(fig, "fig-a")
    html = drawing.inline(svg, "fig-a", "A line.")
    assert len(html) < 0.9 * len(svg)
    places = [
        np.array(re.findall(r"-?\d+\.?\d*", max(re.findall(r'\bd="([^"]*)"', text), key=len)), float)
        for text in (svg, html)
    ]
    np.testing.assert_allclose(*places, atol=0.006)
