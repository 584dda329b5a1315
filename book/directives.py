"""What pages other than chapters show of them: key figures, scoreboard, accepted numbers, how each was made.

Directives of Sphinx, which write MyST from the executed copies of this very build: ``{keyfigure}``,
``{scoreboard}``, ``{status}``, ``{history}``, ``{citation}`` and ``{launch}``.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from book import build, contents, drawing, gate, record
from lib import stats
from lib.page import claims, provenance

REPOSITORY = "SGD_BOOK_REPOSITORY"  # address of the project, where it is known
_PLURAL = {"holds": "hold", "fails": "fail"}
Record = Mapping[str, Any]  # a claim, or a stamp
_FILES = """```{raw} html
<p>Download all of it: <a href="scoreboard.csv" download>CSV</a>, <a href="scoreboard.json" download>JSON</a>
(with what made each number).</p>
```"""
_KEY = """::::::::{{container}} sgd-key
:::::::{{container}} sgd-key-words
:::{{rst-class}} sgd-key-title
{link}
:::

{content}

:::{{rst-class}} sgd-key-label
{{numref}}`{name}`
:::
:::::::

```{{raw}} html
<a href="{up}{docname}.html#{name}">{picture}</a>
```
::::::::"""


def scale_now() -> str:
    """Scale of this build, from the environment."""
    scale = os.environ.get(build.SCALE, "full")
    if scale not in ("full", "preview"):
        raise ExtensionError(f"{build.SCALE}: got {scale!r}, wanted full or preview")
    return scale


def copies(app: Sphinx) -> list[tuple[contents.Chapter, Any]]:
    """The chapters of the book with their executed copies, read once in a build."""
    if not hasattr(app, "sgd_copies"):
        root = Path(app.srcdir)
        app.sgd_copies = list(zip(contents.chapters(root), build.executed(root, scale_now()), strict=True))
    return app.sgd_copies


# ---- pieces ----------------------------------------------------------------------------------------------


class _Board(SphinxDirective):
    """A directive that writes of chapters in MyST Markdown."""

    def read(self, *blocks: str) -> list[nodes.Node]:
        """What blocks of MyST Markdown make."""
        return self.parse_text_to_nodes("\n\n".join(blocks))

    def section(self, chapter: contents.Chapter, title: str, *blocks: str) -> nodes.section:
        """A section for a chapter, with an anchor of its own."""
        return nodes.section("", nodes.title("", title), *self.read(*blocks), ids=[anchor(chapter)])

    def table(self, columns: Mapping[str, int], rows: Iterable[Sequence[str]], css: str) -> str:
        """A table in MyST; one that stacks is on a phone a block a row, whose cells say what they are.

        Args:
            columns: heads, with the widths in print, relative to one another.
            rows: their cells in MyST.
            css: its classes, ``sgd-stacks`` among them if it stacks.
        """
        lines, labels = [":header-rows: 1", f":class: {css}"], [""] * len(columns)
        if self.env.app.builder.format == "latex":
            lines[1:] = [f":class: {css} longtable", f":widths: {' '.join(map(str, columns.values()))}"]
        elif "sgd-stacks" in css:
            labels[1:] = [f'<span class="sgd-label">{name}: </span>' for name in list(columns)[1:]]
        named = ([label + cell for label, cell in zip(labels, row, strict=True)] for row in rows)
        cells = ["* - " + "\n  - ".join(row) for row in (columns, *named)]
        return "\n".join([":::{list-table}", *lines, "", *cells, ":::"])


def plain(text: str) -> str:
    """A text as MyST that shows it to the letter, on one line."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text.replace("\n", " "))


def link(chapter: contents.Chapter, text: str) -> str:
    """A link to a chapter, in MyST."""
    return f"[{plain(text)}](/{chapter.docname}.ipynb)"


def counted(stated: Sequence[Record]) -> str:
    """How many claims got which verdict, in words, and how many of those that fail were expected to."""
    verdicts = [claim["verdict"] for claim in stated]
    words = []
    for verdict in filter(verdicts.__contains__, claims.VERDICTS):
        count = verdicts.count(verdict)
        words.append(f"{count} {verdict if count == 1 else _PLURAL.get(verdict, verdict)}")
        if verdict == "fails":
            foreseen = sum(c["verdict"] == c["expected"] == "fails" for c in stated)
            words[-1] += " (as expected)" if foreseen == count else f" ({foreseen} as expected)"
    return f"{len(stated)} claim{'s' * (len(stated) != 1)}: {', '.join(words)}."


def title(notebook: gate.Notebook) -> str:
    """Title of a chapter, with which its first Markdown cell begins."""
    texts = ("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return next(texts, "").lstrip("# ").partition("\n")[0].strip()


def answer(notebook: gate.Notebook) -> str:
    """First paragraph of what a chapter answers, as MyST; empty for one without an answer."""
    boxed = next((filled["myst"] for name, filled in gate.filled(notebook) if name == "answer"), "")
    return re.sub(r"^:::.*\n(:.*\n)*", "", boxed).partition("\n\n")[0].removesuffix("\n:::")


def anchor(chapter: contents.Chapter) -> str:
    """Where a chapter begins on a page about all of them."""
    return chapter.name.replace("_", "-")


def _stamps(app: Sphinx) -> list[tuple[contents.Chapter, Any, dict[str, Any]]]:
    return [(c, nb, gate.records(nb, gate.STAMP_MIME)[0]) for c, nb in copies(app)]


# ---- directives ------------------------------------------------------------------------------------------


class KeyFigure(_Board):
    """``{keyfigure} fig-name``: a question (the content), what its chapter answers, and a figure of it."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Makes title, text, and the figure with the alt text that it has in its chapter."""
        name = self.arguments[0]
        for chapter, notebook in copies(self.env.app):
            if output := gate.figures(notebook).get(name):
                svg, alt = "".join(output["data"][gate.SVG_MIME]), gate.about(output)["alt"]
                text = _KEY.format(
                    link=link(chapter, title(notebook)),
                    content="\n".join(self.content) + f"\n\n{answer(notebook)}",
                    name=name,
                    up="../" * self.env.docname.count("/"),
                    docname=chapter.docname,
                    picture=drawing.inline(svg, f"key-{name}", alt),
                )
                return self.read(text)
        raise self.error(f"keyfigure: got {name!r}, wanted the name of a figure of some chapter")


class Scoreboard(_Board):
    """``{scoreboard}``: every claim of every chapter, the source's number, ours, and the verdict."""

    def run(self) -> list[nodes.Node]:
        """Makes the counts, a section a chapter, and links to the same as files."""
        sections, rows, every = [], [], []
        for chapter, notebook in copies(self.env.app):
            stated = gate.records(notebook, gate.CLAIMS_MIME)[0]["claims"]
            verdicts = [claim["verdict"] for claim in stated]
            every += stated
            name = title(notebook)
            here = f'<a class="reference internal" href="#{anchor(chapter)}">{plain(name)}</a>'
            rows.append([here, *(str(verdicts.count(v)) for v in claims.VERDICTS)])
            told = f"{counted(stated)} Read the {link(chapter, 'chapter')}."
            columns = {"Claim": 5, "Source's number": 2, "Ours (interval)": 3, "Verdict": 3}
            board = self.table(columns, [self._row(chapter, c) for c in stated], "sgd-claims sgd-stacks")
            sections.append(self.section(chapter, name, told, board))
        columns = {"Chapter": 3, **{word.capitalize(): 1 for word in claims.VERDICTS}}
        return [*self.read(counted(every), self.table(columns, rows, "sgd-counts"), _FILES), *sections]

    def _row(self, chapter: contents.Chapter, claim: Record) -> list[str]:
        verdict, expected = claim["verdict"], claim["expected"]
        note = claims.note(claim)
        if verdict == "fails" == expected:
            note += f": {claim['why']}"
        if claim["seen"]:
            note += f": {claim['seen']}"
        place = f'<span id="{anchor(chapter)}-{claim["id"]}"></span>'
        said = plain(f"{claim['statement']} ({claim['source']})")
        mark = f'<span class="verdict-{verdict.replace(" ", "-")}">{verdict}</span>'
        return [place + said, plain(claim["stated"]), _number(claim, claim["n"]), mark + plain(note)]


def claims_table(app: Sphinx) -> dict[str, list[Any]]:
    """All claims of all chapters, one row each, as the data of a figure."""
    columns = ["chapter", "id", "statement", "source", "stated", "unit", "low", "high", "reason", "expected",
               "why", "seen", "value", "interval_low", "interval_high", "n", "method", "would_hold",
               "would_fail", "verdict"]  # fmt: skip
    rows = []
    for found in record.claims_records([notebook for _, notebook in copies(app)]):
        for claim in found["claims"]:
            ends = dict(zip(("interval_low", "interval_high"), claim["interval"] or (), strict=False))
            rows.append([{"chapter": found["chapter"], **claim, **ends}.get(name) for name in columns])
    return {"columns": columns, "rows": rows}


class Status(_Board):
    """``{status}``: how each chapter was run."""

    def run(self) -> list[nodes.Node]:
        """Makes a table of what the chapters share, and one of what they do not."""
        found = _stamps(self.env.app)
        facts = [self._facts(stamp) for _, _, stamp in found]
        same = [name for name in facts[0] if len({one[name] for one in facts}) == 1 and len(facts) > 1]
        own = [name for name in facts[0] if name not in same]
        rows = [
            [link(chapter, title(notebook)), *(plain(one[name]) for name in own)]
            for (chapter, notebook, _), one in zip(found, facts, strict=True)
        ]
        made = [self.table(dict.fromkeys(["Chapter", *own], 1), rows, "sgd-status sgd-stacks")]
        if same:
            rows = [(name, plain(facts[0][name])) for name in same]
            made += ["All chapters:", self.table({"What": 1, "Value": 4}, rows, "sgd-status")]
        return self.read(*made)

    def _facts(self, stamp: Record) -> dict[str, str]:
        clean = {True: "", False: ", with changes not committed", None: ", state unknown"}[stamp["clean"]]
        return {
            "Time": "unknown" if stamp["seconds"] is None else f"{stamp['seconds']:.0f} s",
            "Networks": provenance.chunks_shown(stamp),
            "Started": stamp["started"][:16].replace("T", " ") + " UTC",
            "Seeds": provenance.seeds_shown(stamp),
            "Commit": stamp["commit"][:12] + clean,
            "Parameters": f"changed: {', '.join(stamp['overridden'])}" if stamp["overridden"] else "defaults",
            "Processor": f"{stamp['processor']}, {stamp['threads']} threads",
            "System": stamp["system"],
            "Data (SHA-256)": stamp["data_sha256"][:16] + " …",
            **stamp["versions"],
        }


class History(_Board):
    """``{history}``: each claim's number in the last accepted run and in this one."""

    def run(self) -> list[nodes.Node]:
        """Makes a section a chapter: what changed between the two runs, and a table of its claims."""
        if scale_now() != "full":
            return self.read("A preview is compared with nothing.")
        place = Path(self.env.app.srcdir) / record.VERDICTS
        (recorded, made), sections = record.read(place), []
        for chapter, notebook, stamp in _stamps(self.env.app):
            ((name, now),) = record.verdicts([notebook]).items()
            before = recorded.get(name, {})
            stated = gate.records(notebook, gate.CLAIMS_MIME)[0]["claims"]
            rows = [self._row(claim, before.get(claim["id"]), now[claim["id"]]) for claim in stated]
            columns = {"Claim": 5, "Accepted (interval)": 3, "Now (interval)": 3, "Moved": 2}
            board = self.table(columns, rows, "sgd-claims sgd-stacks")
            told = plain(since(made.get(name), stamp))
            sections.append(self.section(chapter, title(notebook), told, board))
        return sections

    def _row(self, claim: Record, before: Record | None, now: Record) -> list[str]:
        told = moves(before, now)
        numbers = [_number({**claim, **(one or {"value": None})}) for one in (before, now)]
        word = f'<span class="sgd-changed">{plain(told)}</span>' if told else "no"
        return [plain(claim["statement"]), *numbers, word]


def _number(claim: Record, count: int | None = None) -> str:
    if claim["value"] is None:
        return "not measured"
    value, interval = stats.shown(claim["value"], claim["interval"])
    return plain(f"{value} ({interval}) {claim['unit']}" + (f", n\u00a0=\u00a0{count}" if count else ""))


def moves(before: Record | None, now: Record) -> str:
    """How a claim parts from its record, in words; empty when it does not.

    A number has moved when it lies outside the interval of the recorded one, or that one outside its own. The
    same seeds on the same machine give the same numbers, so a move tells of a change of code, parameters,
    versions or machine that matters more than the luck of the seeds.

    Args:
        before: verdict, value, interval and n as recorded; None when the claim is new.
        now: likewise, of this run.
    """
    if before is None:
        return "new"
    told, both = [], (before["value"], now["value"])
    if None not in both:
        sides = [(*one["interval"], value) for one in (before, now) for value in both]
        told += [] if all(low <= value <= high for low, high, value in sides) else ["yes"]
    elif both != (None, None):
        told.append("not measured before" if before["value"] is None else "no longer measured")
    if before["verdict"] != now["verdict"]:
        told.append(f"{before['verdict']} became {now['verdict']}")
    return "; ".join(told)


def since(before: Record | None, now: Record) -> str:
    """What lies between a chapter's accepted run (None for none) and this one, by their stamps, in words."""
    if before is None:
        return "No run was accepted yet: these are the first numbers."
    if before == now:
        return f"This is the accepted run, of {_day(now)}."
    old, new = before["versions"], now["versions"]
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    told = [f"{name} {old.get(name, 'none')} to {new.get(name, 'none')}" for name in names]
    for what, fields in (("machine", ("processor", "threads", "system")), ("code", ("commit", "clean"))):
        if any(before[field] != now[field] for field in fields):
            told.append(what)
    changed = "; ".join(told) or "nothing"
    runs = f"Accepted: the run of {_day(before)}. Now: the run of {_day(now)}."
    return f"{runs} Changed between them: {changed}."


def _day(stamp: Record) -> str:
    return f"{stamp['started'][:10]} (commit {stamp['commit'][:12]})"


class Citation(_Board):
    """``{citation}``: how to cite the book, made from ``CITATION.cff`` and from what this build is."""

    def run(self) -> list[nodes.Node]:
        """Makes the reference as text and as BibTeX."""
        said = citation(Path(self.env.app.srcdir), [stamp for _, _, stamp in _stamps(self.env.app)])
        text = "{author} ({year}). {title}. Version {version}, {note}.".format(**said)
        text += f" {said['url']}" if "url" in said else ""
        fields = ",\n".join(f"  {name:7} = {{{value}}}" for name, value in said.items())
        bibtex = f"@misc{{sgd-book,\n{fields}\n}}"
        return self.read(plain(text), f"```bibtex\n{bibtex}\n```")


def citation(root: Path, stamps: Sequence[Record]) -> dict[str, str]:
    """The fields of a reference to this build; the newest of the chapters' stamps gives year and commit."""
    cff = yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))
    newest = max(stamps, key=lambda stamp: stamp["started"])
    names = [a.get("name") or f"{a['family-names']}, {a['given-names']}" for a in cff["authors"]]
    known = newest["commit"] != "unknown"
    said = {
        "author": " and ".join(names),
        "title": cff["title"],
        "year": newest["started"][:4],
        "version": cff["version"],
        "note": f"run at commit {newest['commit'][:12]}" if known else "run outside a checkout",
        "url": contents.address() or os.environ.get(REPOSITORY) or cff.get("url", ""),
    }
    return {name: value for name, value in said.items() if value}


class Launch(_Board):
    """``{launch}``: how to open a chapter on Binder and Colab; nothing where no address is known."""

    def run(self) -> list[nodes.Node]:
        """Makes the text and the first cell that Colab needs."""
        repository = os.environ.get(REPOSITORY)
        if not repository:
            return []
        cell = f"!git clone --depth 1 {repository} book\n!cd book && pip install --quiet -r requirements.txt"
        about = (
            "The rocket at the top of each chapter opens it on Binder, which installs everything first and "
            "takes some minutes, or on Colab. Colab gets the notebook alone: there, run this as the first "
            "cell, and restart the session before the rest."
        )
        return self.read(about, f"```ipython3\n{cell}\n```")
