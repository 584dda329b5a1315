import json
from pathlib import Path

import nbformat
import pytest

from book import contents, prose

ROOT = Path(__file__).resolve().parents[2]
PARAMETERS = (
    "nets: int = 40  # networks [networks; 1 to 100]\nrates: list[float] = [0.5, 2.5]  # rates [1; 0 to 9]"
)
CLAIM = 'Claim(id="a", statement="It is 12 %", stated="0.223", reason="777")\nbook.expected()'


def chapter(tmp_path, *texts, code=()):
    """A notebook of these cells of text, after its claims, and of these cells of code."""
    new = nbformat.v4
    cells = [new.new_markdown_cell("# A title", id="title")]
    cells.append(new.new_code_cell(PARAMETERS, id="parameters", metadata={"tags": ["parameters"]}))
    cells.append(new.new_code_cell(CLAIM, id="claims"))
    cells += [new.new_markdown_cell(text, id=f"text-{k}") for k, text in enumerate(texts)]
    cells += [new.new_code_cell(text, id=f"code-{k}") for k, text in enumerate(code)]
    path = tmp_path / "toy.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    return path


def numbers(path):
    return [f.what for f in prose.typed_numbers(path, prose.defaults(path), prose.stated(path))]


def words(path):
    return [f.what for f in prose.loose_words(path)]


def test_the_book_and_the_template_have_no_finding(tmp_path):
    assert [str(finding) for finding in prose.findings(ROOT)] == []
    assert contents.chapters(ROOT)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The whole net has 87.66 % right.", ["87.66"]),
        ("It gains 0.43 points, or 1,234 of {glue:text}`n`.", ["0.43", "1,234"]),
        ("The gap is −0.2 (−0.3 to −0.1).", ["−0.2", "−0.3", "−0.1"]),
        ("It ends at 40 % after 40 updates.", ["40"]),
        ("Of {glue:text}`n` nets {glue:text}`k` have 3.0 live units.", ["3.0"]),
        ("A factor of 17 \\\n separates them.", ["17"]),
        (":::{admonition} The answer\n:class: tip\n* It is 91.\n:::", ["91"]),
        ("| a | b |\n|---|---|\n| net | 91.5 |", ["91.5"]),
        ("As {cite}`x` says, 0.7; here {glue:text}`a` and 0.9.", ["0.7", "0.9"]),
        ("It rises 7 fold, and between 6 and 8 to 9 nats.", ["7", "6", "8", "9"]),
        ("## It takes 365 days", ["365"]),
    ],
)
def test_a_typed_number_is_found(tmp_path, text, found):
    assert numbers(chapter(tmp_path, text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "The whole net has {glue:text}`whole:.2f` % right (95 % interval {glue:text}`a` to {glue:text}`b`).",
        "The post has 87.9 % {cite}`pitis2016first`.",
        "It was [87.9 %](https://example.org/2017/post) there.",
        '> "Only 91.2 % right."\n\nThe post says "at 91.2 %".',
        "With `-p nets 70` and $\\eta = 0.7$:\n\n```bash\nrun 99\n```",
        "$$ x = 17.5 $$",
        "40 nets at rates of 0.5 and 2.5 on 60,000 images of 784 pixels in 10 classes.",
        "The published gap is 0.223, or 12 % of it.",
        "Layer 1 and layer 2; float32, 3x3, r2rt, CSC321.",
        "It has 91.2 % right.\n\n% given 91.2: the weather of that day",
        "See {numref}`fig-3` and [](part-17).",
        "% given 5, 6: seeds\n\n## Seeds 5 and 6",
    ],
)
def test_what_is_no_result_passes(tmp_path, text):
    assert numbers(chapter(tmp_path, text)) == []


def test_a_reason_is_wanted(tmp_path):
    assert numbers(chapter(tmp_path, "It has 91.2 % right.\n\n% given 91.2:")) == ["91.2"]


def test_a_range_of_a_claim_that_is_only_its_reason_excuses_nothing(tmp_path):
    assert numbers(chapter(tmp_path, "It is 777 here.")) == ["777"]


def figure(caption, alt='f"A line at {x}."'):
    return f'page.figure(fig, "fig-a", caption={caption}, alt={alt}, data=d)'


def test_captions_and_alternative_texts_are_prose(tmp_path):
    typed = figure('f"At {x:.1f} % the 81.5 points " "and " + "82.5 more are gone."', '"All 83.5 of them."')
    path = chapter(tmp_path, code=[typed])
    assert numbers(path) == ["81.5", "82.5", "83.5"]
    assert [f.place for f in prose.mute_alts(path)] == ["code-0"]
    both = figure('"In 84.5 cases." if x else "In 85.5."', '"; ".join(f"{a}: {b} at 86.5" for a, b in c)')
    path = chapter(tmp_path, code=["# given 86.5: a level\n" + both])
    assert numbers(path) == ["84.5", "85.5"] and prose.mute_alts(path) == []


def test_a_value_that_is_typed_is_found_and_one_that_is_computed_passes(tmp_path):
    typed = ['page.glue("a", 0.2)', 'page.glue("b", -3)', 'glue("c", "12 %")']
    assert len(prose.typed_values(chapter(tmp_path, code=typed))) == 3
    computed = [
        'page.glue("a", x)',
        'page.glue("b", 100 * x[0])',
        'page.glue("c", f"{x} %")',
        'glue("d", "up")',
    ]
    assert prose.typed_values(chapter(tmp_path, code=computed)) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The whole net is always ahead.", ["always", "ahead"]),
        ("It takes twice the steps. None comes back.", ["twice", "None"]),
        ("The rate is higher than {glue:text}`a`. The other is lower.", ["lower"]),
    ],
)
def test_a_word_that_nothing_holds_is_found(tmp_path, text, found):
    assert words(chapter(tmp_path, text)) == found


@pytest.mark.parametrize(
    "text",
    [
        "The whole net is **always ahead** of them.",
        "Which is better?",
        "It is larger, as {cite:t}`x` found.",
        "It is higher by {glue:text}`a` points.",
        "It is lower.\n\n% given lower: a definition",
        "At most three, at least two; not any more.",
    ],
)
def test_a_word_that_is_held_or_shows_itself_passes(tmp_path, text):
    said = 'page.says({"always ahead of them": x > 0})' if "always" in text else "1"
    path = chapter(tmp_path, text, code=[said])
    assert words(path) == [] and prose.lost_words(path) == []


def test_words_may_span_a_value_of_the_run(tmp_path):
    code = ['page.says({"ahead by … points": x, "never " "said": y})', 'page.says({"gone": z})']
    path = chapter(tmp_path, "It is ahead by {glue:text}`a:.1f` points.", code=code)
    assert prose.said(path) == ["ahead by … points", "never said", "gone"]
    assert [f.what for f in prose.lost_words(path)] == ["never said", "gone"]


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
