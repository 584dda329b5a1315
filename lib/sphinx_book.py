"""Sphinx extension: the pages show the executed copies of the chapters, never the notebooks as committed.

Loaded by ``_config.yml``, so a plain ``jupyter-book build .`` gives a correct book as well: chapters that
are not current are run first, at the scale in the environment variable ``SGD_BOOK_SCALE`` (``full`` or
``preview``). Directives: ``{scoreboard}``, the claims of all chapters; ``{status}``, how each was run.
"""

import base64
import csv
import importlib.util
import io
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from lib import book, claims, gate, record, run

MATHJAX = "tex-svg-full.js"  # one file that fetches nothing more: glyphs are drawn, all of TeX is in it
_REMOVED = {"remove-cell", "remove_cell", "remove-output", "remove_output"}
_PREVIEW = "PREVIEW at reduced scale: the numbers in this book are not results."


def scale_now() -> str:
    """Scale of this build, from the environment."""
    scale = os.environ.get(book.SCALE, "full")
    if scale not in ("full", "preview"):
        raise ExtensionError(f"{book.SCALE}: got {scale!r}, wanted full or preview")
    return scale


# ---- notebooks -------------------------------------------------------------------------------------------


def page_text(notebook: nbformat.NotebookNode, docname: str) -> tuple[str, dict[str, bytes]]:
    """Text of an executed notebook as the page builder takes it, and the files that its figures offer.

    A figure becomes a cell of its own, whose metadata give it number, caption, label and alt text; under the
    caption stand links to its data and to its picture.

    Args:
        notebook: executed copy of a chapter.
        docname: its page.

    Returns:
        The notebook as JSON, and the content of each file by its path in the output.
    """
    cells, files = [], {}
    chapter, up = docname.rsplit("/", 1)[-1], "../" * docname.count("/")
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type != "code" or _REMOVED & set(cell.metadata.get("tags", ())):
            continue
        target, rest, cell.outputs = cell, cell.outputs, []
        for output in rest:
            figure = output.get("metadata", {}).get("sgd_book")
            if figure:
                mime = next(m for m in gate.IMAGE_MIMES if m in output.data)
                content, stem = output.data[mime], f"figures/{chapter}/{figure['name']}"
                picture, table = f"{stem}.{'svg' if 'svg' in mime else 'png'}", f"{stem}.csv"
                files[picture] = content.encode() if "svg" in mime else base64.b64decode(content)
                files[table] = _csv(output.data[gate.DATA_MIME])
                cells.append(_figure_cell(figure, mime, content, up + table, up + picture))
                target = None
                continue
            if target is None:  # an output after a figure stays after it
                target = _bare_cell(f"{cell.id}-{len(cells)}")
                cells.append(target)
            for mime in (gate.CLAIMS_MIME, gate.STAMP_MIME):
                output.get("data", {}).pop(mime, None)
            target.outputs.append(output)
    notebook.cells = cells
    for private in ("papermill", "sgd_book", gate.RUN_METADATA):
        notebook.metadata.pop(private, None)
    return nbformat.writes(notebook), files


def _bare_cell(name: str) -> nbformat.NotebookNode:
    # MyST-NB leaves out cells without code, even those with outputs
    return nbformat.v4.new_code_cell("...", id=name[:64], metadata={"tags": ["remove-input"]})


def _figure_cell(
    figure: Mapping[str, str], mime: str, content: str, table: str, picture: str
) -> nbformat.NotebookNode:
    kind = Path(picture).suffix[1:].upper()
    links = (
        '<span class="sgd-figure-files">Download: '
        f'<a href="{escape(table)}" download>data (CSV)</a>, '
        f'<a href="{escape(picture)}" download>figure ({kind})</a></span>'
    )
    cell = _bare_cell(figure["name"])
    cell.metadata["mystnb"] = {
        "figure": {"name": figure["name"], "caption": f"{figure['caption']}\n\n{links}"},
        "image": {"alt": figure["alt"]},
    }
    cell.outputs = [nbformat.v4.new_output("display_data", {mime: content})]
    return cell


def _csv(table: Mapping[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return text.getvalue().encode()


# ---- directives ------------------------------------------------------------------------------------------


def _table(head: Sequence[str], rows: Iterable[Sequence[str | nodes.Node]], css: str) -> nodes.table:
    """A docutils table; the theme lets wide ones scroll within themselves."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))

    def row(cells: Sequence[str | nodes.Node]) -> nodes.row:
        wrapped = (nodes.Text(c) if isinstance(c, str) else c for c in cells)
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", c)) for c in wrapped))

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", group, classes=[css])


def _link(docname: str, text: str, here: str) -> nodes.Node:
    return addnodes.pending_xref(
        "",
        nodes.inline("", text),
        refdomain="std",
        reftype="doc",
        refexplicit=True,
        reftarget=f"/{docname}",
        refdoc=here,
        refwarn=True,
    )


class Scoreboard(SphinxDirective):
    """``{scoreboard}``: every claim of every chapter, the source's number, ours, and the verdict."""

    def run(self) -> list[nodes.Node]:
        """Makes the counts, the table, and the link to the same as JSON."""
        rows, counts = [], dict.fromkeys(claims.VERDICTS, 0)
        for chapter, notebook in _copies(self.env.app):
            for record_ in gate.records(notebook, gate.CLAIMS_MIME):
                for claim in record_["claims"]:
                    counts[claim["verdict"]] += 1
                    rows.append(self._row(chapter, claim))
        total = sum(counts.values())
        words = ", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n)
        link = '<p><a href="scoreboard.json" download>This table as JSON</a></p>'
        head = ("Claim", "Source's number", "Ours (interval)", "n", "Verdict", "Chapter")
        return [
            nodes.paragraph("", f"{total} claim{'s' * (total != 1)}: {words}."),
            _table(head, rows, "sgd-claims"),
            nodes.raw("", link, format="html"),
        ]

    def _row(self, chapter: book.Chapter, claim: Mapping[str, Any]) -> list[str | nodes.Node]:
        ours = "not measured"
        if claim["value"] is not None:
            ours = "{} ({}) {}".format(*claims.shown(claim["value"], claim["interval"]), claim["unit"])
        said = nodes.inline("", "", nodes.Text(claim["statement"]), nodes.Text(f" ({claim['source']})"))
        verdict, expected, note = claim["verdict"], claim["expected"], ""
        if verdict == "fails" == expected:
            note = f", as expected: {claim['why']}"
        elif verdict not in (expected, "out of range"):
            note = f", expected: {expected}"
        mark = nodes.inline("", verdict, classes=[f"verdict-{verdict.replace(' ', '-')}"])
        shown = nodes.inline("", "", mark, nodes.Text(note))
        title = chapter.name.replace("_", " ")
        n = "" if claim["n"] is None else str(claim["n"])
        return [said, claim["stated"], ours, n, shown, _link(chapter.docname, title, self.env.docname)]


class Status(SphinxDirective):
    """``{status}``: how each chapter was run."""

    def run(self) -> list[nodes.Node]:
        """Makes the table."""
        rows = []
        for chapter, notebook in _copies(self.env.app):
            for stamp in gate.records(notebook, gate.STAMP_MIME)[:1]:
                clean = {True: "", False: ", with changes not committed", None: ""}[stamp["clean"]]
                versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
                rows.append(
                    [
                        _link(chapter.docname, chapter.name.replace("_", " "), self.env.docname),
                        f"{stamp['seconds']} s",
                        stamp["started"][:16].replace("T", " "),
                        ", ".join(stamp["overridden"]) or "defaults",
                        f"{stamp['processor']}, {stamp['threads']} threads",
                        versions,
                        stamp["commit"][:12] + clean,
                        stamp["data_sha256"][:12],
                    ]
                )
        head = ("Chapter", "Time", "Started", "Parameters changed", "Machine", "Versions", "Commit", "Data")
        return [_table(head, rows, "sgd-status")]


# ---- events ----------------------------------------------------------------------------------------------


def _copies(app: Sphinx) -> list[tuple[book.Chapter, Any]]:
    root = Path(app.srcdir)
    return list(zip(book.chapters(root), book.executed(root, scale_now()), strict=True))


def configure(app: Sphinx, config: Config) -> None:
    """Marks a preview, names the repository if the environment does, and takes MathJax from this project."""
    config.mathjax_path = f"mathjax/{MATHJAX}"
    options = config.html_theme_options
    if scale_now() == "preview":
        config.html_title = f"PREVIEW: {config.html_title}"
        options["announcement"] = f'<span class="{gate.PREVIEW_CLASS}">{_PREVIEW}</span>'
    repository = os.environ.get("SGD_BOOK_REPOSITORY")
    options.pop("repository_url", None)  # the default is the page builder's own
    if repository:
        options |= {"repository_url": repository, "repository_branch": "main", "use_repository_button": True}


def prepare(app: Sphinx) -> None:
    """Makes sure that every chapter has a current executed copy that passed the gate."""
    root, scale = Path(app.srcdir), scale_now()
    app.sgd_files = {}
    if not os.environ.get(book.INSIDE):
        with run.lock(root, book.say):
            faults = book.run_chapters(root, scale)
        if faults:
            raise ExtensionError("\n".join(faults))
    try:
        book.executed(root, scale)
    except run.RunError as error:
        raise ExtensionError(str(error)) from error


def outdated(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Marks every page for reading: what it shows may have changed while its file has not."""
    return sorted(env.found_docs)


def read_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the executed copy in the place of the notebook as committed."""
    root = Path(app.srcdir)
    for chapter in book.chapters(root):
        if chapter.docname == docname:
            copy = run.expected_copy(chapter.path, root, scale_now())
            source[0], files = page_text(run.load(copy.path), docname)
            app.sgd_files.update(files)


def mark_preview(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Says at the top of every page of a preview, and in its title, that it is one."""
    if scale_now() == "preview":
        context["title"] = f"PREVIEW: {context.get('title', '')}"
        if context.get("body"):
            line = f'<p class="{gate.PREVIEW_CLASS}"><strong>{_PREVIEW}</strong></p>'
            context["body"] = f"{line}\n{context['body']}"


def name_references(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Makes each entry of a bibliography an item of its list; docutils gives it a role no longer in use."""
    if context.get("body"):
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Writes what the figures offer, the scoreboard as JSON, and MathJax into the output."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    shutil.rmtree(out / "figures", ignore_errors=True)
    for name, content in app.sgd_files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    board = {"scale": scale_now(), "chapters": record.claims_records([nb for _, nb in _copies(app)])}
    text = json.dumps(board, indent=1, ensure_ascii=False)
    (out / "scoreboard.json").write_text(text + "\n", encoding="utf-8")
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None:
        raise ExtensionError("sphinx-mathjax-offline is not installed: pip install -r requirements.txt")
    folder = out / "_static" / "mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(package.origin).parent / "static" / "mathjax" / MATHJAX, folder / MATHJAX)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all of it with Sphinx."""
    app.add_directive("scoreboard", Scoreboard)
    app.add_directive("status", Status)
    app.connect("config-inited", configure, priority=10)
    app.connect("builder-inited", prepare)
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read_executed)
    app.connect("html-page-context", mark_preview)
    app.connect("html-page-context", name_references)
    app.connect("build-finished", write_files)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
