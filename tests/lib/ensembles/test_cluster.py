"""A real scheduler and workers as processes of their own, over TCP, with no folder in common."""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import jobs
import nbformat
import numpy as np
import pytest
import toy_book
from smoke import BROKEN, shown

from book import cli, gate
from lib.ensembles import cluster, ensemble, places

pytest.importorskip("distributed", reason=f"Dask is not installed: {cluster.INSTALL}")
PATIENCE = 120  # seconds
HERE = Path(__file__).resolve().parents[2]  # where the jobs lie
ROOT = HERE.parent

# a run that says that it has begun, and goes on when it may; the folder comes as its label
WAITS = """from pathlib import Path
import time
if size > 1 and label != "toy":
    Path(label, f"begun {size}").touch()
    while not Path(label, "go").exists():
        time.sleep(0.05)"""


class Dask:
    """A scheduler and workers, each a process with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, {}
        place = folder / "scheduler.json"
        self.start("scheduler", "dask_scheduler", "--port", "0", "--scheduler-file", str(place))
        jobs.until(lambda: place.exists() and place.read_text().strip().endswith("}"))
        self.address = json.loads(place.read_text())["address"]

    def start(self, name: str, command: str, *options: str, root: Path = ROOT, **more: str) -> None:
        own = self.folder / name
        own.mkdir(parents=True)
        paths = os.pathsep.join([*more.pop("paths", "").split(), str(root), str(HERE)])
        environment = {**os.environ, "PYTHONPATH": paths, "SGD_BOOK_CHUNKS": str(own / "chunks"), **more}
        environment.pop(places.SCHEDULER, None)
        with open(own / "log", "w") as log:
            words = [sys.executable, "-m", f"distributed.cli.{command}", "--host", "127.0.0.1"]
            words += ["--dashboard-address", "127.0.0.1:0"]  # without it, it listens to all of the network
            self.processes[name] = subprocess.Popen(
                [*words, *options], cwd=own, env=environment, stdout=log, stderr=log
            )

    def worker(self, name: str, threads: int = 1, **more) -> None:
        options = ("--nthreads", str(threads), "--no-nanny", "--local-directory", str(self.folder / name))
        self.start(name, "dask_worker", self.address, "--name", name, *options, **more)

    def ready(self, *names: str) -> None:
        """Wait until workers are known to the scheduler."""
        jobs.until(lambda: all("Registered to" in (self.folder / n / "log").read_text() for n in names))

    def kill(self, *names: str, how: int = signal.SIGKILL) -> None:
        for name in names:
            with contextlib.suppress(ProcessLookupError):
                self.processes[name].send_signal(how)
            self.processes.pop(name).wait(PATIENCE)


@pytest.fixture(scope="module")
def dask(tmp_path_factory):
    """A scheduler and two workers for all tests that leave them as they are."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    made.worker("one")
    made.worker("two")
    made.ready("one", "two")
    yield made
    made.kill(*list(made.processes))


@pytest.fixture
def own(tmp_path):
    """A scheduler for one test, without workers."""
    made = Dask(tmp_path / "dask")
    yield made
    made.kill(*list(made.processes))


@pytest.fixture
def go(tmp_path):
    """The folder in which runs say that they have begun, and wait; at the end they all go on."""
    folder = tmp_path / "orders"
    folder.mkdir()
    yield folder
    (folder / "go").touch()


@pytest.fixture
def toy(tmp_path):
    """The path of a toy chapter."""
    return toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter(WAITS))


def run(*arguments: object) -> int:
    """The exit status of the command, in this process."""
    return cli.main(["sweep", *map(str, arguments)])


def command(*arguments: object, **more) -> subprocess.Popen:
    """The command line, as a process."""
    words = [sys.executable, "-m", "book", "sweep", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def without_times(out: Path) -> tuple[str, list[dict]]:
    """The table and the runs' records of a sweep, without what differs between two equal ones."""
    content = json.loads((out / "results.json").read_text())["runs"]
    for one in content:
        del one["seconds"]
        for name in ("started", "seconds", "threads", "chunks"):
            (one["stamp"] or {}).pop(name, None)
    rows = (out / "results.csv").read_text().splitlines()
    at = rows[0].split(",").index("seconds")
    return [row.split(",")[:at] + row.split(",")[at + 1 :] for row in rows], content


def shown_by(out: Path) -> dict[str, list]:
    """What the executed copies of a sweep show."""
    return {path.name: shown(nbformat.read(path, 4)) for path in (out / "runs").glob("*.ipynb")}


# ---- sweeps


def test_a_real_chapter_gives_the_same_to_the_bit_as_here(dask, executed, tmp_path, monkeypatch):
    """A run there is held to that which all tests look at, each with its own chunks."""
    here, folder = executed(BROKEN)
    places = {name: dask.folder / name / "chunks" for name in ("one", "two")}
    before = {path for place in places.values() for path in place.glob("*")}
    monkeypatch.setenv("SGD_BOOK_CHUNKS", str(tmp_path / "chunks there"))
    words = [BROKEN.stem, "--smoke", "--grid", "images=100"]
    process = command(*words, "--out", tmp_path / "there", "--scheduler", dask.address)
    out, err = process.communicate(timeout=10 * PATIENCE)
    assert process.returncode == 0, err
    assert all("runs ended" in line for line in err.splitlines()), "lines of progress, and no noise"
    (there,) = shown_by(tmp_path / "there").values()
    assert there == shown(here) and len(there) > 20
    ((run,), (stamp,)) = without_times(tmp_path / "there")[1], gate.records(here, gate.STAMP_MIME)
    assert run["stamp"] == {name: stamp[name] for name in run["stamp"]}
    assert not (tmp_path / "chunks there").exists(), "nothing was computed where the command ran"
    computed = {path for place in places.values() for path in place.glob("*")} - before
    ours = {path.name: path.read_bytes() for path in (folder / "chunks").iterdir()}
    assert {path.name: path.read_bytes() for path in computed} == ours


def test_a_sweep_over_two_workers_gives_the_same_as_here(dask, tmp_path, capfd):
    fails = "if size == 2: raise ValueError('no luck')"
    notebook = toy_book.save(tmp_path / "toy.ipynb", toy_book.chapter(fails))
    words = [str(notebook), "--grid", "size=1,2", "--out"]
    assert run(*words, tmp_path / "there", "--scheduler", dask.address) == 1
    assert all("runs ended" in line for line in capfd.readouterr().err.splitlines())
    assert run(*words, tmp_path / "here", "--workers", 1) == 1
    assert without_times(tmp_path / "there") == without_times(tmp_path / "here")
    assert shown_by(tmp_path / "there") == shown_by(tmp_path / "here")
    rows = (tmp_path / "there" / "results.csv").read_text()
    assert rows.count(",done,") == rows.count(",failed,") == 1


def test_a_worker_killed_in_the_middle_loses_nothing(dask, toy, go, tmp_path):
    dask.worker("doomed")
    dask.ready("doomed")
    words = [toy, "--grid", "size=2,3,4", "-p", "label", go, "--out", tmp_path / "out"]
    process = command(*words, "--scheduler", dask.address)
    jobs.until(lambda: len(list(go.iterdir())) == 3)  # a run on each of the three
    dask.kill("doomed")
    (go / "go").touch()
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert "3 of 3 done, 0 failed" in out
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3


def test_the_scheduler_gone_is_one_clear_error_and_what_is_done_is_kept(own, toy, go, tmp_path, capfd):
    own.worker("one")
    words = [toy, "--grid", "size=1,2", "-p", "label", go, "--out", tmp_path / "out"]
    process = command(*words, "--scheduler", own.address)
    jobs.until(lambda: len(list(go.iterdir())) == 1)  # the first is done, the second waits
    own.kill("scheduler")
    out, err = process.communicate(timeout=PATIENCE)
    (go / "go").touch()
    assert process.returncode == 1
    errors = [line for line in err.splitlines() if "runs ended" not in line]
    assert errors == [f"the scheduler at {own.address} is gone"]
    assert "1 of 2 done, 0 failed" in out
    (done,) = (tmp_path / "out" / "runs").iterdir()
    before = done.stat().st_mtime_ns
    assert (tmp_path / "out" / "results.csv").read_text().count(",done,") == 1
    assert run(*words, "--workers", 1) == 0
    out = capfd.readouterr().out
    assert "1 to run, 1 done before" in out and "2 of 2 done" in out
    assert done.stat().st_mtime_ns == before


def test_workers_that_differ_are_refused_by_name_before_anything_is_submitted(dask, toy, tmp_path, capsys):
    library, package = tmp_path / "library", tmp_path / "packages" / "scipy-0.0.1.dist-info"
    shutil.copytree(ROOT / "lib", library / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, library)
    with open(library / "lib" / "stats.py", "a") as file:
        file.write("MORE = 1\n")
    with open(library / "lib" / "nets.py", "a") as file:
        file.write("# a comment differs in nothing\n")
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: scipy\nVersion: 0.0.1\n")
    (tmp_path / "no.npz").write_bytes(b"no images")
    no_images = str(tmp_path / "no.npz")
    dask.worker("other", root=library, paths=str(package.parent), SGD_BOOK_MNIST=no_images)
    dask.worker("wide", threads=2)
    dask.ready("other", "wide")
    try:
        words = [str(toy), "--grid", "size=1,2", "--out", str(tmp_path / "out")]
        assert run(*words, "--scheduler", dask.address) == 1
    finally:
        dask.kill("other", "wide")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"workers of {dask.address} are not like this machine"
    assert len(lines) == 5 and all(line.startswith("worker tcp://127.0.0.1:") for line in lines[1:])
    text = "\n".join(lines)
    for wanted in (
        r"lib: has [0-9a-f]{12}…, wanted [0-9a-f]{12}…",
        r"scipy: has 0\.0\.1, wanted \d",
        r"data: has none: SGD_BOOK_MNIST=.*no\.npz.*, wanted 06b0d1f124c4…",
        r"has 2 threads, wanted 1",
    ):
        assert re.search(wanted, text), text
    assert not (tmp_path / "out" / "runs").exists()


def test_a_worker_that_comes_late_and_differs_is_refused_by_name(dask, tmp_path):
    wanted = cluster.facts(("numpy",)) | {"numpy": "0.0.1"}
    with contextlib.closing(cluster.Cluster(dask.address, same_processor=False)) as place:
        place._wanted, place._packages = wanted, ("numpy",)  # as if all had been well before
        future = place.submit("builtins", "abs", -3)
        with pytest.raises(places.Lost, match=r"worker tcp://127.*: numpy: has .*, wanted 0\.0\.1"):
            future.result(PATIENCE)


def test_without_dask_a_scheduler_is_refused_with_what_to_install(monkeypatch, toy, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "distributed", None)
    words = [str(toy), "--grid", "size=1", "--out", str(tmp_path / "out"), "--scheduler", "tcp://127.0.0.1:1"]
    assert run(*words) == 1
    assert "pip install -r requirements-cluster.txt" in capsys.readouterr().err


def test_a_scheduler_that_never_was_is_one_clear_error(monkeypatch, toy, tmp_path, capsys):
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 1)
    words = [toy, "--grid", "size=1", "--out", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:1"]
    assert run(*words) == 1
    assert "no scheduler answers at tcp://127.0.0.1:1" in capsys.readouterr().err
    with pytest.raises(ValueError, match="got 'nowhere', wanted an address like"):
        cluster.Cluster("nowhere", same_processor=False)


class Web(http.server.BaseHTTPRequestHandler):
    """A server of another kind."""

    def handle(self):
        self.rfile.readline()


NO_SCHEDULER = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from lib.ensembles import cluster, places
cluster._ANSWER_SECONDS = 2
def said(address):
    start = time.monotonic()
    try:
        cluster.Cluster(address, True)
    except places.Lost as error:
        return f"{time.monotonic() - start} {error}"
with ThreadPoolExecutor() as pool:
    print(*pool.map(said, sys.argv[1:]), sep="\\n")
"""


def test_what_is_no_scheduler_is_told_in_time():
    """A port that takes calls and never answers; and one where something else answers."""
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        server = stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        addresses = [f"tcp://127.0.0.1:{port}" for port in (silent.getsockname()[1], server.server_port)]
        done = subprocess.run(
            [sys.executable, "-c", NO_SCHEDULER, *addresses], env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    for address, line in zip(addresses, done.stdout.splitlines(), strict=True):
        took, _, said = line.partition(" ")
        assert said.startswith(f"no scheduler answers at {address}: ") and float(took) < 10
    assert done.stderr == ""


def test_a_scheduler_without_workers_says_so_and_one_that_loses_its_last_too(
    own, toy, go, chunks, tmp_path, monkeypatch
):
    """And can be ended. So does an ensemble, which goes on with the first that comes."""
    words = [toy, "--grid", "size=2,3", "-p", "label", go, "--out", tmp_path / "out"]
    process = command(*words, "--scheduler", own.address)
    assert "waiting for a worker" in process.stderr.readline()
    own.worker("one")
    jobs.until(lambda: len(list(go.iterdir())) == 1)
    own.kill("one")
    while "waiting for a worker" not in (line := process.stderr.readline()):
        assert "runs ended" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130 and "interrupted; what was finished is kept" in out
    assert all("runs ended" in line for line in err.splitlines() if line)

    def later():
        shown = tmp_path / "progress"
        jobs.until(lambda: shown.exists() and "waiting for a worker" in shown.read_text())
        own.worker("two")

    monkeypatch.setenv(places.SCHEDULER, own.address)
    thread = threading.Thread(target=later)
    thread.start()
    assert ensemble.run(jobs.toy, {"a": {"n": 4}}, [1])["a"]["seed"] == [1]
    thread.join()


# ---- ensembles


@pytest.fixture
def chunks(chunks):
    yield chunks
    ensemble._connected.cache_clear()


def test_an_ensemble_is_computed_on_the_cluster_to_the_bit(dask, chunks, monkeypatch):
    configs = {"a": {"n": 4}, "b": {"n": 2}}
    here = ensemble.run(jobs.toy, configs, range(10), chunk=4, workers=1)
    kept = {path.name: path.read_bytes() for path in chunks.iterdir()}
    shutil.rmtree(chunks)
    jobs.CALLS.clear()
    monkeypatch.setenv(places.SCHEDULER, dask.address)
    there = ensemble.run(jobs.toy, configs, range(10), chunk=4, workers=1)
    assert jobs.CALLS == [], "nothing was computed here"
    assert all(np.array_equal(there[c][k], here[c][k]) for c in configs for k in here[c])
    assert {path.name: path.read_bytes() for path in chunks.iterdir()} == kept


def test_what_goes_on_from_another_gets_its_arrays_as_data(dask, chunks, tmp_path, monkeypatch):
    monkeypatch.setenv(places.SCHEDULER, dask.address)
    first = {"folder": str(tmp_path), "digit": 1}
    configs = {"c": {"folder": str(tmp_path), "digit": 3, "after": first | {"digit": 2, "after": first}}}
    result = ensemble.run(jobs.chain, configs, [5, 0, 6], chunk=4)["c"]
    assert result["value"].tolist() == [5123, 123, 6123]
    assert len(list(chunks.iterdir())) == 6


def test_an_error_in_a_job_comes_through_from_the_cluster(dask, chunks, tmp_path, monkeypatch):
    monkeypatch.setenv(places.SCHEDULER, dask.address)
    config = {"folder": str(tmp_path), "digit": 1, "order": "raise no-luck"}
    with pytest.raises(jobs.Stopped, match="no-luck"):
        ensemble.run(jobs.chain, {"c": config}, range(8), chunk=4)
    assert not chunks.exists()


def test_another_processor_is_refused_by_name(dask, chunks, monkeypatch):
    """Its chunks may round otherwise, and a chunk's key names ours."""
    monkeypatch.setenv(places.SCHEDULER, dask.address)
    monkeypatch.setattr(cluster.machine, "_processor", lambda: "Other 9000")
    with pytest.raises(places.Lost, match=r"worker tcp://.*processor: has .*, wanted Other 9000"):
        ensemble.run(jobs.toy, {"a": {"n": 4}}, range(4))
    assert not chunks.exists()


def test_worker_processes_have_one_thread_before_tensorflow_is_imported(dask):
    with contextlib.closing(cluster.Cluster(dask.address, same_processor=True)) as place:
        assert place.submit("jobs", "threads").result(PATIENCE) == [1, 1, "1"]


def test_facts_that_are_not_there_differ():
    assert cluster.differences({"a": "1", "b": "0" * 64}, {"b": "0" * 64}) == ["a: has nothing, wanted 1"]
    assert cluster.differences({"a": "1"}, {"a": "1", "more": "2"}) == []
