"""The chapters at the edge: bad parameters are refused before any training, extreme outcomes are shown.

Their cells are run in one process of their own, without a kernel.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from smoke import BROKEN, CHAPTERS, DRIFT, GREEDY, OWN, PLATEAU, ROOT, parameters

from book import run
from lib.page import params

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
        "-p networks 2": "networks",
    },
    PLATEAU: {
        "-p learning_rate 0.1": "rate",
        "-p rate 0": "rate",
        "-p factors '[2, .inf]'": "factors",
        "-p channels '[8, 8, 8, 8]'": "channels",
        "-p epochs 3": "epochs",
        "-p batch 1001": "batch",
    },
    DRIFT: {
        "-p update 1000": "updates",
        "-p updates 1000050": "updates",
        "-p decay 0": "decay",
        "-p strong 0.0001": "strong",
        "-p rates '[0.1, 0.1]'": "rates",
        "-p waiting '[200000]'": "waiting",
        "-p waiting '[200000, 1200000]'": "waiting",
        "-p networks 2": "networks",
        "-p batch 500 -p images 400": "batch",
        "-p conv_updates 1500": "conv_updates",
        "-p conv_batch 500 -p conv_images 400": "conv_batch",
    },
    OWN: {
        "-p hiden relu": "hidden",
        "-p hidden selu": "hidden",
        "-p rate -1": "rate",
        "-p images nothing.npz": "nothing.npz: no such file",
        "-p loss cross-entropy": "loss 'cross-entropy' takes outputs of softmax or sigmoid",
        "-p init he": "sd must stand with init 'normal' alone",
        "-p batch 20000": "batch must be at most",
        "-p channels '[8, 8, 8, 8]'": "at most 3 convolutions",
        "-p rate_from '[2, 3]'": "later_rates must be as many",
        "-p rate_from '[9]' -p later_rates '[1.0]'": "rate_from must rise and stay below the 5 epochs",
        "-p model none.keras": "none.keras: no .keras file",
        "-p model none.keras -p hidden tanh": "model decides on hidden",
        "-p trained true": "trained: wants a model",
        """-p public '["nielsen"]'""": "no case nielsen; there are all",
    },
}
# Beyond the smallest scale: what comes out does not hang on how many networks and images there are.
TINY = {
    BROKEN: dict(networks=3, trained_networks=3, other_networks=3, other_epochs=1, rescue_epochs=1)
    | dict(images=100, hidden=2),
    DRIFT: dict(images=50, validation=10, hidden=2, small=2),
    OWN: dict(count=40, case_images=100, dense=[2]),
    PLATEAU: dict(networks=2, images=20, validation=10, small_batch=10, factors=[1], jump_checkpoints=1)
    | dict(noise_steps=10),
}
EDGES = {
    "zero-epochs": (BROKEN, {"epochs": 0}),  # nothing is trained, nothing is broken
    "overflow": (BROKEN, {"epochs": 1, "break_rate": 1e9, "rate": 1e6, "batch": 60}),  # which divides nothing
    "all-die": (PLATEAU, {"rate": 1e6, "rates": [1e9], "images": 40, "small_batch": 40}),  # one batch
    "none-learns": (PLATEAU, {"rate": 1e-6, "rates": [1e-9], "channels": [1, 1, 1], "dense": [1]}),
    "all-dead": (DRIFT, {"rates": [100]}),
    # clones cannot differ
    "one-batch-and-one-diverges": (
        DRIFT,
        {"rates": [0.5], "images": 20, "batch": 20, "squared_rate": 900, "conv_rate": 900},
    ),
    "no-hidden-layer": (OWN, {"dense": [0], "part": "own"}),
}


# Sets of parameters that are drawn: one that runs of each chapter, and two that do not fit on each other.
DRAWN = [(BROKEN, 0), (GREEDY, 0), (GREEDY, 5), (DRIFT, 0), (PLATEAU, 0), (OWN, 0), (OWN, 1)]


def drawn(chapter: Path, seed: int) -> dict:
    """A set of allowed parameters near the smallest scale: each is, by chance, another one.

    Numbers that count are drawn up to their smallest scale, others from all that is allowed.
    """
    rng, small = np.random.default_rng([seed, CHAPTERS.index(chapter)]), run.reduced(chapter, "smoke")

    def one(param, at):
        if param.choices:
            return str(rng.choice(param.choices))
        if param.element == "bool":
            return bool(rng.random() < 0.5)
        if param.element == "int":
            return int(rng.integers(param.low, max(param.low, at) + 1))
        low, high = max(param.low, 1e-6), min(param.high, 1e6)
        return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")

    given = dict(small)
    for param in params.schema(chapter):
        at = small.get(param.name, param.default)
        if rng.random() < 0.4 and (param.choices or param.element != "str"):
            each = list(at) if isinstance(at, list | tuple) else [at]
            values = sorted({one(param, value) for value in each * 2})[: rng.integers(1, 3)]
            given[param.name] = values if param.type != param.element else values[0]
    return given


def options(edge: str | tuple[Path, int]) -> list[str]:
    """Papermill's options for an edge, or for a set that is drawn."""
    if isinstance(edge, tuple):
        return ["-y", json.dumps(drawn(*edge))]
    chapter, given = EDGES[edge]
    return ["-y", json.dumps(parameters(chapter) | TINY[chapter] | given)]


def test_every_chapter_is_asked_to_refuse():
    assert set(REFUSED) == set(CHAPTERS)


@pytest.fixture(scope="module")
def came():
    """What came of each chapter and what it was given."""
    runs = {(path, given): shlex.split(given) for path, all_given in REFUSED.items() for given in all_given}
    runs |= {edge: options(edge) for edge in [*EDGES, *DRAWN]}
    chapters = [str(one[0] if isinstance(one, tuple) else EDGES[one][0]) for one in runs]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "cells.py")],
        input=json.dumps(list(zip(chapters, runs.values(), strict=True))),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(runs, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(
    ("chapter", "given"),
    [(path, given) for path, all_given in REFUSED.items() for given in all_given],
    ids=lambda part: getattr(part, "stem", part),
)
def test_bad_parameters_are_refused_before_any_training(came, chapter, given):
    error, chunks = (came[chapter, given][key] for key in ("error", "chunks"))
    assert error is not None, "not refused"
    kind, _, text = error.partition(": ")
    kinds = ("ParameterError", "ValueError", "ArchiveError", "ModelError")
    assert kind in kinds and REFUSED[chapter][given] in text
    assert "\n" not in text
    assert chunks == 0, "something was computed"


@pytest.mark.parametrize("edge", EDGES)
def test_outcomes_at_the_edge_are_shown_not_raised(came, edge):
    assert came[edge]["error"] is None
    assert came[edge]["faults"] == []
    assert set(came[edge]["verdicts"]) == {"out of range"}


@pytest.mark.parametrize(("chapter", "seed"), DRAWN, ids=lambda part: getattr(part, "stem", part))
def test_any_allowed_parameters_reach_the_end_or_are_refused_before_any_training(came, chapter, seed):
    found = came[chapter, seed]
    if found["error"] is None:
        assert found["faults"] == [] and found["verdicts"], drawn(chapter, seed)
    else:
        kind = found["error"].partition(": ")[0]
        assert kind in ("ParameterError", "ValueError", "DataError") and not found["chunks"], found["error"]


def test_plain_papermill_ends_with_that_error(tmp_path):
    given = "-p waiting '[200000]'"  # a check of several parameters
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(DRIFT), str(tmp_path / "out.ipynb"), *shlex.split(given)]
        + ["-k", "python3", "--no-progress-bar"],
        cwd=ROOT, env={**os.environ, "SGD_BOOK_CHUNKS": str(tmp_path / "chunks")},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0
    last = [line for line in done.stderr.splitlines() if line.strip()][-1]
    assert REFUSED[DRIFT][given] in last and "Error" in last
    assert not list(tmp_path.glob("chunks/*"))
