"""Pieces of the pages about all chapters: small figures of past builds, references, anchors."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from book import build, directives
from book.history import Point

ROOT = Path(__file__).resolve().parents[2]
STAMP = {"started": "2026-11-21T00:00:00+00:00", "commit": "c" * 40}


def points(*values, moved=()):
    """A claim in builds 1, 2, ... with an interval of 1 either side; None where it was not measured."""
    return [
        Point(k, v, None if v is None else (v - 1, v + 1), "holds", k in moved)
        for k, v in enumerate(values, 1)
    ]


def drawn(found, builds, breaks=()):
    """Dots and lines of a small figure."""
    tree = ElementTree.fromstring(directives.spark(found, builds, breaks, 'a "label" & more'))
    assert tree.get("aria-label") == 'a "label" & more' and tree.get("role") == "img"
    dots = [(float(d.get("cx")), float(d.get("cy")), d.get("class")) for d in tree.iter("circle")]
    return dots, [line.get("class") for line in tree.iter("path")]


def test_a_small_figure_goes_up_with_the_number_and_from_old_to_new():
    dots, lines = drawn(points(1, 2, 3, moved=(3,)), 3, breaks=(2,))
    assert [x for x, _, _ in dots] == sorted(x for x, _, _ in dots)
    assert [y for _, y, _ in dots] == sorted((y for _, y, _ in dots), reverse=True)
    assert [css for _, _, css in dots] == [None, None, "sgd-moved"]
    assert lines == ["sgd-break", None, None, None]


def test_a_small_figure_holds_what_is_there_within_its_frame():
    for found, builds in (
        (points(5), 1),
        (points(None, 5), 2),
        ([Point(1, 2.0, (2.0, 2.0), "holds", False)], 1),
        (points(*range(500)), 500),
    ):
        dots, _ = drawn(found, builds, breaks=range(2, builds + 1))
        assert 0 < len(dots) <= 60
        assert all(0 <= x <= 160 and 0 <= y <= 36 for x, y, _ in dots)


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


def test_the_reference_has_the_words_of_the_citation_file(monkeypatch):
    for name in (build.URL, directives.REPOSITORY):
        monkeypatch.delenv(name, raising=False)
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    said = directives.citation(ROOT, [{**STAMP, "started": "2025", "commit": "old"}, STAMP])
    assert (said["title"], said["version"], said["year"]) == (cff["title"], cff["version"], "2026")
    assert said["note"] == "run at commit cccccccccccc" and "url" not in said
    monkeypatch.setenv(directives.REPOSITORY, "https://github.com/a/b")
    assert directives.citation(ROOT, [STAMP])["url"] == "https://github.com/a/b"
    monkeypatch.setenv(build.URL, "https://a.github.io/b")
    assert directives.citation(ROOT, [STAMP])["url"] == "https://a.github.io/b/"


def test_authors_may_be_people(tmp_path, monkeypatch):
    monkeypatch.delenv(build.URL, raising=False)
    cff = {
        "authors": [{"family-names": "B", "given-names": "A"}, {"name": "C"}],
        "title": "T",
        "version": "1",
    }
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(cff))
    said = directives.citation(tmp_path, [{**STAMP, "commit": "unknown"}])
    assert said["author"] == "B, A and C" and said["note"] == "run outside a checkout"


@pytest.mark.parametrize(
    "given", ["host", "ftp://host/x", "https:///x", "https://host/x?y=1", "https://host/#a"]
)
def test_an_address_is_whole_or_refused(monkeypatch, given):
    monkeypatch.setenv(build.URL, given)
    with pytest.raises(ValueError, match=re.escape(given)):
        build.address()


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("", ""), ("https://host", "https://host/"), ("https://host/x/", "https://host/x/")],
)
def test_an_address_ends_in_a_stroke(monkeypatch, given, wanted):
    monkeypatch.setenv(build.URL, given)
    assert build.address() == wanted
