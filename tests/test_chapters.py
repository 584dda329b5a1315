"""The chapters end to end at their smoke parameters, and their refusal of bad parameters."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lib import claims, gate, params, run

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
GREEDY = ROOT / "chapters" / "greedy_layerwise_training.ipynb"


@pytest.fixture(scope="module", params=CHAPTERS, ids=lambda p: p.stem)
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


def test_reduced_parameters_are_parameters(executed):
    path, _ = executed
    about = json.loads(path.read_text("utf-8"))["metadata"]["sgd_book"]
    for scale in ("preview", "smoke"):
        params.check(params.schema(path), about[scale])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-p", "network", "3"], "networks"),
        (["-p", "networks", "many"], "networks"),
        (["-p", "rate", "nan"], "rate"),
        (["-p", "rate", "-0.1"], "rate"),
        (["-p", "steps", "0"], "steps"),
        (["-p", "images", "60001"], "images"),
        (["-p", "first_image", "59500"], "60000"),
        (["-p", "batch", "33"], "divide"),
    ],
)
def test_plain_papermill_refuses_bad_parameters_before_any_training(given, message, tmp_path):
    environment = {**os.environ, "SGD_BOOK_CHUNKS": str(tmp_path / "chunks")}
    command = [sys.executable, "-m", "papermill", str(GREEDY), str(tmp_path / "out.ipynb"), *given]
    done = subprocess.run(
        [*command, "-k", "python3", "--no-progress-bar"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip()][-1]
    assert message in last and "Error" in last
    assert not list((tmp_path).glob("chunks/*"))


def test_papermill_runs_a_chapter_from_elsewhere(tmp_path):
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
