"""Worker processes: started once, bound to cores, and gone when they are not wanted or nobody is left."""

import os
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import jobs
import numpy as np
import pytest

from lib.ensembles import ensemble, worker

HERE = Path(__file__).resolve().parents[2]  # where the jobs lie
PATIENCE = 60  # seconds; a process that waits as it should not, waits for longer


@pytest.fixture(autouse=True)
def chunks(tmp_path, monkeypatch):
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks"))
    monkeypatch.setenv("SGD_BOOK_PROGRESS", str(tmp_path / "progress"))
    return tmp_path / "chunks"


def run(job, seeds, folder, **more):
    configs = {"toy": {"n": 4, "folder": str(folder), **more}}
    return ensemble.run(job, configs, seeds, chunk=4, workers=2)["toy"]


def gone(processes):
    # by their sentinels: join() finds nothing where the pool's own thread was first to ask for the exit code
    return all(wait([process.sentinel], PATIENCE) for process in processes)


def same(result, seeds):
    wanted = jobs.toy({"n": 4}, seeds)
    return all(np.array_equal(result[name], wanted[name]) for name in wanted)


def test_workers_are_started_once_and_each_has_a_core(tmp_path):
    result = run(jobs.where, range(16), tmp_path, together=2)
    first = set(result["process"].tolist())
    assert len(first) == 2 and os.getpid() not in first
    cores = {tuple(cores) for cores in result["cores"].tolist()}
    if hasattr(os, "sched_setaffinity"):
        assert cores == {(core,) for core in worker.cores()[:2]}
    (tmp_path / "notes").unlink()
    again = run(jobs.where, range(100, 116), tmp_path, together=2)
    assert set(again["process"].tolist()) == first
    assert worker.pool(2) is worker.pool(2)


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {7, 2, 5}, raising=False)
    assert worker.cores() == [2, 5, 7]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert worker.cores() == list(range(os.cpu_count()))


def test_an_error_in_a_job_comes_through_and_nobody_waits_for_the_rest(tmp_path, chunks, capfd):
    run(jobs.ordered, range(8), tmp_path)
    (tmp_path / "108").write_text("raise no-luck")
    for other in range(112, 200, 4):
        (tmp_path / str(other)).write_text("hang")
    before = list(worker.pool(2)._processes.values())
    with pytest.raises(jobs.Stopped, match="^no-luck$"):
        run(jobs.ordered, range(100, 200), tmp_path)
    assert gone(before), "the chunks that were under way are not waited for"
    assert capfd.readouterr().err == ""
    kept = len(list(chunks.iterdir()))
    assert kept >= 2
    for order in tmp_path.glob("1*"):
        order.unlink()
    assert same(run(jobs.ordered, range(100, 200), tmp_path), range(100, 200))
    assert len(list(chunks.iterdir())) == 2 + 25


def test_a_killed_worker_is_one_clear_error_and_finished_chunks_are_kept(tmp_path, chunks, capfd):
    (tmp_path / "8").write_text(f"die at 2 files in {chunks}")
    with pytest.raises(RuntimeError, match="a worker process was ended from outside.*run again") as caught:
        run(jobs.ordered, range(18), tmp_path)
    assert caught.value.__suppress_context__ and caught.value.__cause__ is None
    assert capfd.readouterr().err == ""
    kept = len(list(chunks.iterdir()))
    assert 2 <= kept <= 4
    (tmp_path / "8").unlink()
    (tmp_path / "notes").unlink()
    assert same(run(jobs.ordered, range(18), tmp_path), range(18))
    begun = [line for line in jobs.notes(tmp_path) if line.startswith("begin")]
    assert len(set(begun)) == len(begun) == 5 - kept, "only what is missing"


def test_a_worker_killed_between_runs_does_not_stop_the_run_after_next(tmp_path):
    run(jobs.ordered, range(8), tmp_path)
    pool = worker.pool(2)
    processes = list(pool._processes.values())
    os.kill(processes[0].pid, signal.SIGKILL)
    jobs.until(lambda: pool._broken)
    with pytest.raises(RuntimeError, match="a worker process was ended from outside"):
        run(jobs.ordered, range(8, 16), tmp_path)
    assert gone(processes)
    assert same(run(jobs.ordered, range(8, 16), tmp_path), range(8, 16))


# A parent in a session of its own. Its workers hold its stdout and stderr open, so that the end of these is
# the end of all of them.

KILLED = """
import jobs, sys
from lib.ensembles import worker
if __name__ == "__main__":
    for seed in (0, 4):
        worker.pool(2).submit(jobs.ordered, {"n": 4, "folder": sys.argv[1]}, [seed])
"""
INTERRUPTED = """
import jobs, sys
if __name__ == "__main__":
    from lib.ensembles import ensemble
    try:
        ensemble.run(jobs.ordered, {"toy": {"n": 4, "folder": sys.argv[1]}}, range(40), chunk=4, workers=2)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""
INTERRUPTED_EARLY = f"""{INTERRUPTED}
else:  # in a worker, before it is set up; an interrupt of its own first, lest the parent be quicker
    import os, signal
    os.kill(os.getpid(), signal.SIGINT)
    jobs.hang()
"""


@pytest.fixture
def parent(tmp_path, monkeypatch):
    """Starts a script as a process whose jobs hang, and returns it when two of its workers do."""
    started = []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), str(HERE)]))

    def start(text):
        script = tmp_path / "script.py"
        # a shell starts what runs in the background without interrupts
        listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        script.write_text(listen + text)
        for seed in range(0, 40, 4):
            (tmp_path / str(seed)).write_text("hang")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        assert [process.stdout.readline() for _ in range(2)] == [b"hangs\n"] * 2
        return process

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.communicate()


def test_a_killed_parent_leaves_no_worker_behind(parent):
    process = parent(KILLED)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("script", [INTERRUPTED, INTERRUPTED_EARLY], ids=["running", "starting"])
def test_an_interrupt_ends_all_at_once_and_only_the_parent_speaks(script, parent):
    process = parent(script)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert err.decode() == ""
    assert out == b"interrupted\n"
    assert process.returncode == 0
