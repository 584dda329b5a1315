"""The chapters end to end: what a run of each at its smallest scale holds."""

import ast
import re

import nbformat
import pytest
from smoke import CHAPTERS

from book import gate
from lib.page import claims


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request, executed):
    """Name and run of every chapter; the gate has passed it."""
    return request.param.stem, executed(request.param)[0]


def test_there_is_a_chapter():
    assert CHAPTERS


SCOPES = (ast.FunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def bound(node: ast.AST) -> set[str]:
    """Names that code binds outside functions and comprehensions, which have names of their own."""
    if isinstance(node, SCOPES):
        return {getattr(node, "name", "")}
    own = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else set()
    return own.union(*map(bound, ast.iter_child_nodes(node)))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_cell_binds_the_name_of_a_parameter(path):
    """A parameter is what its name holds when the set-up cell is run, in Jupyter once more perhaps."""
    cells = nbformat.read(path, as_version=4).cells
    code = [c for c in cells if c.cell_type == "code" and not c.source.startswith("%%")]
    given = [c for c in code if "parameters" in c.metadata.get("tags", [])]
    names = set().union(*(bound(ast.parse(c.source)) for c in given))
    assert names
    assert {
        c.id: again for c in code if c not in given and (again := names & bound(ast.parse(c.source)))
    } == {}


def test_every_claim_that_applies_is_measured(chapter):
    name, notebook = chapter
    (record,) = gate.records(notebook, gate.CLAIMS_MIME)
    claims.validate(record)
    assert record["chapter"] == name
    for claim in record["claims"]:
        assert claim["verdict"] == "out of range" or claim["n"] >= 1, claim["id"]


def test_every_figure_has_data_and_a_short_alternative_text_with_numbers(chapter):
    figures = [o for _, o in gate.outputs(chapter[1]) if o.get("metadata", {}).get("sgd_book")]
    assert figures
    for output in figures:
        table, about = output["data"][gate.DATA_MIME], output["metadata"]["sgd_book"]
        assert table["columns"] and table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        # that they were computed is what the lint of prose sees: here 0 and 100 % may be
        assert re.search(r"\d", about["alt"]), about["name"]
        assert len(about["alt"]) <= 500, about["name"]
