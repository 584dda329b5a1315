"""A chunk that is computed again is the same to the bit, for every job, and so is an ensemble in parts."""

from dataclasses import replace

import pytest

from lib.ensembles import ensemble, places
from lib.questions import drift, ends, faults, own, phases, plateaus, staged, walks

SMALL = {"images": 60, "hidden": 5, "precision": "float32"}
TRAINED = phases.Phase(epochs=1, looks=(), keep=True, **SMALL)
MORE = phases.Phase(after=TRAINED, epochs=1, **SMALL)
NETS = plateaus.Setting(
    epochs=2, channels=(2,), dense=(4,), images=64, validation=20, batch=16, sharp=(2,), keep=True
)
WALK = drift.Setting(updates=100, hidden=(4,), images=50, validation=20, rates=(0.1, 0.5), decays=(0, 0.01))
CONV = walks.Setting(updates=100, channels=(2,), dense=(3,), images=50, validation=20, decay=0.01)
STAGES = [staged.Stage(1, ((20, 0.01),)), staged.Stage(2, ((20, 0.01),), fresh=(1,))]
RECIPE = {"images": (0, 100), "sizes": (784, 8, 6, 10), "sd": 0.1, "bias": 0.1, "batch": 50, "ridge": 0.01}
JUMP = {"order": 1, "factors": [1.0, 3.0], "jump": 1, "back": 1, "watch": 1}
ALL = staged.Stage(2, ((20, 0.01),))
WAYS = [staged.recipe(stages, **RECIPE) for stages in ([ALL], [*STAGES, ALL])]
OWN = own.Setting(images="digits", count=64, channels=(2,), dense=(4,), dropout=0.5, epochs=3, batch=16)
CASES = {
    "ends": (ends.job, {"a": ends.plan(*WAYS, 20, 0.01, 3)}, 8),
    "phases": (phases.job, {"a": TRAINED.config(), "b": MORE.config()}, 20),
    "plateaus": (plateaus.job, {"a": NETS.config(), "b": {"after": NETS.config(), **JUMP}}, 8),
    "drift": (drift.job, {"a": WALK.config(), "b": replace(WALK, after=WALK).config()}, 1),
    "walks": (walks.job, {"a": CONV.config(), "b": replace(CONV, after=CONV).config()}, walks.CHUNK),
    "staged": (staged.job, {"a": staged.recipe(STAGES, **RECIPE)}, 16),
    "own": (own.job, {"a": OWN.config()}, own.CHUNK),
    "faults": (faults.job, {"a": faults.config()}, 4),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_any_chunk_computed_again_alone_is_the_same_file(name, chunks, monkeypatch):
    """Where an interruption may have left any of them out: nothing is computed in the parent."""
    monkeypatch.delenv(places.ONE_THREAD)
    job, configs, chunk = CASES[name]
    seeds = [0, 1, chunk + 1] if chunk > 1 else [0, 1]

    def files():
        ensemble.run(job, configs, seeds, chunk=chunk, workers=2)
        return {path.name: path.read_bytes() for path in chunks.iterdir()}

    first = files()
    assert len(first) == 2 * len(configs)
    for gone in first:
        (chunks / gone).unlink()
        assert files() == first
    monkeypatch.setenv(places.ONE_THREAD, "1")  # and by one that is itself one of many
    for path in chunks.iterdir():
        path.unlink()
    ensemble.run(job, configs, seeds, chunk=chunk)
    assert files() == first
