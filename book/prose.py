"""Lint of prose: no result typed by hand, no comparison in words that nothing in the run holds to.

On the command line: ``python -m book.prose`` judges the pages in ``_toc.yml`` and the README.

Prose is the text of Markdown pages, Markdown cells and text cells, and captions and descriptions of figures.

A *number* in it stands in a field (``{{gap:.2f}}``), or it is no result: it is code, mathematics, a reference
or a quotation; its sentence cites or links a source; the chapter has it as the default of a parameter or in a
claim stated before the run; or it is one of the data's own. What a unit of results follows (%, points, nats,
times, fold) is no mere parameter.

A *word that compares* ("higher", "twice", "never") stands in words that are held to the run,
``[ahead]{{gap.low > 0}}``. It needs nothing in a question, where its sentence cites a source, or in Markdown
cells before the claims, which say what is asked and done.

Where neither is so and yet all is well, the reason stands in the cell's metadata, ``"given": {"0.87": "from
the post's means"}``, or in a comment of a page: ``<!-- given 80: reason -->``.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.tree import SyntaxTreeNode
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from book import contents, gate, run
from lib.page import params
from lib.page.text import FIELD, parsed

# MNIST's own: classes, pixels, images, largest values; and numbers that count things on a page.
DATA = frozenset({0, 1, 2, 3, 10, 28, 255, 256, 784, 5_000, 10_000, 50_000, 60_000})
VALUE, SOURCE, OTHER = "…", "⟨source⟩", "⟨·⟩"

_NUMBER = re.compile(r"(?<![\w.,/^])[-−]?\d+(?:[,.]\d+)*(?:[eE]-?\d+)?(?![\w^])")
_UNIT = re.compile(  # after a number, or after the range that it begins
    r"(?: to (?:[-−]?[\d.,]+|…))?"
    r"\s?(?:%|per cent\b|points?\b|nats?\b|times\b|[- ]?fold\b|of (?:the )?(?:\d|…))"
)
_INTERVAL = re.compile(r"\((?:[-−]?[\d.,]+|…) to (?:[-−]?[\d.,]+|…)[,;)]")
_LEVEL = re.compile(r"95 % (?:intervals?|confidence|of the images)")
_GIVEN = re.compile(r"^\s*(?:[%#]|<!--) given (?P<what>[^:\n]+): *(?P<why>\S.*)$", re.MULTILINE)
_QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"")
_SENTENCE = re.compile(r"(?<=[.!?;])[”\")]*\s+(?=[“\"(]*[A-Z⟨…\d])")
_COMPARES = re.compile(
    r"(?<!at )(?<!any )\b(?:higher|highest|lower|lowest|larger|largest|smaller|smallest|bigger|greater|fewer"
    r"|less|least|more|most|twice|thrice|half|never|always|none|nobody|no longer|only|nearly|almost|hardly"
    r"|faster|fastest|slower|slowest|sooner|soonest|later|earlier|better|best|worse|worst|ahead|behind"
    r"|farther|farthest|further|nearer|closer|wider|narrower|longer|shorter|stronger|weaker|grows?|falls?"
    r"|rises?|drops?|as (?:far|good|well|many|much|large|often) as)\b",
    re.IGNORECASE,
)
_INLINE = {"softbreak": " ", "hardbreak": " "}
_INLINE |= dict.fromkeys(("code_inline", "math_inline", "math_inline_double", "html_inline"), OTHER)


class Finding(NamedTuple):
    """One thing in prose that is not held to the run.

    Attributes:
        file: the page's or notebook's name.
        place: id of the cell, or ``page``.
        what: the number or the word.
        sentence: where it stands, values and references shortened.
    """

    file: str
    place: str
    what: str
    sentence: str

    def __str__(self) -> str:
        """The finding in one line."""
        return f"{self.file}, {self.place}: {self.what!r} in: {self.sentence}"


class Text(NamedTuple):
    """A piece of prose: cell or page, what it says, and what excuses its words and numbers.

    Attributes:
        place: id of the cell, or ``page``.
        text: what it says, values as placeholders.
        loose: the same without the words that are held to the run.
        given: words and numbers for which a reason is given.
        asks: whether it says what is asked and done, before the run.
    """

    place: str
    text: str
    loose: str
    given: frozenset[str]
    asks: bool = False


# ---- text of Markdown ------------------------------------------------------------------------------------


@cache
def _parser() -> MarkdownIt:
    extensions = {"amsmath", "colon_fence", "deflist", "dollarmath", "linkify", "substitution"}
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


def _inline(nodes: list[SyntaxTreeNode]) -> str:
    """Plain text of a paragraph: values, sources and whatever else is no prose as placeholders."""
    parts = []
    for node in nodes:
        if node.type == "text":
            parts.append(node.content)
        elif node.type == "myst_role":
            parts.append(SOURCE if node.meta["name"].startswith("cite") else OTHER)
        else:
            source = node.type == "link" and re.match(r"https?:", str(node.attrs.get("href", "")))
            parts.append(SOURCE * bool(source) + _INLINE.get(node.type, "") + _inline(node.children))
    return "".join(parts)


def paragraphs(markdown: str) -> Iterator[str]:
    """Paragraphs, items, headings and table rows of a MyST text, without quotations, code and formulas.

    Yields:
        Plain text with placeholders.
    """
    todo = [SyntaxTreeNode(_parser().parse(markdown))]
    while todo:
        node = todo.pop()
        if node.type == "inline":
            yield _inline(node.children)
        elif node.type == "tr":
            yield " | ".join(_inline(part.children) for part in node.walk() if part.type == "inline")
        elif node.type == "colon_fence":  # an admonition, a card: its text is prose, its options are not
            kept = [line for line in node.content.splitlines() if not re.match(r":[\w-]+:", line)]
            yield re.sub(r"\{[\w-]+\}", "", node.info).strip(" :")
            yield from paragraphs("\n".join(kept))
        elif node.type != "blockquote":
            todo += reversed(node.children)


def sentences(text: str) -> list[str]:
    """Sentences of a plain text; what it quotes is a placeholder."""
    return [s.strip() for s in _SENTENCE.split(_QUOTED.sub(OTHER, text)) if s.strip()]


# ---- text in cells ---------------------------------------------------------------------------------------


def _filled(text: str, held: str = "") -> str:
    """A text with placeholders for its fields, and for the words that are held to the run if one is given."""

    def put(found: re.Match[str]) -> str:
        return VALUE if found["field"] else held or FIELD.sub(put, found["words"])

    return FIELD.sub(put, text)


def _calls(cell: Any, name: str) -> Iterator[ast.Call]:
    """Calls of functions of this name in a cell of code, with or without a module before it."""
    source = "" if gate.told(cell.source) is not None else cell.source
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == name:
            yield node


def _spoken(node: ast.AST) -> str:
    """What an expression writes: its literal parts, and a field for all that is computed."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_spoken(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _spoken(node.left) + _spoken(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_spoken(node.body)} {_spoken(node.orelse)}"
    return "{{computed}}"


def _captions(cell: Any) -> Iterator[tuple[str, str]]:
    for call in _calls(cell, "figure"):
        for keyword in call.keywords:
            if keyword.arg in ("caption", "alt"):
                yield keyword.arg, _spoken(keyword.value)


def _pieces(cell: Any) -> list[str]:
    """Prose of a cell of code: what a text cell tells, or captions and descriptions."""
    told = gate.told(cell.source)
    return [told] if told is not None else [text for _, text in _captions(cell)]


# ---- what a chapter has ----------------------------------------------------------------------------------


def _excused(source: str) -> frozenset[str]:
    return frozenset(word.strip() for found in _GIVEN.finditer(source) for word in found["what"].split(", "))


def _number(text: str) -> float:
    text = text.replace("−", "-")
    whole = re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text)
    return float(text.replace(",", "")) if whole or "," not in text else float("nan")


def defaults(path: Path) -> set[float]:
    """Numbers that are defaults of a chapter's parameters."""
    every = (p.default if isinstance(p.default, tuple) else (p.default,) for p in params.schema(path))
    return {float(v) for values in every for v in values if isinstance(v, int | float)}


def _code(path: Path) -> list[Any]:
    return [cell for cell in run.load(path).cells if cell.cell_type == "code"]


def stated(path: Path) -> set[float]:
    """Numbers in a chapter's claims: what sources say and what is expected, written down before the run."""
    found: set[float] = set()
    for cell in _code(path):
        for call in _calls(cell, "claim"):
            for node in call.args[1:4:2]:  # the statement, and the source's number
                found |= {_number(text) for text in _NUMBER.findall(_filled(_spoken(node)))}
    return found


def texts(path: Path) -> Iterator[Text]:
    """All prose of a Markdown page or a notebook, in pieces, in order."""
    if path.suffix != ".ipynb":
        source = path.read_text("utf-8")
        yield from (Text("page", text, text, _excused(source)) for text in paragraphs(source))
        return
    asks = True
    for cell in run.load(path).cells:
        given, markdown = frozenset(cell.metadata.get("given", ())), cell.cell_type == "markdown"
        pieces = [cell.source] if markdown else []
        if cell.cell_type == "code":
            pieces = _pieces(cell)
            asks = asks and not [*_calls(cell, "expected")]
        for piece in pieces:
            both = (paragraphs(_filled(piece)), paragraphs(_filled(piece, OTHER)))
            yield from (Text(cell.id, *two, given, asks and markdown) for two in zip(*both, strict=True))


# ---- findings --------------------------------------------------------------------------------------------


def typed_numbers(path: Path, known: set[float], quoted: set[float]) -> Iterator[Finding]:
    """Numbers in prose that neither come from the run nor are given by something else than it.

    A citation excuses the numbers of its sentence unless that gives values of the run as well: there it could
    not be told which is which.

    Args:
        path: a Markdown page or a notebook.
        known: defaults of the chapter's parameters, or of all chapters.
        quoted: numbers of claims, stated before the run.
    """
    for place, text, _, given, _ in texts(path):
        for sentence in sentences(text):
            if SOURCE in sentence and VALUE not in sentence:
                continue
            plain = _LEVEL.sub(lambda m: "x" * len(m[0]), sentence)
            intervals = [m.span() for m in _INTERVAL.finditer(plain)]
            for match in _NUMBER.finditer(plain):
                if match[0].count(".") > 1:
                    continue  # a version
                value = _number(match[0])
                measured = (
                    _UNIT.match(plain, match.end())
                    or any(low < match.start() < high for low, high in intervals)
                    or ("." in match[0] and value.is_integer())  # 3.0 is a rounded value
                )
                pool = quoted - DATA if measured else quoted | DATA | known
                if match[0] not in given and value not in pool:
                    yield Finding(path.name, place, match[0], sentence)


def empty_fields(path: Path) -> Iterator[Finding]:
    """Fields and conditions of a chapter that no run can change: ``{{0.2}}``, ``[ahead]{{True}}``."""
    for cell in _code(path):
        for text in _pieces(cell):
            for field in FIELD.finditer(text):
                try:
                    tree = parsed(field["field"] or field["condition"])
                except SyntaxError as error:
                    yield Finding(path.name, cell.id, field[0], str(error))
                    continue
                if field["condition"] == "None" or not any(isinstance(n, ast.Name) for n in ast.walk(tree)):
                    yield Finding(path.name, cell.id, field[0], "no run can change it")


def loose_words(path: Path) -> Iterator[Finding]:
    """Words of a chapter that compare and that nothing holds to the run."""
    for place, _, loose, given, asks in texts(path):
        for sentence in sentences(loose):
            if asks or SOURCE in sentence or sentence.endswith("?"):
                continue
            words = (match[0] for match in _COMPARES.finditer(sentence))
            yield from (Finding(path.name, place, w, sentence) for w in words if w.lower() not in given)


def raw_text(path: Path) -> list[Finding]:
    """Markup in a chapter's Markdown cells that a front end would show as it was typed."""
    why = "a Markdown cell is shown as it is: make it a text cell"
    return [
        Finding(path.name, cell.id, found[0].strip(), why)
        for cell in run.load(path).cells
        if cell.cell_type == "markdown" and (found := gate.raw(cell.source))
    ]


def lost_defaults(root: Path, path: Path) -> list[Finding]:
    """A parameters cell that differs from the kept record of its defaults."""
    kept = root / "lib" / "page" / "defaults" / f"{path.stem}.txt"
    if kept.is_file() and kept.read_text("utf-8").strip() == params.cell(path).strip():
        return []
    return [Finding(path.name, "parameters", kept.name, "is not this cell: python -m book defaults")]


def mute_alts(path: Path) -> list[Finding]:
    """Figures of a chapter whose alternative text holds nothing that was computed."""
    return [
        Finding(path.name, cell.id, "alt", text or "(nothing)")
        for cell in _code(path)
        # an explorable figure itself adds its outcome to the alternative text
        if not any(ast.unparse(call.func) == "explore.figure" for call in _calls(cell, "figure"))
        for what, text in _captions(cell)
        if what == "alt" and not FIELD.search(text)
    ]


def findings(root: Path) -> Iterator[Finding]:
    """All findings in the pages of a project's book and in its README."""
    known, quoted = set(), set()
    for _, path in contents.chapters(root):
        own = defaults(path), stated(path)
        yield from typed_numbers(path, *own)
        for judge in (empty_fields, raw_text, loose_words, mute_alts):
            yield from judge(path)
        yield from lost_defaults(root, path)
        known, quoted = known | own[0], quoted | own[1]
    for path in (*(path for _, path in contents.pages(root)), root / "README.md"):
        if path.suffix == ".md" and path.is_file():
            yield from typed_numbers(path, known, quoted)


def main(root: Path = contents.ROOT) -> int:
    """The command line; returns the exit status."""
    found = [*findings(root)]
    print(*found, f"{len(found)} finding(s) in prose", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
