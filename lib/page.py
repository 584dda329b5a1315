"""What a chapter puts on its page: numbers for the prose, figures with their data, tables, a stamp.

Everything is an ordinary output of a cell, so the executed notebook carries all of it. Types of our own:
``application/vnd.sgd-book.data+json`` beside a figure, ``application/vnd.sgd-book.says+json`` for what the
prose says in words, and ``application/vnd.sgd-book.stamp+json``.
"""

import base64
import io
import math
import numbers
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from lib import store, worker

DATA_MIME = "application/vnd.sgd-book.data+json"
SAYS_MIME = "application/vnd.sgd-book.says+json"
STAMP_MIME = "application/vnd.sgd-book.stamp+json"
STAMP_FIELDS = (
    "commit",
    "clean",
    "parameters",
    "overridden",
    "seeds",
    "data_sha256",
    "versions",
    "processor",
    "threads",
    "system",
    "started",
    "seconds",
    "chunks",
)
PACKAGES = ("tensorflow", "numpy", "scipy", "seaborn", "papermill", "jupyter-book")
_SVG_LIMIT = 500_000  # bytes; beyond, what a drawing weighs is mostly points, and pixels weigh less
_DPI = 200  # two pixels for each of the book's text column of some 700, as sharp screens have
_ROOT = Path(__file__).resolve().parents[1]

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
    """The data behind a figure as ``{"columns": [...], "rows": [[...]]}``.

    Args:
        data: one column a quantity: finite numbers, text, or None where there is no value.

    Raises:
        ValueError: for data that is not so.
    """
    if isinstance(data, pd.DataFrame):
        index = list(data.index.names)
        if index != [None]:
            raise ValueError(f"data: index {index} would be lost, wanted reset_index() before")
        names = list(data.columns)
        series = [column for _, column in data.items()]
        # NaN is how a table of pandas writes a missing value; elsewhere it is a fault
        pairs = [zip(column.array, column.isna(), strict=True) for column in series]
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


def _picture(fig: Figure, name: str) -> tuple[str, str]:
    """Mime type and content of a figure: the same bytes for the same figure, no date, no version."""
    look = {"facecolor": "white", "bbox_inches": "tight"}
    drawing, pixels = io.BytesIO(), io.BytesIO()
    # the name as salt, so that two drawings in one page share no element id
    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        fig.savefig(drawing, format="svg", metadata={"Date": None, "Creator": None}, **look)
    if len(drawing.getvalue()) <= _SVG_LIMIT:
        return "image/svg+xml", drawing.getvalue().decode()
    fig.savefig(pixels, format="png", dpi=_DPI, metadata={"Software": None}, **look)
    return "image/png", base64.b64encode(pixels.getvalue()).decode()


def about(name: str, caption: str, alt: str) -> dict[str, str]:
    """Name, caption and description of a figure, their spaces made single.

    Args:
        name: ``fig-`` and lower-case letters, digits and ``-``; its label in the book.
        caption: what to see in it, MyST inline markup.
        alt: what it shows, for who cannot see it; 20 characters at least.

    Raises:
        ValueError: naming the argument that is not so.
    """
    if not (isinstance(name, str) and re.fullmatch(r"fig-[a-z0-9]+(-[a-z0-9]+)*", name)):
        raise ValueError(f"name: got {name!r}, wanted fig- and lower-case letters, digits and '-'")
    caption, alt = (" ".join(t.split()) if isinstance(t, str) else "" for t in (caption, alt))
    if not caption:
        raise ValueError(f"caption of {name}: got nothing, wanted a text")
    if len(alt) < 20 or alt == name:
        raise ValueError(f"alt of {name}: got {alt!r}, wanted what it shows in 20 characters or more")
    return {"name": name, "caption": caption, "alt": alt}


def figure(
    fig: Figure, name: str, caption: str, alt: str, data: pd.DataFrame | Mapping[str, Iterable]
) -> None:
    """Shows a figure with its caption, its description and the data behind it, and closes it.

    It is shown as SVG, sharp at any size; as PNG when it holds so many points that the SVG would be large.

    Args:
        fig: the figure.
        name: ``fig-`` and lower-case letters, digits and ``-``; its label in the book.
        caption: what to see in it, MyST inline markup.
        alt: what it shows, for who cannot see it; 20 characters at least.
        data: what was drawn, one column a quantity: finite numbers, text, or None where there is no value.

    Raises:
        ValueError: naming the argument that is not so.
    """
    from IPython.display import display

    about_it = about(name, caption, alt)
    if not isinstance(fig, Figure):
        raise ValueError(f"fig: got {type(fig).__name__}, wanted a matplotlib figure")
    record = columns(data)
    mime, picture = _picture(fig, name)
    plt.close(fig)
    bundle = {mime: picture, "text/plain": f"{name}: {about_it['alt']}", DATA_MIME: record}
    display(bundle, raw=True, metadata={"sgd_book": about_it})


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


def _git(*words: str) -> str | None:
    """What git answers about the project's own checkout, None when it does not."""
    # a hook's GIT_DIR is not ours
    outside = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "--no-optional-locks", "-C", str(_ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=outside)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _system() -> str:
    """Operating system, architecture and C library: what, beside the processor, rounding may depend on."""
    library = " ".join(platform.libc_ver()).strip() or platform.mac_ver()[0] or platform.release()
    return f"{platform.system()} {platform.machine()}, {library}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def seeds_shown(record: Mapping[str, Any]) -> str:
    """The seeds of a stamp as text."""
    seeds = record["seeds"]
    return "none" if seeds is None else "{first} to {last} ({number})".format(**seeds)


def chunks_shown(record: Mapping[str, Any]) -> str:
    """Where the networks of a stamp come from, as text: they are computed and kept in chunks."""
    computed, kept = (record["chunks"][what] for what in ("computed", "kept"))
    if not kept:
        return "all computed in this run" if computed else "none"
    kept_from = "kept from an earlier run of the same code, parameters and seeds on such a machine"
    return f"{kept} of {kept + computed} chunks {kept_from}" if computed else f"all {kept_from}"


def stamp(parameters: Any, data_sha256: str, started: float, seeds: Iterable[int]) -> None:
    """Shows what made this page: commit, parameters, seeds, data, versions, machine, time taken.

    Args:
        parameters: the record of ``params.take``.
        data_sha256: hash of the data's content, 64 hexadecimal digits.
        started: ``time.time()`` at the chapter's start, seconds since 1970.
        seeds: of the chapter's networks; empty when it draws nothing.

    Raises:
        ValueError: when the hash or the start is none, or a seed is no whole number.
    """
    from IPython.display import display

    if not (isinstance(data_sha256, str) and re.fullmatch(r"[0-9a-f]{64}", data_sha256)):
        raise ValueError(f"data_sha256: got {data_sha256!r}, wanted 64 hexadecimal digits")
    seconds = time.time() - plain("started", started)
    if not 0 <= seconds < 1e8:
        raise ValueError(f"started: got {started!r}, wanted time.time() of the chapter's start")
    drawn = sorted(plain("seeds", seed) for seed in seeds)
    if any(isinstance(seed, float) for seed in drawn):
        raise ValueError(f"seeds: got {drawn!r}, wanted whole numbers")
    # a copy of this library inside some other checkout must not take that one's commit for its own
    ours = _git("ls-files", "--error-unmatch", "--", str(Path(__file__).resolve()))
    commit = _git("rev-parse", "HEAD") if ours else None
    changes = _git("status", "--porcelain", "--untracked-files=no") if commit else None
    record = {
        "commit": commit or "unknown",
        "clean": None if changes is None else changes == "",
        "parameters": parameters.asdict(),
        "overridden": list(parameters.overridden),
        "seeds": {"number": len(drawn), "first": drawn[0], "last": drawn[-1]} if drawn else None,
        "data_sha256": data_sha256,
        "versions": {"Python": platform.python_version(), **{p: _version(p) for p in PACKAGES}},
        "processor": store.processor(),
        "threads": len(worker.cores()),
        "system": _system(),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "chunks": store.origins(),
    }
    state = {None: "", True: ", unchanged", False: ", with changes not committed"}[record["clean"]]
    rows = [
        ("commit", record["commit"] + state),
        ("parameters", "changed: " + ", ".join(record["overridden"]) if record["overridden"] else "defaults"),
        ("seeds", seeds_shown(record)),
        ("data", f"sha256 {data_sha256}"),
        *((package, version) for package, version in record["versions"].items()),
        ("processor", f"{record['processor']}, {record['threads']} threads"),
        ("system", record["system"]),
        ("started", record["started"]),
        ("time taken", f"{record['seconds']} seconds"),
        ("networks", chunks_shown(record)),
    ]
    html = table("sgd-stamp", "What made this page", ("what", "value"), rows)
    text = "\n".join(f"{what}: {value}" for what, value in rows)
    display({"text/html": html, "text/plain": text, STAMP_MIME: record}, raw=True)
