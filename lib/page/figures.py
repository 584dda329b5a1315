"""Figures with their caption, their description and the data behind them.

The data goes out beside the picture, as ``application/vnd.sgd-book.data+json``; the caption stands under it.
"""

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

import IPython.display
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lib.page import text
from lib.page.text import plain
from lib.stats import Estimate

INK, FAINT = "#222222", "#8a8a8a"
DATA_MIME = "application/vnd.sgd-book.data+json"
_SVG_LIMIT = 500_000  # bytes; beyond, what a drawing weighs is mostly points, and pixels weigh less
_MANY = 30  # points beyond which a line or a cloud is then drawn in pixels
_INKY = 0.2  # of full light: colours of ink
_DPI = 200  # two pixels for each of the book's text column of some 700, as sharp screens have


def _entry(column: str, value: Any) -> Any:
    """One value of a figure's data, as JSON knows it."""
    if value is None or value is pd.NA:
        return None
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.floating) and np.isfinite(value):
        return float(str(value))  # 0.1, where float(np.float32(0.1)) has seventeen digits
    return plain(f"data, column {column!r}", value)


def columns(data: pd.DataFrame | Mapping[str, Iterable]) -> dict[str, Any]:
    """The data behind a `figure` as ``{"columns": [...], "rows": [[...]]}``.

    Raises:
        ValueError: for data that is not so.
    """
    if isinstance(data, pd.DataFrame):
        index = list(data.index.names)
        if index != [None]:
            raise ValueError(f"data: index {index} would be lost, wanted reset_index() before")
        names = list(data.columns)
        # NaN is how a table of pandas writes a missing value; elsewhere it is a fault
        pairs = [zip(column.array, column.isna(), strict=True) for _, column in data.items()]
        lists = [[None if missing else value for value, missing in pair] for pair in pairs]
    elif isinstance(data, Mapping):
        names, lists = list(data), [list(column) for column in data.values()]
    else:
        raise ValueError(f"data: got {type(data).__name__}, wanted a DataFrame or a mapping of columns")
    lengths = {len(column) for column in lists}
    if not all(isinstance(n, str) and n.strip() for n in names) or len(set(names)) < len(names):
        raise ValueError(f"data: got columns {names}, wanted names, each once")
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(f"data: got columns of {sorted(lengths)} values, wanted the same number, above 0")
    entries = [[_entry(n, v) for v in column] for n, column in zip(names, lists, strict=True)]
    return {"columns": names, "rows": [list(row) for row in zip(*entries, strict=True)]}


def _picture(fig: Figure, name: str) -> str:
    """A figure as SVG, the same for the same figure; what is heavy in it is drawn in pixels."""
    drawing = svg(fig, name)
    if len(drawing) > _SVG_LIMIT:
        for artist in fig.findobj(lambda artist: _points(artist) > _MANY):
            artist.set_rasterized(True)
            paint = artist.get_color() if isinstance(artist, Line2D) else artist.get_facecolor()
            if len(paint) and to_rgba_array(paint)[:, :3].max() < _INKY:
                artist.set_color(FAINT)  # pixels take no theme: this is seen on a light and on a dark page
        drawing = svg(fig, name)
    return drawing


def svg(fig: Figure, name: str) -> str:
    """A figure as SVG, the same for the same figure and name."""
    drawing = io.BytesIO()
    # no date, no version; the name as salt, so that two drawings share no element id
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        fig.savefig(
            drawing, format="svg", dpi=_DPI, facecolor="white", bbox_inches="tight",
            metadata={"Date": None, "Creator": None},
        )  # fmt: skip
    return drawing.getvalue().decode()


def _points(artist: Artist) -> int:
    """How many points an artist is drawn with."""
    if isinstance(artist, Collection):
        places = np.size(artist.get_offsets()) // 2
        return max(places, sum(len(path) for path in artist.get_paths()))
    return len(artist.get_xdata()) if isinstance(artist, Line2D) else 0


def estimates(by: str, found: Mapping[Any, Estimate], value: str) -> dict[str, list[Any]]:
    """Estimates as the data of a figure: columns ``by``, ``value``, low, high and networks.

    Args:
        by: what tells the estimates apart.
        found: the estimates by a text or number.
        value: what is estimated, with its unit.
    """
    names = (value, "low", "high", "networks")
    return {by: list(found)} | {n: [e[k] for e in found.values()] for k, n in enumerate(names)}


def about(name: str, caption: str, alt: str) -> dict[str, Any]:
    """Name, caption and description of a `figure`, their fields filled and their spaces made single.

    Returns:
        ``name``, ``caption``, ``alt``; and ``words`` and ``values`` as `lib.page.text.Filled` has them.

    Raises:
        ValueError: naming the argument that is not so.
    """
    if not (isinstance(name, str) and re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", name)):
        raise ValueError(f"name: got {name!r}, wanted fig- and lower-case letters, digits and '-'")
    caption, alt = (text.fill(" ".join(t.split()) if isinstance(t, str) else "") for t in (caption, alt))
    if not caption.myst:
        raise ValueError(f"caption of {name}: got nothing, wanted a text")
    if len(alt.myst) < 20 or alt.myst == name:
        raise ValueError(f"alt of {name}: got {alt.myst!r}, wanted what it shows in 20 characters or more")
    both = {"words": caption.words + alt.words, "values": caption.values | alt.values}
    said = re.sub(r"\*|~~|_(?=\()|(?<=\))_", "", alt.myst)
    return {"name": name, "caption": caption.myst, "alt": said, **both}


def show(bundle: Mapping[str, Any], about_it: Mapping[str, Any]) -> None:
    """Shows a figure, and under it its caption, which front ends take for a text of its own."""
    IPython.display.display(bundle, raw=True, metadata={"sgd_book": about_it})
    said = f"**Figure *{text.figure_name(about_it['name'])}*.** {text.front(about_it['caption'])}"
    IPython.display.display(text.said(said), raw=True, metadata={"sgd_book_caption": about_it["name"]})


def figure(
    fig: Figure, name: str, caption: str, alt: str, data: pd.DataFrame | Mapping[str, Iterable]
) -> None:
    """Shows a figure with its caption, its description and the data behind it, and closes it.

    It is shown as SVG, sharp at any size; where that would be large, what has very many points is in pixels.

    Args:
        fig: the figure.
        name: ``fig-`` and lower-case letters, digits and ``-``; its label in the book.
        caption: what to see in it, MyST inline markup with fields (`lib.page.text`).
        alt: what it shows, for who cannot see it, with fields; 20 characters at least.
        data: what was drawn, one column a quantity: finite numbers, text, or None where there is no value.

    Raises:
        ValueError: naming the argument that is not so.
    """
    about_it = about(name, caption, alt)
    if not isinstance(fig, Figure):
        raise ValueError(f"fig: got {type(fig).__name__}, wanted a matplotlib figure")
    record = columns(data)
    picture = _picture(fig, name)
    plt.close(fig)
    bundle = {"image/svg+xml": picture, "text/plain": f"{name}: {about_it['alt']}", DATA_MIME: record}
    show(bundle, about_it)
