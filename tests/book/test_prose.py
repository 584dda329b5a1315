import json
from pathlib import Path

import nbformat
import pytest

from book import contents, prose

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = (
    "nets: int = 40  # networks [networks; 1 to 100]\nrates: list[float] = [0.5, 2.5]  # rates [1; 0 to 9]"
)
CLAIM = 'book.claim("a", "It is 12 %", "us", "0.223", "777 to 778 %", "777")\nbook.expected()'


def chapter(tmp_path, *texts, code=(), given=()):
    """A notebook of these text cells, after its claims, and of these cells of code."""
    new = nbformat.v4
    cells = [new.new_markdown_cell("# A title", id="title")]
    cells.append(new.new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}))
    cells.append(new.new_code_cell(CLAIM, id="claims"))
    cells += [new.new_code_cell(f"%%text\n{text}", id=f"text-{k}") for k, text in enumerate(texts)]
    cells += [new.new_code_cell(text, id=f"code-{k}") for k, text in enumerate(code)]
    for cell in cells[3:]:
        cell.metadata["given"] = dict.fromkeys(given, "a reason")
    path = tmp_path / "toy.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    (tmp_path.parent / "lib" / "page" / "defaults").mkdir(parents=True, exist_ok=True)
    (tmp_path.parent / "lib" / "page" / "defaults" / "toy.txt").write_text(PARAMETERS)
    return path


def numbers(path):
    return [f.what for f in prose.typed_numbers(path, prose.defaults(path), prose.stated(path))]


def words(path):
    return [f.what for f in prose.loose_words(path)]


def test_the_book_and_the_template_have_no_finding(tmp_path):
    assert [str(finding) for finding in prose.findings(ROOT)] == []
    assert contents.chapters(ROOT)


TYPED = {
    "The whole net has 87.66 % right.": ["87.66"],
    "It gains 0.43 points, or 1,234 of {{n}}.": ["0.43", "1,234"],
    "The gap is −0.2 (−0.3 to −0.1).": ["−0.2", "−0.3", "−0.1"],
    "It ends at 40 % after 40 updates.": ["40"],
    "Of {{n}} nets {{k}} have 3.0 live units.": ["3.0"],
    "A factor of 17 \\\n separates them.": ["17"],
    "[All 91 of them]{{x > 0}} are there.": ["91"],
    "| a | b |\n|---|---|\n| net | 91.5 |": ["91.5"],
    "As {cite}`x` says, 0.7; here {{a}} and 0.9.": ["0.7", "0.9"],
    "It rises 7 fold, and between 6 and 8 to 9 nats.": ["7", "6", "8", "9"],
    "## It takes 365 days": ["365"],
    "It is 777 here.": ["777"],  # in the claim a range, which is only its reason
}
NO_RESULTS = (
    "The whole net has {{whole:.2f}} % right (95 % interval {{a}} to {{b}}).",
    "The post has 87.9 % {cite}`pitis2016first`.",
    "It was [87.9 %](https://example.org/2017/post) there.",
    '> "Only 91.2 % right."\n\nThe post says "at 91.2 %".',
    "With `-p nets 70` and $\\eta = 0.7$:\n\n```bash\nrun 99\n```",
    "$$ x = 17.5 $$",
    "40 nets at rates of 0.5 and 2.5 on 60,000 images of 784 pixels in 10 classes.",
    "The published gap is 0.223, or 12 % of it.",
    "Layer 1 and layer 2; float32, 3x3, r2rt, CSC321.",
    "See {numref}`fig-3` and [](part-17).",
)


@pytest.mark.parametrize(("text", "found"), (TYPED | dict.fromkeys(NO_RESULTS, [])).items())
def test_a_typed_number_is_found_and_what_is_no_result_passes(tmp_path, text, found):
    assert numbers(chapter(tmp_path, text)) == found


def test_a_reason_excuses_in_the_cells_metadata(tmp_path):
    path = chapter(tmp_path, "It has 91.2 % right, which is lower than 91.3.", given=["91.2", "lower"])
    assert numbers(path) == ["91.3"] and words(path) == []


def figure(caption, alt='"A line at {{x}}."'):
    return f'page.figure(fig, "fig-a", caption={caption}, alt={alt}, data=d)'


def test_captions_and_alternative_texts_are_prose(tmp_path):
    typed = figure('f"At {x:.1f} % the 81.5 points " "and " + "82.5 more are gone."', '"All 83.5 of them."')
    path = chapter(tmp_path, code=[typed])
    assert numbers(path) == ["81.5", "82.5", "83.5"] and words(path) == ["more"]
    assert [f.place for f in prose.mute_alts(path)] == ["code-0"]
    both = figure('"In 84.5 cases." if x else "In 85.5."', 'f"{a}: {b}" + " at 86.5"')
    path = chapter(tmp_path, code=[both], given=["86.5"])
    assert numbers(path) == ["84.5", "85.5"]
    assert prose.mute_alts(chapter(tmp_path, code=[figure('"A."')])) == []


@pytest.mark.parametrize("field", ["{{0.2}}", "{{'12 %'}}", "[ahead]{{True}}", "[ahead]{{1 > 0}}", "{{x y}}"])
def test_a_field_that_no_run_can_change_is_found(tmp_path, field):
    path = chapter(tmp_path, f"It is {field}.", code=[figure(f'"It is {field}."')])
    assert [f.what for f in prose.empty_fields(path)] == [field, field]
    assert [*prose.empty_fields(chapter(tmp_path, "[ahead]{{x > 0}} by {{100 * x[0]:.2f}}"))] == []


LOOSE = {
    "The whole net is always ahead.": ["always", "ahead"],
    "It takes twice the steps. None comes back.": ["twice", "None"],
    "The rate is higher than {{a}}. The other is [so]{{x}}, and lower.": ["higher", "lower"],
    "[never]{{a}} and never": ["never"],
}
HELD_OR_ASKED = (
    "The whole net is **[always ahead]{{x > 0}}** of them.",
    "Which is better?",
    "It is larger, as {cite:t}`x` found.",
    "It is [higher by {{a:.1f}} points]{{a > 0}}.",
    "At most three, at least two; not any more.",
)


@pytest.mark.parametrize(("text", "found"), (LOOSE | dict.fromkeys(HELD_OR_ASKED, [])).items())
def test_a_word_that_nothing_holds_is_found(tmp_path, text, found):
    assert words(chapter(tmp_path, text)) == found


@pytest.mark.parametrize("text", ["See {cite}`x`.", "(label)=\n# A", ":::{note}\nx\n:::", "It is {{x}}."])
def test_markup_that_a_front_end_shows_raw_is_found_in_markdown_cells(tmp_path, text):
    path = chapter(tmp_path, text)
    assert prose.raw_text(path) == []
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell(text, id="raw"))
    nbformat.write(notebook, path)
    assert [f.place for f in prose.raw_text(path)] == ["raw"]


def test_what_is_asked_and_how_it_is_measured_states_no_result(tmp_path):
    path = chapter(tmp_path)
    notebook = json.loads(path.read_text("utf-8"))
    recipe = {"cell_type": "markdown", "id": "recipe", "metadata": {}, "source": "It never sees a label."}
    for place, found in ((2, []), (4, ["never"])):
        cells = [*notebook["cells"][:place], recipe, *notebook["cells"][place:]]
        path.write_text(json.dumps(notebook | {"cells": cells}), "utf-8")
        assert words(path) == found


def test_the_command_line_names_what_it_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "chapters").mkdir()
    chapter(tmp_path / "chapters", "It has 91.2 % right.")
    (tmp_path / "page.md").write_text("# A page\n\n40 nets have 93.5 % right.\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: page\nchapters:\n  - file: chapters/toy\n")
    assert prose.main(tmp_path) == 1
    said = capsys.readouterr().out
    assert "toy.ipynb, text-0: '91.2'" in said and "page.md, page: '93.5'" in said and "2 finding(s)" in said
    (tmp_path / "page.md").write_text("# A page\n")
    chapter(tmp_path / "chapters")
    assert prose.main(tmp_path) == 0
    (tmp_path / "lib" / "page" / "defaults" / "toy.txt").write_text("nets: int = 41")
    assert prose.main(tmp_path) == 1 and "python -m book defaults" in capsys.readouterr().out
