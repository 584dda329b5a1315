"""Drawings as they stand inline in a page: in the colours of its theme, with ids of their own.

Notebooks, print and files for download know no theme: there a drawing has its own colours, on white.
"""

import colorsys
import re
from xml.etree.ElementTree import Element, fromstring, tostring

from matplotlib.colors import to_hex, to_rgb

from lib.page.figures import FAINT, INK
from lib.page.panels import COLORS
from lib.page.plot import ON_COLOR, PALETTE

CLASS = "sgd-drawing"
# What colours become, by variables of _static/book.css; the palette is there as explorable figures have it.
_INK = dict.fromkeys((INK, "#262626", "#000000", "black"), "currentColor")  # the second is seaborn's
_THEMED = {color: f"var(--sgd-c{k})" for k, color in enumerate(COLORS)}
_THEMED |= {to_hex(PALETTE[place]): f"var(--sgd-c{k})" for k, place in enumerate((0, 1, 2, 3, 4, 9, 7))}
_THEMED |= {FAINT: "var(--sgd-c6)", ON_COLOR: ON_COLOR, **_INK}
_THEMED |= dict.fromkeys(("#ffffff", "white"), "var(--sgd-paper)")
_COLOR = re.compile(r"#[0-9a-f]{6}\b|\b(?:black|white)\b")
_NUMBER = re.compile(r"\d+\.\d{4,}")


def inline(svg: str, name: str, alt: str) -> str:
    """A drawing as HTML.

    Args:
        svg: the drawing as a file, from `lib.page`.
        name: what the figure is called: its ids begin so.
        alt: what it shows, for who cannot see it.

    Returns:
        An ``svg`` element without a ground, its ink the colour of the text around it.
    """
    root = fromstring(svg)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {key.rpartition("}")[2]: value for key, value in element.items()}
        element.text, element.tail = (element.text or "").strip(), ""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    on_map = {part for axes in root.iter("g") if _is_map(axes) for part in axes.iter()}
    for element in list(root.iter()):
        _bare(element)
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        for key, value in element.items():
            if key in ("fill", "stroke", "stop-color", "style"):
                value = _COLOR.sub(_inked if element in on_map else _themed, value)
            elif key == "id":
                value = f"{name}-{value}"
            elif key == "href":
                value = re.sub("^#", f"#{name}-", "".join(value.split()))
            elif key in ("d", "points", "transform", "x", "y"):
                value = _NUMBER.sub(lambda found: f"{float(found[0]):.5g}", " ".join(value.split()))
            element.set(key, value.replace("url(#", f"url(#{name}-"))
    # black is what matplotlib does not write; corners are in a style sheet, which would be the whole page's
    root.attrib |= {"fill": "currentColor", "stroke-linejoin": "round"}
    root.attrib |= {"class": CLASS, "role": "img", "aria-label": alt}
    return tostring(root, "unicode", short_empty_elements=False)


def _is_map(group: Element) -> bool:
    """Whether colours are a scale in these axes, and what is drawn over them is to be seen there."""
    parts = (part.get("id", "") for part in group.iter())
    inside = any(part.startswith(("QuadMesh", "QuadContourSet")) for part in parts)
    return group.get("id", "").startswith("axes_") and (inside or group.find(".//image") is not None)


def _bare(element: Element) -> None:
    """Takes out what says nothing here, and the white ground of the figure and of its axes."""
    for part in [part for part in element if part.tag in ("metadata", "style")]:
        element.remove(part)
    if element.tag == "svg" or re.match("(figure|axes)_", element.get("id", "")):
        first = next(iter(element), None)
        ground = first[0] if first is not None and first.tag == "g" and len(first) == 1 else first
        if ground is not None and {ground.get("fill"), ground.get("style")} & {"white", "fill: #ffffff"}:
            element.remove(first)


def _themed(found: re.Match[str]) -> str:
    """What stands for a colour; one that is not of the book's palette has enough light for a dark page."""
    hue, light, depth = colorsys.rgb_to_hls(*to_rgb(found[0]))
    # greys are faint ink: the darker, the lighter there
    light = max(light, 0.72) if depth > 0.05 else 0.87 - 0.4 * light
    lit = to_hex(colorsys.hls_to_rgb(hue, light, depth))
    return _THEMED.get(found[0], f"color-mix(in srgb, {found[0]}, {lit} var(--sgd-dark))")


def _inked(found: re.Match[str]) -> str:
    return _INK.get(found[0], found[0])
