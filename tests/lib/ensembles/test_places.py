"""Worker processes: started once, bound to cores, and gone when they are not wanted or nobody is left."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Future
from multiprocessing.connection import wait
from pathlib import Path

import jobs
import numpy as np
import pytest

from lib.ensembles import ensemble, machine, places

HERE = Path(__file__).resolve().parents[2]  # where the jobs lie
pytestmark = pytest.mark.usefixtures("chunks")
PATIENCE = 60  # seconds; a process that waits as it should not, waits for longer


def run(job, seeds, folder, **more):
    configs = {"toy": {"n": 4, "folder": str(folder), **more}}
    return ensemble.run(job, configs, seeds, chunk=4, workers=2)["toy"]


def gone(processes):
    # by their sentinels: join() finds nothing where the pool's own thread was first to ask for the exit code
    return all(wait([process.sentinel], PATIENCE) for process in processes)


def same(result, seeds):
    wanted = jobs.toy({"n": 4}, seeds)
    return all(np.array_equal(result[name], wanted[name]) for name in wanted)


def test_workers_are_started_once_and_each_has_a_core(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # workers of other tests hold cores
    places.Processes(2).close()
    result = run(jobs.where, range(16), tmp_path, together=2)
    first = set(result["process"].tolist())
    assert len(first) == 2 and os.getpid() not in first
    if hasattr(os, "sched_setaffinity") and len(machine.cores()) > 1:
        cores = {*result["core"].tolist()}
        assert len(cores) == 2 and cores <= {*machine.cores()}
    (tmp_path / "notes").unlink()
    again = run(jobs.where, range(100, 116), tmp_path, together=2)
    assert set(again["process"].tolist()) == first


def test_no_core_is_taken_twice_while_others_are_free(tmp_path, monkeypatch):
    """By workers of this run or of another; who comes when all are taken is bound to none."""
    bound = []
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(places, "_held", [])
    monkeypatch.setattr(machine, "cores", lambda: [2, 5, 7])
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: bound.append(*cores), raising=False)
    for _ in range(4):
        places._take_core()
    assert bound == [2, 5, 7]
    places._held.pop(1).close()  # as when its process ends
    places._take_core()
    assert bound == [2, 5, 7, 5]
    for lock in places._held:
        lock.close()


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {7, 2, 5}, raising=False)
    assert machine.cores() == [2, 5, 7]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.cores() == list(range(os.cpu_count()))


def test_an_error_in_a_job_comes_through_and_nobody_waits_for_the_rest(tmp_path, chunks, capfd):
    run(jobs.ordered, range(8), tmp_path)
    (tmp_path / "108").write_text("raise no-luck")
    for other in range(112, 200, 4):
        (tmp_path / str(other)).write_text("hang")
    before = list(places._pools[2]._processes.values())
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


def test_the_work_of_a_killed_worker_is_done_again(tmp_path, chunks, capfd):
    (tmp_path / "8").write_text(f"die at 2 files in {chunks}")
    assert same(run(jobs.ordered, range(18), tmp_path), range(18))
    assert capfd.readouterr().err == ""
    begun = [line for line in jobs.notes(tmp_path) if line.startswith("begin")]
    assert {line: begun.count(line) for line in begun}["begin 8"] == 2 and len(set(begun)) == 5
    assert begun.count("begin 0") == begun.count("begin 4") == 1, "what was kept is not done again"


def test_a_worker_killed_between_runs_is_replaced(tmp_path):
    run(jobs.ordered, range(8), tmp_path)
    pool = places._pools[2]
    processes = list(pool._processes.values())
    os.kill(processes[0].pid, signal.SIGKILL)
    jobs.until(lambda: pool._broken)
    assert same(run(jobs.ordered, range(8, 16), tmp_path), range(8, 16))
    assert gone(processes)


def test_work_that_kills_every_worker_is_one_clear_error(tmp_path, chunks):
    (tmp_path / "4").write_text("always die")
    with pytest.raises(places.Lost, match="ended from outside 4 times.*what was finished is kept") as caught:
        run(jobs.ordered, range(8), tmp_path)
    assert caught.value.__suppress_context__ and caught.value.__cause__ is None
    assert len(list(chunks.iterdir())) <= 1


class Elsewhere:
    """A place whose workers are lost at certain numbers of tasks taken, and are there again at once."""

    workers = 2

    def __init__(self, *breaks, work=lambda x: x):
        self.breaks, self.work, self.taken, self.restarts, self.closed = set(breaks), work, 0, 0, 0

    def submit(self, module, name, *arguments):
        self.taken += 1
        future = Future()
        if self.taken in self.breaks:
            future.set_exception(BrokenExecutor())
            return future
        try:
            future.set_result(self.work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def check(self):
        pass

    def again(self):
        self.restarts += 1

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("breaks", [(1,), (2,), (3,), (2, 4), (1, 2, 3), (5, 6, 9)], ids=str)
def test_whenever_workers_are_lost_every_task_has_its_result_once(breaks):
    place = Elsewhere(*breaks)
    came = list(places.results(place, {n: places.Task("", "", lambda n=n: (n,)) for n in range(5)}))
    assert dict(came) == {n: n for n in range(5)} and len(came) == 5
    assert place.restarts and not place.closed


def test_what_comes_after_waits_and_what_is_not_taken_is_dropped():
    place, seen = Elsewhere(), []
    tasks = {
        n: places.Task("", "", lambda n=n: seen.append(n) or (n,), n - 2 if n > 1 else None) for n in range(6)
    }
    coming = places.results(place, tasks)
    assert [next(coming)[0] for _ in range(2)] in ([0, 1], [1, 0]) and set(seen) <= {0, 1}
    coming.close()
    assert place.closed == 1 and len(seen) <= 4


def test_nobody_there_is_told_within_a_second_or_two():
    place, told = Elsewhere(), []
    place.workers = 0
    monkey = iter([0, 0, 2, 2, 2])

    def tell(under, trouble):
        told.append(trouble)
        place.workers = next(monkey)

    assert dict(places.results(place, {"a": places.Task("", "", lambda: (1,))}, tell)) == {"a": 1}
    assert told[:2] == ["waiting for a worker"] * 2 and told[-1] == ""


@pytest.mark.parametrize("train", [False, True])
def test_a_worker_has_one_thread_before_anything_is_imported(train):
    place = places.Processes(1, train)
    assert place.submit("jobs", "threads").result(PATIENCE) == [1, 1, "1"]
    place.close()


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_those_that_train_are_forked_from_one_that_has_imported_tensorflow_and_has_one_thread(monkeypatch):
    def origin(variable, train=True):
        place = places.Processes(1, train)
        found = place.submit("jobs", "origin", variable).result(PATIENCE)
        place.close()
        return found

    parent, *rest = origin("A_VARIABLE")
    assert parent != os.getpid() and rest == [1, True, None]
    monkeypatch.setenv("A_VARIABLE", "set since")
    assert origin("A_VARIABLE") == (parent, 1, True, "set since"), "it is imported once for all"
    parent, _, *rest = origin("A_VARIABLE", train=False)
    assert parent == os.getpid() and rest == [False, "set since"]
    monkeypatch.setenv("TF_A_VARIABLE", "set since")  # TensorFlow may have read it before
    parent, _, *rest = origin("TF_A_VARIABLE")
    assert parent == os.getpid() and rest == [False, "set since"]


def no_socket():
    raise OSError("AF_UNIX path too long")


@pytest.mark.parametrize(("owner", "name", "value"), [
    (multiprocessing.current_process()._config, "daemon", True),  # which may have no children
    (vars(places.forkserver), "ensure_running", no_socket),
    (vars(sys), "platform", "darwin"),
], ids=["daemon", "folder", "system"])  # fmt: skip
def test_where_processes_cannot_be_forked_none_is(monkeypatch, owner, name, value):
    monkeypatch.setitem(owner, name, value)
    assert places.fork(places.TENSORFLOW, print) is None


def test_tensorflow_is_imported_beforehand_where_processes_will_train_and_nowhere_else(monkeypatch):
    begun = []
    monkeypatch.setattr(places, "_server", lambda _: begun.append(os.environ[places.ONE_THREAD]))
    places.prepare()
    assert begun == [], "this process is one of many"
    monkeypatch.delenv(places.ONE_THREAD)
    monkeypatch.setenv(places.SCHEDULER, "tcp://host:8786")
    places.prepare()
    assert begun == [], "a cluster trains"
    monkeypatch.delenv(places.SCHEDULER)
    places.prepare()
    assert begun == ["1"] and places.ONE_THREAD not in os.environ


# A parent in a session of its own. Its workers hold its stdout and stderr open, so that the end of these is
# the end of all of them.

KILLED = """
import jobs, sys
from lib.ensembles import places
pool = places.Processes(2, train=sys.argv[2:] == ["train"])
for seed in (0, 4):
    pool.submit("jobs", "ordered", {"n": 4, "folder": sys.argv[1]}, [seed])
"""
INTERRUPTED = """
import jobs, sys
from lib.ensembles import ensemble
try:  # no guard: workers do not run this script
    ensemble.run(jobs.ordered, {"toy": {"n": 4, "folder": sys.argv[1]}}, range(40), chunk=4, workers=2)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def parent(tmp_path, monkeypatch):
    """Starts a script as a process whose jobs hang, and returns it when two of its workers do."""
    started = []
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), str(HERE)]))

    def start(text, *words):
        script = tmp_path / "script.py"
        # a shell starts what runs in the background without interrupts
        listen = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        script.write_text(listen + text)
        for seed in range(0, 40, 4):
            (tmp_path / str(seed)).write_text("hang")
        process = subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), *words],
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


@pytest.mark.parametrize("words", [(), ("train",)], ids=str)
def test_a_killed_parent_leaves_no_worker_behind(parent, words):
    process = parent(KILLED, *words)
    process.kill()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL


def test_an_interrupt_ends_all_at_once_and_only_the_parent_speaks(parent):
    process = parent(INTERRUPTED)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert err.decode() == ""
    assert out == b"interrupted\n"
    assert process.returncode == 0
