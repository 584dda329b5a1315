"""What cells put among the prose: numbers for the text, words held to the run, tables.

Everything is an ordinary output of a cell, so the executed notebook carries all of it. What the prose says in
words goes out as ``application/vnd.sgd-book.says+json``.
"""

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

SAYS_MIME = "application/vnd.sgd-book.says+json"

Cell = str | tuple[str, str]


def table(css: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """HTML of a table that scrolls sideways within itself when the page is narrow.

    Args:
        css: class of the table.
        caption: what the table shows.
        columns: headings.
        rows: cells of each row, as text or as (text, class); the first heads its row.

    Returns:
        The table, all text escaped, with no script and no colour of its own.
    """

    def cell(content: Cell, first: bool) -> str:
        text, name = (content, "") if isinstance(content, str) else content
        marked = f'<span class="{escape(name)}">{escape(text)}</span>' if name else escape(text)
        return f'<th scope="row">{marked}</th>' if first else f"<td>{marked}</td>"

    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(cell(c, i == 0) for i, c in enumerate(row)) + "</tr>\n" for row in rows)
    return (
        f'<div class="sgd-scroll" style="overflow-x: auto" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}">\n<table class="{escape(css)}">\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n"
        "</table>\n</div>"
    )


def plain(what: str, value: object) -> int | float:
    """Value as a Python int or float.

    Args:
        what: name for the error.
        value: a number of Python or NumPy.

    Returns:
        The same number.

    Raises:
        ValueError: when it is not a number (a bool, None and an array are not), or not finite.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{what}: got {value!r} of type {type(value).__name__}, wanted a finite number")


def glue(name: str, value: object) -> None:
    """Keeps a number or a text for the prose, which quotes it by ``{glue:text}`name:.2f` ``; shows nothing.

    Args:
        name: lower-case letters, digits, ``-`` and ``_``.
        value: a finite number of Python or NumPy, or a text.

    Raises:
        ValueError: for any other name or value.
    """
    if hasattr(value, "interval"):
        for suffix, part in zip(("", "_low", "_high", "_n"), value[:4], strict=True):
            glue(name + suffix, part)
        return
    from myst_nb import glue as myst_glue

    if not (isinstance(name, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", name)):
        raise ValueError(f"name: got {name!r}, wanted lower-case letters, digits, '-' and '_'")
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{name}: got an empty text")
        myst_glue(name, str(value), display=False)
    else:
        myst_glue(name, plain(name, value), display=False)


def says(sentences: Mapping[str, object]) -> None:
    """Holds what the prose says in words against the run: "the whole net is ahead", "none comes back".

    The words are taken from the prose or a caption as they stand there, and the condition is computed from
    the run. While it holds nothing is shown. Where it does not, the page says so in this place; the gate
    refuses that in a chapter at its defaults.

    Args:
        sentences: words of the page, each with whether they hold; None where this run cannot tell.

    Raises:
        ValueError: when there is no sentence, an empty one, or one without True, False or None.
    """
    from IPython.display import display

    record = []
    for words, holds in sentences.items():
        if not (isinstance(words, str) and words.strip()):
            raise ValueError(f"sentences: got {words!r}, wanted words of the page")
        if not (holds is None or isinstance(holds, bool | np.bool_)):
            raise ValueError(f"{words!r}: got {holds!r}, wanted True, False or None")
        record.append({"words": " ".join(words.split()), "holds": None if holds is None else bool(holds)})
    if not record:
        raise ValueError("sentences: got none, wanted at least one")
    bundle, unheld = {SAYS_MIME: record}, [entry for entry in record if not entry["holds"]]
    if unheld:
        verdict = {False: "does not hold", None: "cannot be told"}
        lines = [f"At these parameters this {verdict[e['holds']]}: “{e['words']}”." for e in unheld]
        marked = "".join(f"<p><strong>Mind:</strong> {escape(line)}</p>\n" for line in lines)
        bundle |= {"text/html": f'<div class="sgd-unheld">\n{marked}</div>', "text/plain": "\n".join(lines)}
    display(bundle, raw=True)
