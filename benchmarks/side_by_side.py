"""Time several ways to train the same networks, side by side: what the benchmarks have in common.

A benchmark is a script that holds a recipe and its contestants, and calls `main`. README.md beside this file
says what is timed, and how.
"""

import argparse
import functools
import importlib
import itertools
import json
import multiprocessing
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from lib.ensembles.machine import cores

ROOT = Path(__file__).resolve().parents[1]

Train = Callable[[int], Sequence[float]]  # number of networks -> their test accuracies
SeededTrain = Callable[[int, int], Sequence[float]]  # seed, number of networks -> their test accuracies
Measure = Callable[[int], tuple[float, list[float]]]  # number of networks -> seconds for each, accuracies


OMP: dict[str, int | None] = {"OMP_NUM_THREADS": None}


class Missing(Exception):
    """Something that a contestant needs is not on this machine."""


class Contestant(NamedTuple):
    """One way to train the recipe.

    Attributes:
        start: Gets ready, and gives the function that is timed.
        modules: Imported before any clock runs.
        networks: Trained in each round, unless --networks says otherwise.
        warm_up: Networks in the first call; 0 for as many as in each round.
        threads: Thread settings for the environment, a number or None for one per core.
        loads: Whether the images are loaded in its process before any clock runs.
    """

    start: Callable[[], Measure]
    modules: tuple[str, ...]
    networks: int
    warm_up: int = 1
    threads: dict[str, int | None] = {}
    loads: bool = True


class Benchmark(NamedTuple):
    """What a script hands to `main`.

    Attributes:
        file: The script, which is run again as the process of each contestant.
        about: Its first line is the description in --help.
        load: Loads the images, and keeps them for the next call.
        contestants: By name. The ratios are to the one called 'ours'; 'floor' needs no images.
        learned: Range of the test accuracy of each network when the recipe is followed.
        flops: Floating-point operations in the matrix products of one network's training.
        second: What a second table says of a contestant, from its name and median seconds per network.
    """

    file: str
    about: str
    load: Callable[[], object]
    contestants: Mapping[str, Contestant]
    learned: tuple[float, float]
    flops: int
    second: Callable[[str, float], dict[str, str]] | None = None


# --- for the contestants ---


class Problem(NamedTuple):
    """Training images and their labels, and those judged on, which are called test."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def dense_flops(sizes: Sequence[int], batch: int, steps: int) -> int:
    """Floating-point operations in the matrix products of one dense network's training.

    2 B D H for each layer's forward product and for its weight gradient, and for its input gradient in all
    layers but the first. All else (biases, activations, the update, the images judged on) is left out.
    """
    layers = enumerate(itertools.pairwise(sizes))
    return steps * sum(2 * batch * d * h * (2 if layer == 0 else 3) for layer, (d, h) in layers)


def timed(train: Train) -> Measure:
    """Divide the time of a call by the networks it trained, which may be more than asked to fill a chunk."""

    def measure(networks: int) -> tuple[float, list[float]]:
        begin = time.perf_counter()
        accuracies = [float(a) for a in train(networks)]
        seconds = time.perf_counter() - begin
        if len(accuracies) < networks:
            raise RuntimeError(f"trained {len(accuracies)} networks where {networks} were asked for")
        return seconds / len(accuracies), accuracies

    return measure


def repeated(some: Callable[[], Sequence[float]]) -> Train:
    """Train as many networks as asked, or more, by calls that train some each."""

    def train(networks: int) -> list[float]:
        accuracies: list[float] = []
        while len(accuracies) < networks:
            accuracies.extend(some())
        return accuracies

    return train


def seeded(some: Callable[[np.random.Generator], Sequence[float]]) -> SeededTrain:
    """The same, where all that is random comes from a generator that the seed starts."""
    return lambda seed, networks: repeated(functools.partial(some, np.random.default_rng(seed)))(networks)


def keras_fit(model, renew: Callable[[], object], p: Problem, *fitted, **options) -> Measure:
    """Train networks one by one with Keras.

    Args:
        model: Compiled.
        renew: Draws its weights anew.
        p: Has the images judged on.
        *fitted: What ``model.fit`` is called with.
        **options: Likewise.
    """

    def one() -> list[float]:
        renew()
        model.fit(*fitted, verbose=0, **options)
        scores = model.predict(p.x_test, batch_size=len(p.x_test), verbose=0)
        return [np.mean(scores.argmax(axis=1) == p.y_test)]

    return timed(repeated(one))


def tensorflow_threads(number: int) -> None:
    """Have TensorFlow use so many threads; before it does anything."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(number)
    tf.config.threading.set_inter_op_parallelism_threads(number)


def want_compiler() -> None:
    """Raise `Missing` where there is no C++ compiler for ``torch.compile``."""
    if not any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        raise Missing("a C++ compiler")


def engine(
    job: Callable, config: Mapping, networks: int, chunk: int, workers: int | None = None
) -> dict[str, np.ndarray]:
    """Results of this project's engine, computed anew.

    Args:
        job: For `lib.ensembles.ensemble.run`, as the rest.
        config: Configuration of the job.
        networks: How many are wanted; they become whole chunks.
        chunk: Networks at once.
        workers: Processes; None for one per core.
    """
    from lib.ensembles import ensemble

    os.environ["SGD_BOOK_PROGRESS"] = os.devnull
    with tempfile.TemporaryDirectory() as place:  # empty: no finished chunk of an earlier call is used
        os.environ["SGD_BOOK_CHUNKS"] = place
        seeds = range(-(-networks // chunk) * chunk)
        return ensemble.run(job, {"ours": config}, seeds, chunk=chunk, workers=workers)["ours"]


def _start_process(core: int, start: Callable[[], SeededTrain]) -> None:
    # in a process of the pool; pinned before a library counts its cores
    global _train
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    _train = start()


def _run_process(seed: int, networks: int) -> Sequence[float]:
    return _train(seed, networks)


def alone(training: Callable[..., SeededTrain], *how) -> Callable[[], Measure]:
    """Trains in the contestant's own process, by a training made as told; the same networks at each call."""
    return lambda: timed(functools.partial(training(*how), 0))


def in_processes(training: Callable[..., SeededTrain], *how) -> Callable[[], Measure]:
    """Trains in one process per core, each pinned to its core, by trainings that are made there."""

    def start() -> Measure:
        context, made = multiprocessing.get_context("spawn"), functools.partial(training, *how)
        pools = [ProcessPoolExecutor(1, context, _start_process, (core, made)) for core in cores()]

        def train(networks: int) -> list[float]:
            share = -(-networks // len(pools))
            runs = [pool.submit(_run_process, seed, share) for seed, pool in enumerate(pools)]
            return [a for run in runs for a in run.result()]

        return timed(train)

    return start


def floor(flops: int, dtype: type) -> Contestant:
    """The contestant that only has this many operations, at the rate of NumPy's product of large matrices."""

    def start() -> Measure:
        a, b = np.random.default_rng(0).standard_normal((2, 2048, 2048)).astype(dtype)

        def measure(networks: int) -> tuple[float, list[float]]:
            times = []
            for _ in range(10):
                begin = time.perf_counter()
                np.matmul(a, b)
                times.append(time.perf_counter() - begin)
            return flops * statistics.median(times) / (2 * 2048**3), []

        return measure

    return Contestant(start, (), 1, threads=OMP | {"OPENBLAS_NUM_THREADS": None}, loads=False)


# --- one process for each contestant ---

_THREAD_SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_", "GOTO_", "BLIS_")
_FRAMEWORK_SETTINGS = ("TF_", "XLA_", "NPROC", "JAX_", "TORCH", "PYTORCH_", "ATEN_", "KERAS_BACKEND", "CUDA_")


def environment(contestant: Contestant, scratch: Path) -> dict[str, str]:
    """Give this environment without any setting of threads or frameworks, with the contestant's own added."""
    dropped = _THREAD_SETTINGS + _FRAMEWORK_SETTINGS
    env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    # all on the processor, since that is what the floor is measured on
    env |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "torch")  # an old cache would hide the compile time
    return env | {k: str(n or len(cores())) for k, n in contestant.threads.items()}


def serve(benchmark: Benchmark, name: str, requests: IO[str], answers: IO[str]) -> None:
    """Be the process of one contestant: for each number of networks read, write what was measured.

    Args:
        benchmark: Where it takes part.
        name: The contestant.
        requests: A number of networks on each line.
        answers: A JSON object on each line; the first says whether the contestant is there.
    """

    def answer(**fields) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    contestant = benchmark.contestants[name]
    try:
        for module in contestant.modules:
            importlib.import_module(module)
        if contestant.loads:
            benchmark.load()
        answer(status="ready")
        measure = None
        for line in requests:
            begin = time.perf_counter()
            measure = measure or contestant.start()
            seconds, accuracies = measure(int(line))
            whole = time.perf_counter() - begin
            answer(status="measured", seconds=seconds, accuracies=accuracies, whole=whole)
    except ModuleNotFoundError as e:
        answer(status="not installed", message=f"no module {e.name}")
    except Missing as e:
        answer(status="not installed", message=f"needs {e}")
    except Exception as e:
        answer(status="failed", message=f"{type(e).__name__}: {e}")
        raise


class Process:
    """A contestant's process, seen from the one that measures."""

    def __init__(self, benchmark: Benchmark, name: str, scratch: Path):
        self.learned = benchmark.learned
        self.log = scratch / f"{name}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, benchmark.file, "--contestant", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(benchmark.contestants[name], scratch),
                start_new_session=True,  # so that processes that it starts can be ended with it
            )

    def answer(self) -> dict:
        """Wait for the next answer."""
        line = self.popen.stdout.readline()
        if not line:
            return {"status": "failed", "message": f"its process ended with status {self.popen.wait()}"}
        return json.loads(line)

    def measure(self, networks: int) -> dict:
        """Train networks and check that they learned."""
        try:
            print(networks, file=self.popen.stdin, flush=True)
        except BrokenPipeError:
            pass  # its last answer says why
        found = self.answer()
        accuracies = found.get("accuracies", [])
        low, high = self.learned
        if not all(low <= a <= high for a in accuracies):  # written so that NaN does not pass
            strayed = next(a for a in accuracies if not low <= a <= high)
            message = f"did not learn: a test accuracy of {strayed:.4f} is not within {low} to {high}"
            found = {"status": "failed", "message": message}
        return found

    def end(self) -> None:
        """End the process and all that it started."""
        try:
            self.popen.stdin.close()  # a process that is idle ends by itself then
            self.popen.wait(5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass
        try:
            os.killpg(self.popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()


# --- a run: rounds over all contestants, and the table ---


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def say(text: str) -> None:
    """Tell the progress."""
    print(text, file=sys.stderr, flush=True)


def run(benchmark: Benchmark, names: Sequence[str], rounds: int, networks: int | None) -> dict[str, dict]:
    """Measure contestants side by side.

    Args:
        benchmark: Where they take part.
        names: The contestants.
        rounds: Each contestant is measured once in each round.
        networks: For each contestant and round; None for each contestant's own number.

    Returns:
        For each contestant its record: a status (measured, not installed, failed), and what was measured.
    """
    contestants = benchmark.contestants
    records = {n: {"status": "measured", "networks": networks or contestants[n].networks} for n in names}
    seconds = {n: [] for n in names}
    accuracies = {n: [] for n in names}
    processes = {}

    def running() -> list[str]:
        return [n for n in names if records[n]["status"] == "measured"]

    def stop(name: str, found: dict) -> None:
        records[name] |= {"status": found["status"], "message": found["message"]}
        log = processes[name].log.read_text(errors="replace").strip()
        say(f"{name}: {found['status']}, {found['message']}")
        if found["status"] == "failed" and log:
            say("\n".join(f"    {line}" for line in log.splitlines()[-15:]))

    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as scratch:
        try:
            for name in names:
                processes[name] = Process(benchmark, name, Path(scratch))
                found = processes[name].answer()
                if found["status"] == "ready":
                    say(f"{name}: warming up")
                    found = processes[name].measure(contestants[name].warm_up or records[name]["networks"])
                if found["status"] != "measured":
                    stop(name, found)
                    continue
                records[name]["warm_up"] = {"seconds": found["whole"], "networks": len(found["accuracies"])}
            for r in range(rounds):
                # the order turns from round to round, so that nobody always follows the same neighbour
                for name in [*names[r % len(names) :], *names[: r % len(names)]]:
                    if name not in running():
                        continue
                    found = processes[name].measure(records[name]["networks"])
                    if found["status"] != "measured":
                        stop(name, found)
                        continue
                    seconds[name].append(found["seconds"])
                    accuracies[name] += found["accuracies"]
                    say(f"round {r + 1} of {rounds}: {name} {found['seconds']:.4f} s per network")
        finally:
            for process in processes.values():
                process.end()

    for name in running():
        record, times, learned = records[name], seconds[name], accuracies[name]
        record["seconds_per_network"] = spread(times) | {"rounds": times}
        if learned:
            first = record["warm_up"]
            training = first["networks"] * statistics.median(times)
            record["compile_seconds"] = max(0.0, first["seconds"] - training)
            record["test_accuracy"] = {"mean": statistics.fmean(learned)} | spread(learned)
        if "ours" in running():
            record["ratio_to_ours"] = spread([t / o for t, o in zip(times, seconds["ours"], strict=True)])
    return records


def table(records: dict[str, dict]) -> str:
    """Set the records as a table."""

    def cell(found: dict | None, form: str) -> str:
        return f"{found['median']:{form}} ({found['min']:{form}}-{found['max']:{form}})" if found else "-"

    head = ("contestant", "seconds per network", "ratio to ours", "compile s", "test accuracy")
    rows = [head]
    for name, record in records.items():
        if record["status"] != "measured":
            rows.append((name, f"{record['status']}: {record['message']}", "", "", ""))
            continue
        compiling, accuracy = record.get("compile_seconds"), record.get("test_accuracy")
        rows.append(
            (
                name,
                cell(record["seconds_per_network"], ".4f"),
                cell(record.get("ratio_to_ours"), ".2f"),
                "-" if compiling is None else f"{compiling:.1f}",
                "-" if accuracy is None else f"{accuracy['mean']:.4f}",
            )
        )
    return in_columns(rows)


def in_columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines of text in columns."""
    full = [row for row in rows if row[2]]  # the others hold a message, as wide as it likes
    widths = [max(len(row[i]) for row in (full if i else rows)) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Versions of what takes part, as far as installed."""
    found = {}
    for package in ("numpy", "tensorflow", "keras", "torch", "jax", "jaxlib"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)


def _names(contestants: Mapping[str, Contestant], text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in contestants:
            raise argparse.ArgumentTypeError(f"no contestant {name!r}; there are {','.join(contestants)}")
    if len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"a contestant is named twice in {text!r}")
    return names


def _target(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"must be a file in a folder that exists, got {text!r}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot be written: {text!r}")
    return path


def main(benchmark: Benchmark, argv: Sequence[str] | None = None) -> int:
    """Run a benchmark; give 1 if a contestant failed (never for being slow), else 0."""
    parser = argparse.ArgumentParser(description=benchmark.about.split("\n")[0], allow_abbrev=False)
    every = list(benchmark.contestants)
    names = functools.partial(_names, benchmark.contestants)
    add = parser.add_argument
    add("--only", type=names, default=every, metavar="NAMES", help=f"some of {','.join(every)}")
    add("--rounds", type=_positive, default=3, metavar="R", help="times each is measured (default 3)")
    add(
        "--networks",
        type=_positive,
        metavar="M",
        help="networks in each round (default: each its own number)",
    )
    add("--json", type=_target, metavar="FILE", help="write what was measured there")
    add("--contestant", choices=every, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)

    if args.contestant:
        # what libraries print must not get between the answers
        answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        serve(benchmark, args.contestant, sys.stdin, answers)
        return 0

    if args.only != ["floor"]:
        try:
            from book import fetch

            fetch.fetch()  # where needed, and here, so that a failure is told once
        except Exception as e:
            say(f"{parser.prog}: error: no data: {e}")
            return 2
    begin = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the contestants' processes are ended
    try:
        records = run(benchmark, args.only, args.rounds, args.networks)
    except KeyboardInterrupt:
        say("interrupted; nothing is written")
        return 130
    result = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(cores()),
        "versions": versions(),
        "rounds": args.rounds,
        "flops_per_network": benchmark.flops,
        "contestants": records,
    }
    print(table(records))
    medians = {n: r["seconds_per_network"]["median"] for n, r in records.items() if r["status"] == "measured"}
    if benchmark.second and medians:
        rows = [{"contestant": name} | benchmark.second(name, medians[name]) for name in medians]
        print("\n" + in_columns([[*rows[0]], *([*row.values()] for row in rows)]))
    say(f"{time.perf_counter() - begin:.0f} s in all, {len(cores())} cores")
    if args.json:
        part = args.json.with_name(args.json.name + ".part")
        part.write_text(json.dumps(result, indent=2) + "\n")
        part.replace(args.json)
    return 1 if any(r["status"] == "failed" for r in records.values()) else 0
