"""Text that follows the run: fields and words in Markdown, filled from a notebook's names; and tables.

``{{expression:format}}`` is a replacement field of Python. ``[words]{{condition}}`` are words that are held
to the run: where the condition is False they are struck out, and the page says so; where it is None the run
cannot tell. What was filled in goes out as ``application/vnd.sgd-book.text+json`` beside what a front end
shows: MyST for the book, the words with their verdicts for the gate, the values for sweeps.
"""

import ast
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import IPython
import numpy as np
import pandas as pd

TEXT_MIME = "application/vnd.sgd-book.text+json"
NO_NUMBER = "no number"
FIELD = re.compile(r"\[(?P<words>[^\[\]]*)\]\{\{(?P<condition>.+?)\}\}|\{\{(?P<field>.+?)\}\}", re.DOTALL)
_ROLE = re.compile(r"\{(?P<role>cite|cite:t|cite:p|numref)\}`(?P<target>[^`]+)`")
_REFERENCES = Path(__file__).with_name("references.bib")

Cell = str | tuple[str, str]


def grid(css: str, caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
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
        left = 'style="text-align: left"'  # notebooks would set texts to the right
        return f'<th scope="row" {left}>{marked}</th>' if first else f"<td {left}>{marked}</td>"

    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(cell(c, i == 0) for i, c in enumerate(row)) + "</tr>\n" for row in rows)
    return (
        f'<div class="sgd-scroll" style="overflow-x: auto" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}">\n<table class="{escape(css)}">\n'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n"
        "</table>\n</div>"
    )


def plain(what: str, value: object) -> int | float:
    """A number of Python or NumPy as a Python int or float.

    Raises:
        ValueError: naming ``what``, when it is no number (a bool, None and an array are none), or not finite.
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{what}: got {value!r} of type {type(value).__name__}, wanted a finite number")


class TextError(ValueError):
    """A field of a text that cannot be filled, in one line; shown without a stack in notebooks."""

    def __init__(self, said: str) -> None:
        """Takes what to say."""
        super().__init__(" ".join(said.split()))

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Filled(NamedTuple):
    """A text whose fields are filled.

    Attributes:
        myst: the text as MyST.
        words: each of the words that are held to the run, and whether they hold (None: it cannot tell).
        values: what the fields hold, by their expressions: a number, a text, or value, low, high, n.
    """

    myst: str
    words: list[dict[str, Any]]
    values: dict[str, Any]


def names() -> Mapping[str, Any]:
    """The names of the running notebook; none where there is no notebook."""
    shell = IPython.get_ipython()
    return shell.user_ns if shell else {}


def fill(text: str, known: Mapping[str, Any] | None = None) -> Filled:
    """A text with its fields and words filled in.

    Args:
        text: MyST with fields, see the top of this module.
        known: values by name; those of the running notebook if None.

    Raises:
        TextError: for a field that is no expression, is not closed or raises, a condition that is not True,
            False or None, and words with brackets; naming the field.
    """
    known = names() if known is None else known
    words, values = [], {}
    _, begun, rest = FIELD.sub(" ", text).partition("{{")
    if begun:
        raise TextError(f"{{{{{rest[:40]}: a field that is not closed")

    def put(found: re.Match[str]) -> str:
        if found["field"]:
            if found.string[: found.start()].endswith("]"):
                raise TextError(f"]{found[0]}: wanted words without brackets")
            return _value(found["field"], known, words, values)
        holds, _, _ = _evaluated(found["condition"], known)
        if not (holds is None or isinstance(holds, bool | np.bool_)):
            raise TextError(f"[{found['words']}]: got {holds!r}, wanted True, False or None")
        said = FIELD.sub(put, found["words"])
        words.append({"words": " ".join(said.split()), "holds": None if holds is None else bool(holds)})
        if holds is None:
            return f"{said} _(this run cannot tell)_"
        return said if holds else f"~~{said}~~ _(not so in this run)_"

    return Filled(FIELD.sub(put, text), words, values)


def parsed(field: str) -> ast.FormattedValue:
    """A replacement field, ``expression:format``, as Python reads it; SyntaxError when it is none."""
    (part,) = ast.parse(f"f'''{{{field}}}'''", mode="eval").body.values
    return part


def expressions(text: str) -> list[str]:
    """Expressions of the fields of a text, as `Filled` has them; what is no field of Python is left out."""
    found = []
    for field in FIELD.finditer(text):
        with suppress(SyntaxError, ValueError):
            found += [ast.unparse(parsed(field["field"]).value)] if field["field"] else []
    return found


def _evaluated(field: str, known: Mapping[str, Any]) -> tuple[Any, str, str]:
    """Value, format and expression of a replacement field."""
    try:
        part = parsed(field)
        form = ast.Expression(part.format_spec or ast.Constant(""))
        value, spec = (
            eval(compile(ast.fix_missing_locations(tree), "<text>", "eval"), {**known})
            for tree in (ast.Expression(part.value), form)
        )
        value = {ord("s"): str, ord("r"): repr, ord("a"): ascii}.get(part.conversion, lambda v: v)(value)
        return value, spec, ast.unparse(part.value)
    except Exception as error:
        raise TextError(f"{{{{{field}}}}}: {type(error).__name__}: {error}") from error


def _value(field: str, known: Mapping[str, Any], words: list, values: dict[str, Any]) -> str:
    """What a field shows; it is noted among the values, or among the words where it is no number."""
    value, spec, expression = _evaluated(field, known)
    estimate = hasattr(value, "interval")
    parts = value[:3] if estimate else (value,)
    if any(v is None or isinstance(v, numbers.Real) and not math.isfinite(v) for v in parts):
        words.append({"words": expression, "holds": None})
        return f"*{NO_NUMBER}*"
    try:
        shown = format(value, spec)
    except (TypeError, ValueError) as error:
        raise TextError(f"{{{{{field}}}}}: {type(error).__name__}: {error}") from error
    if isinstance(value, numbers.Real):
        shown = shown.replace("-", "−")  # as estimates and tables write it
    if estimate:
        values[expression] = [plain(expression, v) for v in value[:4]]
    elif isinstance(value, numbers.Real):
        values[expression] = plain(expression, value.item() if isinstance(value, np.bool_) else +value)
    elif isinstance(value, str):
        values[expression] = str(value)
    return shown


# ---- in front ends ---------------------------------------------------------------------------------------


def front(myst: str) -> str:
    """A text of the book as Markdown that every front end knows: references as words and links."""

    def put(found: re.Match[str]) -> str:
        if found["role"] == "numref":
            before = found.string[: found.start()]
            first = not before.strip() or re.search(r"[.!?]\**\s+\**$", before)
            return f"{'Figure' if first else 'figure'} *{figure_name(found['target'])}*"
        inside = found["role"] == "cite:t"
        made = [_cited(key.strip(), inside) for key in found["target"].split(",")]
        return ", ".join(made) if inside else f"({'; '.join(made)})"

    return _ROLE.sub(put, myst)


def figure_name(label: str) -> str:
    """How a figure is called where it has no number."""
    return label.removeprefix("fig-").replace("-", " ")


@cache
def _references() -> Any:
    from pybtex.database import parse_file

    return parse_file(_REFERENCES).entries


def _cited(key: str, inside: bool) -> str:
    """Author and year of a source, as a link."""
    if key not in _references():
        raise TextError(f"cite: no source {key!r} in references.bib")
    entry = _references()[key]
    people = [" ".join(p.prelast_names + p.last_names).strip("{}") for p in entry.persons.get("author", ())]
    who = people[0] + " et al." if len(people) > 2 else " and ".join(people)
    year, fields = entry.fields["year"], entry.fields
    numbers = (("doi", "https://doi.org/"), ("eprint", "https://arxiv.org/abs/"))
    link = fields.get("url") or next((place + fields[name] for name, place in numbers if name in fields), "")
    said = f"{who} ({year})" if inside else f"{who}, {year}"
    return f"[{said}]({link})" if link else said


def said(markdown: str) -> dict[str, str]:
    """A text as an output that front ends show."""
    return {"text/markdown": markdown, "text/plain": markdown}


def bundle(filled: Filled, shown: str) -> dict[str, Any]:
    """A filled text as an output: what front ends show, and what the book and the gate read."""
    return {**said(shown), TEXT_MIME: filled._asdict()}


# ---- tables ----------------------------------------------------------------------------------------------


class Shown:
    """Something a notebook shows as a table and keeps as a record."""

    def __init__(self, html: str, text: str, mime: str = "", record: Any = None) -> None:
        """Takes the table as HTML and as text, and the record that is to travel with it under a MIME type."""
        self.html, self.text, self.more = html, text, {mime: record} if mime else {}

    def __repr__(self) -> str:
        """The table as text."""
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return {"text/html": self.html, "text/plain": self.text, **self.more}


def table(frame: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> Shown:
    """A table of results for the page; None and NaN are dashes.

    Args:
        frame: one row a result, one column a quantity; numbers, texts, truths or estimates.
        caption: what the table shows, a plain text that may have fields.
        formats: how numbers of a column are written, such as ``.2f``; others are written with six digits.

    Raises:
        ValueError: for no caption, or formats of a column that is not there.
    """
    formats, caption = dict(formats or {}), fill(caption).myst.strip()
    unknown = sorted(set(formats) - set(frame.columns))
    if not caption or unknown:
        got = f"got caption {caption!r} and formats of {unknown}"
        raise ValueError(f"table: {got}, wanted a caption, and formats of columns that are there")

    def cell(column: str, value: Any) -> str:
        if value is None or value is pd.NA or isinstance(value, numbers.Real) and math.isnan(value):
            return "–"
        if isinstance(value, bool | np.bool_):
            return "yes" if value else "no"
        if isinstance(value, numbers.Real):
            return format(value, formats.get(column, ".6g")).replace("-", "−")
        return format(value, formats.get(column, "") if hasattr(value, "interval") else "")

    columns = [str(name) for name in frame.columns]
    series = [frame[name].tolist() if frame[name].dtype != object else list(frame[name]) for name in frame]
    rows = [[cell(c, v) for c, v in zip(columns, row, strict=True)] for row in zip(*series, strict=True)]
    text = "\n".join(" | ".join(row) for row in (columns, *rows))
    return Shown(grid("sgd-table", caption, columns, rows), text)
