"""The chapters end to end at their smoke parameters, and their refusal of bad parameters."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from book import gate, run
from lib.page import claims, params

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
GREEDY = ROOT / "chapters" / "greedy_layerwise_training.ipynb"
BROKEN = ROOT / "chapters" / "broken_net_recovery.ipynb"
PLATEAU = ROOT / "chapters" / "plateau_after_lr_jump.ipynb"
DRIFT = ROOT / "chapters" / "long_run_sgd_drift.ipynb"


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda path: path.stem)
def executed(request, tmp_path_factory):
    """Every chapter, run once at its smoke parameters; `run.run` already refuses one that fails the gate."""
    place = tmp_path_factory.mktemp(request.param.stem)
    smoke = json.loads(request.param.read_text("utf-8"))["metadata"]["sgd_book"]["smoke"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGD_BOOK_CHUNKS", str(place / "chunks"))
        return request.param, run.run(request.param, place / "out.ipynb", smoke)


def test_there_is_a_chapter():
    assert CHAPTERS


def test_every_claim_that_applies_is_measured(executed):
    path, notebook = executed
    (record,) = gate.records(notebook, gate.CLAIMS_MIME)
    claims.validate(record)
    assert record["chapter"] == path.stem
    for claim in record["claims"]:
        assert claim["verdict"] == "out of range" or claim["n"] >= 1, claim["id"]


def test_every_figure_has_data_alt_text_and_caption(executed):
    _, notebook = executed
    figures = [o for _, o in gate.outputs(notebook) if o.get("metadata", {}).get("sgd_book")]
    assert figures
    for output in figures:
        table = output["data"][gate.DATA_MIME]
        assert table["columns"] and table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_alternative_texts_are_short_and_give_numbers(executed):
    _, notebook = executed
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            if about := output.get("metadata", {}).get("sgd_book"):
                # that they were computed is what the lint of prose sees: here 0 and 100 % may be
                assert re.search(r"\d", about["alt"]), about["name"]
                assert len(about["alt"]) <= 500, about["name"]


def test_reduced_parameters_are_parameters(executed):
    path, _ = executed
    about = json.loads(path.read_text("utf-8"))["metadata"]["sgd_book"]
    for scale in ("preview", "smoke"):
        params.check(params.schema(path), about[scale])


# What papermill is given, and what the one line of the error must name.
REFUSED = {
    GREEDY: {
        "-p network 3": "networks",
        "-p networks many": "networks",
        "-p rate nan": "rate",
        "-p rate -0.1": "rate",
        "-p steps 0": "steps",
        "-p images 60001": "images",
        "-p first_image 59500": "60000",
        "-p batch 33": "divide",
    },
    BROKEN: {
        "-p break_rates 3": "break_rate",
        "-p break_rate inf": "break_rate",
        "-p epochs -1": "epochs",
        "-p batch 0": "batch",
        "-p hidden 2.5": "hidden",
        "-p precision float16": "precision",
        "-p networks 10": "networks",
    },
    PLATEAU: {
        "-p learning_rate 0.1": "rate",
        "-p rate 0": "rate",
        "-p factors '[2, .inf]'": "factors",
        "-p channels '[8, 8, 8, 8]'": "channels",
        "-p epochs 3": "epochs",
        "-p batch 1001": "batch",
        "-p networks 4": "networks",
    },
    DRIFT: {
        "-p update 1000": "updates",
        "-p updates 1000050": "updates",
        "-p decay 0": "decay",
        "-p rates '[0.1, 0.1]'": "rates",
        "-p waiting '[200000]'": "waiting",
        "-p waiting '[200000, 1200000]'": "waiting",
        "-p networks 2": "networks",
        "-p batch 500 -p images 400": "batch",
    },
}
WHOLE = [  # through the whole of papermill: a check of one parameter in one chapter, of several in another
    (GREEDY, "-p network 3"),
    (BROKEN, "-p precision float16"),
    (PLATEAU, "-p networks 4"),
    (DRIFT, "-p waiting '[200000]'"),
]


def test_every_chapter_is_asked_to_refuse():
    assert set(REFUSED) == set(CHAPTERS) == {chapter for chapter, _ in WHOLE}


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """What each chapter says to each of the parameters that it refuses."""
    chunks = tmp_path_factory.mktemp("refused") / "chunks"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "refusals.py")],
        input=json.dumps({str(path): list(map(shlex.split, given)) for path, given in REFUSED.items()}),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SGD_BOOK_CHUNKS": str(chunks)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not list(chunks.glob("*")), "something was computed"
    said = json.loads(done.stdout)
    return {path: dict(zip(given, said[str(path)], strict=True)) for path, given in REFUSED.items()}


@pytest.mark.parametrize(
    ("chapter", "given"),
    [(path, given) for path, all_given in REFUSED.items() for given in all_given],
    ids=lambda part: getattr(part, "stem", part),
)
def test_bad_parameters_are_refused_before_any_training(refusals, chapter, given):
    error = refusals[chapter][given]["error"]
    assert error is not None, "not refused"
    kind, _, text = error.partition(": ")
    assert kind in ("ParameterError", "ValueError") and REFUSED[chapter][given] in text
    assert "\n" not in text


@pytest.mark.parametrize(("chapter", "given"), WHOLE, ids=[f"whole {case[0].stem}" for case in WHOLE])
def test_plain_papermill_ends_with_that_error(chapter, given, tmp_path):
    environment = {**os.environ, "SGD_BOOK_CHUNKS": str(tmp_path / "chunks")}
    command = [sys.executable, "-m", "papermill", str(chapter), str(tmp_path / "out.ipynb")]
    done = subprocess.run(
        [*command, *shlex.split(given), "-k", "python3", "--no-progress-bar"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip()][-1]
    assert REFUSED[chapter][given] in last and "Error" in last
    assert not list((tmp_path).glob("chunks/*"))


EDGES = {
    "zero-epochs": (BROKEN, {"epochs": 0}),  # nothing is trained, nothing is broken
    "overflow": (BROKEN, {"break_rate": 1e9, "rate": 1e6, "batch": 60}),  # 60 does not divide 100 either
    "all-die": (PLATEAU, {"rate": 1e6, "rates": [1e9], "small_batch": 120}),  # or diverge; one batch
    "none-learns": (PLATEAU, {"rate": 1e-6, "rates": [1e-9], "channels": [2, 2, 2], "dense": [1]}),
    "all-dead": (DRIFT, {"rates": [30, 100]}),
    "one-batch": (DRIFT, {"rates": [0.5], "hidden": 2, "batch": 200, "stiff": 1}),  # clones cannot differ
}


@pytest.mark.parametrize(("chapter", "given"), EDGES.values(), ids=EDGES)
def test_outcomes_at_the_edge_are_shown_not_raised(chapter, given, tmp_path, monkeypatch, one_core):
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    smoke = json.loads(chapter.read_text("utf-8"))["metadata"]["sgd_book"]["smoke"]
    notebook = run.run(chapter, tmp_path / "out.ipynb", smoke | given)
    (record,) = gate.records(notebook, gate.CLAIMS_MIME)
    assert {claim["verdict"] for claim in record["claims"]} == {"out of range"}


def test_a_walk_that_diverges_is_named_and_the_others_are_kept(tmp_path, monkeypatch, one_core):
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    smoke = json.loads(DRIFT.read_text("utf-8"))["metadata"]["sgd_book"]["smoke"]
    with pytest.raises(run.RunError, match="squared_rate must let networks converge; lost: squared at 900"):
        run.run(DRIFT, tmp_path / "out.ipynb", smoke | {"squared_rate": 900})
    assert list((tmp_path / "chunks").glob("*.chunk"))


def test_papermill_runs_a_chapter_from_elsewhere(tmp_path, one_core):
    smoke = json.loads(GREEDY.read_text("utf-8"))["metadata"]["sgd_book"]["smoke"]
    (tmp_path / "smoke.yml").write_text(json.dumps(smoke), "utf-8")
    shutil.copy(GREEDY, tmp_path / "mine.ipynb")
    environment = {**os.environ, "SGD_BOOK_CHUNKS": str(tmp_path / "chunks")}
    command = [
        sys.executable,
        "-m",
        "papermill",
        "mine.ipynb",
        "out.ipynb",
        "-f",
        "smoke.yml",
        "-k",
        "python3",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "greedy_layerwise_training" in (tmp_path / "out.ipynb").read_text("utf-8")
