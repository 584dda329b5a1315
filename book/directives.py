"""What pages other than chapters show of them: key figures, scoreboard, accepted numbers, how each was made.

Directives of Sphinx, made from the executed copies of this very build: ``{keyfigure}``, ``{scoreboard}``,
``{status}``, ``{history}``, ``{citation}`` and ``{launch}``.
"""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from book import build, gate, record
from lib.page import claims, provenance

REPOSITORY = "SGD_BOOK_REPOSITORY"  # address of the project, where it is known
_PLURAL = {"holds": "hold", "fails": "fail"}


def scale_now() -> str:
    """Scale of this build, from the environment."""
    scale = os.environ.get(build.SCALE, "full")
    if scale not in ("full", "preview"):
        raise ExtensionError(f"{build.SCALE}: got {scale!r}, wanted full or preview")
    return scale


def copies(app: Sphinx) -> list[tuple[build.Chapter, Any]]:
    """The chapters of the book with their executed copies, read once in a build."""
    if not hasattr(app, "sgd_copies"):
        root = Path(app.srcdir)
        app.sgd_copies = list(zip(build.chapters(root), build.executed(root, scale_now()), strict=True))
    return app.sgd_copies


# ---- pieces ----------------------------------------------------------------------------------------------


class _Board(SphinxDirective):
    """A directive that makes tables of chapters."""

    @property
    def latex(self) -> bool:
        """Whether the pages are made for print."""
        return self.env.app.builder.format == "latex"

    def table(
        self,
        head: Sequence[str],
        rows: Iterable[Sequence[str | nodes.Node]],
        css: str,
        widths: Sequence[int],
        ids: Iterable[str] = (),
        stacks: bool = True,
    ) -> nodes.table:
        """A table; if it stacks, each row becomes a block on a phone, whose cells say what they are."""
        group = nodes.tgroup("", *(nodes.colspec(colwidth=w) for w in widths), cols=len(head))

        def row(cells: Sequence[str | nodes.Node], labels: Sequence[str]) -> nodes.row:
            entries = []
            for cell, label in zip(cells, labels, strict=True):
                content = nodes.Text(cell) if isinstance(cell, str) else cell
                mark = [nodes.inline("", f"{label}: ", classes=["sgd-label"])] if label else []
                entries.append(nodes.entry("", nodes.paragraph("", "", *mark, content)))
            return nodes.row("", *entries)

        group += nodes.thead("", row(head, [""] * len(head)))
        labels = ["", *head[1:]] if stacks and not self.latex else [""] * len(head)
        body = [row(cells, labels) for cells in rows]
        for one, name in zip(body, ids, strict=False):
            one["ids"].append(name)
        group += nodes.tbody("", *body)
        classes = [css, "sgd-stacks"] if stacks else [css]
        if self.latex:
            classes += ["longtable", "colwidths-given"]
        return nodes.table("", group, classes=classes)

    def link(self, docname: str, text: str = "", figure: str = "") -> nodes.Node:
        """A link to a page, or to a numbered figure."""
        return addnodes.pending_xref(
            "",
            nodes.inline("", text or figure or docname),
            refdomain="std",
            reftype="numref" if figure else "doc",
            refexplicit=bool(text),
            reftarget=figure or f"/{docname}",
            refdoc=self.env.docname,
            refwarn=True,
        )

    def heading(self, chapter: build.Chapter, title: str) -> nodes.section:
        """A section for a chapter, with an anchor of its own."""
        return nodes.section("", nodes.title("", title), ids=[anchor(chapter)])

    def raw(self, html: str) -> nodes.raw:
        """HTML as it is; left out of other formats."""
        return nodes.raw("", html, format="html")


def counted(stated: Sequence[Mapping[str, Any]]) -> str:
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


def title(notebook: Mapping[str, Any]) -> str:
    """Title of a chapter."""
    return gate.prose(notebook).lstrip("# ").partition("\n")[0].strip()


def anchor(chapter: build.Chapter) -> str:
    """Where a chapter begins on a page about all of them."""
    return chapter.name.replace("_", "-")


def paragraph(*parts: str | nodes.Node, css: str = "") -> nodes.paragraph:
    """A paragraph of texts and nodes."""
    wrapped = (nodes.Text(part) if isinstance(part, str) else part for part in parts)
    return nodes.paragraph("", "", *wrapped, classes=[css] if css else [])


def _stamps(app: Sphinx) -> list[tuple[build.Chapter, Any, dict[str, Any]]]:
    return [(c, nb, gate.records(nb, gate.STAMP_MIME)[0]) for c, nb in copies(app)]


# ---- directives ------------------------------------------------------------------------------------------


class KeyFigure(_Board):
    """``{keyfigure} fig-name``: what a chapter found, in words (the content) and in one of its figures."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Makes title, text, and the figure with the alt text that it has in its chapter."""
        name = self.arguments[0]
        for chapter, notebook in copies(self.env.app):
            for _, output in gate.outputs(notebook):
                if output.get("metadata", {}).get("sgd_book", {}).get("name") == name:
                    return [self._made(chapter, notebook, output)]
        raise self.error(f"keyfigure: got {name!r}, wanted the name of a figure of some chapter")

    def _made(self, chapter: build.Chapter, notebook: Any, output: Mapping[str, Any]) -> nodes.Node:
        name, alt = (output["metadata"]["sgd_book"][field] for field in ("name", "alt"))
        up = "../" * self.env.docname.count("/")
        picture = f"{up}figures/{chapter.name}/{name}.{gate.picture(output['data'])[0]}"
        target = f"{up}{chapter.docname}.html#{name}"
        words = nodes.container("", classes=["sgd-key-words"])
        words += paragraph(self.link(chapter.docname, title(notebook)), css="sgd-key-title")
        self.state.nested_parse(self.content, self.content_offset, words)
        words += paragraph(self.link("", figure=name), css="sgd-key-label")
        image = f'<a href="{escape(target)}"><img src="{escape(picture)}" alt="{escape(alt)}"></a>'
        return nodes.container("", words, self.raw(image), classes=["sgd-key"])


class Scoreboard(_Board):
    """``{scoreboard}``: every claim of every chapter, the source's number, ours, and the verdict."""

    def run(self) -> list[nodes.Node]:
        """Makes the counts, a section a chapter, and links to the same as files."""
        sections, rows, every = [], [], []
        for chapter, notebook in copies(self.env.app):
            stated = [claim for r in gate.records(notebook, gate.CLAIMS_MIME) for claim in r["claims"]]
            verdicts = [claim["verdict"] for claim in stated]
            every += stated
            name = title(notebook)
            here = nodes.reference("", name, refid=anchor(chapter))
            rows.append([here, *(str(verdicts.count(v)) for v in claims.VERDICTS)])
            section = self.heading(chapter, name)
            section += paragraph(counted(stated), " Read the ", self.link(chapter.docname, "chapter"), ".")
            head = ("Claim", "Source's number", "Ours (interval)", "Verdict")
            ids = [f"{anchor(chapter)}-{claim['id']}" for claim in stated]
            section += self.table(head, map(self._row, stated), "sgd-claims", (5, 2, 3, 3), ids)
            sections.append(section)
        files = (
            '<p>Download all of it: <a href="scoreboard.csv" download>CSV</a>, '
            '<a href="scoreboard.json" download>JSON</a> (with what made each number).</p>'
        )
        head = ("Chapter", *(word.capitalize() for word in claims.VERDICTS))
        summary = self.table(head, rows, "sgd-counts", (3, *[1] * (len(head) - 1)), stacks=False)
        return [paragraph(counted(every)), summary, self.raw(files), *sections]

    def _row(self, claim: Mapping[str, Any]) -> list[str | nodes.Node]:
        ours = "not measured"
        if claim["value"] is not None:
            ours = "{} ({}) {}, n\u00a0=\u00a0{}".format(
                *claims.shown(claim["value"], claim["interval"]), claim["unit"], claim["n"]
            )
        verdict, expected = claim["verdict"], claim["expected"]
        note = claims.against(verdict, expected)
        if verdict == "fails" == expected:
            note += f": {claim['why']}"
        said = nodes.inline("", f"{claim['statement']} ({claim['source']})")
        mark = nodes.inline("", verdict, classes=[f"verdict-{verdict.replace(' ', '-')}"])
        return [said, claim["stated"], ours, nodes.inline("", "", mark, nodes.Text(note))]


def scoreboard_csv(app: Sphinx) -> str:
    """All claims of all chapters as CSV, one row each."""
    stream = io.StringIO()
    fields = ["chapter", "id", "statement", "source", "stated", "unit", "low", "high", "reason", "expected",
              "why", "value", "interval_low", "interval_high", "n", "method", "verdict"]  # fmt: skip
    writer = csv.DictWriter(stream, fields, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for found in record.claims_records([notebook for _, notebook in copies(app)]):
        for claim in found["claims"]:
            low, high = claim["interval"] or (None, None)
            writer.writerow(
                {"chapter": found["chapter"], **claim, "interval_low": low, "interval_high": high}
            )
    return stream.getvalue()


class Status(_Board):
    """``{status}``: how each chapter was run."""

    def run(self) -> list[nodes.Node]:
        """Makes a table of what the chapters share, and one of what they do not."""
        found = _stamps(self.env.app)
        facts = [self._facts(stamp) for _, _, stamp in found]
        same = [name for name in facts[0] if len({one[name] for one in facts}) == 1 and len(facts) > 1]
        own = [name for name in facts[0] if name not in same]
        links = [self.link(chapter.docname, title(notebook)) for chapter, notebook, _ in found]
        rows = [[link, *(one[n] for n in own)] for link, one in zip(links, facts, strict=True)]
        made = [self.table(("Chapter", *own), rows, "sgd-status", (2, *[2] * len(own)))]
        if same:
            shared = [(name, facts[0][name]) for name in same]
            made += [
                paragraph("All chapters:"),
                self.table(("What", "Value"), shared, "sgd-status", (1, 4), stacks=False),
            ]
        return made

    def _facts(self, stamp: Mapping[str, Any]) -> dict[str, str]:
        clean = {True: "", False: ", with changes not committed", None: ", state unknown"}[stamp["clean"]]
        return {
            "Time": f"{stamp['seconds']:.0f} s",
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
            return [paragraph("A preview is compared with nothing.")]
        place = Path(self.env.app.srcdir) / record.VERDICTS
        recorded, made, sections = record.read(place), record.read_provenance(place), []
        for chapter, notebook, stamp in _stamps(self.env.app):
            ((name, now),) = record.verdicts([notebook]).items()
            before, section = recorded.get(name, {}), self.heading(chapter, title(notebook))
            section += paragraph(since(made.get(name), stamp))
            stated = gate.records(notebook, gate.CLAIMS_MIME)[0]["claims"]
            rows = [self._row(claim, before.get(claim["id"]), now[claim["id"]]) for claim in stated]
            head = ("Claim", "Accepted (interval)", "Now (interval)", "Moved")
            section += self.table(head, rows, "sgd-claims", (5, 3, 3, 2))
            sections.append(section)
        return sections

    def _row(
        self, claim: Mapping[str, Any], before: Mapping[str, Any] | None, now: Mapping[str, Any]
    ) -> list[str | nodes.Node]:
        told = moves(before, now)
        word = nodes.inline("", told or "no", classes=["sgd-changed"] if told else [])
        return [claim["statement"], *(_number(one, claim["unit"]) for one in (before, now)), word]


def _number(measured: Mapping[str, Any] | None, unit: str) -> str:
    if measured is None or measured["value"] is None:
        return "not measured"
    return "{} ({}) {}".format(*claims.shown(measured["value"], measured["interval"]), unit)


def moves(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
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
        inside = (
            low <= value <= high for one in (before, now) for low, high in [one["interval"]] for value in both
        )
        told += [] if all(inside) else ["yes"]
    elif both != (None, None):
        told.append("not measured before" if before["value"] is None else "no longer measured")
    if before["verdict"] != now["verdict"]:
        told.append(f"{before['verdict']} became {now['verdict']}")
    return "; ".join(told)


def since(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """What lies between the accepted run of a chapter and this one, in words.

    Args:
        before: stamp of the accepted run; None when there is none.
        now: stamp of this run.
    """
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
    return (
        f"Accepted: the run of {_day(before)}. Now: the run of {_day(now)}. Changed between them: {changed}."
    )


def _day(stamp: Mapping[str, Any]) -> str:
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
        return [paragraph(text), nodes.literal_block(bibtex, bibtex, language="bibtex")]


def citation(root: Path, stamps: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The fields of a reference to this build.

    Args:
        root: the project's folder, with ``CITATION.cff``.
        stamps: of the chapters; the newest gives year and commit.
    """
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
        "url": build.address() or os.environ.get(REPOSITORY) or cff.get("url", ""),
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
        return [paragraph(about), nodes.literal_block(cell, cell, language="ipython3")]
