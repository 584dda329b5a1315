"""Many seeds in chunks: order, reuse, damage, interruption, full disk."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import jobs
import numpy as np
import pytest
from alike import same
from jobs import CALLS, HOOK, Stopped

from lib.ensembles import ensemble, places

HERE = Path(__file__).resolve().parents[2]  # where the jobs lie
CONFIG = {"n": 4, "rates": [[3, 0.1]]}


@pytest.fixture(autouse=True)
def place(chunks):
    """The folder of chunks."""
    CALLS.clear()
    HOOK.clear()
    yield chunks
    HOOK.clear()


def run(seeds, config=CONFIG, job=jobs.toy, chunk=4, workers=1):
    return ensemble.run(job, {"toy": config}, seeds, chunk=chunk, workers=workers)["toy"]


def progress(folder):
    return [json.loads(line) for line in (folder / "progress").read_text().splitlines()]


def alone(seeds, config=CONFIG):
    result = jobs.toy(config, seeds)
    CALLS.pop()
    return result


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_results_come_in_the_order_of_the_seeds_for_any_number(count, place):
    seeds = np.random.default_rng(count).permutation(100)[:count]
    result = run(seeds)
    assert result["seed"].tolist() == seeds.tolist()
    assert same(result, alone(seeds))
    blocks = {s // 4 for s in seeds}
    assert sorted(CALLS) == [sorted(s for s in seeds if s // 4 == k) for k in sorted(blocks)]
    assert len(list(place.iterdir())) == len(blocks)
    assert all(type(s) is int for c in CALLS for s in c)


def test_each_configuration_may_have_seeds_of_its_own(place, tmp_path):
    configs = {"few": {"n": 2}, "many": {"n": 3}, "also few": {"n": 2}}
    seeds = {"many": range(10), "few": [9, 1], "also few": np.array([2])}
    results = ensemble.run(jobs.toy, configs, seeds, chunk=4, workers=1)
    assert list(results) == list(configs)
    for name, config in configs.items():
        assert same(results[name], alone(seeds[name], config))
    wanted = [[0, 1, 2, 3], [1, 2], [4, 5, 6, 7], [8, 9], [9]]
    assert sorted(CALLS) == wanted, "of the few those that are asked for, together where a block is one"
    assert len(list(place.iterdir())) == 5
    assert progress(tmp_path)[-1] == {"label": "many", "done": 13, "total": 13}


def test_order_does_not_depend_on_who_finishes_first(tmp_path):
    (tmp_path / "0").write_text("after 4")
    config = CONFIG | {"folder": str(tmp_path)}
    result = run(range(8), config, jobs.ordered, workers=2)
    assert same(result, alone(range(8)))
    ends = [line for line in jobs.notes(tmp_path) if line.startswith("end")]
    assert ends == ["end 4", "end 0"]


def test_finished_chunks_are_read_not_computed():
    first = run(range(10))
    assert len(CALLS) == 3
    assert same(run(range(10)), first)
    assert same(run(range(10), workers=2), first)
    assert len(CALLS) == 3
    more = run(range(16))
    assert CALLS[3:] == [[8, 9, 10, 11], [12, 13, 14, 15]], "whole blocks are taken, a part is another chunk"
    assert same({k: v[:10] for k, v in more.items()}, first)


def test_few_networks_cost_few_and_those_asked_for_together_are_companions(place):
    """Of a block those that one call asks for are computed together, in the order of their seeds."""
    for seeds, block in (([35], [35]), ([47, 35, 32], [32, 35, 47]), (range(30, 40), range(32, 40))):
        result = run(seeds, job=jobs.company, chunk=16)["together"]
        row = result[list(seeds).index(35)]
        assert row[row >= 0].tolist() == list(block)
    assert sorted(map(len, CALLS)) == [1, 2, 3, 8]
    CALLS.clear()
    configs = {"a": CONFIG, "b": {**CONFIG}, "c": {"n": 5}}
    ensemble.run(jobs.company, configs, {"a": [33], "b": [40], "c": [41]}, chunk=16)
    assert sorted(CALLS) == [[33, 40], [41]], "equal configurations are one"
    run(range(32, 48), job=jobs.company, chunk=16)
    CALLS.clear()
    assert run(range(48), job=jobs.company, chunk=16)["together"][40].tolist() == list(range(32, 48))
    assert [c[0] for c in CALLS] == [0, 16], "a whole block is the same in every ensemble"


def test_whatever_can_change_the_result_makes_another_chunk(place, monkeypatch):
    """As do other companions: results may differ in the last bits from those of the network with these."""
    run(range(4))
    for count, change in enumerate((
        {"config": {**CONFIG, "more": None}}, {"seeds": [2, 0]}, {"chunk": 5}, {"job": jobs.company},
        {"ONEDNN_MAX_CPU_ISA": "AVX2"},  # changes bits where it is computed too
    ), start=2):  # fmt: skip
        if name := next((name for name in change if name.isupper()), None):
            monkeypatch.setenv(name, change.pop(name))
        run(**{"seeds": range(4), **change})
        assert len(CALLS) == len(list(place.iterdir())) == count


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
    assert same(result, alone(range(18)))


KILLED = """
import os, signal
import jobs
from lib.ensembles import ensemble, places
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
    root = Path(ensemble.__file__).parents[2]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(HERE)])}
    done = subprocess.run([sys.executable, "-c", KILLED], env=env, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list(place.glob("*.chunk"))) == 2
    result = run(range(18))
    assert sorted(c[0] for c in CALLS) == [8, 12, 16], "the chunks of the killed process are used"
    assert same(result, alone(range(18)))


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
    assert same(run(range(20)), alone(range(20)))
    assert len(CALLS) == 3, "what was written is used"


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="cannot be written.*SGD_BOOK_CHUNKS"):
        run(range(4))
    assert not CALLS


def test_only_one_chunk_for_each_worker_is_alive(tmp_path):
    config = {"folder": str(tmp_path), "together": 2}  # two at once, or it never gets on
    run(range(40), config, jobs.where, workers=2)
    alive = np.cumsum([1 if line.startswith("begin") else -1 for line in jobs.notes(tmp_path)])
    assert len(alive) == 20
    assert (alive.max(), alive[-1]) == (2, 0)


def test_by_default_each_core_has_a_worker_unless_it_is_one_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(ensemble.machine, "at_once", lambda: 3)
    monkeypatch.setattr(ensemble, "_computed", lambda *all: asked.append(all[3]) or (_ for _ in ()))
    monkeypatch.delenv(places.ONE_THREAD)
    with pytest.raises(KeyError):  # nothing was computed
        run(range(4), workers=None)
    monkeypatch.setenv(places.ONE_THREAD, "1")
    with pytest.raises(KeyError):
        run(range(4), workers=None)
    assert asked == [3, 1]


def test_progress_lines(tmp_path):
    run(range(4), {"n": 2})
    (tmp_path / "progress").unlink()
    ensemble.run(jobs.toy, {"one": CONFIG, "two": {"n": 2}}, range(10), chunk=4, workers=1)
    steps = [("one", 0), ("one", 4), ("one", 8), ("one", 10), ("two", 14), ("two", 16)]
    assert progress(tmp_path) == [{"label": label, "done": done, "total": 16} for label, done in steps]


def notebook(monkeypatch, **metadata):
    """Lets the process be the kernel of a notebook whose front end tells this of the cell."""
    monkeypatch.delenv("SGD_BOOK_PROGRESS", raising=False)
    shell = SimpleNamespace(kernel=None, get_parent=lambda: {"metadata": metadata})
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)


@pytest.mark.parametrize("shell", [None, SimpleNamespace()])
def test_a_progress_bar_where_nobody_else_shows_it(monkeypatch, capfd, shell):
    monkeypatch.delenv("SGD_BOOK_PROGRESS")
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    run(range(10))
    out, err = capfd.readouterr()
    assert out == ""
    assert "toy" in err and "/10" in err


def test_in_a_notebook_that_is_looked_at_the_bar_is_a_display_and_gone_at_the_end(monkeypatch, capfd):
    seen = []

    def display(bundle, raw, display_id):
        assert raw and display_id is True and bundle == {"text/plain": ""}
        return SimpleNamespace(update=lambda bundle, raw: seen.append(bundle))

    notebook(monkeypatch, cellId="a")
    monkeypatch.setattr("IPython.display.display", display)
    with ensemble._Progress("<nets>", 10) as bar:
        bar.advance("a < b", 4)
        bar.say("waits & waits")
    assert capfd.readouterr() == ("", "")
    assert all(set(shown) == {"text/html", "text/plain"} for shown in seen)
    lines = [shown["text/plain"] for shown in seen]
    assert lines[0].startswith("<nets>:   0%") and all("\r" not in line for line in lines)
    assert seen[0]["text/html"].startswith("<pre>&lt;nets&gt;: ")
    assert seen[-1] == {"text/html": "", "text/plain": ""}


def test_where_a_run_keeps_what_a_cell_writes_the_bar_is_in_its_terminal_only(monkeypatch, capfd):
    notebook(monkeypatch)
    run(range(4))
    assert capfd.readouterr() == ("", "")
    ours, theirs = os.openpty()
    stream = SimpleNamespace(_original_stdstream_copy=theirs, write=None)
    monkeypatch.setattr(sys, "stderr", stream)
    with ensemble._Progress("nets", 10) as bar:
        bar.advance("nets", 4)
    bar.bar.fp.close()
    monkeypatch.undo()
    assert b"nets:   0%" in os.read(ours, 10_000)
    os.close(ours), os.close(theirs)
    assert capfd.readouterr() == ("", "")


BEYOND = "the chunk of {} seeds around {} goes beyond 2147483647"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"configs": {}}, "configs must hold at least one"),
        ({"configs": {"a": {"n": {4}}}}, "config must be plain data"),
        ({"seeds": []}, "seeds must name at least one"),
        ({"seeds": [1, 2, 1]}, "seeds must be distinct"),
        *(({"seeds": [s]}, "seeds must be whole numbers from 0") for s in (-1, 2**31, 0.5, np.nan, "1")),
        ({"seeds": [0, 2**31 - 1], "chunk": 5}, BEYOND.format(5, 2147483647)),
        ({"seeds": [2**31 - 2], "chunk": 3}, BEYOND.format(3, 2147483646)),
        ({"seeds": {"a": [1]}}, r"seeds must be named as the configurations, \['a', 'b'\], got \['a'\]"),
        ({"seeds": {"a": [1], "b": [1], "c": [1]}}, "seeds must be named as the configurations"),
        ({"seeds": {"a": [1], "b": [2, 2]}}, "seeds must be distinct"),
        ({"seeds": {"a": [1], "b": [2**31 - 1]}, "chunk": 5}, BEYOND.format(5, 2147483647)),
        *(({"chunk": count}, "chunk must be a whole number") for count in (0, 2.5)),
        *(({"workers": count}, "workers must be a whole number") for count in (0, 1.5)),
        ({"job": lambda config, seeds: {}}, "job must be a function of an importable module"),
    ],
)
def test_bad_arguments_are_refused_before_any_compute(change, message, place):
    given = {"job": jobs.toy, "configs": {"a": CONFIG, "b": {"n": 2}}, "seeds": range(4), "workers": 1}
    with pytest.raises(ValueError, match=message):
        ensemble.run(**given | change)
    assert CALLS == []
    assert not place.exists()


def test_the_last_of_all_seeds_are_in_the_last_block():
    assert run([2**31 - 1], chunk=8)["seed"].tolist() == [2**31 - 1]
    assert run([2**31 - 4], chunk=3)["seed"].tolist() == [2**31 - 4]


@pytest.mark.parametrize(
    "seeds, config",
    [(range(8), CONFIG), (range(4), {"n": 2, "after": {"n": 1}})],
    ids=["last", "before"],
)
def test_a_job_without_a_row_for_each_seed_is_refused(seeds, config, place):
    with pytest.raises(ValueError, match=r"total has shape \(3,\), wanted 4 rows"):
        run(seeds, config, job=jobs.wrong)
    assert not place.exists()


# What computes is what the key says

EDITED = """
import sys
from pathlib import Path
import edited
from lib.ensembles import ensemble
ensemble.run(edited.job, {"toy": {}}, range(4), chunk=4, workers=%s)
text = Path(edited.__file__).read_text()
Path(edited.__file__).write_text(text.replace(sys.argv[1], sys.argv[2]))
print(ensemble.run(edited.job, {"toy": {"again": 1}}, range(4), chunk=4, workers=%s)["toy"]["a"])
"""
JOB = '''"""A job."""
import numpy as np
def job(config, seeds):
    """Gives ones."""
    return {"a": np.full(len(seeds), 1)}
'''


@pytest.mark.parametrize(("workers", "old", "new", "said"), [
    (1, "seeds), 1)", "seeds), 2)", "edited was imported as another text than edited.py has now"),
    (2, "Gives ones", "Says something else  # and so on", "[1 1 1 1]"),
], ids=["what it does", "a docstring"])  # fmt: skip
def test_an_edit_of_what_was_imported_is_refused_and_poisons_nothing(
    workers, old, new, said, tmp_path, place
):
    (tmp_path / "edited.py").write_text(JOB)
    (tmp_path / "script.py").write_text(EDITED % (workers, workers))
    # an edit of the same length within a second is not seen beside kept bytecode
    env = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    if workers > 1:
        env.pop(places.ONE_THREAD)  # alone it starts no worker, which would first import TensorFlow
    command = [sys.executable, str(tmp_path / "script.py"), old, new]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    refused = new == "seeds), 2)"
    assert said in (done.stderr if refused else done.stdout), done.stderr
    assert len(list(place.iterdir())) == (1 if refused else 2), (
        "no chunk of the old code under the new one's key"
    )
    if refused:  # a fresh process finds nothing of its own kept
        (tmp_path / "script.py").write_text(
            EDITED.replace("Path(edited.__file__).write_text", "len") % (1, 1)
        )
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
        assert done.stdout == "[2 2 2 2]\n"


def test_a_worker_that_has_other_code_is_refused(place):
    with pytest.raises(ensemble.store.Changed, match="a worker has another text of jobs"):
        ensemble.compute("jobs", "toy", "0" * 64, {"n": 4}, [0, 1], None)


# One configuration after another


@pytest.fixture
def link(tmp_path):
    """Configurations of the chain: a digit each, and what came before."""

    def make(digit, after=None, **more):
        return {"folder": str(tmp_path), "digit": digit, **more} | ({"after": after} if after else {})

    return make


def chains(configs, seeds=range(6), workers=1):
    return {
        name: result["value"].tolist()
        for name, result in ensemble.run(jobs.chain, configs, seeds, chunk=4, workers=workers).items()
    }


def digits(seeds, number):
    """What a chain of these digits makes of the seeds."""
    return [s * 10 ** len(str(number)) + number for s in seeds]


def begun(folder):
    return [line.removeprefix("begin ") for line in jobs.notes(folder) if line.startswith("begin")]


def test_what_comes_before_is_computed_first_and_kept(link, tmp_path, place):
    seeds = [5, 0, 6]
    first, second = link(1), link(2, link(1))
    assert chains({"c": link(3, second)}, seeds) == {"c": digits(seeds, 123)}
    order = begun(tmp_path)
    assert sorted(order) == ["1 0", "1 5", "2 0", "2 5", "3 0", "3 5"]
    for block in (0, 5):
        places = [order.index(f"{digit} {block}") for digit in (1, 2, 3)]
        assert places == sorted(places)
    assert len(list(place.iterdir())) == 6
    both = {"b": digits(range(8), 12), "a": digits(range(8), 1)}
    assert chains({"b": second, "a": first}, range(8)) == both
    assert begun(tmp_path)[6:] == ["1 0", "2 0", "1 4", "2 4"]
    assert chains({"d": link(4, second)}, range(8)) == {"d": digits(range(8), 124)}
    assert begun(tmp_path)[10:] == ["4 0", "4 4"], "whole blocks of what came before were kept"


@pytest.mark.parametrize("workers", [1, 2])
def test_several_share_what_they_follow(workers, link, tmp_path):
    """Whether it is asked for itself or not, in any order."""
    first = link(1)
    wanted = {"x": digits(range(6), 12), "y": digits(range(6), 13), "z": digits(range(6), 134)}
    configs = {"z": link(4, link(3, first)), "x": link(2, first), "y": link(3, first)}
    assert chains(configs, workers=workers) == wanted
    assert sorted(begun(tmp_path)) == sorted(f"{d} {block}" for d in (1, 2, 3, 4) for block in (0, 4))
    configs = {"p": link(6, link(5)), "q": link(5)}
    wanted = {"p": digits(range(6), 56), "q": digits(range(6), 5)}
    assert chains(configs, workers=workers) == wanted
    assert sorted(begun(tmp_path)[8:]) == ["5 0", "5 4", "6 0", "6 4"]


def test_what_follows_starts_when_its_own_block_is_there(link, tmp_path):
    """Not when all the others are: one of them only ends after what follows has ended."""
    slow = link(9, order="wait 2 0")
    wanted = {"slow": digits(range(4), 9), "child": digits(range(4), 12)}
    assert chains({"slow": slow, "child": link(2, link(1))}, range(4), workers=2) == wanted
    ends = [line for line in jobs.notes(tmp_path) if line.startswith("end")]
    assert ends == ["end 1 0", "end 2 0", "end 9 0"]


def test_what_came_before_is_not_needed_where_the_result_is_there(link, tmp_path, place):
    first, second = link(1), link(2, link(1))
    chains({"a": first})
    parents = set(place.iterdir())
    chains({"b": second})
    for path in parents:
        path.unlink()
    assert chains({"b": second}, [3, 1, 5, 0, 2, 4]) == {"b": digits([3, 1, 5, 0, 2, 4], 12)}
    assert len(begun(tmp_path)) == 4 and parents.isdisjoint(place.iterdir())
    assert chains({"b": second}, [8]) == {"b": digits([8], 12)}
    assert begun(tmp_path)[4:] == ["1 8", "2 8"], "only the parent of the block that is missing"


def test_what_is_there_serves_what_follows_and_whoever_asks_for_itself(link, tmp_path):
    """As where a walk was interrupted: it asks for all of its legs, the last one first."""
    chains({"a": link(1)}, range(4))
    wanted = {"b": digits(range(4), 12), "a": digits(range(4), 1)}
    assert chains({"b": link(2, link(1)), "a": link(1)}, range(4)) == wanted
    assert begun(tmp_path) == ["1 0", "2 0"]


def test_damage_to_what_came_before_is_repaired_if_it_is_needed(link, tmp_path, place):
    chains({"a": link(1)}, [0])
    (parent,) = place.iterdir()
    whole = parent.read_bytes()
    parent.write_bytes(whole[:-1])
    assert chains({"b": link(2, link(1))}, [0]) == {"b": digits([0], 12)}
    assert begun(tmp_path) == ["1 0", "1 0", "2 0"]
    assert parent.read_bytes() == whole


def test_the_key_holds_whatever_came_before(link, tmp_path):
    for number, before in ((123, link(2, link(1))), (723, link(2, link(7))), (23, link(2))):
        assert chains({"b": link(3, before)}, [0]) == {"b": digits([0], number)}
    assert chains({"b": link(3, link(2, link(1, more=0)))}, [0]) == {"b": digits([0], 123)}
    assert len(begun(tmp_path)) == 3 + 3 + 2 + 3


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_follows_what_has_failed(workers, link, tmp_path, place):
    failing = {"b": link(2, link(1, order="raise Ouch"))}
    with pytest.raises(Stopped, match="Ouch"):
        chains(failing, [0], workers=workers)
    assert begun(tmp_path) == ["1 0"]
    assert not place.exists()
    first = link(1)
    with pytest.raises(Stopped, match="Oh"):
        chains({"b": link(2, first, order="raise Oh")}, range(8), workers=workers)
    kept = len(list(place.iterdir()))
    assert 1 <= kept <= 2, "of the first, which did not fail"
    start = len(begun(tmp_path))
    assert chains({"b": link(2, first)}, range(8), workers=workers) == {"b": digits(range(8), 12)}
    again = [line for line in begun(tmp_path)[start:] if line.startswith("1")]
    assert len(again) == 2 - kept


@pytest.mark.parametrize("workers", [1, 2])
def test_a_chunk_that_vanished_stops_those_that_follow(workers, link, place, monkeypatch):
    write = ensemble.store.write

    def gone(chunk, result):
        write(chunk, result)
        if result["value"][0] == 1:  # of the first one
            chunk.path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(ensemble.store, "write", gone)
        message = "a chunk that others need is gone from .*: run again"
        with pytest.raises(RuntimeError, match=message) as caught:
            chains({"b": link(2, link(1)), "c": link(3, link(1))}, range(4), workers=workers)
    assert str(place) in str(caught.value)
    assert chains({"b": link(2, link(1))}, range(4), workers=workers) == {"b": digits(range(4), 12)}


def test_a_chunk_that_was_found_and_then_vanished_stops_those_that_follow(link, place):
    chains({"a": link(1)}, [0])
    (parent,) = place.iterdir()
    HOOK.append(lambda seeds: parent.unlink(missing_ok=True))  # by the first one that is computed
    with pytest.raises(RuntimeError, match="a chunk that others need is gone"):
        chains({"other": link(5), "b": link(2, link(1))}, [0])
    HOOK.clear()
    assert chains({"b": link(2, link(1))}, [0]) == {"b": digits([0], 12)}


def test_progress_lines_name_what_has_to_come_before(link, tmp_path):
    """What has to come before counts as well."""

    def lines(configs):
        (tmp_path / "progress").unlink(missing_ok=True)
        chains(configs)
        return progress(tmp_path)

    def steps(total, *counts):
        return [{"label": label, "done": done, "total": total} for label, done in counts]

    first, second = link(1), link(2, link(1))
    before = [("c", 0), ("before before c", 4), ("before c", 8), ("c", 12)]
    before += [("before before c", 14), ("before c", 16), ("c", 18)]
    assert lines({"c": link(3, second)}) == steps(18, *before)
    assert lines({"d": link(4, second)}) == steps(6, ("d", 0), ("d", 4), ("d", 6)), "it is there now"
    itself = ("e", 0), ("before e", 4), ("e", 8), ("before e", 10), ("e", 12)
    assert lines({"e": link(6, link(5)), "f": link(5)}) == steps(12, *itself), "asked for itself, and once"
    (tmp_path / "progress").unlink()
    chains({"a": first, "b": second})
    assert not (tmp_path / "progress").exists(), "all of it is kept"
