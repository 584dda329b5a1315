"""What makes a notebook the reading: text cells, the answer at the top, parts that are left out.

``answer`` is called by the first code cell; from then on the notebook knows ``%%text`` and ``%%answer``, and
leaves out cells whose first line names a part (``# part: images``) that was not asked for.
"""

import re
from collections.abc import Mapping
from typing import Any

import IPython.display

from lib.ensembles import places
from lib.page import text

ANSWER = "answer"  # id of the display that the last cell fills
_WAITING = "> *The answer stands here when all cells have run.*"
_PART = re.compile(r"(?:# part:|%%(?:text|answer)\b)(?P<parts>[^\n]*)")
_asked = ["all"]  # the part of the running notebook; then those that an answer was told for


def choose(part: str) -> None:
    """From here on, cells of other parts are left out; none are for ``all``."""
    _asked[:] = [part]


def left_out(first_line: str) -> str:
    """Names of the parts that a cell with this first line belongs to, if it is to be left out; else empty."""
    found = _PART.match(first_line)
    parts = re.findall(r"[\w-]+", found["parts"]) if found else []
    return "" if not parts or _asked[0] in ("all", *parts) else ", ".join(parts)


def _skip(lines: list[str]) -> list[str]:
    skipped = lines and lines[0].startswith("# part:") and left_out(lines[0])
    return ["pass\n"] if skipped else lines


def answer() -> None:
    """Shows the place of the answer, which the last cell fills, and readies the notebook for text cells.

    Raises:
        SystemExit: outside a notebook, with a line on how to run the chapter.
    """
    shell = IPython.get_ipython()
    if shell is None:
        raise SystemExit(
            "this is a chapter: open it in Jupyter, or run it: papermill chapter.ipynb out.ipynb"
        )
    shell.register_magic_function(_text, "cell", "text")
    shell.register_magic_function(_answer, "cell", "answer")
    if _skip not in shell.input_transformers_post:
        shell.input_transformers_post.append(_skip)
    choose("all")
    places.prepare()
    IPython.display.display(text.said(_WAITING), raw=True, display_id=ANSWER)


def _text(line: str, cell: str) -> None:
    """``%%text [parts]``: shows a text with its fields filled."""
    if parts := left_out(f"%%text {line}"):
        said = f"*Left out: this belongs to {parts}, and only {_asked[0]} was asked for.*"
        IPython.display.display(text.said(said), raw=True)
    else:
        show(cell)


def show(template: str, known: Mapping[str, Any] | None = None) -> None:
    """Shows a text with its fields filled, as a text cell does; the arguments are those of `text.fill`."""
    filled = text.fill(template, known)
    IPython.display.display(text.bundle(filled, text.front(filled.myst)), raw=True)


def _answer(line: str, cell: str) -> None:
    """``%%answer [parts]``: shows a text at the place of the answer, in a box.

    One that names parts answers for those where they are run alone; the one that names none for all.
    """
    parts = re.findall(r"[\w-]+", line)
    if parts and _asked[0] not in parts or not parts and _asked[1:]:
        return
    if parts:
        _asked[1:] = parts
    if parts or _asked[0] == "all":
        filled = text.fill(cell)
        said = text.front(filled.myst).strip()
        answered = f":::{{admonition}} The answer\n:class: tip\n{filled.myst.strip()}\n:::"
        filled = filled._replace(myst=answered)
    else:
        said = f"Only the part {_asked[0]} was run; the answer takes all of them."
        filled = text.Filled(said, [], {})
    boxed = "\n".join(f"> {line}".rstrip() for line in ["**The answer.**", "", *said.splitlines()])
    IPython.display.update_display(text.bundle(filled, boxed), display_id=ANSWER, raw=True)
