"""Text cells, the answer and parts, in an IPython shell without a kernel."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from lib.page import cells, params
from lib.page.text import TEXT_MIME

START = "from lib import page\npage.answer()"


@pytest.fixture
def run():
    """Runs cells in a new shell; gives what the last one displays, or raises what it raised."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()

    def cell(*sources):
        for source in sources:
            with capture_output() as shown:
                done = shell.run_cell(source, store_history=True)
            if error := done.error_before_exec or done.error_in_exec:
                raise error
        return shown.outputs

    cell.names = shell.user_ns
    yield cell
    cells.choose("all")
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def seen(outputs):
    (one,) = outputs
    assert one.data["text/markdown"] == one.data["text/plain"]
    return one.data["text/markdown"]


def test_the_answer_of_the_last_cell_goes_to_the_place_of_the_first(run):
    (place,) = run(START)
    assert "stands here when all cells have run" in place.data["text/markdown"]
    for x, said in ((1, "**[up]** by 1"), (-1, "**~~up~~ _(not so in this run)_** by −1")):
        run(f"x = {x}")
        said = said.replace("[up]", "up")
        (told,) = run("%%answer\n**[up]{{x > 0}}** by {{x}},\n\n* see {numref}`fig-a`\n")
        assert told.update and told.transient == place.transient == {"display_id": "answer"}
        assert seen([told]) == f"> **The answer.**\n>\n> {said},\n>\n> * see figure *a*"
        record = told.data[TEXT_MIME]
        assert (
            record["myst"]
            == f":::{{admonition}} The answer\n:class: tip\n{said},\n\n* see {{numref}}`fig-a`\n:::"
        )
        assert record["words"] == [{"words": "up", "holds": x > 0}] and record["values"] == {"x": x}


def test_a_text_follows_the_names_of_the_notebook(run):
    outputs = run(START, "gain = 0.25", "%%text\nIt [grew]{{gain > 0}} by {{gain:.1f}}: {numref}`fig-b`.")
    assert seen(outputs) == "It grew by 0.2: figure *b*.\n" and not outputs[0].update
    assert outputs[0].data[TEXT_MIME]["myst"] == "It grew by 0.2: {numref}`fig-b`.\n"
    assert seen(run("gain = -1", "%%text\nby {{gain}}")) == "by −1\n"
    with pytest.raises(ValueError, match=r"^{{lost}}: NameError: name 'lost' is not defined$"):
        run("%%text\n{{lost}}")


@pytest.mark.parametrize(
    ("asked", "first", "runs"),
    [
        ("all", "images", True), ("images", "images", True), ("images", " rates, images", True),
        ("images", "", True), ("images", "rates,two-nets", False), ("image", "images", False),
    ],
)  # fmt: skip
def test_cells_of_other_parts_are_left_out(run, asked, first, runs):
    run(START, START, f"from lib.page import cells\ncells.choose({asked!r})", "x = 0")
    mark = f"# part: {first}" if first else "# no part"
    run(f"{mark}\nx += 1\nif x:\n    # part: other\n    x += 1", f"{mark}\n%time y = 3")
    assert run.names["x"] == 2 * runs and ("y" in run.names) is runs
    shown = seen(run(f"%%text {first}\n{{{{x}}}} nets"))
    names = first.strip().replace(",t", ", t")
    said = f"*Left out: this belongs to {names}, and only {asked} was asked for.*"
    assert shown == ("2 nets\n" if runs else said)


def test_the_answer_takes_all_parts_and_a_new_start_asks_for_all(run):
    run(START, "from lib.page import cells\ncells.choose('images')")
    (told,) = run("%%answer\n{{gone}}")
    assert (
        seen([told]) == "> **The answer.**\n>\n> Only the part images was run; the answer takes all of them."
    )
    assert told.update and told.data[TEXT_MIME]["words"] == []
    run(START, "# part: rates\nx = 3")
    assert run.names["x"] == 3


def test_a_part_may_have_an_answer_of_its_own(run):
    run(START, "x = 3")
    assert run("%%answer rates, images\n{{x}} nets") == []  # all is asked for
    for _ in range(2):  # cells may be run again
        run("from lib.page import cells\ncells.choose('images')")
        (told,) = run("%%answer rates, images\n{{x}} nets")
        assert seen([told]) == "> **The answer.**\n>\n> 3 nets"
        assert run("%%answer\n{{gone}}") == []
    run(START)
    assert [len(run("%%answer\n{{x}}")) for _ in range(2)] == [1, 1]


def test_an_edited_cell_changes_the_parameters_of_a_running_notebook(run, monkeypatch, tmp_path):
    monkeypatch.setattr(params, "DEFAULTS", tmp_path)
    cell, check = "nets: int = 2  # nets [nets; 1 to 9]", "P = page.parameters('toy')"
    (tmp_path / "toy.txt").write_text(cell)
    for edited, changed in ((cell, ()), (cell.replace("= 2", "= 3"), ("nets",)), (cell, ())):
        run(START, edited, check)
        assert run.names["P"].overridden == changed
        with pytest.raises(params.ParameterError, match="nest: no such parameter; did you mean nets?"):
            run(f"{cell}\nnest: int = 4", check)
