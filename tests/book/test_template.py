"""The template of a chapter: what a reader starts from runs, is judged, built and recorded as it is."""

import re
import shutil

import pytest
import toy_book

from book import build, cli, contents, prose, record
from lib.page import params

ROOT = toy_book.PROJECT
NAME = "wide_nets"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A toy book with the template and the real bibliography."""
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    root = toy_book.project(tmp_path / "book", toy=toy_book.chapter())
    shutil.copytree((ROOT / contents.TEMPLATE).parent, (root / contents.TEMPLATE).parent)
    (root / "lib").unlink()  # a copy, since the defaults of a chapter are kept in it
    shutil.copytree(ROOT / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    contents.keep_defaults(root, root / "chapters" / "toy.ipynb")
    return root


def test_a_new_chapter_is_listed_after_the_others_and_has_its_own_names(project):
    path = contents.add_chapter(project, NAME)
    assert [chapter.name for chapter in contents.chapters(project)] == ["toy", NAME]
    text = path.read_text("utf-8")
    assert "# Wide nets" in text and f"chapters/{NAME}.ipynb" in text and "fig-wide-nets" in text
    assert not re.search(r"chapter[_-]name|Chapter title", text)
    params.schema(path)


NO_NAMES = dict.fromkeys(
    ["Wide", "wide nets", "wide-nets", "../wide", "", "9nets"], "wanted lower-case words"
)


@pytest.mark.parametrize(("name", "said"), [*NO_NAMES.items(), ("toy", "taken")])
def test_a_name_that_is_none_or_is_taken_is_refused_and_nothing_changes(project, name, said, capsys):
    files = [project / "_toc.yml", project / "chapters" / "toy.ipynb"]
    before = [file.read_bytes() for file in files]
    assert cli.main(["new", name], project) == 1
    assert said in capsys.readouterr().err
    assert [file.read_bytes() for file in files] == before


def test_the_template_has_no_finding_and_a_typed_number_in_it_is_one(project):
    path = contents.add_chapter(project, NAME)
    assert [f for f in prose.findings(project) if f.file == path.name] == []
    text = path.read_text("utf-8")
    path.write_text(text.replace("{{np.mean(fast):.1f}} %", "68.2 %"), "utf-8")
    assert [f.what for f in prose.findings(project) if f.file == path.name] == ["68.2"]
    held = "[The nets at the larger rate are ahead]{{ahead}}"
    path.write_text(text.replace(held, "They are ahead"), "utf-8")
    found = [(f.place, f.what) for f in prose.findings(project) if f.file == path.name]
    assert found == [("figure", "ahead")]


def test_a_new_chapter_runs_is_built_and_is_recorded(project):
    """At full scale; its smallest run is that of the tests of notebooks."""
    contents.add_chapter(project, NAME)
    said = []
    assert build.run_chapters(project, "full", say=said.append) == []
    assert build.keep_record(project, said.append) == 0
    assert build.build(project, "full", said.append) == 0, "\n".join(said)
    verdicts = record.read(project / record.VERDICTS)[0][NAME]
    assert {name: claim["verdict"] for name, claim in verdicts.items()} == {"faster": "holds"}
    page = (project / "_build" / "html" / "chapters" / f"{NAME}.html").read_text("utf-8")
    assert 'aria-label="Two points with intervals.' in page and "The answer" in page
