"""Sphinx extension: the pages show the executed copies of the chapters, never the notebooks as committed.

Loaded by ``_config.yml``, so a plain ``jupyter-book build .`` gives a correct book as well, or leaves the
last good one: it becomes ``sgd-book build``, at the scale in the environment variable ``SGD_BOOK_SCALE``
(``full`` or ``preview``). What pages show of the chapters is made by the directives in
``book/directives.py``.
"""

import importlib.util
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import nbformat
import pandas as pd
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError

from book import build, cli, contents, directives, drawing, gate, latex, markup, record, run
from book.directives import Citation, History, KeyFigure, Launch, Scoreboard, Status, copies, scale_now
from lib.page.text import TEXT_MIME

MATHJAX = "tex-svg-full.js"  # one file that fetches nothing more: glyphs are drawn, all of TeX is in it
_REMOVED = {"remove-cell", "remove_cell", "remove-output", "remove_output"}
_PREVIEW = "PREVIEW at reduced scale: the numbers in this book are not results."
_NOT_FOUND = {
    "title": "Page not found",
    "body": "<h1>There is no such page</h1><p>All pages are listed at the side; the search finds words.</p>",
}
_BINDER, _COLAB = "https://mybinder.org", "https://colab.research.google.com"


# ---- notebooks -------------------------------------------------------------------------------------------


def page_text(notebook: nbformat.NotebookNode, docname: str) -> tuple[str, dict[str, bytes]]:
    """Text of an executed notebook as the page builder takes it, and the files that its figures offer.

    Text that was filled in becomes a cell of MyST. A figure becomes a cell of its own, whose metadata give it
    number, caption, label and alt text; under the caption stand links to its data, its picture, and the
    hidden code that leads to it. Other hidden code is linked under what it shows.

    Returns:
        The notebook as JSON, and the content of each file by its path in the output.
    """
    cells, files, hidden = [], {}, []
    stamp = next(iter(gate.records(notebook, gate.STAMP_MIME)), None)
    chapter, up = docname.rsplit("/", 1)[-1], "../" * docname.count("/")

    def code(name: str) -> str:
        """Address of a file with the hidden code since the last one; empty when there is none."""
        if not hidden:
            return ""
        place = f"figures/{chapter}/{name}.py"
        said = "cells that measured and drew this, but for those that the page shows"
        files[place] = "\n\n".join([f"# From {docname}.ipynb: {said}.\n", *hidden]).encode() + b"\n"
        hidden.clear()
        return up + place

    for cell in notebook.cells:
        if cell.cell_type != "code" or _REMOVED & set(cell.metadata.get("tags", ())):
            cells.append(cell)
            continue
        cell.source = re.sub(r"\A# part:.*\n", "", cell.source)  # pages have all parts
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        target, rest, cell.outputs = None if folded else cell, cell.outputs, []
        if not folded:
            cells.append(cell)
        elif not cell.source.startswith("%%"):
            hidden.append(cell.source)
        for output in rest:
            data, metadata = output.get("data", {}), output.get("metadata", {})
            if "sgd_book_caption" in metadata or "data" in output and not any(data.values()):
                continue  # a figure's cell has its caption; a bar of progress leaves nothing
            if figure := metadata.get("sgd_book"):
                stem, table = f"figures/{chapter}/{figure['name']}", data[gate.DATA_MIME]
                about = {part: figure[part] for part in ("name", "caption", "alt")}
                files |= {f"{stem}.svg": "".join(data[gate.SVG_MIME]).encode(), f"{stem}.csv": _csv(table)}
                files[f"{stem}.json"] = _json({**about, "chapter": chapter, **table, "made": stamp})
                cells.append(_figure_cell(figure, data, up + stem, code(figure["name"])))
                target = None
            elif "text/markdown" in data:
                text = data.get(TEXT_MIME, {}).get("myst", data["text/markdown"])
                cells.append(nbformat.v4.new_markdown_cell(text, id=_id(cell, cells)))
                target = None
            else:
                if target is None:  # an output after a figure stays after it
                    target = _bare_cell(_id(cell, cells))
                    cells.append(target)
                for mime in (gate.CLAIMS_MIME, gate.STAMP_MIME):
                    data.pop(mime, None)
                target.outputs.append(output)
        if folded and target is not None and (place := code(cell.id)):
            link = f'<span class="sgd-figure-files"><a href="{escape(place)}" download>Code</a></span>'
            cells.append(nbformat.v4.new_markdown_cell(link, id=_id(cell, cells)))
    notebook.cells = cells
    for private in ("papermill", "sgd_book", gate.RUN_METADATA):
        notebook.metadata.pop(private, None)
    return nbformat.writes(notebook), files


def _id(cell: nbformat.NotebookNode, cells: Sequence) -> str:
    return f"{cell.id[:50]}-{len(cells)}"


def _bare_cell(name: str) -> nbformat.NotebookNode:
    # MyST-NB leaves out cells without code, even those with outputs
    return nbformat.v4.new_code_cell("...", id=name[:64], metadata={"tags": ["remove-input"]})


def _figure_cell(figure: Mapping, data: Mapping, stem: str, code: str) -> nbformat.NotebookNode:
    links = (
        '<span class="sgd-figure-files">Download: '
        f'data (<a href="{escape(stem)}.csv" download>CSV</a>, '
        f'<a href="{escape(stem)}.json" download>JSON</a>), '
        f'<a href="{escape(stem)}.svg" download>figure (SVG)</a>'
        + (f', <a href="{escape(code)}" download>code</a>' if code else "")
        + "</span>"
    )
    cell = _bare_cell(figure["name"])
    cell.metadata["mystnb"] = {
        "figure": {"name": figure["name"], "caption": f"{figure['caption']}\n\n{links}"},
        "image": {"alt": figure["alt"]},  # in print
    }
    picture = "".join(data[gate.SVG_MIME])  # for print; a page shows the HTML
    html = data.get("text/html") or drawing.inline(picture, figure["name"], figure["alt"])
    shown = {"text/html": html, gate.SVG_MIME: picture}
    cell.outputs = [nbformat.v4.new_output("display_data", shown)]
    return cell


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _csv(table: Mapping[str, Any]) -> bytes:
    frame = pd.DataFrame(table["rows"], columns=table["columns"], dtype=object)
    return frame.to_csv(index=False, lineterminator="\n").encode()


# ---- events ----------------------------------------------------------------------------------------------


def configure(app: Sphinx, config: Config) -> None:
    """Marks a preview, takes MathJax from this project, and names addresses if the environment does."""
    config.mathjax_path = f"mathjax/{MATHJAX}"
    options = config.html_theme_options
    if scale_now() == "preview":
        config.html_title = f"PREVIEW: {config.html_title}"
        options["announcement"] = f'<span class="{gate.PREVIEW_CLASS}">{_PREVIEW}</span>'
    repository = os.environ.get(directives.REPOSITORY)
    options.pop("repository_url", None)  # the default is the page builder's own
    if repository:
        options |= {"repository_url": repository, "repository_branch": "main", "use_repository_button": True}
        launch = {"binderhub_url": _BINDER, "colab_url": _COLAB, "notebook_interface": "jupyterlab"}
        options["launch_buttons"] = launch
    try:
        url = contents.address()
    except ValueError as error:
        raise ExtensionError(str(error)) from error
    config.notfound_context, config.notfound_urls_prefix = _NOT_FOUND, urlsplit(url).path or "/"
    if url:
        config.html_baseurl = config.ogp_site_url = url
        config.ogp_site_name = config.html_title
        config.ogp_social_cards = {"line_color": "#0072b2", "image_mini": "_static/card.png"}


def prepare(app: Sphinx) -> None:
    """Sees to it that pages are made of current copies that passed the gate, and put in place when judged.

    Inside a build that is so. HTML that is asked for without one is left to a build, and with it this process
    ends; for other forms, which stand nowhere, chapters that are not current are run.
    """
    root, scale = Path(app.srcdir), scale_now()
    app.sgd_files, inside = {}, os.environ.get(build.INSIDE)
    if not inside and app.builder.format == "html":
        raise SystemExit(cli.main(["build", *["--preview"] * (scale == "preview")], root))
    try:
        if not inside:
            with run.lock(root, click.echo):
                build.refuse(build.run_chapters(root, scale))
        copies(app)
    except run.RunError as error:
        raise ExtensionError(str(error)) from error


def read_executed(app: Sphinx, docname: str, source: list[str]) -> None:
    """Puts the executed copy in the place of the notebook as committed."""
    for chapter, _ in copies(app):
        if chapter.docname == docname:
            copy = run.copy_path(chapter.path, Path(app.srcdir), scale_now())
            source[0], files = page_text(run.load(copy), docname)
            app.sgd_files.update(files)
            if app.builder.format == "latex":
                source[0] = latex.printed(source[0])


def finish_page(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: Any) -> None:
    """Says what is to be said on every page, when all others have said theirs.

    A preview says at its top, and in its title, that it is one. Each entry of a bibliography is an item of
    its list; docutils gives it a role no longer in use. Browsers fetch and run what is the book's own, and
    nothing else; that stands first in the page's head.
    """
    body = context.get("body")
    if scale_now() == "preview":
        context["title"] = f"PREVIEW: {context.get('title', '')}"
        body = body and f'<p class="{gate.PREVIEW_CLASS}"><strong>{_PREVIEW}</strong></p>\n{body}'
    if body:
        context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')
    stated = f'<meta http-equiv="Content-Security-Policy" content="{markup.policy(pagename)}">'
    context["metatags"] = f"{stated}\n{context.get('metatags', '')}"


def write_files(app: Sphinx, error: Exception | None) -> None:
    """Writes what the pages offer as files, the index, the list of pages for search engines, and MathJax."""
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    shutil.rmtree(out / "figures", ignore_errors=True)
    for name, content in app.sgd_files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(content)
    notebooks = [notebook for _, notebook in copies(app)]
    board = {"scale": scale_now(), "chapters": record.claims_records(notebooks)}
    board["provenance"] = record.provenance(notebooks)
    (out / "scoreboard.json").write_bytes(_json(board))
    (out / "scoreboard.csv").write_bytes(_csv(directives.claims_table(app)))
    if url := contents.address():
        names = [escape(url + app.builder.get_target_uri(name)) for name in sorted(app.env.found_docs)]
        urls = "".join(f"<url><loc>{name}</loc></url>\n" for name in names)
        head = '<?xml version="1.0" encoding="utf-8"?>\n'
        space = "http://www.sitemaps.org/schemas/sitemap/0.9"
        (out / "sitemap.xml").write_text(f'{head}<urlset xmlns="{space}">\n{urls}</urlset>\n', "utf-8")
    # who comes by the book's address sees its first page at once, with title and card, and is not sent on
    first = out / app.builder.get_target_uri(app.config.root_doc)
    if first.name != "index.html":
        shutil.copyfile(first, out / "index.html")
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None:
        raise ExtensionError("sphinx-mathjax-offline is not installed: pip install -r requirements.txt")
    folder = out / "_static" / "mathjax"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(package.origin).parent / "static" / "mathjax" / MATHJAX, folder / MATHJAX)


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers all of it with Sphinx."""
    for directive in (Citation, History, KeyFigure, Launch, Scoreboard, Status):
        app.add_directive(directive.__name__.lower(), directive)
    app.setup_extension("notfound.extension")
    if os.environ.get(contents.URL):  # cards and their addresses mean nothing where the book has none
        app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", configure, priority=10)
    app.connect("builder-inited", prepare)
    # every page is read again: what it shows may have changed while its file has not
    app.connect("env-get-outdated", lambda app, env, *_: sorted(env.found_docs))
    app.connect("source-read", read_executed)
    app.connect("html-page-context", finish_page, priority=900)
    app.connect("build-finished", write_files, priority=900)  # after the index that only sends on
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
