"""Time this project's engine beside other ways to train the networks of greedy layer-wise training.

Run ``python benchmarks/greedy_layerwise.py``; README.md beside this file says what is timed, and how.

The recipe: 784-100-100-100-10, tanh, softmax, cross-entropy summed over a batch of 50, 1000 steps of plain
gradient descent at rate 0.01 (0.003 from step 750), 1000 images cycled in fixed order, weights from a normal
of sd 0.1 cut at 2 sd, biases 0.1, float32; then the accuracy on the 10,000 test images.
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
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]

SIZES = (784, 100, 100, 100, 10)
SHAPES = tuple(itertools.pairwise(SIZES))
BATCH, STEPS, DROP = 50, 1000, 750  # the rate falls at step DROP, counted from 0
RATE, LATE_RATE = 0.01, 0.003
SD, BIAS = 0.1, 0.1
FIRST_IMAGE, IMAGES = 5000, 1000  # of the training file
LEARNED = (0.84, 0.90)  # test accuracy of each network; 0.879 +- 0.003 when the recipe is followed

Train = Callable[[int], Sequence[float]]  # number of networks -> their test accuracies
Measure = Callable[[int], tuple[float, list[float]]]  # number of networks -> seconds for each, accuracies


class Missing(Exception):
    """Something that a contestant needs is not on this machine."""


# --- the recipe ---


class Problem(NamedTuple):
    """Images float32 (N, 784), 0 to 1, and labels int32 (N,)."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@functools.cache
def problem() -> Problem:
    """Give the recipe's training images and the test images."""
    from lib import data

    m = data.load()
    x, y = data.subset(m, FIRST_IMAGE, IMAGES)
    labels, labels_test = (a.astype(np.int32) for a in (y, m.y_test))
    return Problem(data.scale(x, 255), labels, data.scale(m.x_test, 255), labels_test)


def starts() -> list[int]:
    """First image of each batch of one cycle."""
    return list(range(0, IMAGES, BATCH))


def rate(step: int) -> float:
    """Learning rate at a step, counted from 0."""
    return RATE if step < DROP else LATE_RATE


def training_flops() -> int:
    """Floating-point operations in the matrix products of one network's training.

    2 B D H for each layer's forward product and for its weight gradient, and for its input gradient in all
    layers but the first. All else (biases, tanh, softmax, the update, the test images) is left out.
    """
    return STEPS * sum(2 * BATCH * d * h * (2 if layer == 0 else 3) for layer, (d, h) in enumerate(SHAPES))


# --- the contestants; each start_ function runs in a process of its own ---


def cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


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


def run_ours(networks: int) -> Sequence[float]:
    """Train networks by the recipe with this project's engine.

    It runs in a process of its own whose environment holds no thread settings. The first call, with the same
    number of networks as all later ones, is not timed: build graphs and start processes there, and keep them.

    Args:
        networks: How many, at least 1.

    Returns:
        Test accuracy of each network, 0 to 1; at least as many as asked.
    """
    from lib import ensemble, staged

    os.environ["SGD_BOOK_PROGRESS"] = os.devnull
    stage = staged.Stage(3, ((DROP, RATE), (STEPS - DROP, LATE_RATE)))
    recipe = staged.recipe([stage], images=(FIRST_IMAGE, IMAGES), sizes=SIZES, sd=SD, bias=BIAS, batch=BATCH)
    with tempfile.TemporaryDirectory() as place:  # empty: no finished chunk of an earlier call is used
        os.environ["SGD_BOOK_CHUNKS"] = place
        results = ensemble.run(staged.job, {"ours": recipe}, range(networks))["ours"]
    return staged.unpack(results["correct"]).mean(axis=1)


def start_ours() -> Measure:
    return timed(run_ours)


def start_keras_fit() -> Measure:
    # Tried, in seconds per network on two cores: 3.5 with a new model, arrays and 50 epochs; 3.2 with the
    # model used again; 2.8 with 20 steps in one execution; 1.2 with all cycles as a dataset of one epoch,
    # one step in one execution; 0.7 with 20 and 100 steps, as here. XLA (jit_compile) and one thread were
    # no faster.
    import keras
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(len(cores()))
    tf.config.threading.set_inter_op_parallelism_threads(len(cores()))
    p = problem()
    # with a plain integer seed, Keras would draw the same numbers for every layer and every network
    normal = keras.initializers.TruncatedNormal(stddev=SD, seed=keras.random.SeedGenerator(0))
    model = keras.Sequential([keras.Input((SIZES[0],))])
    for layer, (_, h) in enumerate(SHAPES):
        tanh = "tanh" if layer < len(SHAPES) - 1 else None
        model.add(keras.layers.Dense(h, tanh, kernel_initializer=normal))
    # the boundary itself still has the first rate
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([DROP - 1], [RATE, LATE_RATE])
    model.compile(
        optimizer=keras.optimizers.SGD(rates),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum"),
        steps_per_execution=100,
        jit_compile=False,
    )
    cycle = tf.data.Dataset.from_tensor_slices((p.x, p.y)).batch(BATCH, drop_remainder=True).cache()
    steps = cycle.repeat(STEPS // len(starts())).prefetch(8)

    def train(networks: int) -> list[float]:
        accuracies = []
        for _ in range(networks):
            for layer in model.layers:
                layer.kernel.assign(normal(layer.kernel.shape))
                layer.bias.assign(np.full(layer.bias.shape, BIAS, np.float32))
            model.optimizer.iterations.assign(0)
            model.fit(steps, epochs=1, verbose=0)
            scores = model.predict(p.x_test, batch_size=len(p.x_test), verbose=0)
            accuracies.append(np.mean(scores.argmax(axis=1) == p.y_test))
        return accuracies

    return timed(train)


def start_tf1_session() -> Measure:
    # The source's graph and loop. Tried: one thread against two (0.73 and 0.79 s per network), one session
    # with the variables drawn anew against the source's session per network (0.62 and 0.73): the faster of
    # each here.
    import tensorflow as tf

    tf1 = tf.compat.v1
    tf1.disable_eager_execution()
    tf1.set_random_seed(0)
    p = problem()
    hot, hot_test = (np.eye(SIZES[-1], dtype=np.float32)[y] for y in (p.y, p.y_test))

    x = tf1.placeholder("float", shape=[None, SIZES[0]])
    y_ = tf1.placeholder("float", shape=[None, SIZES[-1]])
    lr = tf1.placeholder("float")
    h = x
    for layer, shape in enumerate(SHAPES):
        w = tf1.Variable(tf1.truncated_normal(shape, stddev=SD))
        b = tf1.Variable(tf.constant(BIAS, shape=[shape[1]]))
        h = (tf.nn.tanh if layer < len(SHAPES) - 1 else tf.nn.softmax)(tf.matmul(h, w) + b)
    step = tf1.train.GradientDescentOptimizer(lr).minimize(-tf.reduce_sum(y_ * tf1.log(h)))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(h, 1), tf.argmax(y_, 1)), "float"))
    draw = tf1.global_variables_initializer()
    one_thread = tf1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    session = tf1.Session(config=one_thread)

    def train(networks: int) -> list[float]:
        accuracies = []
        for _ in range(networks):
            session.run(draw)
            for i in range(STEPS):
                start = (BATCH * i) % IMAGES
                end = start + BATCH
                session.run(step, {x: p.x[start:end], y_: hot[start:end], lr: rate(i)})
            accuracies.append(session.run(accuracy, {x: p.x_test, y_: hot_test}))
        return accuracies

    return timed(train)


def start_torch(compiled: bool) -> Measure:
    # Tried: chunks of 4, 8, 16, 32 (about 0.5, 0.33, 0.28, 0.30 s per network); weights as (out, in)
    # against (in, out) and update in place against new tensors (a tenth slower each, in a single trial);
    # labels against one-hot rows (no clear difference); one thread (0.59). libgomp's passive waiting costs
    # 0.43 on idle cores, though it loses less on busy ones. Compiled, chunks of 8 and 16 take 0.20 and
    # 0.21, after some 17 s of compiling, and need a C++ compiler: hence a contestant of its own.
    import torch
    from torch.func import grad, vmap
    from torch.nn import functional

    if compiled and not any(shutil.which(c) for c in (os.environ.get("CXX", "g++"), "clang++")):
        raise Missing("a C++ compiler")
    chunk = 8 if compiled else 16
    torch.set_num_threads(len(cores()))
    torch.manual_seed(0)
    p = problem()
    x, x_test = torch.from_numpy(p.x), torch.from_numpy(p.x_test)
    y, y_test = torch.from_numpy(p.y).long(), torch.from_numpy(p.y_test)
    batches = [(x[s : s + BATCH], y[s : s + BATCH]) for s in starts()]

    def draw():
        normal = functools.partial(torch.nn.init.trunc_normal_, std=SD, a=-2 * SD, b=2 * SD)
        biases = [torch.full((chunk, h), BIAS) for _, h in SHAPES]
        return [normal(torch.empty(chunk, h, d)) for d, h in SHAPES], biases

    def logits(weights, x):
        for layer, (w, b) in enumerate(zip(*weights, strict=True)):
            x = functional.linear(torch.tanh(x) if layer else x, w, b)
        return x

    def loss(weights, x, y):
        return functional.cross_entropy(logits(weights, x), y, reduction="sum")

    gradient = vmap(grad(loss), in_dims=(0, None, None))

    def update(weights, x, y, lr):
        pairs = zip(weights, gradient(weights, x, y), strict=True)
        return tuple([a - lr * g for a, g in zip(*pair, strict=True)] for pair in pairs)

    def update_in_place(weights, x, y, lr):
        for a, g in zip(weights, gradient(weights, x, y), strict=True):
            torch._foreach_add_(a, g, alpha=-lr)
        return weights

    step = torch.compile(update) if compiled else update_in_place
    # compiled code would be compiled again for each new Python number, not for a tensor's value
    rates = [torch.tensor(rate(i)) if compiled else rate(i) for i in range(STEPS)]
    accuracy = vmap(lambda weights: (logits(weights, x_test).argmax(1) == y_test).float().mean())

    @torch.no_grad()
    def train(networks: int) -> list[float]:
        accuracies = []
        while len(accuracies) < networks:
            weights = draw()
            for i in range(STEPS):
                weights = step(weights, *batches[i % len(batches)], rates[i])
            accuracies += accuracy(weights).tolist()
        return accuracies

    return timed(train)


def jax_training(chunk: int) -> Callable[[int, int], list[float]]:
    """Give a function of a seed and a number of networks that trains them in chunks, by compiled code."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    p = Problem(*(jnp.asarray(a) for a in problem()))
    hot = jax.nn.one_hot(p.y, SIZES[-1])

    def draw(key):
        keys = jax.random.split(key, len(SHAPES))
        normal = [SD * jax.random.truncated_normal(k, -2, 2, s) for k, s in zip(keys, SHAPES, strict=True)]
        return [(w, jnp.full(w.shape[1], BIAS)) for w in normal]

    def logits(weights, x):
        for layer, (w, b) in enumerate(weights):
            x = (jnp.tanh(x) if layer else x) @ w + b
        return x

    def update(weights, x, y, lr):
        gradient = jax.grad(lambda weights: -jnp.sum(y * jax.nn.log_softmax(logits(weights, x))))
        return jax.tree.map(lambda w, g: w - lr * g, weights, gradient(weights))

    def step(i, weights):
        start = BATCH * i % IMAGES
        x, y = (lax.dynamic_slice_in_dim(a, start, BATCH) for a in (p.x, hot))
        lr = jnp.where(i < DROP, RATE, LATE_RATE)
        return jax.vmap(update, in_axes=(0, None, None, None))(weights, x, y, lr)

    def accuracy(weights):
        return jnp.mean(jnp.argmax(logits(weights, p.x_test), axis=1) == p.y_test)

    @jax.jit
    def train_chunk(keys):
        return lax.map(accuracy, lax.fori_loop(0, STEPS, step, jax.vmap(draw)(keys)))

    def train(seed: int, networks: int) -> list[float]:
        chunks = -(-networks // chunk)
        keys = jax.random.split(jax.random.key(seed), (chunks, chunk))
        return [a for k in keys for a in np.asarray(train_chunk(k)).tolist()]

    return train


def start_jax_vmap() -> Measure:
    # Tried: chunks of 1, 2, 4, 8, 16, 32, 50 (0.31, 0.36, 0.32, 0.23, 0.22, 0.25, 0.25 s per network). No
    # difference beyond noise: a batch by slice, by index into (20, 50, 784) or by gathered rows; first
    # layers side by side in memory; the loop inside vmap; XLA's options for fast math, 512-bit vectors,
    # oneDNN and XNNPACK.
    return timed(functools.partial(jax_training(chunk=16), 0))


def _start_jax_process(core: int) -> None:
    # in a process of the pool; pinned before JAX counts its cores
    global _jax_train
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    _jax_train = jax_training(chunk=1)


def _run_jax_process(seed: int, networks: int) -> list[float]:
    return _jax_train(seed, networks)


def start_jax_processes() -> Measure:
    # On one core a chunk of 1 is the fastest: 0.30 s per network, against 0.34, 0.31, 0.31 and 0.31 in
    # chunks of 2, 4, 8 and 16.
    context = multiprocessing.get_context("spawn")
    pools = [ProcessPoolExecutor(1, context, _start_jax_process, (core,)) for core in cores()]

    def train(networks: int) -> list[float]:
        share = -(-networks // len(pools))
        runs = [pool.submit(_run_jax_process, seed, share) for seed, pool in enumerate(pools)]
        return [a for run in runs for a in run.result()]

    return timed(train)


def start_floor() -> Measure:
    a, b = np.random.default_rng(0).standard_normal((2, 2048, 2048), dtype=np.float32)

    def measure(networks: int) -> tuple[float, list[float]]:
        times = []
        for _ in range(10):
            begin = time.perf_counter()
            np.matmul(a, b)
            times.append(time.perf_counter() - begin)
        return training_flops() * statistics.median(times) / (2 * 2048**3), []

    return measure


class Contestant(NamedTuple):
    """One way to train the recipe.

    Attributes:
        start: Gets ready, and gives the function that is timed.
        modules: Imported before any clock runs.
        networks: Trained in each round, unless --networks says otherwise.
        warm_up: Networks in the first call; 0 for as many as in each round.
        threads: Thread settings for the environment, a number or None for one per core.
    """

    start: Callable[[], Measure]
    modules: tuple[str, ...]
    networks: int
    warm_up: int = 1
    threads: dict[str, int | None] = {}


_OMP: dict[str, int | None] = {"OMP_NUM_THREADS": None}

CONTESTANTS = {
    "keras-fit": Contestant(start_keras_fit, ("tensorflow", "keras"), 3),
    "tf1-session": Contestant(start_tf1_session, ("tensorflow",), 3),
    "torch-vmap": Contestant(functools.partial(start_torch, False), ("torch",), 16, 1, _OMP),
    "torch-compiled": Contestant(functools.partial(start_torch, True), ("torch",), 8, 1, _OMP),
    "jax-vmap": Contestant(start_jax_vmap, ("jax",), 32),
    "jax-processes": Contestant(start_jax_processes, ("jax",), 32),
    "ours": Contestant(start_ours, ("lib.staged", "lib.ensemble"), 64, 0),
    "floor": Contestant(start_floor, (), 1, 1, _OMP | {"OPENBLAS_NUM_THREADS": None}),
}


# --- one process for each contestant ---

_THREAD_SETTINGS = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "VECLIB_", "GOTO_", "BLIS_")
_FRAMEWORK_SETTINGS = ("TF_", "XLA_", "JAX_", "TORCH", "PYTORCH_", "ATEN_", "KERAS_BACKEND", "CUDA_")


def environment(contestant: Contestant, scratch: Path) -> dict[str, str]:
    """Give this environment without any setting of threads or frameworks, with the contestant's own added."""
    dropped = _THREAD_SETTINGS + _FRAMEWORK_SETTINGS
    env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    # all on the processor, since that is what the floor is measured on
    env |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["TORCHINDUCTOR_CACHE_DIR"] = str(scratch / "torch")  # an old cache would hide the compile time
    return env | {k: str(n or len(cores())) for k, n in contestant.threads.items()}


def serve(name: str, requests: IO[str], answers: IO[str]) -> None:
    """Be the process of one contestant: for each number of networks read, write what was measured.

    Args:
        name: The contestant.
        requests: A number of networks on each line.
        answers: A JSON object on each line; the first says whether the contestant is there.
    """

    def answer(**fields) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    contestant = CONTESTANTS[name]
    try:
        for module in contestant.modules:
            importlib.import_module(module)
        if name != "floor":
            problem()
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

    def __init__(self, name: str, scratch: Path):
        self.log = scratch / f"{name}.log"
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, __file__, "--contestant", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(CONTESTANTS[name], scratch),
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
        low, high = LEARNED
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


def run(names: Sequence[str], rounds: int, networks: int | None) -> dict[str, dict]:
    """Measure contestants side by side.

    Args:
        names: The contestants.
        rounds: Each contestant is measured once in each round.
        networks: For each contestant and round; None for each contestant's own number.

    Returns:
        For each contestant its record: a status (measured, not installed, failed), and what was measured.
    """
    records = {n: {"status": "measured", "networks": networks or CONTESTANTS[n].networks} for n in names}
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
                processes[name] = Process(name, Path(scratch))
                found = processes[name].answer()
                if found["status"] == "ready":
                    say(f"{name}: warming up")
                    found = processes[name].measure(CONTESTANTS[name].warm_up or records[name]["networks"])
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
    full = [row for row in rows if row[2]]  # the others hold a message, as wide as it likes
    widths = [max(len(row[i]) for row in (full if i else rows)) for i in range(len(head))]
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


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in CONTESTANTS:
            raise argparse.ArgumentTypeError(f"no contestant {name!r}; there are {','.join(CONTESTANTS)}")
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; give 1 if a contestant failed (never for being slow), else 0."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    every = list(CONTESTANTS)
    add = parser.add_argument
    add("--only", type=_names, default=every, metavar="NAMES", help=f"some of {','.join(every)}")
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
        serve(args.contestant, sys.stdin, answers)
        return 0

    if args.only != ["floor"]:
        try:
            sys.path.insert(0, str(ROOT))
            problem()  # fetched here where needed, so that a failure is told once
        except Exception as e:
            say(f"{parser.prog}: error: no data: {e}")
            return 2
    begin = time.perf_counter()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the contestants' processes are ended
    try:
        records = run(args.only, args.rounds, args.networks)
    except KeyboardInterrupt:
        say("interrupted; nothing is written")
        return 130
    result = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(cores()),
        "versions": versions(),
        "rounds": args.rounds,
        "flops_per_network": training_flops(),
        "contestants": records,
    }
    print(table(records))
    say(f"{time.perf_counter() - begin:.0f} s in all, {len(cores())} cores")
    if args.json:
        part = args.json.with_name(args.json.name + ".part")
        part.write_text(json.dumps(result, indent=2) + "\n")
        part.replace(args.json)
    return 1 if any(r["status"] == "failed" for r in records.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
