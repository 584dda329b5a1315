"""Pieces of the pages about all chapters: accepted numbers, references, anchors."""

import re
from html import unescape
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from book import contents, directives

ROOT = Path(__file__).resolve().parents[2]
STAMP = {"started": "2026-11-21T00:00:00+00:00", "commit": "c" * 40}


def measured(value=1.0, low=0.5, high=1.5, verdict="holds"):
    """A claim as it is recorded."""
    return {"verdict": verdict, "value": value, "interval": None if value is None else [low, high], "n": 3}


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (measured(), measured(), ""),
        (measured(), measured(1.4, 1.0, 1.8), ""),
        (measured(), measured(1.6, 0, 3), "yes"),
        (measured(), measured(1.1, 1.05, 1.15), "yes"),
        (measured(1, 1, 1), measured(1, 1, 1), ""),
        (measured(1, 1, 1), measured(2, 2, 2), "yes"),
        (measured(), measured(9, 8, 10, "fails"), "yes; holds became fails"),
        (measured(), measured(verdict="undecided"), "holds became undecided"),
        (measured(None), measured(), "not measured before"),
        (measured(), measured(None), "no longer measured"),
        (measured(None), measured(None), ""),
        (None, measured(), "new"),
    ],
)
def test_a_move_is_a_value_beyond_an_interval_or_another_verdict(before, now, told):
    assert directives.moves(before, now) == told


def test_what_lies_between_two_runs_is_named():
    made = {**STAMP, "clean": True, "processor": "toy", "threads": 1, "system": "Linux"}
    one = {**made, "versions": {"numpy": "1", "scipy": "1"}}
    newer = {**made, "versions": {"numpy": "2", "x": "1"}}
    assert directives.since(None, one).startswith("No run was accepted yet")
    assert directives.since(one, one) == "This is the accepted run, of 2026-11-21 (commit cccccccccccc)."
    again = directives.since(one, {**one, "started": "2026-12-01T00:00:00+00:00"})
    assert "Now: the run of 2026-12-01" in again and again.endswith("between them: nothing.")
    assert directives.since(one, newer).endswith(": numpy 1 to 2; scipy 1 to none; x none to 1.")
    assert directives.since(one, {**one, "threads": 4, "clean": False}).endswith(": machine; code.")


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (["holds/holds"], "1 claim: 1 holds."),
        (["holds/holds"] * 2 + ["fails/fails"], "3 claims: 2 hold, 1 fails (as expected)."),
        (["fails/fails", "fails/holds", "holds/fails"], "3 claims: 1 holds, 2 fail (1 as expected)."),
        (["undecided/fails", "out of range/holds"], "2 claims: 1 undecided, 1 out of range."),
    ],
)
def test_claims_are_counted_in_words(verdicts, words):
    stated = [dict(zip(("verdict", "expected"), one.split("/"), strict=True)) for one in verdicts]
    assert directives.counted(stated) == words


def test_a_text_is_shown_to_the_letter():
    text = "*a* `b` $c$ {{d}} {e}`f` <i> &amp; [g](h) | 1. \\ https://i #j\nk"
    read = MarkdownIt("commonmark").renderInline(directives.plain(text))
    assert unescape(read) == text.replace("\n", " ")


def test_the_reference_has_the_words_of_the_citation_file(monkeypatch):
    for name in (contents.URL, directives.REPOSITORY):
        monkeypatch.delenv(name, raising=False)
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    said = directives.citation(ROOT, [{**STAMP, "started": "2025", "commit": "old"}, STAMP])
    assert (said["title"], said["version"], said["year"]) == (cff["title"], cff["version"], "2026")
    assert said["note"] == "run at commit cccccccccccc" and "url" not in said
    monkeypatch.setenv(directives.REPOSITORY, "https://github.com/a/b")
    assert directives.citation(ROOT, [STAMP])["url"] == "https://github.com/a/b"
    monkeypatch.setenv(contents.URL, "https://a.github.io/b")
    assert directives.citation(ROOT, [STAMP])["url"] == "https://a.github.io/b/"


def test_authors_may_be_people(tmp_path, monkeypatch):
    monkeypatch.delenv(contents.URL, raising=False)
    authors = [{"family-names": "B", "given-names": "A"}, {"name": "C"}]
    cff = {"authors": authors, "title": "T", "version": "1"}
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(cff))
    said = directives.citation(tmp_path, [{**STAMP, "commit": "unknown"}])
    assert said["author"] == "B, A and C" and said["note"] == "run outside a checkout"


@pytest.mark.parametrize(
    "given", ["host", "ftp://host/x", "https:///x", "https://host/x?y=1", "https://host/#a"]
)
def test_an_address_is_whole_or_refused(monkeypatch, given):
    monkeypatch.setenv(contents.URL, given)
    with pytest.raises(ValueError, match=re.escape(given)):
        contents.address()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("", ""), ("https://host", "https://host/"), ("https://host/x/", "https://host/x/")],
)
def test_an_address_ends_in_a_stroke(monkeypatch, given, wanted):
    monkeypatch.setenv(contents.URL, given)
    assert contents.address() == wanted
