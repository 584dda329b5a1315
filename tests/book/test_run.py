"""Chapters are run strictly, kept by what they were made from, and never kept half."""

import errno
import io
import os
import threading
import types
from pathlib import Path

import nbformat
import papermill
import pytest
import toy_book

from book import gate, progress, run
from lib.ensembles import machine
from lib.page import params


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A toy chapter run once, in a project with a library, where a run was killed before."""
    root = tmp_path_factory.mktemp("executed")
    toy_book.library(root)
    code = """print(label, size)
from lib import near
import os
assert near.f == 3
assert os.environ['SGD_BOOK_PROGRESS']"""
    notebook = toy_book.save(root / "chapters" / "toy.ipynb", toy_book.chapter(code))
    out = root / "_build" / "toy.ipynb"
    out.parent.mkdir()
    for left in (".toy.running.ipynb", ".toy.running.progress", "toy.failed.ipynb"):
        (out.parent / left).write_text("{")
    run.run(notebook, out, {"size": "7"}, quiet(), root)
    assert list(out.parent.iterdir()) == [out]
    assert sorted(p.name for p in root.iterdir()) == ["_build", "chapters", "lib", "requirements.txt"]
    assert "SGD_BOOK_PROGRESS" not in os.environ
    return nbformat.read(out, as_version=4)


def quiet():
    return progress.Progress("toy", stream=io.StringIO())


# ---- what a copy depends on


def test_key_changes_with_what_matters_and_with_nothing_else(tmp_path):
    toy_book.library(tmp_path)
    notebook = toy_book.chapter("%matplotlib inline\nfrom lib import near")
    values = {"size": 3}
    key = run.content_keys(notebook, [values], tmp_path)

    def after(path: str, text: str) -> str:
        before = (tmp_path / path).read_text() if (tmp_path / path).exists() else None
        (tmp_path / path).write_text(text)
        found = run.content_keys(notebook, [values], tmp_path)
        (tmp_path / path).unlink() if before is None else (tmp_path / path).write_text(before)
        return found

    assert after("lib/near.py", "from .far import f\nX = 2\n") != key
    assert after("lib/last.py", "VALUE = 4\n") != key
    assert after("requirements.txt", "scipy==1.0\n") != key, "of what is pinned the installed version counts"
    assert after("constraints.txt", "scipy==1.0\n") != key
    assert after("lib/unrelated.py", "Y = 2\n") == key
    assert after("requirements.txt", "# why\nnumpy==3.0  # pinned\n\n") == key
    assert after("lib/near.py", '"""Near."""\n\nfrom .far import f  # why\nX = 1\n') == key
    assert run.content_keys(notebook, [{"size": 4}], tmp_path) != key

    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="x")]
    notebook.metadata["sgd_book"] = {"cover": "fig-toy"}
    assert run.content_keys(notebook, [values], tmp_path) == key
    for change in ("tags", "source", "id"):
        other = nbformat.from_dict(notebook)
        other = nbformat.reads(nbformat.writes(other), as_version=4)
        if change == "tags":
            other.cells[-1].metadata["tags"] = ["hide-input"]
        else:
            other.cells[-1][change] += {"source": "\n1", "id": "1"}[change]
        assert run.content_keys(other, [values], tmp_path) != key, change


@pytest.mark.parametrize(("owner", "name", "value"), [
    (run, "CONTENT_SHA256", "0" * 64), (machine.platform, "python_version", lambda: "3.0.0"),
    (machine, "version", lambda name: "0"), (machine, "variables", lambda: "TF_XLA_FLAGS=1"),
    (machine, "_processor", lambda: "another"),
], ids=["data", "Python", "installed", "variables", "processor"])  # fmt: skip
def test_what_computes_and_on_what_is_part_of_the_key(owner, name, value, tmp_path, monkeypatch):
    toy_book.library(tmp_path)
    notebook = toy_book.chapter()

    def keys(**more):
        return run.content_keys(notebook, [{}], tmp_path, **more)

    key, anywhere = keys(), keys(anywhere=True)
    monkeypatch.setattr(owner, name, value)
    assert keys() != key != anywhere
    assert (keys(anywhere=True) == anywhere) == (name == "_processor"), "a cluster may have other processors"


def test_expected_copy_takes_the_scale_from_its_file(tmp_path):
    path = toy_book.save(tmp_path / "chapters" / "toy.ipynb", toy_book.chapter())
    full, preview = (run.expected_copy(path, tmp_path, scale) for scale in ("full", "preview"))
    assert (full.given, preview.given) == ({}, {"size": 2})
    assert full.key != preview.key
    assert full.path == tmp_path / "_build" / "executed" / "full" / "toy.ipynb"
    with pytest.raises(ValueError, match="scale"):
        run.expected_copy(path, tmp_path, "huge")
    for text in ("", "[size]", "size: ["):
        (path.parent / "parameters" / "toy" / "preview.yaml").write_text(text)
        with pytest.raises(ValueError, match="preview"):
            run.expected_copy(path, tmp_path, "preview")
    (tmp_path / "broken.ipynb").write_text("{")
    with pytest.raises(ValueError, match="not a notebook"):
        run.expected_copy(tmp_path / "broken.ipynb", tmp_path, "full")


def test_a_damaged_copy_is_not_current(tmp_path, executed):
    copy = run.Copy(tmp_path / "toy.ipynb", executed.metadata["sgd_book_run"]["key"], {})
    assert not run.is_current(copy, tmp_path)
    nbformat.write(executed, copy.path)
    assert run.is_current(copy, tmp_path)
    assert not run.is_current(copy._replace(key="0" * 64), tmp_path)
    text = copy.path.read_text()
    copy.path.write_text(text[: len(text) // 2])
    assert not run.is_current(copy, tmp_path)


# ---- good runs


def test_a_run_keeps_parameters_key_and_no_path_of_this_machine(executed):
    """Its kernel started in the project's folder and found the library there: the fixture asserts it."""
    text = nbformat.writes(executed)
    assert "toy 7" in executed.cells[4].outputs[0].text
    assert len(executed.metadata["sgd_book_run"]["key"]) == 64
    assert "input_path" not in text
    assert not gate.notebook_faults(executed, [], executed.metadata["sgd_book_run"]["key"])


@pytest.mark.parametrize("given", [{"sizes": 3}, {"size": "three"}, {"size": 0}, {"size": float("nan")}])
def test_bad_parameters_are_refused_before_a_kernel_starts(tmp_path, monkeypatch, given):
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: pytest.fail("a kernel was started"))
    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(params.ParameterError, match="size"):
        run.run(notebook, tmp_path / "out.ipynb", given, quiet(), tmp_path)
    assert sorted(tmp_path.iterdir()) == before


# ---- bad runs

CHANGES = """from pathlib import Path
text = Path('toy.ipynb').read_text()
x = Path('toy.ipynb').write_text(text.replace('Toy toy', 'Toy joy'))"""
BAD = {  # the cells of a chapter, and all that is said of it
    "raises": (["raise RuntimeError('no luck')"], ["cell 3 raised RuntimeError: no luck"]),
    "dies": (["import os; os._exit(0)"], ["died"]),
    "exits": (["import sys; sys.exit(0)"], ["SystemExit"]),
    "does not pass": (
        [
            "import sys; print('careful', file=sys.stderr)",
            "import os; print(os.getcwd())",
            CHANGES,
            "'never'",
        ],
        ["stderr: careful", "path of this machine", "changed while it ran", "was not run"],
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_chapter_is_never_kept_and_the_last_copy_stays(tmp_path, bad):
    cells, messages = BAD[bad]
    chapter = toy_book.chapter(*cells)
    if bad == "does not pass":
        chapter.cells[6].metadata["tags"] = ["skip-execution"]
    notebook = toy_book.save(tmp_path / "toy.ipynb", chapter)
    out = tmp_path / "build" / "toy.ipynb"
    out.parent.mkdir()
    out.write_text("the last good copy")
    with pytest.raises(run.RunError) as caught:
        run.run(notebook, out, {}, quiet(), tmp_path)
    assert [text for text in messages if text not in str(caught.value)] == []
    assert out.read_text() == "the last good copy"
    failed = out.with_name("toy.failed.ipynb")
    assert sorted(out.parent.iterdir()) == [failed, out]
    assert {*cells} < {cell.source for cell in nbformat.read(failed, as_version=4).cells}


def test_a_full_disk_leaves_the_last_copy_and_nothing_half(tmp_path, monkeypatch, executed):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter())
    out = tmp_path / "build" / "toy.ipynb"
    out.parent.mkdir()
    out.write_text("the last good copy")
    monkeypatch.setattr(papermill, "execute_notebook", lambda *a, **k: nbformat.from_dict(executed))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(run.RunError, match="No space left"):
        run.run(notebook, out, {"size": 7}, quiet(), tmp_path)
    assert [p.name for p in out.parent.iterdir()] == ["toy.ipynb"]
    assert out.read_text() == "the last good copy"
    monkeypatch.setattr(papermill, "execute_notebook", full)
    out.with_name("toy.failed.ipynb").write_text("of an earlier run")
    with pytest.raises(run.RunError, match="No space left") as caught:
        run.run(notebook, out, {}, quiet(), tmp_path)
    assert out.read_text() == "the last good copy"
    assert "failed.ipynb" not in str(caught.value), "what an earlier run executed is told as this one's"


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_, temporary, *a, **k):
        Path(temporary).write_text("half")
        raise KeyboardInterrupt

    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter())
    monkeypatch.setattr(papermill, "execute_notebook", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.run(notebook, tmp_path / "build" / "out.ipynb", {}, quiet(), tmp_path)
    assert list((tmp_path / "build").iterdir()) == []


def test_what_killed_runs_left_goes_with_the_next_lock(tmp_path):
    kept, left = tmp_path / "_build/executed/full/toy.ipynb", (".toy.running.ipynb", ".toy.running.progress")
    kept.parent.mkdir(parents=True)
    for name in (kept.name, *left):
        kept.with_name(name).touch()
    with run.lock(tmp_path, lambda _: None):
        assert list(kept.parent.iterdir()) == [kept]


def test_a_second_build_waits_and_says_for_whom(tmp_path):
    said, waiting, entered = [], threading.Event(), threading.Event()

    def second():
        with run.lock(tmp_path, lambda text: (said.append(text), waiting.set())):
            entered.set()

    thread = threading.Thread(target=second)
    with run.lock(tmp_path, said.append):
        thread.start()
        assert waiting.wait(60)
        assert not entered.is_set()
    thread.join(60)
    assert entered.is_set()
    assert len(said) == 1 and f"process {os.getpid()}" in said[0]


# ---- progress


def test_time_left_follows_the_recorded_run():
    recorded, cells = {"a": 10.0, "b": 20.0, "c": 5.0}, ["a", "", "b", "c"]
    assert progress.time_left(recorded, cells, 0, 0.0, 4.0) == pytest.approx(31.0)
    assert progress.time_left(recorded, cells, 2, 20.0, 10.0) == pytest.approx(40.0)  # half as fast
    assert progress.time_left(recorded, cells, 2, 10.0, 30.0) == pytest.approx(
        7.5
    )  # slower than it should be
    assert progress.time_left(recorded, cells, 3, 30.0, 5.0) == pytest.approx(0.0)
    assert progress.time_left({}, cells, 0, 0.0, 1.0) is None
    new = ["a", "", "B", "c", "d"]  # of a chapter in which b was taken apart, into B and d
    assert progress.time_left(recorded, new, 0, 0.0, 4.0) == pytest.approx(31.0)
    assert progress.time_left(recorded, new, 4, 25.0, 4.0) == pytest.approx(6.0)
    assert progress.time_left(recorded, ["a", "b", "c", "d"], 2, 30.0, 1.0) == pytest.approx(4.0)


def test_progress_tells_chapter_cell_chunk_and_time(tmp_path, monkeypatch):
    ticks = iter([0.0, 0.0, 5.0, 7.0, 8.0, 9.0, 10.0])
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: next(ticks)))
    stream = io.StringIO()
    shown = progress.Progress("chapter 1 of 2, toy", {"a": 5.0, "b": 10.0}, stream)
    shown.cells(["a", "b"], tmp_path / "chunks")
    shown.cell("b")
    (tmp_path / "chunks").write_text('{"label": "arm A", "done": 3, "total": 20}\n{"lab')
    assert shown.line() == "cell 2 of 2, arm A 3/20, 0:07 so far, 0:08 left"
    with shown:
        pass
    assert "chapter 1 of 2, toy: done after" in stream.getvalue()
    assert progress.engine_note(None) == ""


def test_clock():
    assert [progress.clock(s) for s in (None, -1, 0, 59.6, 3601)] == ["?", "0:00", "0:00", "1:00", "60:01"]
