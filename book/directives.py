"""What pages other than chapters show of them: key figures, the scoreboard, how each was made, past builds.

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

from book import build, gate, history, record
from lib.page import claims, provenance

REPOSITORY = "SGD_BOOK_REPOSITORY"  # address of the project, where it is known
_PLURAL = {"holds": "hold", "fails": "fail"}
_SPARKS = 60  # builds that a small figure shows: more would be less than three pixels each


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


def builds(app: Sphinx) -> tuple[list[dict[str, Any]], history.Past]:
    """The builds to show, this one last, and what was kept of those before; a preview stands alone."""
    kept = Path(app.srcdir) / history.FILE
    past = history.read(kept) if scale_now() == "full" else history.Past([], [])
    return history.joined(past.builds, history.build([notebook for _, notebook in copies(app)])), past


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
    """``{history}``: each claim's number over the builds that were kept."""

    def run(self) -> list[nodes.Node]:
        """Makes a table of the builds, and one of the claims for each chapter."""
        every, past = builds(self.env.app)
        breaks = [
            k for k, (a, b) in enumerate(zip(every, every[1:], strict=False), 2) if history.changed(a, b)
        ]
        sections, moves = [], dict.fromkeys(range(1, len(every) + 1), 0)
        for chapter, notebook in copies(self.env.app):
            section, rows = self.heading(chapter, title(notebook)), []
            for record_ in gate.records(notebook, gate.CLAIMS_MIME):
                for claim in record_["claims"]:
                    points = history.track(every, record_["chapter"], claim["id"])
                    for point in points:
                        moves[point.build] += point.moved
                    rows.append(self._row(claim, points, len(every), breaks))
            head = ("Claim", "This build (interval)", "Builds", "Moves")
            section += self.table(head, rows, "sgd-claims", (4, 3, 2, 3))
            sections.append(section)
        first = "These are the first numbers that were kept: nothing to compare them with yet."
        lines = [paragraph(first)] if len(every) == 1 else []
        if past.damaged:
            lines.append(paragraph("Left out: " + "; ".join(past.faults()), css="sgd-changed"))
        head = ("Build", "Date", "Commit", "Machine", "Changed since the build before", "Moves")
        table = self.table(head, self._builds(every, moves), "sgd-status", (1, 2, 2, 4, 4, 1))
        link = self.raw('<p><a href="history.jsonl" download>All builds as JSON lines</a></p>')
        return [*lines, table, link, *sections]

    def _builds(self, every: Sequence[Mapping], moves: Mapping[int, int]) -> list[list[str]]:
        rows = []
        for number, one in enumerate(every, 1):
            before = every[number - 2] if number > 1 else None
            made = [chapter["made"] for chapter in one.values()]
            commits = dict.fromkeys(
                m["commit"][:12] + (" with changes" if m["clean"] is False else "") for m in made
            )
            changed = "; ".join(history.changed(before, one)) or "nothing" if before else "(first)"
            date = history.date(one)[:16].replace("T", " ")
            commit, machine = ", ".join(commits), history.machine(one)
            rows.append([f"Build {number}", date, commit, machine, changed, str(moves[number])])
        return rows[::-1]

    def _row(
        self, claim: Mapping[str, Any], points: Sequence[history.Point], builds: int, breaks: Sequence[int]
    ) -> list[str | nodes.Node]:
        now, unit = points[-1], claim["unit"]
        text = "not measured"
        if now.value is not None:
            text = "{} ({}) {}".format(*claims.shown(now.value, now.interval), unit)
        told = []
        for before, point in zip([None, *points], points, strict=False):
            if point.moved:
                told.append(f"build {point.build}: to {claims.shown(point.value, point.interval)[0]}")
            if before is not None and before.verdict != point.verdict:
                told.append(f"build {point.build}: {before.verdict} became {point.verdict}")
        words = "; ".join(told) or "none"
        label = f"{len(points)} builds, now {text}. Moves: {words}"
        picture = spark(points, builds, breaks, label) if now.value is not None else ""
        shown = nodes.Text(str(len(points))) if self.latex else self.raw(picture or str(len(points)))
        moved = nodes.inline("", words, classes=["sgd-changed"] if told else [])
        return [claim["statement"], text, shown, moved]


def spark(points: Sequence[history.Point], builds: int, breaks: Sequence[int], label: str) -> str:
    """A small figure of one claim over the builds, as SVG in the colours of the page.

    Args:
        points: the claim in the builds that have it.
        builds: how many builds there are.
        breaks: builds before which machine or versions changed; dashed lines show where.
        label: what it shows, for who cannot see it.
    """
    width, height, pad = 160.0, 36.0, 5.0
    first = max(0, builds - _SPARKS)
    shown = [p for p in points if p.build > first and p.value is not None]
    low, high = (f(end for p in shown for end in p.interval) for f in (min, max))
    step = (width - 2 * pad) / max(1, builds - first - 1)

    def x(build: float) -> float:
        return width - pad - (builds - build) * step

    def y(value: float) -> float:
        return height / 2 if high == low else pad + (high - value) / (high - low) * (height - 2 * pad)

    marks = [
        f'<path class="sgd-break" d="M{x(b - 0.5):.1f} 0V{height:g}"/>' for b in breaks if b - 0.5 > first + 1
    ]
    for p in shown:
        top, bottom = (y(end) for end in reversed(p.interval))
        marks.append(f'<path d="M{x(p.build):.1f} {top:.1f}V{bottom:.1f}"/>')
        css = ' class="sgd-moved"' if p.moved else ""
        marks.append(
            f'<circle{css} cx="{x(p.build):.1f}" cy="{y(p.value):.1f}" r="{4 if p.moved else 2.2}"/>'
        )
    return (
        f'<svg class="sgd-spark" role="img" aria-label="{escape(label)}" width="{width:g}" '
        f'height="{height:g}" viewBox="0 0 {width:g} {height:g}">{"".join(marks)}</svg>'
    )


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
