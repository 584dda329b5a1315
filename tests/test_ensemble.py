"""Many seeds in chunks: order, reuse, damage, interruption, full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jobs
import numpy as np
import pytest
from jobs import CALLS, HOOK, Stopped

from lib import ensemble

HERE = Path(__file__).resolve().parent
CONFIG = {"n": 4, "rates": [[3, 0.1]]}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Chunks and progress of each test in a folder of its own."""
    CALLS.clear()
    HOOK.clear()
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    monkeypatch.setenv("SGD_BOOK_PROGRESS", str(tmp_path / "progress"))
    yield tmp_path / "chunks"
    HOOK.clear()


def run(seeds, config=CONFIG, job=jobs.toy, chunk=4, workers=1):
    return ensemble.run(job, {"toy": config}, seeds, chunk=chunk, workers=workers)["toy"]


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def alone(seeds, config=CONFIG):
    result = jobs.toy(config, seeds)
    CALLS.pop()
    return result


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_results_come_in_the_order_of_the_seeds_for_any_number(count, place):
    seeds = np.random.default_rng(count).permutation(100)[:count]
    result = run(seeds)
    assert result["seed"].tolist() == seeds.tolist()
    assert equal(result, alone(seeds))
    assert len(CALLS) == len(list(place.iterdir())) == -(-count // 4)
    assert all(len(c) == 4 for c in CALLS), "the last chunk is filled up"
    assert all(type(s) is int for c in CALLS for s in c)


def test_several_configurations_keep_their_names_and_results(place):
    configs = {"b": {"n": 2}, "a": {"n": 5}, "again": {"n": 2}}
    results = ensemble.run(jobs.toy, configs, range(6), chunk=4, workers=1)
    assert list(results) == list(configs)
    for name, config in configs.items():
        assert equal(results[name], alone(range(6), config))
    assert len(list(place.iterdir())) == 4, "equal configurations share their chunks"
    CALLS.clear()
    assert equal(run(range(6), configs["a"]), results["a"])
    assert CALLS == []


def test_order_does_not_depend_on_who_finishes_first(tmp_path):
    (tmp_path / "0").write_text("after 4")
    config = CONFIG | {"folder": str(tmp_path)}
    result = run(range(8), config, jobs.ordered, workers=2)
    assert equal(result, alone(range(8)))
    ends = [line for line in jobs.notes(tmp_path) if line.startswith("end")]
    assert ends == ["end 4", "end 0"]


def test_finished_chunks_are_read_not_computed():
    first = run(range(10))
    assert len(CALLS) == 3
    assert equal(run(range(10)), first)
    assert equal(run(range(10), workers=2), first)
    assert len(CALLS) == 3
    more = run(range(16))  # the third chunk was filled up, so it is another one now
    assert len(CALLS) == 5
    assert equal({k: v[:10] for k, v in more.items()}, first)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"n": 4, "rates": [[3, 0.2]]}},
        {"config": {**CONFIG, "more": None}},
        {"seeds": [0, 1, 2, 4]},
        {"seeds": [1, 0, 2, 3]},
        {"chunk": 5},
        {"job": jobs.wrong},
    ],
    ids=lambda c: next(iter(c)),
)
def test_the_key_holds_whatever_can_change_the_result(change, place):
    run(range(4))
    before = set(place.iterdir())
    try:
        run(**{"seeds": range(4), **change})
    except ValueError:  # of the wrong job, which had to be called for it
        return
    assert len(CALLS) == 2
    assert before < set(place.iterdir())


def test_equal_configurations_share_a_key():
    run(range(4))
    run(range(4), config={"rates": ((3, 0.1),), "n": 4})
    assert len(CALLS) == 1


def test_damaged_chunks_are_computed_again(place):
    first = run(range(4))
    (path,) = place.iterdir()
    whole = path.read_bytes()
    for count, content in enumerate((b"", whole[:-1], b"\0" * len(whole)), start=2):
        path.write_bytes(content)
        assert equal(run(range(4)), first)
        assert len(CALLS) == count
        assert path.read_bytes() == whole
    assert list(place.iterdir()) == [path]


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt, SystemExit])
def test_after_an_interruption_only_what_is_missing_is_computed(stop, place):
    def hook(seeds):
        if 8 in seeds:
            raise stop

    HOOK.append(hook)
    with pytest.raises(stop):
        run(range(18))
    assert CALLS == [[0, 1, 2, 3], [4, 5, 6, 7]], "and no chunk after the error was begun"
    assert len(list(place.iterdir())) == 2
    HOOK.clear()
    result = run(range(18))
    assert set(Counter(map(tuple, CALLS)).values()) == {1}, "no chunk twice"
    assert len(CALLS) == 5
    assert equal(result, alone(range(18)))


KILLED = """
import os, signal
import jobs
from lib import ensemble
replace, count = os.replace, 0
def killed(source, target):
    global count
    count += 1
    if count == 3:  # the file is half there, under its temporary name
        os.truncate(source, 50)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
ensemble.run(jobs.toy, {"toy": {"n": 4, "rates": [[3, 0.1]]}}, range(18), chunk=4, workers=1)
"""


def test_a_killed_process_leaves_its_finished_chunks(place):
    root = Path(ensemble.__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}
    done = subprocess.run([sys.executable, "-c", KILLED], env=env, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(place.glob("*.chunk"))) == 2
    result = run(range(18))
    assert sorted(c[0] for c in CALLS) == [8, 12, 16], "the chunks of the killed process are used"
    assert equal(result, alone(range(18)))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_stops_the_run_and_keeps_what_was_written(workers, place, monkeypatch):
    """At once: whatever follows would need the disk too."""
    replace, left = os.replace, [2]

    def full(*files):
        if not left[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        replace(*files)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="cannot keep finished chunks.*SGD_BOOK_CHUNKS") as caught:
            run(range(20), workers=workers)
    assert caught.value.errno == errno.ENOSPC
    assert str(place) in str(caught.value)
    assert len(list(place.iterdir())) == 2, "no half file is left"
    assert len(CALLS) == (3 if workers == 1 else 0)
    CALLS.clear()
    assert equal(run(range(20)), alone(range(20)))
    assert len(CALLS) == 3, "what was written is used"


def test_only_one_chunk_for_each_worker_is_alive(tmp_path):
    config = {"folder": str(tmp_path), "together": 2}  # two at once, or it never gets on
    run(range(40), config, jobs.where, workers=2)
    alive = np.cumsum([1 if line.startswith("begin") else -1 for line in jobs.notes(tmp_path)])
    assert len(alive) == 20
    assert (alive.max(), alive[-1]) == (2, 0)


def test_the_number_of_workers_does_not_change_the_results(place, monkeypatch):
    results = []
    for workers in (1, 2, None):
        monkeypatch.setenv("SGD_BOOK_CHUNKS", str(place / str(workers)))
        results.append(run(range(10), workers=workers))
        assert len(list((place / str(workers)).iterdir())) == 3
    assert equal(results[0], results[1]) and equal(results[0], results[2])


def test_by_default_each_core_has_a_worker_unless_there_is_a_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(ensemble.worker, "cores", lambda: [3, 5, 8])
    monkeypatch.setattr(ensemble, "_computed", lambda job, tasks, workers: asked.append(workers) or ())
    monkeypatch.setattr(ensemble.tf.config, "list_physical_devices", lambda kind: [])
    with pytest.raises(KeyError):  # nothing was computed
        run(range(4), workers=None)
    monkeypatch.setattr(ensemble.tf.config, "list_physical_devices", lambda kind: [kind])
    with pytest.raises(KeyError):
        run(range(4), workers=None)
    assert asked == [3, 1]


def test_progress_lines(tmp_path):
    run(range(4), {"n": 2})
    (tmp_path / "progress").unlink()
    ensemble.run(jobs.toy, {"one": CONFIG, "two": {"n": 2}}, range(10), chunk=4, workers=1)
    lines = [json.loads(line) for line in (tmp_path / "progress").read_text().splitlines()]
    steps = [("one", 0), ("two", 4), ("one", 8), ("one", 12), ("one", 14), ("two", 18), ("two", 20)]
    assert lines == [{"label": label, "done": done, "total": 20} for label, done in steps]


def test_a_progress_bar_where_nobody_else_shows_it(monkeypatch, capfd):
    monkeypatch.delenv("SGD_BOOK_PROGRESS")
    run(range(10))
    out, err = capfd.readouterr()
    assert out == ""
    assert "toy" in err and "/10" in err


@pytest.mark.parametrize(
    "change, message",
    [
        ({"seeds": []}, "seeds must name at least one"),
        ({"seeds": [1, 2, 1]}, "seeds must be distinct"),
        ({"seeds": [-1]}, "seeds must be whole numbers from 0"),
        ({"seeds": [2**31]}, "seeds must be whole numbers from 0"),
        ({"seeds": [0.5]}, "seeds must be whole numbers from 0"),
        ({"seeds": [np.nan]}, "seeds must be whole numbers from 0"),
        ({"seeds": ["1"]}, "seeds must be whole numbers from 0"),
        ({"chunk": 0}, "chunk and workers must be"),
        ({"chunk": 2.5}, "chunk and workers must be"),
        ({"workers": 0}, "chunk and workers must be"),
        ({"workers": 1.5}, "chunk and workers must be"),
        ({"config": {"n": {4}}}, "config must be plain data"),
        ({"job": lambda config, seeds: {}}, "job must be a function of an importable module"),
    ],
)
def test_bad_arguments_are_refused_before_any_compute(change, message, place):
    with pytest.raises(ValueError, match=message):
        run(**{"seeds": range(4), **change})
    assert CALLS == []
    assert not place.exists()


def test_no_configuration_is_refused():
    with pytest.raises(ValueError, match="configs must hold at least one"):
        ensemble.run(jobs.toy, {}, range(4))


def test_a_job_without_a_row_for_each_seed_is_refused(place):
    with pytest.raises(ValueError, match=r"total has shape \(3,\), wanted 4 rows"):
        run(range(8), job=jobs.wrong)
    assert not place.exists()
