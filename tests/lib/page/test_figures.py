"""What a heavy figure becomes."""

import base64
import io
import re

import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from lib.page import figures

RNG = np.random.default_rng(1)
HEAVY = {
    "cloud": lambda ax: ax.scatter(*RNG.normal(size=(2, 8_000)), s=4),
    "dots": lambda ax: ax.plot(*RNG.normal(size=(2, 8_000)), "."),
    "many lines": lambda ax: ax.plot(RNG.normal(size=(400, 60)).cumsum(0)),
    "mesh": lambda ax: ax.pcolormesh(RNG.normal(size=(60, 60))),
}


def pixels_of(svg):
    return plt.imread(io.BytesIO(base64.b64decode(re.search('base64,([^"]+)', svg)[1])))


@pytest.mark.parametrize("kind", HEAVY)
def test_what_is_heavy_becomes_pixels_without_a_ground_and_the_rest_stays_drawn(kind):
    fig, ax = plt.subplots(figsize=(5, 3))
    HEAVY[kind](ax)
    ax.plot([0, 1], color="red")
    assert len(figures.svg(fig, "fig-a")) > 500_000
    svg = figures._picture(fig, "fig-a")
    assert len(svg) < 500_000 and svg.count("<image") == 1 and svg.count("stroke: #ff0000") == 1
    pixels = pixels_of(svg)
    assert pixels[..., 3].max() > 0 and (kind == "mesh" or pixels[..., 3].min() == 0)
    assert figures._picture(fig, "fig-a") == svg
    plt.close(fig)


def test_a_light_figure_has_no_pixels():
    fig, ax = plt.subplots()
    ax.plot(RNG.normal(size=1000))
    assert "<image" not in figures._picture(fig, "fig-a")
    plt.close(fig)


@pytest.mark.parametrize(
    "draw, color", [("plot", "black"), ("scatter", figures.INK), ("plot", "red"), ("scatter", "red")]
)
def test_ink_in_pixels_is_grey_that_is_seen_on_a_dark_page_too(draw, color):
    fig, ax = plt.subplots(figsize=(5, 3))
    look = {"linestyle": "", "marker": "o"} if draw == "plot" else {}
    getattr(ax, draw)(*RNG.normal(size=(2, 8_000)), color=color, **look)
    pixels = pixels_of(figures._picture(fig, "fig-a"))
    seen = to_hex(pixels[pixels[..., 3] == 1][0])
    assert seen == ("#ff0000" if color == "red" else figures.FAINT)
    plt.close(fig)
