"""Lint of prose: no result typed by hand, no comparison in words that nothing in the run holds to.

On the command line: ``python -m build.prose`` judges the pages in ``_toc.yml`` and the README.

Prose is the text of Markdown pages and cells, and the captions and alternative texts of figures in code.

A *number* in it comes from the run (glued, or a value in an f-string), or it is no result: it is code,
mathematics, a reference or a quotation; its sentence cites or links a source; the chapter has it as the
default of a parameter or in a claim stated before the run; or it is one of the data's own. What a unit of
results follows (%, points, nats, times, fold) is no mere parameter.

A *word that compares* ("higher", "twice", "never") is asserted by ``page.says``, which takes the words as
they stand in the text, or stands beside a value of the run. It needs nothing in a question or where its
sentence cites a source.

Where neither is so and yet all is well, a comment in the same cell says why: ``% given 80, larger: reason``
in text, ``# given 80, larger: reason`` in code, ``<!-- given 80: reason -->`` in the README.
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
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

from book import build, contents, run
from lib.page import params

# MNIST's own: classes, pixels, images, largest values; and numbers that count things on a page.
DATA = frozenset({0, 1, 2, 3, 10, 28, 255, 256, 784, 5_000, 10_000, 50_000, 60_000})
VALUE, SOURCE, OTHER = "…", "⟨source⟩", "⟨·⟩"  # "…" as page.says writes it

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


class Finding(NamedTuple):
    """One thing in prose that is not held to the run.

    Attributes:
        file: the page's or notebook's name.
        place: id of the cell, or line of the page.
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
    """A piece of prose: what it says, and the lines of its cell (or page) that excuse words and numbers."""

    place: str
    text: str
    given: frozenset[str]


# ---- text of Markdown ------------------------------------------------------------------------------------


@cache
def _parser() -> MarkdownIt:
    extensions = {"amsmath", "colon_fence", "deflist", "dollarmath", "linkify", "substitution"}
    return create_md_parser(MdParserConfig(enable_extensions=extensions), RendererHTML)


def _inline(tokens: list[Token]) -> str:
    """Plain text of a paragraph: values, sources and whatever else is no prose as placeholders."""
    parts = []
    for token in tokens:
        if token.type == "text":
            parts.append(token.content)
        elif token.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif token.type == "myst_role":
            name = token.meta["name"]
            parts.append(VALUE if name.startswith("glue") else SOURCE if name.startswith("cite") else OTHER)
        elif token.type == "link_open" and re.match(r"https?:", str(token.attrs.get("href", ""))):
            parts.append(SOURCE)
        elif token.type == "image":
            parts.append(_inline(token.children or []))
        elif token.type in ("code_inline", "math_inline", "math_inline_double", "html_inline"):
            parts.append(OTHER)
    return "".join(parts)


def paragraphs(markdown: str) -> Iterator[str]:
    """Paragraphs, items, headings and table rows of a MyST text, without quotations, code and formulas.

    Args:
        markdown: MyST Markdown.

    Yields:
        Plain text with placeholders.
    """
    quoted, row = 0, None
    for token in _parser().parse(markdown):
        quoted += {"blockquote_open": 1, "blockquote_close": -1}.get(token.type, 0)
        if token.type == "tr_open":
            row = []
        elif token.type == "tr_close":
            yield " | ".join(row)
            row = None
        elif token.type == "inline" and not quoted:
            text = _inline(token.children or [])
            if row is None:
                yield text
            else:
                row.append(text)
        elif token.type == "colon_fence":  # an admonition, a card: its text is prose, its options are not
            kept = [line for line in token.content.splitlines() if not re.match(r":[\w-]+:", line)]
            yield re.sub(r"\{[\w-]+\}", "", token.info).strip(" :")
            yield from paragraphs("\n".join(kept))


def sentences(text: str) -> list[str]:
    """Sentences of a plain text; what it quotes is a placeholder."""
    return [s.strip() for s in _SENTENCE.split(_QUOTED.sub(OTHER, text)) if s.strip()]


# ---- text in code ----------------------------------------------------------------------------------------


def _spoken(node: ast.AST) -> str:
    """What an expression writes: its literal parts, and a placeholder for all that is computed."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_spoken(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _spoken(node.left) + _spoken(node.right)
    if isinstance(node, ast.IfExp):
        return f"{_spoken(node.body)} {_spoken(node.orelse)}"
    if isinstance(node, ast.BoolOp):
        return " ".join(map(_spoken, node.values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
        return " ".join(map(_spoken, node.args))
    if isinstance(node, ast.GeneratorExp | ast.ListComp):
        return _spoken(node.elt)
    return VALUE


def _calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    """Calls of functions of these names, with or without a module before them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
            yield node


def _tree(cell: Any) -> ast.AST:
    lines = "".join(cell["source"]).splitlines()
    return ast.parse("\n".join("" if line.startswith(("%", "!")) else line for line in lines))


def _captions(cell: Any) -> Iterator[tuple[str, ast.AST]]:
    for call in _calls(_tree(cell), "figure"):
        for keyword in call.keywords:
            if keyword.arg in ("caption", "alt"):
                yield keyword.arg, keyword.value


def _moves(cell: Any) -> bool:
    """Whether a cell draws an explorable figure, which itself adds its outcome to the alternative text."""
    return any(ast.unparse(call.func) == "explore.figure" for call in _calls(_tree(cell), "figure"))


# ---- what a chapter has ----------------------------------------------------------------------------------


def _given(source: str) -> frozenset[str]:
    return frozenset(word.strip() for found in _GIVEN.finditer(source) for word in found["what"].split(", "))


def _number(text: str) -> float:
    text = text.replace("−", "-")
    whole = re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text)
    return float(text.replace(",", "")) if whole or "," not in text else float("nan")


def _numbers(text: str) -> set[float]:
    return {_number(found) for found in _NUMBER.findall(text)}


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
        for call in _calls(_tree(cell), "claim", "Claim"):
            named = [k.value for k in call.keywords if k.arg in ("statement", "stated")]
            for node in [
                *named,
                *call.args[1:4],
            ]:  # a chapter's own short form: id, statement, source, stated
                found |= _numbers(_spoken(node))
    return found


def said(path: Path) -> list[str]:
    """Words that a chapter holds against its run by ``page.says``."""
    found = []
    for cell in _code(path):
        for call in _calls(_tree(cell), "says"):
            keys = call.args[0].keys if call.args and isinstance(call.args[0], ast.Dict) else ()
            found += [" ".join(_spoken(key).split()) for key in keys]
    return found


def _before_the_run(path: Path) -> set[str]:
    """Cells between the first one and the one that shows the claims: what is asked and how it is measured."""
    cells = run.load(path).cells
    shown = [k for k, c in enumerate(cells) if c.cell_type == "code" and [*_calls(_tree(c), "expected")]]
    return {cell.id for cell in cells[1 : shown[0] if shown else 1]}


def texts(path: Path) -> list[Text]:
    """All prose of a page or a chapter.

    Args:
        path: a Markdown page or a notebook.

    Returns:
        Its pieces, in order.
    """
    if path.suffix != ".ipynb":
        source = path.read_text("utf-8")
        return [Text("page", text, _given(source)) for text in paragraphs(source)]
    found = []
    for cell in run.load(path).cells:
        given = _given(cell.source)
        if cell.cell_type == "markdown":
            found += [Text(cell.id, text, given) for text in paragraphs(cell.source)]
        elif cell.cell_type == "code":
            for _, node in _captions(cell):
                # the words of a caption are Markdown as well
                found += [Text(cell.id, t, given) for t in paragraphs(_spoken(node))]
    return found


# ---- findings --------------------------------------------------------------------------------------------


def typed_numbers(path: Path, known: set[float], quoted: set[float]) -> list[Finding]:
    """Numbers in prose that neither come from the run nor are given by something else than it.

    A citation excuses the numbers of its sentence unless that gives values of the run as well: there it could
    not be told which is which.

    Args:
        path: a Markdown page or a notebook.
        known: defaults of the chapter's parameters, or of all chapters.
        quoted: numbers of claims, stated before the run.
    """
    found = []
    for place, text, given in texts(path):
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
                    found.append(Finding(path.name, place, match[0], sentence))
    return found


def typed_values(path: Path) -> list[Finding]:
    """Values of a chapter that are typed where they should be computed: ``page.glue("gap", 0.2)``."""
    found = []
    for cell in _code(path):
        for call in _calls(_tree(cell), "glue"):
            value = call.args[1] if len(call.args) > 1 else None
            if isinstance(value, ast.UnaryOp):
                value = value.operand
            if isinstance(value, ast.Constant) and _numbers(str(value.value)):
                found.append(Finding(path.name, cell.id, ast.unparse(value), ast.unparse(call)))
    return found


def loose_words(path: Path) -> list[Finding]:
    """Words of a chapter that compare and that nothing holds to the run.

    Looked at are the first cell, which has the answer, captions, and all text after the claims were stated. A
    sentence that gives a value of the run shows itself whether its words fit.
    """
    held, before = said(path), _before_the_run(path)
    found = []
    for place, text, given in texts(path):
        for sentence in sentences(text):
            if place in before or VALUE in sentence or SOURCE in sentence or sentence.endswith("?"):
                continue
            rest = sentence
            for words in held:
                rest = rest.replace(words, OTHER)
            words = (match[0] for match in _COMPARES.finditer(rest))
            found += [Finding(path.name, place, w, sentence) for w in words if w.lower() not in given]
    return found


def lost_words(path: Path) -> list[Finding]:
    """Words that a chapter holds against its run, and that its text does not have."""
    whole = [_QUOTED.sub(OTHER, text) for _, text, _ in texts(path)]
    return [
        Finding(path.name, "page.says", words, "no sentence of the chapter has these words")
        for words in said(path)
        if not any(words in text for text in whole)
    ]


def mute_alts(path: Path) -> list[Finding]:
    """Figures of a chapter whose alternative text holds nothing that was computed."""
    return [
        Finding(path.name, cell.id, "alt", _spoken(node) or "(nothing)")
        for cell in _code(path)
        if not _moves(cell)
        for what, node in _captions(cell)
        if what == "alt" and VALUE not in _spoken(node)
    ]


def findings(root: Path) -> list[Finding]:
    """All findings in the pages of a book and its README.

    Args:
        root: the project's folder.
    """
    paths = [path for _, path in contents.pages(root)]
    notebooks = [path for path in paths if path.suffix == ".ipynb"]
    known = {path: defaults(path) for path in notebooks}
    quoted = {path: stated(path) for path in notebooks}
    found = []
    for path in notebooks:
        found += typed_numbers(path, known[path], quoted[path]) + typed_values(path)
        found += loose_words(path) + lost_words(path) + mute_alts(path)
    everywhere = set().union(*known.values()), set().union(*quoted.values())
    readme = [root / "README.md"] if (root / "README.md").is_file() else []
    for path in [*(p for p in paths if p.suffix != ".ipynb"), *readme]:
        found += typed_numbers(path, *everywhere)
    return found


def main(root: Path = contents.ROOT) -> int:
    """The command line; returns the exit status."""
    found = findings(root)
    for finding in found:
        build.say(str(finding))
    build.say(f"{len(found)} finding(s) in prose")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
