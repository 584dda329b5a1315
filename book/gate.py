"""The gate: what an executed notebook and a built page must be before anybody sees them.

Every function takes what it judges and gives a list of faults in plain words; an empty list lets it pass.
Nothing is executed or changed here. Both gates are needed because the book builder publishes anything: cells
that failed, cells that never ran, figures without a description.
"""

import ast
import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import nbformat

from book import markup
from book.markup import Markup
from lib.ensembles import store
from lib.page import claims, explore
from lib.page.figures import DATA_MIME
from lib.page.provenance import STAMP_FIELDS, STAMP_MIME
from lib.page.text import TEXT_MIME

Notebook = Mapping[str, Any]  # its content as nested dicts, of format 4.5
CLAIMS_MIME = claims.MIME
SVG_MIME = "image/svg+xml"
RUN_METADATA = "sgd_book_run"
PREVIEW_CLASS = "sgd-preview"

_MIMES = {
    SVG_MIME, CLAIMS_MIME, DATA_MIME, TEXT_MIME, STAMP_MIME,
    "text/plain", "text/html", "text/markdown", "text/latex",
}  # fmt: skip
_LARGEST = 2_000_000  # characters of an output: the page builder takes minutes for 30 million
_START = r"(?<![\w./~-])"
_PLACES = (
    "home|root|Users|Volumes|tmp|private|var|work|workspaces?|builds|mnt|media|opt|usr|srv|data|etc|nix|snap|"
    "content|kaggle|app|code|project|scratch|proc|sys|dev"
)
_PATHS = rf"(?:{_START}|file://)/(?:{_PLACES})/[\w.~-]+|(?<!\w)[A-Za-z]:\\(?:Users\\|[\w.-]+\\[\w.])"
_RAW = re.compile(r"\{[a-z][\w:-]*\}|^\s*(?::::|%\s)|\{\{|\}\}|^\([\w-]+\)=\s*$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`|\$\$.*?\$\$|\$[^$]+\$", re.DOTALL | re.MULTILINE)
_UNHEARD = re.compile(r"get_ipython|\bsubprocess\b|\bos\.(?:system|popen|exec|spawn)")
_FILE_NAME = re.compile(r"\S+\.(png|svg|jpe?g|gif|webp)", re.IGNORECASE)
_LEFTOVERS = {
    "papermill-error-cell": "an error banner of papermill",
    "Traceback (most recent call last)": "a Python error",
    'class="system-message': "an error message of the page builder",
    'class="problematic': "text that the page builder could not resolve",
    "np.float64(": "a raw NumPy number",
}


# ---- executed notebooks ----------------------------------------------------------------------------------


def outputs(notebook: Notebook) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Every output of a notebook: pairs (id of its cell, output)."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield cell.get("id", "?"), output


def records(notebook: Notebook, mime: str) -> list[Any]:
    """What the outputs of a notebook hold in one MIME type, in order."""
    return [o["data"][mime] for _, o in outputs(notebook) if mime in o.get("data", {})]


def about(output: Mapping[str, Any]) -> Any:
    """What an output says of itself as a figure: name, caption and alt text; empty for any other."""
    return output.get("metadata", {}).get("sgd_book", {})


def figures(notebook: Notebook) -> dict[str, Mapping[str, Any]]:
    """Outputs of an executed notebook that passed the gate and are figures, by name."""
    return {about(output)["name"]: output for _, output in outputs(notebook) if about(output)}


def filled(notebook: Notebook) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """All text that was filled in from the run: text cells, the answer, captions and descriptions.

    Yields:
        Pairs (cell id, record with ``words`` and ``values``, see `lib.page.text.Filled`).
    """
    for cell, output in outputs(notebook):
        for record in (output.get("data", {}).get(TEXT_MIME), about(output)):
            if isinstance(record, Mapping) and "words" in record:
                yield cell, record


def seal(notebook: nbformat.NotebookNode, note: Mapping[str, Any]) -> None:
    """Notes in the metadata of an executed notebook what made it, with a hash over that and all that it has.

    The note has the content key as ``key``, and what else is to stand there.
    """
    notebook.metadata[RUN_METADATA] = {**note, "seal": _seal(notebook, note)}


def sealed(notebook: Notebook) -> dict[str, Any]:
    """The note of an executed notebook that is as it was when it was sealed; empty for any other."""
    note = dict(notebook.get("metadata", {}).get(RUN_METADATA, {}))
    return note if note.pop("seal", None) == _seal(notebook, note) else {}


def _seal(notebook: Notebook, note: Mapping[str, Any]) -> str:
    # a file holds a text as lines, a notebook as one text: what nbformat writes of both is the same
    content = json.loads(nbformat.v4.writes(nbformat.from_dict(notebook)))
    content["metadata"].pop(RUN_METADATA, None)
    for part in (content, *content["cells"]):
        part["metadata"].pop("papermill", None)  # times
    return store.digest([note, content])


def notebook_faults(notebook: Notebook, roots: Iterable[Path] = (), key: str | None = None) -> list[str]:
    """Judge one executed notebook.

    Args:
        notebook: executed notebook as nested dicts.
        roots: folders of this machine whose paths may stand in no output, but for those that whoever ran it
            gave as parameters.
        key: content key the notebook must carry; None when it is not yet stamped with one.

    Returns:
        Faults, empty when the notebook may be published.
    """
    faults: list[str] = []
    carried = notebook.get("metadata", {}).get(RUN_METADATA, {}).get("key")
    if key is not None and carried != key:
        faults.append("not current: text, library, parameters, data, requirements or Python changed")
    elif key is not None and not sealed(notebook):
        faults.append("not current: it is not as it was when it had run, or has no seal")
    private, given = _private(roots), _given(notebook)
    for cell in notebook["cells"]:
        faults += [f"cell {cell.get('id', '?')}: {fault}" for fault in _cell_faults(cell, private, given)]
    stated = records(notebook, CLAIMS_MIME)
    if len(stated) != 1:
        faults.append(f"{len(stated)} claims records, wanted one")
    for record in stated:
        try:
            claims.validate(record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            faults.append(f"claims record: {str(error) or type(error).__name__}")
    if not given:  # a reader's own parameters may leave one state
        faults += [
            f"cell {name}: explorable figure with nothing to move"
            for name, output in outputs(notebook)
            if _is_explorable(output) and explore.states("".join(output["data"]["text/html"])) < 2
        ]
    stamps = records(notebook, STAMP_MIME)
    if len(stamps) != 1:
        faults.append(f"{len(stamps)} stamps (versions, data and parameters of the run), wanted one")
    for stamp in stamps:
        if wrong := sorted(set(stamp) ^ set(STAMP_FIELDS)):
            faults.append(f"stamp: missing or unknown: {', '.join(wrong)}")
        elif not stamp["overridden"]:
            faults += _unheld(notebook)
    names = [about(output).get("name") for _, output in outputs(notebook)]
    twice = {str(name) for name in names if name and names.count(name) > 1}
    faults += [f"figure name {name} is used twice" for name in sorted(twice)]
    return faults + list(_raw(notebook))


def _unheld(notebook: Notebook) -> Iterable[str]:
    """What the prose says in words and the run at the chapter's defaults does not bear out."""
    for cell, text in filled(notebook):
        for entry in text["words"]:
            if entry["holds"] is not True:
                state = "is not so" if entry["holds"] is False else "cannot be told"
                yield f"cell {cell}: the text says {entry['words']!r}, and in this run it {state}"


def raw(markdown: str) -> re.Match[str] | None:
    """First place of a Markdown text that a front end would show as it was typed."""
    return _RAW.search(_CODE.sub("", markdown))


def _raw(notebook: Notebook) -> Iterable[str]:
    """Text that a front end would show as it was typed: roles, fences, labels, comments, fields."""
    for cell in notebook["cells"]:
        texts = ["".join(cell["source"])] if cell["cell_type"] == "markdown" else []
        texts += ["".join(o.get("data", {}).get("text/markdown", "")) for o in cell.get("outputs", ())]
        for text in texts:
            if found := raw(text):
                yield f"cell {cell.get('id', '?')}: its text shows {found[0].strip()!r} as it is"


def _private(roots: Iterable[Path]) -> re.Pattern[str]:
    """Paths of any machine that look private, and those of this one that are."""
    folders = [*roots, Path.home(), Path(tempfile.gettempdir())]
    known = {str(p) for folder in folders for p in (folder, folder.resolve()) if len(p.parts) > 1}
    return re.compile("|".join([_PATHS, *(rf"{_START}{re.escape(p)}(?![\w-])" for p in sorted(known))]))


def _given(notebook: Notebook) -> str:
    """The text by which parameters were given; a copy at the defaults has none."""
    tagged = (c for c in notebook["cells"] if "injected-parameters" in c.get("metadata", {}).get("tags", ()))
    return "\n".join("".join(cell["source"]) for cell in tagged)


def _cell_faults(cell: Mapping[str, Any], private: re.Pattern[str], given: str) -> Iterable[str]:
    metadata, source = cell.get("metadata", {}), "".join(cell["source"])
    if any("papermill-error" in tag for tag in metadata.get("tags", ())):
        yield "error banner of papermill"
    if cell["cell_type"] != "code":
        return
    if not source.strip():
        yield "empty code cell"
        return
    if not _plain_python(source):
        yield "is not plain Python: nobody hears when a shell command or a magic of IPython fails"
    status = metadata.get("papermill", {}).get("status")
    if cell.get("execution_count") is None:
        yield "was not run"
    elif status != "completed":
        yield f"did not complete (status {status})"
    for output in cell.get("outputs", ()):
        yield from _output_faults(output, private, given)


def told(source: str) -> str | None:
    """What a text cell tells; None for the source of any other cell."""
    first, _, rest = source.partition("\n")
    return rest if re.match(r"%%(text|answer)\b", first) else None


def _plain_python(source: str) -> bool:
    if told(source) is not None:
        return True
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return not _UNHEARD.search(source)


def _texts(content: Any) -> Iterable[str]:
    """Every text of an output, wherever it stands."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from _texts([*content, *content.values()])
    elif isinstance(content, list | tuple):
        yield from (text for part in content for text in _texts(part))


def _output_faults(output: Mapping[str, Any], private: re.Pattern[str], given: str) -> Iterable[str]:
    kind, data = output["output_type"], output.get("data", {})
    if kind == "error":
        yield f"raised {output.get('ename')}: {str(output.get('evalue'))[:200]}"
        return
    if kind == "stream" and output.get("name") == "stderr":
        yield f"wrote to stderr: {''.join(output['text']).strip()[:200]}"
        return
    yield from (f"output of type {mime}, wanted {', '.join(sorted(_MIMES))}" for mime in set(data) - _MIMES)
    texts = list(_texts(output))
    if (size := sum(map(len, texts))) > _LARGEST:
        yield f"output of {size / 1e6:.1f} million characters, wanted {_LARGEST / 1e6:g} at most"
    paths = (found[0] for found in private.finditer("\n".join(texts)))
    if path := next((path for path in paths if path not in given), None):
        yield f"output holds a path of this machine: {path}"
    for mime in {"text/html", "text/markdown"} & set(data):
        yield from (f"{mime}: {fault}" for fault in Markup("".join(data[mime])).faults)
    if SVG_MIME in data:
        yield from markup.drawing_faults("".join(data[SVG_MIME]))
    if _is_explorable(output) or any(mime.startswith("image/") for mime in data):
        yield from _figure_faults(output)


def _is_explorable(output: Mapping[str, Any]) -> bool:
    return explore.MARK in "".join(output.get("data", {}).get("text/html", ""))


def _figure_faults(output: Mapping[str, Any]) -> Iterable[str]:
    figure = about(output)
    if not figure:
        yield "figure without name, caption and alt text (show it with lib.page)"
        return
    for field in ("name", "caption", "alt"):
        if not str(figure.get(field) or "").strip():
            yield f"figure without {field}"
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", str(figure.get("name") or "-")):
        yield f"figure name {figure.get('name')!r}, wanted lower-case letters, digits and hyphens"
    if _FILE_NAME.fullmatch(str(figure.get("alt") or "").strip()):
        yield "figure whose alt text is a file name"
    table = output["data"].get(DATA_MIME)
    if not isinstance(table, Mapping) or not table.get("columns") or not table.get("rows"):
        yield "figure without the data behind it"
    elif any(len(row) != len(table["columns"]) for row in table["rows"]):
        yield "figure whose data has rows of another length than its columns"
    if _is_explorable(output):
        yield from explore.html_faults("".join(output["data"]["text/html"]))
        if SVG_MIME not in output["data"]:
            yield "explorable figure without a picture for places that show no HTML"


# ---- built pages -----------------------------------------------------------------------------------------


def html_faults(html: Path, preview: bool, prefix: str = "/") -> list[str]:
    """Judge a built book.

    Args:
        html: folder with its pages.
        preview: whether it is a preview, which every page must say; a full book must not say it anywhere.
        prefix: path at which the book will stand on its host, where links that begin with ``/`` begin.

    Returns:
        Faults, each with the page it is on; empty when the book may be published.
    """
    html = html.resolve()
    pages = {
        path: markup.page_markup(path.read_text("utf-8"))
        for path in sorted(html.rglob("*.html"))
        if path.relative_to(html).parts[0] not in {"_static", "_sources"}
    }
    if html / "index.html" not in pages:
        return ["there is no index.html"]
    faults = [
        f"{path.relative_to(html).as_posix()}: {fault}"
        for path in sorted(html.rglob("*.svg"))
        for fault in markup.drawing_faults(path.read_bytes())
    ]
    for path, page in pages.items():
        found = [f"{reason} is on the page" for mark, reason in _LEFTOVERS.items() if mark in page.text]
        found += page.faults
        title = re.search("<title[^>]*>([^<]*)", page.text)
        told = {PREVIEW_CLASS in page.classes, bool(title and "PREVIEW" in title[1])}
        if told != {preview}:
            found.append("is not marked as a preview" if preview else "is marked as a preview")
        for given in (given for tag, given in page.tags if tag == "img"):
            alt = given.get("alt", "").strip()
            if not alt or _FILE_NAME.fullmatch(alt):
                found.append(f"image {given.get('src')} has no alt text")
        scripts = [url for url in page.fetched if markup.address(url).path.endswith(explore.SCRIPT)]
        if explore.MARK in page.classes and not scripts:
            found.append(f"explorable figure without its script {explore.SCRIPT}")
        links = [given["href"] for tag, given in page.tags if tag == "a" and "href" in given]
        for url in links + page.fetched:
            found += _link_faults(path, url, html, pages, prefix)
        faults += [f"{path.relative_to(html).as_posix()}: {fault}" for fault in dict.fromkeys(found)]
    return faults


def _link_faults(path: Path, url: str, html: Path, pages: Mapping[Path, Markup], prefix: str) -> list[str]:
    parts = markup.address(url)
    if parts.scheme or parts.netloc:
        return []
    start, way = path.parent, unquote(parts.path)
    if way.startswith("/"):
        if not f"{way}/".startswith(prefix):
            return [f"link to {url}, outside the book"]
        start, way = html, f"{way}/".removeprefix(prefix).rstrip("/")
    target = path if not parts.path else (start / way).resolve()
    if target.is_dir():
        target = target / "index.html"
    if not target.is_relative_to(html) or not target.is_file():
        return [f"link to {url}, which is not there"]
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
        return [f"link to {url}: no such place on that page"]
    return []
