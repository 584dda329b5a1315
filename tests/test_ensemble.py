"""Many seeds in chunks: order, reuse, damage, interruption, full disk."""

import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lib import ensemble

HERE = Path(__file__).resolve().parent
CALLS: list[list[int]] = []  # the seeds of each finished call of a job
HOOK: list = []  # what the job does first, for tests that disturb it


def toy(config, seeds):
    """Any job: rows that depend on seed and configuration alone, in several types and shapes."""
    for hook in HOOK:
        hook(seeds)
    rows = np.array(
        [np.random.default_rng([s, config["n"]]).normal(size=config["n"]) for s in seeds], dtype=np.float32
    )
    CALLS.append(list(seeds))
    return {"rows": rows, "sign": rows > 0, "seed": np.array(seeds, np.uint32)}


def toy_wrong(config, seeds):
    return {"fine": np.zeros((len(seeds), 2)), "total": np.zeros(3)}


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


def run(seeds, config=CONFIG, job=toy, chunk=4, workers=2):
    return ensemble.run(job, config, seeds, "toy", chunk=chunk, workers=workers)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


def alone(seeds, config=CONFIG):
    result = toy(config, seeds)
    CALLS.pop()
    return result


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 11])
def test_results_come_in_the_order_of_the_seeds_for_any_number(count, place):
    seeds = np.random.default_rng(count).permutation(100)[:count]
    result = run(seeds)
    assert result["seed"].tolist() == seeds.tolist()
    assert equal(result, alone([int(s) for s in seeds]))
    assert len(CALLS) == len(list(place.iterdir())) == -(-count // 4)
    assert all(len(c) == 4 for c in CALLS), "the last chunk is filled up"
    assert all(type(s) is int for c in CALLS for s in c)


def test_order_does_not_depend_on_who_finishes_first():
    later = threading.Event()

    def hook(seeds):  # the first chunk waits for the second
        if 0 in seeds:
            assert later.wait(60)
        else:
            later.set()

    HOOK.append(hook)
    assert run(range(8))["seed"].tolist() == list(range(8))
    assert [c[0] for c in CALLS] == [4, 0]


def test_finished_chunks_are_read_not_computed():
    first = run(range(10))
    assert len(CALLS) == 3
    assert equal(run(range(10)), first)
    assert equal(run(range(10), workers=1), first)
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
        {"job": toy_wrong},
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


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_key_holds_the_code_of_the_job_and_of_what_it_imports(tmp_path, place, monkeypatch):
    """Directly, through another module, as a bare constant, or inside a function."""
    sources = {
        "lib.toy_deep": "LIMIT = 1\n",
        "lib.toy_late": "VALUE = 1\n",
        "lib.toy_rule": "from lib.toy_deep import LIMIT\n\ndef rule():\n    return LIMIT\n",
        "lib.toy_idle": "def idle():\n    return 1\n",
        "toy_job": (
            "import numpy as np\nfrom lib import toy_rule\n\ndef job(config, seeds):\n"
            "    from lib.toy_late import VALUE\n"
            "    return {'a': np.full(len(seeds), toy_rule.rule() + VALUE)}\n"
        ),
    }
    for name in sources:
        monkeypatch.setitem(sys.modules, name, None)  # to be removed again afterwards

    def files():
        for name, source in sources.items():
            path = tmp_path / f"{name}.py"
            path.write_text(source)
            module = load(name, path)
            if name.startswith("lib."):
                monkeypatch.setattr(sys.modules["lib"], name.removeprefix("lib."), module, raising=False)
        value = run(range(4), job=sys.modules["toy_job"].job)["a"][0]
        return value, len(list(place.iterdir()))

    assert files() == (2, 1)
    assert files() == (2, 1)
    sources["lib.toy_idle"] += "# not used by the job\n"
    assert files() == (2, 1)
    sources["lib.toy_deep"] = "LIMIT = 10\n"
    assert files() == (11, 2)
    sources["lib.toy_late"] = "VALUE = 10\n"
    assert files() == (20, 3)
    sources["lib.toy_rule"] = (
        sources["lib.toy_rule"].replace("LIMIT\n", "-LIMIT\n").replace("import -", "import ")
    )
    assert files() == (0, 4)
    sources["toy_job"] += "# a word more\n"
    assert files() == (0, 5)


def test_damaged_chunks_are_computed_again(place):
    first = run(range(4))
    (path,) = place.iterdir()
    whole = path.read_bytes()
    damaged = [b"", whole[:-1], whole[: len(whole) // 2], whole + b"x", b"\0" * len(whole), b"not a chunk"]
    for k in range(0, len(whole), 41):
        damaged.append(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
    for count, content in enumerate(damaged, start=2):
        path.write_bytes(content)
        assert equal(run(range(4)), first)
        assert len(CALLS) == count
        assert path.read_bytes() == whole
    assert list(place.iterdir()) == [path]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop", [Stopped, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("workers", [1, 2])
def test_after_an_interruption_only_what_is_missing_is_computed(stop, workers, place):
    def hook(seeds):
        if 8 in seeds:
            raise stop

    HOOK.append(hook)
    with pytest.raises(stop):
        run(range(18), workers=workers)
    kept = [tuple(c) for c in CALLS]
    assert (0, 1, 2, 3) in kept and (8, 9, 10, 11) not in kept
    assert len(list(place.iterdir())) == len(kept)
    HOOK.clear()
    result = run(range(18), workers=workers)
    assert set(Counter(map(tuple, CALLS)).values()) == {1}, "no chunk twice"
    assert len(CALLS) == 5
    assert equal(result, alone(list(range(18))))


def test_an_error_in_a_chunk_cancels_the_chunks_that_have_not_begun(monkeypatch):
    cancelled = threading.Event()

    class Pool(ensemble.ThreadPoolExecutor):
        def shutdown(self, *arguments, **settings):
            super().shutdown(*arguments, **settings)
            cancelled.set()

    def hook(seeds):
        if 0 in seeds:
            raise Stopped("the first chunk")
        assert cancelled.wait(60)

    monkeypatch.setattr(ensemble, "ThreadPoolExecutor", Pool)
    HOOK.append(hook)
    with pytest.raises(Stopped, match="the first chunk"):
        run(range(40), workers=1)
    assert CALLS in ([], [[4, 5, 6, 7]])


KILLED = """
import importlib, os, signal, sys
import numpy as np
from lib import ensemble
job = importlib.import_module(sys.argv[1]).toy
replace, count = os.replace, 0
def killed(source, target):
    global count
    count += 1
    if count == 3:  # the file is half there, under its temporary name
        os.truncate(source, 50)
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killed
ensemble.run(job, {"n": 4, "rates": [[3, 0.1]]}, range(18), "toy", chunk=4, workers=1)
"""


def test_a_killed_process_leaves_its_finished_chunks(place):
    root = Path(ensemble.__file__).parents[1]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(HERE), str(HERE.parent)])}
    done = subprocess.run([sys.executable, "-c", KILLED, __name__], env=env, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(place.glob("*.chunk"))) == 2
    result = run(range(18))
    assert sorted(c[0] for c in CALLS) == [8, 12, 16], "the chunks of the killed process are used"
    assert equal(result, alone(list(range(18))))


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["write", "replace", "mkstemp"])
def test_a_full_disk_stops_the_run_and_keeps_what_was_written(where, place, monkeypatch):
    """At once: whatever follows would need the disk too. At most one chunk for each worker is lost."""
    with monkeypatch.context() as patch:

        def hook(seeds):
            if 8 in seeds:
                if where == "replace":
                    patch.setattr(os, "replace", full)
                elif where == "mkstemp":
                    patch.setattr(ensemble.tempfile, "mkstemp", lambda **_: full())
                else:
                    fdopen = os.fdopen

                    def half(handle, mode):
                        file = fdopen(handle, mode)
                        file.write(b"half")
                        patch.setattr(os, "fdopen", fdopen)
                        file.close()
                        full()

                    patch.setattr(os, "fdopen", half)

        HOOK.append(hook)
        with pytest.raises(OSError, match="cannot keep finished chunks.*SGD_BOOK_CHUNKS") as caught:
            run(range(12), workers=1)
    assert caught.value.errno == errno.ENOSPC
    assert str(place) in str(caught.value)
    assert len(list(place.iterdir())) == 2, "no half file is left"
    HOOK.clear()
    CALLS.clear()
    assert equal(run(range(12)), alone(list(range(12))))
    assert CALLS == [[8, 9, 10, 11]]


def test_a_folder_that_cannot_be_made_is_named(place):
    place.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="cannot keep finished chunks") as caught:
        run(range(4))
    assert str(place) in str(caught.value)


def test_only_one_chunk_for_each_worker_is_alive():
    lock, alive, most, both = threading.Lock(), [0], [0], threading.Barrier(2, timeout=60)

    def hook(seeds):
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        both.wait()  # two at once, or it never gets on
        with lock:
            alive[0] -= 1

    HOOK.append(hook)
    run(range(40), workers=2)
    assert most[0] == 2
    assert len(CALLS) == 10


def test_the_number_of_workers_does_not_change_the_results(place, monkeypatch):
    results = []
    for workers in (1, 2, None):
        monkeypatch.setenv("SGD_BOOK_CHUNKS", str(place / str(workers)))
        results.append(run(range(10), workers=workers))
    assert len(CALLS) == 9
    assert equal(results[0], results[1]) and equal(results[0], results[2])


def test_progress_lines(tmp_path):
    run(range(10), workers=1)
    lines = [json.loads(line) for line in (tmp_path / "progress").read_text().splitlines()]
    assert lines == [{"label": "toy", "done": n, "total": 10} for n in (0, 4, 8, 10)]


def test_a_progress_bar_where_nobody_else_shows_it(monkeypatch, capfd):
    monkeypatch.delenv("SGD_BOOK_PROGRESS")
    run(range(10), workers=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "toy" in err and "/10" in err


def test_the_default_folder_is_in_the_build_tree(monkeypatch):
    monkeypatch.delenv("SGD_BOOK_CHUNKS")
    assert ensemble.folder() == Path(ensemble.__file__).resolve().parents[1] / "_build" / "chunks"


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
        ({"config": {"n": np.int64(4)}}, "config must be plain data"),
    ],
)
def test_bad_arguments_are_refused_before_any_compute(change, message, place):
    with pytest.raises(ValueError, match=message):
        run(**{"seeds": range(4), **change})
    assert CALLS == []
    assert not place.exists()


def test_a_job_without_a_row_for_each_seed_is_refused(place):
    with pytest.raises(ValueError, match=r"total has shape \(3,\), wanted 4 rows"):
        run(range(4), job=toy_wrong)
    assert not place.exists()
