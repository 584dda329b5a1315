"""The chapters end to end: what a run of each at its smallest scale holds."""

import re

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
