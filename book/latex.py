"""Chapters as print takes them: drawings as PDF, tables that break over pages, nothing to click.

Needs ``latexmk``, ``xelatex`` and ``rsvg-convert``, which Debian has.
"""

import base64
import itertools
import shutil
import subprocess
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup, Tag
from sphinx.util import texescape

_TOOLS = {
    "latexmk": "latexmk",
    "xelatex": "texlive-xetex texlive-latex-extra texlive-fonts-recommended",
    "rsvg-convert": "librsvg2-bin",
    "fc-list": "fontconfig fonts-freefont-otf fonts-dejavu",
}
_LINKS = '<span class="sgd-figure-files">'
texescape.init()
_ROOM = 40  # characters of a column's longest cell beyond which it gets no wider: it is wrapped
_HOURGLASS = 900  # seconds


def missing() -> str:
    """What to say when a tool is not installed; empty when all are."""
    lacking = ", ".join(tool for tool in _TOOLS if shutil.which(tool) is None)
    remedy = f"apt-get install --no-install-recommends {' '.join(_TOOLS.values())}"
    return lacking and f"a PDF wants {lacking}. On Debian: {remedy}"


def pdf(text: Path) -> Path:
    """Make the PDF of a LaTeX file, which lies in the folder with all that it takes.

    Returns:
        The PDF beside it.

    Raises:
        RuntimeError: with what TeX complained of.
    """
    command = ["latexmk", "-xelatex", "-interaction=nonstopmode", "-halt-on-error", "-quiet", text.name]
    done = subprocess.run(command, cwd=text.parent, capture_output=True, check=False, timeout=_HOURGLASS)
    made, log = text.with_suffix(".pdf"), text.with_suffix(".log")
    if done.returncode or not made.is_file():
        lines = log.read_text("utf-8", "replace").splitlines() if log.is_file() else []
        faults = [k for k, line in enumerate(lines) if line.startswith("!")]
        said = [line for k in faults[:3] for line in lines[k : k + 3]] or done.stderr.decode().splitlines()
        raise RuntimeError("TeX failed:\n" + "\n".join(said[-15:]))
    return made


def printed(notebook: str) -> str:
    """A chapter's JSON, as pages take it, for print.

    Returns:
        The same with PDF for SVG, without links to files, and with each HTML table as a longtable.
    """
    content = nbformat.reads(notebook, as_version=4)
    cells = []
    for cell in content.cells:
        cells.append(cell)
        if cell.cell_type != "code":
            continue
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure:
            figure["caption"] = figure["caption"].partition(_LINKS)[0].strip()
        kept, tables = [], []
        for output in cell.outputs:
            data = output.get("data", {})
            if svg := data.pop("image/svg+xml", ""):
                command = ["rsvg-convert", "--format=pdf"]
                drawn = subprocess.run(command, input=svg.encode(), capture_output=True, check=True).stdout
                data["application/pdf"] = base64.b64encode(drawn).decode()
            found = BeautifulSoup(data.pop("text/html", ""), "html.parser").find("table")
            if found:
                tables.append(nbformat.v4.new_markdown_cell(f"```{{raw}} latex\n{_longtable(found)}\n```"))
            elif data or "text" in output:
                kept.append(output)
        cell.outputs = kept
        cells += tables
    content.cells = cells
    return nbformat.writes(content)


def _longtable(table: Tag) -> str:
    """An HTML table as LaTeX."""
    rows = [[" ".join(cell.get_text().split()) for cell in row(["th", "td"])] for row in table("tr")]
    columns = list(itertools.zip_longest(*rows, fillvalue=""))
    widest = [min(_ROOM, max(map(len, column)) + 2) for column in columns]
    form = "".join(
        rf">{{\raggedright\arraybackslash}}p{{\dimexpr {w / sum(widest):.3f}\linewidth-2\tabcolsep}}"
        for w in widest
    )
    texts = [[texescape.escape(cell, "xelatex") for cell in row] for row in zip(*columns, strict=True)]
    texts[0] = [rf"\bfseries {cell}" for cell in texts[0]]
    head, *body = (" & ".join(row) + r" \\" for row in texts)
    size = r"\scriptsize" if len(columns) > 5 else r"\footnotesize"
    lines = [rf"{{{size}\setlength{{\tabcolsep}}{{3pt}}", rf"\begin{{longtable}}{{{form}}}"]
    lines += [r"\toprule", head, r"\midrule\endhead", *body, r"\bottomrule", r"\end{longtable}}"]
    return "\n".join(lines)
